import { useMemo, useState } from "preact/hooks";
import { makeKey, post, query, readOnce } from "./api.js";
import { below, ownPath } from "./base.js";
import { Histogram } from "./charts.jsx";
import { previewSenses } from "./cut.js";
import { count, counted, fixed, number, percent, shown } from "./format.js";
import { Fact, Failure, Field, Percentile, Sentence, Status, Token, Waiting, useAsync, useIsPainted, useTitle } from "./parts.jsx";
import { Link, go, setQuery, useQuery } from "./router.jsx";
import { Context, Evidence, SenseCards, ShareBar, StrongestFew } from "./senses.jsx";
import { TryText } from "./trytext.jsx";

const TAILS = { positive: "Positive tail", negative: "Negative tail" };
const LOOSE = 5; // contexts in no sense shown at first
const NEVER = new Promise(() => {});

// A hook names the place, and uploaded directions or latents of it are none of its own units.
const placeOf = ({ hook }) => hook.split(".").slice(2).join(".").replace("hook_", "");
const unitOf = (report) =>
  ({ mlp: "neuron", vectors: `${placeOf(report)} direction`, dictionary: "latent" })[report.site] ?? `${placeOf(report)} unit`;

export function NeuronPage({ job, layer, neuron }) {
  const path = `/v1/jobs/${job}/neurons/${layer}/${neuron}`;
  const { data, error } = useAsync(() => readOnce(path), [path]);
  const name = `Layer ${layer}, ${data ? unitOf(data) : "neuron"} ${neuron}`;
  useTitle(name);
  return (
    <>
      <p class="crumbs">
        <Link to="/ui/jobs">Jobs</Link> / <Link to={`/ui/jobs/${job}`}><code>…{job.slice(-8)}</code></Link> /{" "}
        <Link to={`/ui/jobs/${job}/neurons`}>Neurons</Link> / {name}
      </p>
      {error && <Failure error={error} advice={{ not_found: "The list of the job's neurons has those that there are." }} />}
      {!data && !error && <Waiting />}
      {data && <Report report={data} path={path} />}
    </>
  );
}

function Report({ report, path }) {
  const asked = useQuery();
  const tail = asked.tail === "negative" && report.negative ? "negative" : "positive";
  const scores = tail === "positive" ? report : report.negative;
  const ofTail = (kept) => kept.filter((c) => c.tail === tail);
  const contexts = ofTail(report.contexts);
  const most = Math.max(...contexts.map((c) => Math.abs(c.activation ?? 0)), 0);
  const senses = report.senses.filter((s) => s.tail === tail);
  // The sentence and the senses come first; the rest, and what it asks for, waits until they are on the screen.
  const isPainted = useIsPainted();
  const hasSenses = senses.length > 0 && Boolean(scores.polysemanticity);
  const { tree, chosen, preview } = usePreview({ report, path, tail, sameAt: asked.same_at, isWanted: isPainted && hasSenses });
  const groups = preview ?? senses;
  const others = report.senses.filter((s) => s.tail !== tail);
  return (
    <>
      <div class="title">
        <h1>Layer {report.layer}, {unitOf(report)} {report.neuron}{report.dictionary && ` of ${report.dictionary}`}</h1>
        {isPainted && <Neighbours report={report} />}
      </div>
      <p class="meaning"><Sentence text={preview ? describeGroups(preview, chosen) : scores.meaning} /></p>
      {report.negative && <Tails tail={tail} />}
      <Scores scores={scores} point={preview && chosen} />
      {hasSenses
        ? <><StrongestFew contexts={contexts} most={most} senseOf={preview ? (c) => findGroup(preview, report.contexts.indexOf(c)) : undefined} /><Senses report={report} senses={groups} tail={tail} scores={scores.polysemanticity} most={most} tree={tree} chosen={chosen} isPreview={Boolean(preview)} /></>
        : <Strongest contexts={contexts} evidence={ofTail(report.evidence)} most={most} />}
      {isPainted && <Rest report={report} senses={[...groups, ...others]} tail={tail} most={most} path={path} />}
    </>
  );
}

// What the chosen place of the slider gives: null where that is the result's own.
function usePreview({ report, path, tail, sameAt, isWanted }) {
  const readLater = (found) => () => (isWanted ? readOnce(found) : NEVER);
  const tree = useAsync(readLater(`${path}/tree?tail=${tail}`), [path, tail, isWanted]);
  const manifest = useAsync(readLater(ownPath(report.links.manifest)), [report.links.manifest, isWanted]);
  const least = manifest.data?.request?.senses.min_contexts ?? 4;
  const chosen = tree.data?.curve?.find((c) => String(c.same_at) === sameAt) ?? null;
  const preview = useMemo(
    () => (chosen && !chosen.exact ? previewSenses(tree.data, report, chosen.same_at, least) : null),
    [chosen, tree.data, report, least],
  );
  return { tree: tree.data, chosen, preview };
}

const NAMED = 3; // words of a group

// In place of the sentence, which rules make of the result's senses alone: the commonest words of each group.
function describeGroups(groups, point) {
  const said = groups.map((s) => `${s.tokens.slice(0, NAMED).map((t) => `“${shown(t.text)}”`).join(", ")} (${percent(s.share * point.coverage)})`);
  return `At ${percent(point.same_at)}, ${countSenses(point)}${said.length ? `: ${said.join("; ")}` : ""}.`;
}

function findGroup(groups, index) {
  return groups.find((s) => s.contexts.includes(index))?.sense ?? null;
}

function Rest({ report, senses, tail, most, path }) {
  return (
    <>
      <TryText report={report} tail={tail} most={most} />
      <section>
        <h2>Activations</h2>
        <Histogram stats={report.stats} senses={senses.map((s) => ({ ...s, label: report.negative ? `Sense ${s.sense + 1}, ${s.tail}` : undefined }))} />
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
        <button key={name} type="button" aria-pressed={tail === name} onClick={() => setQuery({ tail: name === "positive" ? "" : name, same_at: "" }, { replace: true })}>{text}</button>
      ))}
    </div>
  );
}

// point: of the slider's preview, whose groups have no standing among control units.
function Scores({ scores, point }) {
  const p = scores.polysemanticity;
  return (
    <dl class="facts">
      <Fact name="status"><Status status={scores.status} /></Fact>
      {p && <>
        <Fact name="polysemanticity" help="The chance that two firings, drawn by activation, differ in meaning. A control unit fires for a bit of everything, so most have a higher one">
          {fixed(p.score)}{p.interval && <small> {fixed(p.interval[0])} to {fixed(p.interval[1])}</small>}
          <Percentile of={p.score_percentile} word="higher" />
        </Fact>
        <Fact name="selectivity" help="How strongly and rarely it fires, in deviations above the layer's median control unit">
          {fixed(p.selectivity, 1)}<Percentile of={p.selectivity_percentile} word="more" />
        </Fact>
        <Fact name="coverage" help="The part of its firing that belongs to a sense">
          {point ? percent(point.coverage) : <>{percent(p.coverage)}<Percentile of={p.coverage_percentile} word="higher" /></>}
        </Fact>
        <Fact name="senses" help="Those that are sure would come again in other documents of this kind">
          {point ? count(point.sense_count) : count(p.sense_count)}{!point && p.sure_count !== null && <small> {count(p.sure_count)} sure, of {count(p.broad_count)} {p.broad_count === 1 ? "field" : "fields"}</small>}
        </Fact>
        <Fact name="MS" help="Monosemanticity score: the mean cosine of its contexts with each other, weighted by activation; near 1 when they are all alike. It needs no grouping">{fixed(p.monosemanticity_score)}</Fact>
      </>}
    </dl>
  );
}

function Senses({ report, senses, tail, scores, most, tree, chosen, isPreview }) {
  const coverage = isPreview ? chosen.coverage : scores.coverage;
  const findLoose = (kept) => {
    const inside = new Set(senses.flatMap((s) => s[kept]));
    return report[kept].filter((c, i) => c.tail === tail && !inside.has(i) && c.activation);
  };
  const [loose, beyond] = [findLoose("contexts"), findLoose("evidence")];
  return (
    <section>
      <h2>Senses</h2>
      <ShareBar senses={senses} coverage={coverage} />
      {tree?.curve?.length > 0 && <Slider tree={tree} own={scores.same_at} chosen={chosen} report={report} />}
      <SenseCards report={report} senses={senses} most={most} coverage={coverage} />
      {loose.length + beyond.length > 0 && <Loose contexts={loose} evidence={beyond} most={most} />}
    </section>
  );
}

const countSenses = ({ sense_count: n }) => (n === 1 ? "1 sense" : `${n ?? "no"} senses`);

function Slider({ tree: { curve, score, control_score: control }, own, chosen, report }) {
  const values = curve.map((c) => c.same_at);
  const place = values.indexOf(chosen?.same_at ?? own);
  const point = curve[place];
  const isOwn = !chosen || chosen.same_at === own;
  const put = (e) => setQuery({ same_at: values[e.target.value] === own ? "" : values[e.target.value] }, { replace: true });
  const words = `${percent(point.same_at)}: ${countSenses(point)}`;
  return (
    <div class="cut">
      <Field label="How sure we must be that two groups mean the same before we call them one">
        {(a) => (
          <span class="slider">
            <span aria-hidden="true">fewer senses</span>
            <input {...a} type="range" min={0} max={values.length - 1} step={1} value={place} aria-valuetext={words} onInput={put} />
            <span aria-hidden="true">more senses</span>
            <output>{percent(point.same_at)}</output>
          </span>
        )}
      </Field>
      {isOwn
        ? <p class="quiet">As the job was run. Move it to see what other values would give.</p>
        : <Preview point={point} report={report} />}
      {score !== null && (
        <p class="quiet">
          The score, {fixed(score)}, is the same wherever the slider stands: it weighs how likely each pair of contexts is to mean the same, not the groups.
          {control !== null && <> Of the layer's control units the median is {fixed(control)}.</>}
        </p>
      )}
    </div>
  );
}

function Preview({ point, report }) {
  const [error, fail] = useState(null);
  const regroup = async () => {
    try {
      const job = await post(`/v1/jobs/${report.job}/senses`, { same_at: point.same_at }, { headers: { "Idempotency-Key": makeKey() } });
      go(`/ui/jobs/${job.id}${query({ back: `${report.layer}/${report.neuron}` })}`);
    } catch (e) {
      fail(e);
    }
  };
  return (
    <div class="preview" role="status">
      <p>
        <strong>Preview at {percent(point.same_at)}:</strong> {countSenses(point)}, coverage {percent(point.coverage)}. {point.exact
          ? "These are the senses of the result."
          : "It is cut from the stored tree, where a new group is not looked into for two uses of a word; making the senses anew gives the exact answer, with a sentence."}
      </p>
      <p>
        <button type="button" class="second" onClick={() => setQuery({ same_at: "" }, { replace: true })}>Back to the result</button>{" "}
        <button type="button" class="second" onClick={regroup}>Make all senses anew with it</button>
      </p>
      {error && <Failure error={error} />}
    </div>
  );
}

function Loose({ contexts, evidence, most }) {
  const [all, set] = useState(false);
  const [isOpen, setOpen] = useState(false);
  return (
    <details class="loose" onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>In no sense: {counted(contexts.length + evidence.length, "context")}</summary>
      {isOpen && <ol class="contexts">{(all ? contexts : contexts.slice(0, LOOSE)).map((c, i) => <Context key={i} context={c} most={most} />)}</ol>}
      {contexts.length > LOOSE && !all && <button type="button" class="plain" onClick={() => set(true)}>All {contexts.length}</button>}
      {isOpen && <Evidence entries={evidence} />}
    </details>
  );
}

function Strongest({ contexts, evidence, most }) {
  const [all, set] = useState(false);
  if (!contexts.length) return <p class="quiet">There is no context.</p>;
  return (
    <section>
      <h2>Contexts</h2>
      <ol class="contexts wide">{(all ? contexts : contexts.slice(0, 10)).map((c, i) => <Context key={i} context={c} most={most} />)}</ol>
      {contexts.length > 10 && !all && <button type="button" class="plain" onClick={() => set(true)}>All {contexts.length} contexts</button>}
      <Evidence entries={evidence} />
    </section>
  );
}

function Stats({ stats: s }) {
  return (
    <dl class="facts small">
      <Fact name="density" help="Share of tokens on which it is above 0">{percent(s.density)}</Fact>
      <Fact name="mean">{number(s.mean)}</Fact>
      <Fact name="deviation">{number(s.std)}</Fact>
      <Fact name="skewness" help="How much farther its activations reach above the mean than below it; 0 when alike">{number(s.skewness)}</Fact>
      <Fact name="kurtosis" help="Excess kurtosis: how rare and how large its largest activations are, beside the others; 0 for a normal distribution">{number(s.kurtosis)}</Fact>
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
