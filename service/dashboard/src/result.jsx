import { query, readOnce } from "./api.js";
import { below } from "./base.js";
import { Distribution, LayerBars } from "./charts.jsx";
import { STATUS, count, counted, fixed, percent } from "./format.js";
import { Failure, Status, Token, Waiting, useAsync } from "./parts.jsx";
import { Link } from "./router.jsx";

const SHOWN = [
  ["polysemanticity", "Polysemanticity", "The chance that two firings differ in meaning"],
  ["selectivity", "Selectivity", "How strongly and rarely it fires, in deviations above the layer's median control unit"],
  ["coverage", "Coverage", "The part of a neuron's firing that belongs to a sense"],
  ["density", "Density", "The share of tokens on which it is above 0"],
  ["max", "Largest activation", ""],
  ["peak_token_share", "Share of the commonest token", "Of a neuron's contexts"],
  ["monosemanticity_score", "Monosemanticity score", "Mean cosine of its contexts; needs no grouping"],
];
const FEW = "layer,neuron,status,polysemanticity,score_percentile,sure_count,coverage,peak_token,max";

export function Result({ job }) {
  const summary = useAsync(() => readOnce(`/v1/jobs/${job.id}/summary`), [job.id]);
  if (summary.error) return <Failure error={summary.error} />;
  if (!summary.data) return <Waiting />;
  const s = summary.data;
  const statuses = Object.keys(STATUS).filter((name) => s.statuses?.[name] > 0);
  const list = `/ui/jobs/${job.id}/neurons`;
  return (
    <>
      <p class="lead">
        {counted(s.neurons, "neuron")}, read on {counted(s.counted_tokens, "token")} of {counted(s.documents, "document")}.{" "}
        <Link to={list}>See all neurons</Link>{" · "}<Link to={`/ui/jobs/${job.id}/beside`}>Set another result beside it</Link>{" · "}<Link to={`/ui/about?job=${job.id}`}>What does this mean?</Link>
      </p>
      {[...(s.warnings ?? []), ...(s.notes ?? [])].map((w) => <p key={w} class="hint">{w}</p>)}
      <Statuses summary={s} statuses={statuses} list={list} />
      <div class="columns">
        <section>
          <h2>Layers</h2>
          <LayerBars layers={s.layers ?? []} statuses={statuses} labels={STATUS}
            link={(l) => <Link to={`${list}?layer=${l.layer}`} aria-label={`Layer ${l.layer}: its neurons`}>{l.layer}</Link>} />
        </section>
        <section>
          <h2>Distributions</h2>
          <div class="charts">
            {SHOWN.map(([name, title, help]) => s.distributions?.[name] && <Distribution key={name} title={title} help={help} control={s.controls?.medians?.[name]} {...s.distributions[name]} />)}
          </div>
        </section>
      </div>
      <div class="columns">
        <Extremes job={job} title="Several things, most selective" filter={{ status: "polysemantic", min_coverage: 0.8, sort: "-selectivity" }} />
        <Extremes job={job} title="One thing, most selective" filter={{ status: "monosemantic", sort: "-selectivity" }} />
      </div>
      <h2>Take it with you</h2>
      <p>
        <a href={below(`/v1/jobs/${job.id}/export?format=parquet`)}>All files (zip of Parquet)</a>{" · "}
        <a href={below(`/v1/jobs/${job.id}/export?format=ndjson`)}>reports as JSON lines</a>{" · "}
        <a href={below(`/v1/jobs/${job.id}/summary`)}>this summary as JSON</a>
      </p>
    </>
  );
}

function Statuses({ summary: s, statuses, list }) {
  const controls = s.controls?.units ? s.controls : null;
  return (
    <>
      <div class="scroll" tabIndex={0} role="region" aria-label="Neurons by status">
        <table class="statuses">
          <thead><tr><th>In this text</th><th class="n">Neurons</th><th class="n"><span class="hidden">Share</span></th>{controls && <th class="n" title="Random directions of the same layers, read on the same text">Control units</th>}</tr></thead>
          <tbody>
            {statuses.map((name) => (
              <tr key={name}>
                <td><Link to={`${list}?status=${name}`}><Status status={name} /></Link></td>
                <td class="n">{count(s.statuses[name])}</td>
                <td class="n">{percent(s.statuses[name] / s.neurons)}</td>
                {controls && <td class="n">{percent((controls.statuses[name] ?? 0) / controls.units)}</td>}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {controls && <p class="hint">The {count(controls.units)} control units are random directions of the same layers, read on the same text. What they reach, any direction reaches.</p>}
    </>
  );
}

function Extremes({ job, title, filter }) {
  const path = `/v1/jobs/${job.id}/neurons${query({ ...filter, limit: 8, fields: FEW })}`;
  const { data, error } = useAsync(() => readOnce(path), [path]);
  return (
    <section>
      <h2>{title}</h2>
      {error && <Failure error={error} />}
      {data && !data.data.length && <p class="quiet">There is none.</p>}
      {data && data.data.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label={title}>
          <table>
            <thead><tr><th>Neuron</th><th class="n">Score</th><th class="n wide-only" title="Control units of its layer whose score is lower">Above controls</th><th class="n wide-only">Sure senses</th><th class="n">Coverage</th><th>Peaks on</th></tr></thead>
            <tbody>
              {data.data.map((r) => (
                <tr key={`${r.layer}/${r.neuron}`}>
                  <td><Link to={`/ui/jobs/${job.id}/neurons/${r.layer}/${r.neuron}`}>L{r.layer} · {r.neuron}</Link></td>
                  <td class="n">{fixed(r.polysemanticity)}</td>
                  <td class="n wide-only">{percent(r.score_percentile)}</td>
                  <td class="n wide-only">{count(r.sure_count)}</td>
                  <td class="n">{percent(r.coverage)}</td>
                  <td>{r.peak_token !== null && <Token token={r.peak_token} />}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <p><Link to={`/ui/jobs/${job.id}/neurons${query(filter)}`}>More of them</Link></p>
    </section>
  );
}
