import { useMemo, useState } from "preact/hooks";
import { makeKey, post, query, readOnce } from "./api.js";
import { previewSenses } from "./alpha.js";
import { below, ownPath } from "./base.js";
import { Histogram } from "./charts.jsx";
import { count, fixed, number, percent } from "./format.js";
import { Fact, Failure, Field, Sentence, Status, Token, Waiting, useAsync, useIsPainted, useTitle } from "./parts.jsx";
import { Link, go, setQuery, useQuery } from "./router.jsx";
import { Context, SenseCards, ShareBar } from "./senses.jsx";
import { TryText } from "./trytext.jsx";

const TAILS = { positive: "Positive tail", negative: "Negative tail" };
const LOOSE = 5; // contexts in no sense shown at first
const NEVER = new Promise(() => {});

export function NeuronPage({ job, layer, neuron }) {
  useTitle(`Layer ${layer}, neuron ${neuron}`);
  const path = `/v1/jobs/${job}/neurons/${layer}/${neuron}`;
  const { data, error } = useAsync(() => readOnce(path), [path]);
  return (
    <>
      <p class="crumbs">
        <Link to="/ui/jobs">Jobs</Link> / <Link to={`/ui/jobs/${job}`}><code>…{job.slice(-8)}</code></Link> /{" "}
        <Link to={`/ui/jobs/${job}/neurons`}>Neurons</Link> / Layer {layer}, neuron {neuron}
      </p>
      {error && <Failure error={error} />}
      {!data && !error && <Waiting />}
      {data && <Report report={data} path={path} />}
    </>
  );
}

function Report({ report, path }) {
  const asked = useQuery();
  const tail = asked.tail === "negative" && report.negative ? "negative" : "positive";
  const scores = tail === "positive" ? report : report.negative;
  const contexts = report.contexts.filter((c) => c.tail === tail);
  const most = Math.max(...contexts.map((c) => Math.abs(c.activation ?? 0)), 0);
  const senses = report.senses.filter((s) => s.tail === tail);
  // The sentence and the senses come first; the rest, and what it asks for, waits until they are on the screen.
  const isPainted = useIsPainted();
  return (
    <>
      <div class="title">
        <h1>Layer {report.layer}, neuron {report.neuron}</h1>
        {isPainted && <Neighbours report={report} />}
      </div>
      <p class="meaning"><Sentence text={scores.meaning} /></p>
      {report.negative && <Tails tail={tail} />}
      <Scores scores={scores} />
      {senses.length > 0 && scores.polysemanticity
        ? <Senses report={report} senses={senses} tail={tail} scores={scores.polysemanticity} most={most} alpha={asked.alpha} path={path} isPainted={isPainted} />
        : <Strongest contexts={contexts} most={most} />}
      {isPainted && <Rest report={report} tail={tail} most={most} path={path} />}
    </>
  );
}

function Rest({ report, tail, most, path }) {
  return (
    <>
      <TryText report={report} tail={tail} most={most} />
      <section>
        <h2>Activations</h2>
        <Histogram stats={report.stats} senses={report.senses.map((s) => ({ ...s, label: report.negative ? `Sense ${s.sense + 1}, ${s.tail}` : undefined }))} />
        <Stats stats={report.stats} />
      </section>
      {report.logits && <Logits logits={report.logits} tail={tail} />}
      <Provenance report={report} path={path} />
    </>
  );
}

function Neighbours({ report: { layer, neuron, job, links } }) {
  const { data } = useAsync(() => readOnce(ownPath(links.manifest)), [links.manifest]);
  if (data?.request?.neurons.indices !== "all") return null;
  const to = (n) => `/ui/jobs/${job}/neurons/${layer}/${n}`;
  return (
    <nav class="neighbours" aria-label="Neighbouring neurons">
      {neuron > 0 && <Link to={to(neuron - 1)}>← {neuron - 1}</Link>}
      {neuron + 1 < data.neurons_per_layer && <Link to={to(neuron + 1)}>{neuron + 1} →</Link>}
    </nav>
  );
}

function Tails({ tail }) {
  return (
    <div class="switch" role="group" aria-label="Tail">
      {Object.entries(TAILS).map(([name, text]) => (
        <button key={name} type="button" aria-pressed={tail === name} onClick={() => setQuery({ tail: name === "positive" ? "" : name, alpha: "" }, { replace: true })}>{text}</button>
      ))}
    </div>
  );
}

function Scores({ scores }) {
  const p = scores.polysemanticity;
  return (
    <dl class="facts">
      <Fact name="status"><Status status={scores.status} /></Fact>
      {p && <>
        <Fact name="polysemanticity" help="The chance that two firings, drawn by activation, differ in meaning">
          {fixed(p.score)}{p.interval && <small> {fixed(p.interval[0])} to {fixed(p.interval[1])}</small>}
        </Fact>
        <Fact name="senses">{count(p.sense_count)}</Fact>
        <Fact name="coverage" help="The part of its firing that belongs to a sense">{percent(p.coverage)}</Fact>
        <Fact name="MS" help="Monosemanticity score: mean cosine of its contexts; needs no grouping">{fixed(p.monosemanticity_score)}</Fact>
        <Fact name="alpha" help="How near groups of contexts must be to be one sense">{p.alpha}</Fact>
      </>}
    </dl>
  );
}

function Senses({ report, senses, tail, scores, most, alpha, path, isPainted }) {
  const own = scores.alpha;
  const readLater = (path) => () => (isPainted ? readOnce(path) : NEVER);
  const tree = useAsync(readLater(`${path}/tree?tail=${tail}`), [path, tail, isPainted]);
  const manifest = useAsync(readLater(ownPath(report.links.manifest)), [report.links.manifest, isPainted]);
  const least = manifest.data?.request?.senses.min_contexts ?? 4;
  const curve = tree.data?.curve ?? [];
  const chosen = curve.find((c) => String(c.alpha) === alpha) ?? null;
  const preview = useMemo(
    () => (chosen && !chosen.exact ? previewSenses(tree.data, report, chosen.alpha, least) : null),
    [chosen, tree.data, report, least],
  );
  const shown = preview ?? senses;
  const coverage = preview ? chosen.coverage : scores.coverage;
  const inside = new Set(shown.flatMap((s) => s.contexts));
  const loose = report.contexts.map((c, i) => [c, i]).filter(([c, i]) => c.tail === tail && !inside.has(i) && c.activation).map(([c]) => c);
  return (
    <section>
      <h2>Senses</h2>
      <ShareBar senses={shown} coverage={coverage} />
      {curve.length > 0 && <AlphaSlider curve={curve} own={own} chosen={chosen} report={report} />}
      <SenseCards report={report} senses={shown} most={most} />
      {loose.length > 0 && <Loose contexts={loose} most={most} />}
    </section>
  );
}

const countSenses = ({ sense_count: n }) => (n === 1 ? "1 sense" : `${n ?? "no"} senses`);

function AlphaSlider({ curve, own, chosen, report }) {
  const alphas = curve.map((c) => c.alpha);
  const place = alphas.indexOf(chosen?.alpha ?? own);
  const point = curve[place];
  const isOwn = !chosen || chosen.alpha === own;
  const put = (e) => setQuery({ alpha: alphas[e.target.value] === own ? "" : alphas[e.target.value] }, { replace: true });
  const words = `alpha ${point.alpha}: ${countSenses(point)}`;
  return (
    <div class="alpha">
      <Field label="Alpha: how near contexts must be to be one sense">
        {(a) => (
          <span class="slider">
            <span aria-hidden="true">stricter</span>
            <input {...a} type="range" min={0} max={alphas.length - 1} step={1} value={place} aria-valuetext={words} onInput={put} />
            <span aria-hidden="true">more lenient</span>
            <output>{point.alpha}</output>
          </span>
        )}
      </Field>
      {isOwn
        ? <p class="quiet">As the job was run. Move it to see what other alphas would give.</p>
        : <Preview point={point} report={report} />}
    </div>
  );
}

function Preview({ point, report }) {
  const [error, fail] = useState(null);
  const regroup = async () => {
    try {
      const job = await post(`/v1/jobs/${report.job}/senses`, { alpha: point.alpha }, { headers: { "Idempotency-Key": makeKey() } });
      go(`/ui/jobs/${job.id}`);
    } catch (e) {
      fail(e);
    }
  };
  return (
    <div class="preview" role="status">
      <p>
        <strong>Preview at alpha {point.alpha}:</strong> {countSenses(point)}, coverage {percent(point.coverage)},
        score {fixed(point.score)}. {point.exact
          ? "These are the senses of the result."
          : "It is cut from the stored tree, where a new group is not looked into for two uses of a word; making the senses anew gives the exact answer."}
      </p>
      <p>
        <button type="button" class="second" onClick={() => setQuery({ alpha: "" }, { replace: true })}>Back to the result</button>{" "}
        <button type="button" class="second" onClick={regroup}>Make all senses anew with it</button>
      </p>
      {error && <Failure error={error} />}
    </div>
  );
}

function Loose({ contexts, most }) {
  const [all, set] = useState(false);
  const [isOpen, setOpen] = useState(false);
  return (
    <details class="loose" onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>In no sense: {contexts.length} contexts</summary>
      {isOpen && <ol class="contexts">{(all ? contexts : contexts.slice(0, LOOSE)).map((c, i) => <Context key={i} context={c} most={most} />)}</ol>}
      {contexts.length > LOOSE && !all && <button type="button" class="plain" onClick={() => set(true)}>All {contexts.length}</button>}
    </details>
  );
}

function Strongest({ contexts, most }) {
  const [all, set] = useState(false);
  if (!contexts.length) return <p class="quiet">There is no context.</p>;
  return (
    <section>
      <h2>Contexts</h2>
      <ol class="contexts wide">{(all ? contexts : contexts.slice(0, 10)).map((c, i) => <Context key={i} context={c} most={most} />)}</ol>
      {contexts.length > 10 && !all && <button type="button" class="plain" onClick={() => set(true)}>All {contexts.length} contexts</button>}
    </section>
  );
}

function Stats({ stats: s }) {
  return (
    <dl class="facts small">
      <Fact name="density" help="Share of tokens on which it is above 0">{percent(s.density)}</Fact>
      <Fact name="mean">{number(s.mean)}</Fact>
      <Fact name="deviation">{number(s.std)}</Fact>
      <Fact name="skewness">{number(s.skewness)}</Fact>
      <Fact name="kurtosis">{number(s.kurtosis)}</Fact>
      <Fact name="smallest">{number(s.min)}</Fact>
      <Fact name="largest">{number(s.max)}</Fact>
    </dl>
  );
}

function Logits({ logits, tail }) {
  return (
    <section>
      <h2>What it writes</h2>
      <p class="hint">Tokens that it makes more and less likely when it fires, by its direct path to the output alone.{tail === "negative" && " Where it goes below zero, the two lists change places."}</p>
      <div class="columns">
        {[["promoted", "Promoted"], ["suppressed", "Suppressed"]].map(([side, title]) => (
          <div key={side}>
            <h3>{title}</h3>
            <ol class="logits">{logits[side].map((l) => <li key={l.token_id}><Token token={l.token} /> <span class="n">{number(l.logit)}</span></li>)}</ol>
          </div>
        ))}
      </div>
    </section>
  );
}

function Provenance({ report, path }) {
  const { data } = useAsync(() => readOnce(ownPath(report.links.manifest)), [report.links.manifest]);
  const m = data ?? {};
  return (
    <section>
      <h2>Where it comes from</h2>
      <dl class="facts small">
        <Fact name="model">{report.model}</Fact>
        <Fact name="hook"><code>{report.hook}</code></Fact>
        <Fact name="tokens">{count(report.stats.n_tokens)}</Fact>
        {m.corpus && <Fact name="corpus">{m.corpus.id} <small><code>{m.corpus.sha256?.slice(0, 12)}</code></small></Fact>}
        {m.model?.weights_sha256 && <Fact name="weights"><code>{m.model.weights_sha256.slice(0, 12)}</code></Fact>}
        {m.dtype && <Fact name="computed in">{m.dtype} on {m.device}</Fact>}
        {m.versions?.polyseme && <Fact name="Polyseme">{m.versions.polyseme}</Fact>}
      </dl>
      <p>
        <a href={below(path)}>This neuron as JSON</a>{" · "}<a href={report.links.manifest}>the whole manifest</a>{" · "}
        <a href={`${report.links.tree}${query({ tail: "positive" })}`}>how its contexts were grouped</a>
      </p>
    </section>
  );
}
