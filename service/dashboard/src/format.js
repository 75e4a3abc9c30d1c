// Numbers and times as text.

// Not by Intl, whose first use takes a browser longer than all else before the first frame.
const group = (n) => n.toFixed(0).replace(/\B(?=(\d{3})+$)/g, ",");

export const count = (n) => (n === null || n === undefined ? "–" : group(n));

// "1 neuron", "1,536 neurons".
export const counted = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;

export function number(x, digits = 3) {
  if (x === null || x === undefined) return "–";
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (size >= 10000) return count(x);
  if (size < 0.001) return x.toExponential(1);
  return size >= 10 ** digits ? count(x) : x.toPrecision(digits);
}

// A sentence does not break between a number and its sign.
export const unbroken = (text) => text.replaceAll(" %", "\u00a0%");

export const fixed = (x, places = 2) => (x === null || x === undefined ? "–" : x.toFixed(places));
export const percent = (x) => (x === null || x === undefined ? "–" : `${Math.round(100 * x)} %`);

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${number(seconds / 3600, 2)} h`;
}

export function bytes(n) {
  if (n < 1 << 20) return `${Math.round(n / 1024)} KiB`;
  return n < 1 << 30 ? `${Math.round(n / 2 ** 20)} MiB` : `${number(n / 2 ** 30, 2)} GiB`;
}

export const time = (text) =>
  text ? new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }) : "–";

// What cannot be seen in a token is shown by a sign.
export const visible = (token) => token.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll("\r", "↵");
// Likewise in a text, whose lines end where they do.
export const broken = (text) => visible(text).replace(/↵⏎|[↵⏎]/g, "$&\n");
const point = (c) => (c === " " ? "␣" : `U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`);

export function shown(token) {
  const text = visible(token).trim();
  if (/[^\p{C}\p{Z}\s]/u.test(text)) return text;
  return token ? [...token].slice(0, 3).map(point).join("") : "∅";
}

export const STATUS = {
  polysemantic: "polysemantic",
  monosemantic: "monosemantic",
  described: "described",
  insufficient_evidence: "too little evidence",
  not_scored: "not scored",
  not_finite: "not finite",
};
export const WHAT = {
  polysemantic: "fires for several things in this text, more selectively than random directions do",
  monosemantic: "fires for one thing in this text, more selectively than random directions do",
  described: "its contexts have meanings, but nothing is claimed: a random direction does as much, or no sense is sure",
  insufficient_evidence: "fewer than 10 contexts in which it fires",
  not_scored: "senses were not asked for",
  not_finite: "its activations are not finite numbers",
};
