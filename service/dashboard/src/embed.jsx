// One neuron in a frame of another page. The page may give an API key by a message; only allowed pages can frame this.

import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { onKey, readOnce, setKey } from "./api.js";
import { below, ownPath } from "./base.js";
import { fixed, percent } from "./format.js";
import { Failure, Sentence, Status, Waiting, useAsync } from "./parts.jsx";
import { Context, SenseCards, ShareBar, StrongestFew } from "./senses.jsx";

const [, job, layer, neuron] = /^\/embed\/jobs\/(job_[0-9a-f]{28})\/neurons\/(\d+)\/(\d+)$/.exec(ownPath()) ?? [];
const theme = new URLSearchParams(location.search).get("theme");
if (theme) document.documentElement.dataset.theme = theme;

const tellHeight = () =>
  parent.postMessage({ polyseme: "height", height: document.documentElement.offsetHeight }, "*");

// The element answers that the frame is ready, with a key or none. A frame without the element waits for nothing.
const PATIENCE_MS = 300;
const greeted = new Promise((resolve) => {
  addEventListener("message", (event) => {
    if (event.source !== parent || !("polysemeKey" in (event.data ?? {}))) return;
    if (typeof event.data.polysemeKey === "string") setKey(event.data.polysemeKey);
    resolve();
  });
  setTimeout(resolve, parent === window ? 0 : PATIENCE_MS);
});

function Embed() {
  const path = `/v1/jobs/${job}/neurons/${layer}/${neuron}`;
  const [turn, setTurn] = useState(0); // a page that is slow may give the key late
  useEffect(() => onKey(() => setTurn((t) => t + 1)), []);
  const { data, error } = useAsync(() => greeted.then(() => (job ? readOnce(path) : null)), [path, turn]);
  if (!job) return <p class="notice">The address names no neuron.</p>;
  if (error) return <Failure error={error} />;
  return data ? <Card report={data} /> : <Waiting />;
}

function Card({ report }) {
  const most = Math.max(...report.contexts.map((c) => Math.abs(c.activation ?? 0)), 0);
  const senses = report.senses.filter((s) => s.tail === "positive");
  const p = report.polysemanticity;
  return (
    <main class="embed">
      <p class="crumbs">
        <a href={below(`/ui/jobs/${report.job}/neurons/${report.layer}/${report.neuron}`)} target="_blank" rel="noopener">{report.model}, layer {report.layer}, neuron {report.neuron}</a>
      </p>
      <h1 class="meaning"><Sentence text={report.meaning} /></h1>
      <p class="quiet"><Status status={report.status} />{p && <> · score {fixed(p.score)}{p.score_percentile !== null && <>, higher than {percent(p.score_percentile)} of control units</>} · coverage {percent(p.coverage)}</>}</p>
      {senses.length > 0 && p ? <><StrongestFew contexts={report.contexts.filter((c) => c.tail === "positive")} most={most} /><ShareBar senses={senses} coverage={p.coverage} /><SenseCards report={report} senses={senses} most={most} coverage={p.coverage} /></>
        : <ol class="contexts">{report.contexts.slice(0, 5).map((c, i) => <Context key={i} context={c} most={most} />)}</ol>}
    </main>
  );
}

new ResizeObserver(tellHeight).observe(document.documentElement);
render(<Embed />, document.getElementById("embed"));
parent.postMessage({ polyseme: "ready" }, "*");
