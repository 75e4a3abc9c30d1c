// The public API, and nothing else. An API key stays in this tab's session.

import { below } from "./base.js";

// Services below other paths of this host have keys of their own.
const KEY = below("polyseme-key");
// In a frame of another page the browser may keep the storage closed; then the key lives as long as the page.
const memory = new Map();
const storage = (() => {
  try {
    return sessionStorage;
  } catch {
    return { getItem: (k) => memory.get(k) ?? null, setItem: (k, v) => memory.set(k, v), removeItem: (k) => memory.delete(k) };
  }
})();
const listeners = new Set();

export class Problem extends Error {
  constructor(status, body, retryAfter) {
    super(body.detail ?? `The service answered ${status}.`);
    this.status = status;
    this.code = body.code ?? "error";
    this.errors = body.errors ?? [];
    this.requestId = body.request_id;
    this.retryAfter = retryAfter;
  }
}

export const hasKey = () => Boolean(storage.getItem(KEY));

export function setKey(key) {
  if (key) storage.setItem(KEY, key);
  else storage.removeItem(KEY);
  cache.clear();
  for (const tell of listeners) tell();
}

export function onKey(tell) {
  listeners.add(tell);
  return () => listeners.delete(tell);
}

export async function ask(path, { method = "GET", body, headers = {}, signal } = {}) {
  const sent = { ...headers };
  const key = storage.getItem(KEY);
  if (key) sent.Authorization = `Bearer ${key}`;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  const options = { method, headers: sent, signal, body: body === undefined ? undefined : JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(below(path), options);
  } catch (e) {
    if (e.name === "AbortError") throw e;
    throw new Problem(0, { code: "unreachable", detail: "The service cannot be reached." });
  }
  if (answer.ok || answer.status === 304) return answer;
  throw readProblem(answer.status, await answer.text(), answer.headers.get("Retry-After"));
}

function readProblem(status, text, retryAfter) {
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
    // A proxy's page, say: the status has to do.
  }
  return new Problem(status, problem, Number(retryAfter) || null);
}

// POSTs a file or text, and tells the share that was sent, which fetch cannot. Not yet all of it is read by then.
export function upload(path, body, type, tell, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", below(path));
    request.setRequestHeader("Content-Type", type);
    const key = storage.getItem(KEY);
    if (key) request.setRequestHeader("Authorization", `Bearer ${key}`);
    request.upload.onprogress = (e) => tell(e.loaded / e.total);
    request.onload = () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(readProblem(request.status, request.responseText, request.getResponseHeader("Retry-After")));
    };
    request.onerror = () => reject(new Problem(0, { code: "cut_off", detail: "The upload broke off." }));
    request.onabort = () => reject(new DOMException("The upload was stopped.", "AbortError"));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(body);
  });
}

export const read = async (path, options) => (await ask(path, options)).json();
export const post = (path, body, options = {}) => read(path, { ...options, method: "POST", body });

// What never changes (results) is kept while the page is open.
const cache = new Map();
const MOST_KEPT = 300;

export function readOnce(path) {
  if (!cache.has(path)) {
    if (cache.size >= MOST_KEPT) cache.delete(cache.keys().next().value);
    const found = read(path);
    // Once it is there, a view need not wait for it, not even a moment.
    found.then((data) => (found.data = data), () => cache.delete(path));
    cache.set(path, found);
  }
  return cache.get(path);
}

export function forgetJob(id) {
  for (const path of [...cache.keys()]) if (path.includes(id)) cache.delete(path);
}

export function makeKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
}

export const query = (values) => {
  const kept = Object.entries(values).filter(([, v]) => v !== undefined && v !== null && v !== "");
  return kept.length ? `?${new URLSearchParams(kept)}` : "";
};
