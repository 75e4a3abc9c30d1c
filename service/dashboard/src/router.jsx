// The address is the state: views read it, and change it by `go`.

import { createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";
import { below, ownPath } from "./base.js";

const changed = "polyseme-address";

export function go(path, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", below(path));
  dispatchEvent(new Event(changed));
}

export function setQuery(values, options) {
  const search = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined || value === null || value === "") search.delete(name);
    else search.set(name, value);
  }
  const text = search.toString();
  go(ownPath() + (text ? `?${text}` : ""), options);
}

const here = () => ({ path: ownPath(), search: location.search });

export function useAddressState() {
  const [address, set] = useState(here);
  useEffect(() => {
    const update = () => set(here());
    addEventListener("popstate", update);
    addEventListener(changed, update);
    return () => (removeEventListener("popstate", update), removeEventListener(changed, update));
  }, []);
  return address;
}

export const Address = createContext(null);
export const useQuery = () => Object.fromEntries(new URLSearchParams(useContext(Address).search));

export function Link({ to, children, ...rest }) {
  const follow = (event) => {
    if (event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(to);
  };
  return <a href={below(to)} onClick={follow} {...rest}>{children}</a>;
}
