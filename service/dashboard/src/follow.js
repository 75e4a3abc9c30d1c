// Follows a job to its end: by its event stream, and where none is to be had, by polling.

import { ask } from "./api.js";

const TERMINAL = new Set(["succeeded", "failed", "cancelled"]);
export const isOver = (job) => TERMINAL.has(job.status);

const pause = (ms, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });

// A browser has few connections to one service, so a page that nobody sees holds none.
const untilSeen = (signal) =>
  new Promise((resolve) => {
    const look = () => (!document.hidden || signal.aborted) && resolve();
    document.addEventListener("visibilitychange", look, { signal });
    signal.addEventListener("abort", resolve, { once: true });
    look();
  });

function stopWhenHidden(signal) {
  const control = new AbortController();
  const stop = () => document.hidden && control.abort();
  document.addEventListener("visibilitychange", stop, { signal: control.signal });
  signal.addEventListener("abort", () => control.abort(), { once: true });
  return control;
}

// tell(job, "stream" | "poll") is called at each change, fail(problem) when the job cannot be read any more.
export async function followJob(id, tell, fail, signal) {
  let last = null;
  let streams = true;
  while (!signal.aborted) {
    await untilSeen(signal);
    const seen = stopWhenHidden(signal);
    try {
      const job = streams ? await stream(id, last, tell, seen.signal) : await poll(id, last, tell, seen.signal);
      if (job) last = job.revision;
      if (job && isOver(job)) return;
      if (!streams) streams = true;
      else await pause(1000, seen.signal);
    } catch (e) {
      if (signal.aborted) return;
      if (seen.signal.aborted) continue;
      if (e.status >= 400 && e.status < 500 && e.status !== 429) return fail(e);
      streams = false;
      if (e.status !== 503) await pause(2000, signal).catch(() => {});
    } finally {
      seen.abort();
    }
  }
}

async function stream(id, last, tell, signal) {
  const headers = last === null ? {} : { "Last-Event-ID": String(last) };
  const answer = await ask(`/v1/jobs/${id}/events`, { headers, signal });
  if (answer.status === 204) return poll(id, null, tell, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let job = null;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return job;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").find((line) => line.startsWith("data: "));
      if (!data) continue;
      job = JSON.parse(data.slice(6));
      tell(job, "stream");
    }
  }
}

async function poll(id, last, tell, signal) {
  const headers = last === null ? {} : { "If-None-Match": `W/"${last}"` };
  const answer = await ask(`/v1/jobs/${id}`, { headers, signal });
  const seconds = Number(answer.headers.get("Retry-After")) || 0;
  let job = null;
  if (answer.status !== 304) {
    job = await answer.json();
    tell(job, "poll");
  }
  if (seconds) await pause(seconds * 1000, signal);
  return job;
}
