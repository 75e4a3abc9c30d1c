// Small pieces that several views use.

import { useEffect, useId, useLayoutEffect, useMemo, useState } from "preact/hooks";
import { hasKey, query } from "./api.js";
import { ownPath } from "./base.js";
import { STATUS, WHAT, broken, percent, shown, unbroken } from "./format.js";
import { Link } from "./router.jsx";

// Reads again when `keys` change; an answer that comes too late is thrown away. It begins before the first paint.
export function useAsync(read, keys) {
  const reading = useMemo(read, keys);
  const [state, set] = useState({ data: reading.data ?? null, error: null, busy: !reading.data });
  useLayoutEffect(() => {
    const show = (data) => set((before) => (before.data === data && !before.busy && !before.error ? before : { data, error: null, busy: false }));
    if (reading.data) return show(reading.data);
    let wanted = true;
    set((before) => (before.busy ? before : { ...before, busy: true }));
    reading.then(
      (data) => wanted && show(data),
      (error) => wanted && error.name !== "AbortError" && set({ data: null, error, busy: false }),
    );
    return () => (wanted = false);
  }, keys);
  return state;
}

// False until the first frame is on the screen: what need not be in it waits for that.
export function useIsPainted() {
  const [isPainted, set] = useState(false);
  useEffect(() => {
    let later;
    const frame = requestAnimationFrame(() => (later = setTimeout(set, 0, true)));
    return () => (cancelAnimationFrame(frame), clearTimeout(later));
  }, []);
  return isPainted;
}

export function useTitle(text) {
  useEffect(() => {
    document.title = `${text} · Polyseme`;
  }, [text]);
}

export const Status = ({ status }) => (
  <span class={`status ${status}`} title={WHAT[status]}>{STATUS[status] ?? status}</span>
);

export function Waiting({ what = "Reading" }) {
  return <p class="quiet waiting" role="status">{what} …</p>;
}

const ADVICE = {
  unreachable: "Is it running? Start it with “polyseme up”, then try again.",
  unauthenticated: "Sign in with an API key that holds.",
  missing_scope: "Sign in with a key that has this scope.",
  not_local: "Open the dashboard on the machine that runs the service, or let its operator make an API key.",
  not_found: "It may have been deleted, or it belongs to another tenant.",
  gone: "Its result was deleted. Submit the job again to have it anew.",
  result_damaged: "A file of it is not what was written. Submit the job again: layers that are whole are taken over. The operator can mend it with “polyseme verify --repair”.",
  damaged_record: "What is left of this job cannot be read. Delete it, and submit it again.",
  store_full: "The store has no room left: delete jobs or corpora, or ask the operator.",
  other_text: "Only results over the same text, cut alike by the same tokenizer, can be compared.",
  job_not_finished: "Come back when it has succeeded.",
  too_many_requests: "Wait a minute, then try again.",
  quota_exceeded: "Wait for jobs to end, delete old ones, or ask the operator for more.",
  too_many_jobs: "Wait for jobs to end, then try again.",
  unavailable: "Try again in a few seconds. If it stays so, the operator should look at Redis and the store.",
  expired_cursor: "Reload the page to begin the list again.",
};

// advice: by code, where a view knows better.
export function Failure({ error, advice = {} }) {
  const request = error.requestId ? ` Request ${error.requestId}.` : "";
  return (
    <div class="notice bad" role="alert">
      <p><strong>{error.message}</strong></p>
      <p>{advice[error.code] ?? ADVICE[error.code] ?? "If it happens again, tell the operator."}{error.status >= 500 ? request : ""}</p>
      {error.status === 401 && !hasKey() && <p><Link to={`/ui/sign-in${query({ to: ownPath() + location.search })}`}>Sign in</Link></p>}
    </div>
  );
}

const JOB_ADVICE = {
  model_load_failed: "Look at the model's entry in the catalogue, and at the worker's log.",
  unsupported_architecture: "Choose another model: this one's layers are not of a kind that is known.",
  non_finite_activation: "The model gives infinite numbers: try float32 (POLYSEME_DTYPE) or another file of it.",
  empty_corpus: "Choose a corpus with more text, or allow more tokens.",
  too_many_attempts: "A worker died at it again and again, often for lack of memory: submit fewer layers or neurons.",
  deadline_exceeded: "Give it a later deadline_s, or less to do: fewer layers, or fewer tokens.",
  store_away: "The store was away for too long. Submit the job again once it is back.",
  damaged_file: "A file in the store is damaged or gone: submit the job again.",
};

export const JobFailure = ({ error }) => (
  <div class="notice bad" role="alert">
    <p><strong>{error.detail}</strong></p>
    <p>{JOB_ADVICE[error.code] ?? "The worker's log says more. Submit the job again once that is mended."}</p>
  </div>
);

// What a word means, opened by a tap or a key, as a phone can.
export const Explained = ({ name, help }) =>
  help ? <details class="help"><summary>{name}</summary><span>{help}</span></details> : name;

export function Fact({ name, children, help }) {
  return (
    <div class="fact">
      <dt><Explained name={name} help={help} /></dt>
      <dd>{children}</dd>
    </div>
  );
}

// Where a number stands among those of the layer's control units, which are random directions.
export function Percentile({ of: share, word }) {
  if (share === null || share === undefined) return null;
  return (
    <span class="percentile">
      <span class="track" aria-hidden="true"><span style={{ width: `${100 * share}%` }} /></span>
      <small>{word} than {percent(share)} of control units</small>
    </span>
  );
}

export function Field({ label, hint, error, children }) {
  const id = useId();
  const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ") || undefined;
  return (
    <div class={`field ${error ? "wrong" : ""}`}>
      <label for={id}>{label}</label>
      {children({ id, "aria-describedby": described, "aria-invalid": error ? "true" : undefined })}
      {hint && <p class="hint" id={`${id}-hint`}>{hint}</p>}
      {error && <p class="error" id={`${id}-error`}>{error}</p>}
    </div>
  );
}

// What is quoted runs in its own direction, and leaves that of the sentence alone.
export const Sentence = ({ text }) => unbroken(text).split(/“([^”]*)”/).map((part, i) => (i % 2 ? <>“<bdi>{part}</bdi>”</> : part));

export const Token = ({ token, ...rest }) => <code class="token" dir="auto" {...rest}>{shown(token)}</code>;

// A text shaded by activation, in pieces of surface.js. `most` is the activation of full shade, `sign` the tail's.
// The other sign than the tail's is kept pale: it is not what one reads for.
const OTHER_SIGN = 0.3;
const INDENTED = /[\n\r][ \t]+\S/;

export function ShadedText({ pieces, most, sign = 1 }) {
  const isCode = INDENTED.test(pieces.map((p) => p.text).join(""));
  return (
    <span class={isCode ? "shaded code" : "shaded"} dir="auto">
      {pieces.map((p, i) => <Piece key={i} piece={p} most={most} sign={sign} isFirst={i === 0} />)}
    </span>
  );
}

function Piece({ piece: { text, activation: a, isPeak, isMark }, most, sign, isFirst }) {
  const depth = !a || !most ? 0 : Math.min(Math.abs(a) / most, 1) * (a * sign < 0 ? OTHER_SIGN : 1);
  const kind = depth < 0.04 ? "" : a > 0 ? "warm" : "cool";
  const title = a === undefined ? undefined : a === null ? "does not count" : a.toPrecision(3);
  const read = isMark ? <bdi class="special">{shown(text)}</bdi> : broken(isFirst ? text.replace(/^ (?=\S)/, "") : text);
  const body = isPeak ? <mark>{read}</mark> : read;
  return <span class={kind} style={kind ? { "--depth": depth.toFixed(2) } : undefined} title={title}>{body}</span>;
}
