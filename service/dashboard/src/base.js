// The path that a proxy serves the service below, "" for none: this script comes from /static/ under it.
const BASE = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

export const below = (path) => BASE + path;

// The path of this view, or of a link that the service gave, as the service's own routes have it.
export function ownPath(path = location.pathname) {
  return path === BASE || path.startsWith(`${BASE}/`) ? path.slice(BASE.length) || "/" : path;
}
