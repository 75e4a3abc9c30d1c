import { query, read, readOnce } from "./api.js";
import { below } from "./base.js";
import { ScoreRows, ShareBars } from "./charts.jsx";
import { STATUS, count, counted, fixed, percent, time } from "./format.js";
import { describeNeurons } from "./jobs.jsx";
import { Failure, Field, Sentence, Status, Waiting, useAsync, useTitle } from "./parts.jsx";
import { Link, setQuery, useQuery } from "./router.jsx";

const PAGE = 200;
const MOST_PAGES = 5; // a filtered list may come in short pages
const SIDES = ["First", "Second"];
const MEASURE = ["/request/contexts/", "/request/senses/", "/senses/", "/controls", "/dtype"]; // where what is measured is decided
const SHOWN = 12; // of a hash

// The job, and the finished ones whose corpus has the same id, newest first.
async function findCandidates(id) {
  const job = await read(`/v1/jobs/${id}`);
  const jobs = [];
  let cursor;
  for (let page = 0; page < MOST_PAGES && (page === 0 || cursor); page++) {
    const found = await read(`/v1/jobs${query({ status: "succeeded", corpus: job.request.corpus.id, limit: PAGE, cursor })}`);
    jobs.push(...found.data);
    cursor = found.next_cursor;
  }
  return { job, jobs: jobs.filter((j) => j.id !== id) };
}

export function BesidePage({ job: id }) {
  useTitle("Side by side");
  const { other } = useQuery();
  const { data, error } = useAsync(() => findCandidates(id), [id]);
  const path = other ? `/v1/jobs/${id}/summary${query({ beside: other })}` : null;
  return (
    <>
      <p class="crumbs"><Link to="/ui/jobs">Jobs</Link> / <Link to={`/ui/jobs/${id}`}><code>…{id.slice(-8)}</code></Link> / Side by side</p>
      <h1>Two results side by side</h1>
      <p class="lead">
        Another result over the same text, such as one of other layers, stands beside this one. Each has its control units, which are
        random directions read on that text.
      </p>
      {error && <Failure error={error} />}
      {!data && !error && <Waiting />}
      {data && <Choice found={data} other={other} />}
      {path && <Beside key={path} path={path} />}
    </>
  );
}

const describe = ({ id, request, created_at: at }) =>
  [request.metadata.name, `…${id.slice(-8)}`, request.model, request.neurons.site === "mlp" && "mlp", describeNeurons(request.neurons), time(at)].filter(Boolean).join(" · ");

function Choice({ found: { job, jobs }, other }) {
  if (!jobs.length && !other) {
    return (
      <div class="notice">
        <p><strong>No other finished job has read {job.request.corpus.id}.</strong></p>
        <p><Link to={`/ui/new${query({ model: job.request.model, corpus: job.request.corpus.id })}`}>Submit one</Link></p>
      </div>
    );
  }
  const isListed = !other || jobs.some((j) => j.id === other);
  return (
    <div class="choice">
      <Field label="Beside" hint={`Finished jobs on ${job.request.corpus.id}`}>
        {(a) => (
          <select {...a} value={other ?? ""} onChange={(e) => setQuery({ other: e.target.value })}>
            <option value="">choose a job</option>
            {!isListed && <option value={other}>…{other.slice(-8)}</option>}
            {jobs.map((j) => <option key={j.id} value={j.id}>{describe(j)}</option>)}
          </select>
        )}
      </Field>
    </div>
  );
}

function Beside({ path }) {
  const { data: found, error } = useAsync(() => readOnce(path), [path]);
  if (error) return <Failure error={error} advice={{ invalid_request: "Choose another job." }} />;
  if (!found) return <Waiting />;
  const statuses = Object.keys(STATUS).filter((name) => groupsOf(found).some(([, g]) => g.statuses[name] > 0));
  return (
    <>
      <p class="lead says"><Sentence text={found.says} /></p>
      <Unlike found={found} />
      <div class="columns">
        {found.results.map((r, i) => <Side key={r.job} title={SIDES[i]} result={r} />)}
      </div>
      <h2>In numbers</h2>
      <Numbers found={found} statuses={statuses} />
      <h2>Shares of status</h2>
      <ShareBars rows={groupsOf(found)} statuses={statuses} labels={STATUS} />
      <h2>Scores</h2>
      <ScoreRows edges={found.edges} rows={found.results.map((r, i) => ({ title: SIDES[i], ...r }))} />
      <h2>How far apart</h2>
      <Differences found={found} />
      <p class="quiet"><a href={below(path)}>This comparison as JSON</a></p>
    </>
  );
}

// [title, group] of the units and control units of both.
const groupsOf = ({ results }) =>
  results.flatMap((r, i) => [[SIDES[i], r.neurons], ...(r.controls ? [[`${SIDES[i]}, controls`, r.controls]] : [])]);

const shorten = (value) => (typeof value === "string" && value.length === 64 ? `${value.slice(0, SHOWN)}…` : String(value ?? "none"));
const nameOf = (pointer) => pointer.replace("/request/", "").slice(pointer.startsWith("/request/") ? 0 : 1).replaceAll("/", ".");

// What may make a difference that is none of the units.
function Unlike({ found }) {
  const unlike = found.unlike.filter(({ pointer }) => MEASURE.some((start) => pointer.startsWith(start)));
  return (
    <>
      {unlike.length > 0 && (
        <div class="notice">
          <p><strong>They were not measured alike, which may be all of a difference:</strong></p>
          <ul>{unlike.map(({ pointer, values }) => <li key={pointer}><code>{nameOf(pointer)}</code>: {values.map(shorten).join(" and ")}</li>)}</ul>
        </div>
      )}
      {found.units_in_both > 0 && <p class="hint">Units in both results: {count(found.units_in_both)}. The intervals take them for different ones.</p>}
    </>
  );
}

const Side = ({ title, result: r }) => (
  <section>
    <h2>{title}</h2>
    <p>
      <Link to={`/ui/jobs/${r.job}`}>{r.model}</Link>, {r.site === "mlp" && "mlp, "}{describeNeurons(r)}: {counted(r.neurons.units, "unit")}
    </p>
  </section>
);

function Numbers({ found, statuses }) {
  const score = (q) => (g) => fixed(g.score.quantiles[q]);
  const rows = [
    ["Units", (g) => count(g.units)],
    ["With ten contexts", (g) => percent(g.with_evidence / g.units)],
    ["Never above 0", (g) => percent(g.dead / g.units)],
    ...statuses.map((name) => [<Status status={name} />, (g) => percent(g.shares[name])]),
    ["Median score", score("0.5")],
    ["A quarter is below", score("0.25")],
    ["A quarter is above", score("0.75")],
  ];
  const groups = found.results.flatMap((r) => [r.neurons, r.controls].filter(Boolean));
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="In numbers">
      <table class="statuses beside">
        <thead>
          <tr>
            <td rowSpan={2} />
            {found.results.map((r, i) => <th key={r.job} class="n" scope="colgroup" colSpan={r.controls ? 2 : 1}>{SIDES[i]}</th>)}
          </tr>
          <tr>{found.results.flatMap((r) => [<th class="n" scope="col">units</th>, r.controls && <th class="n" scope="col">controls</th>])}</tr>
        </thead>
        <tbody>
          {rows.map(([name, show], i) => (
            <tr key={i}><th scope="row">{name}</th>{groups.map((g, at) => <td key={at} class="n">{show(g)}</td>)}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const signed = (x, places) => `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(places)}`;

function Apart({ of: d, scale = 1, places }) {
  if (!d) return "–";
  return <>{signed(scale * d.difference, places)} <small>{signed(scale * d.low, places)} to {signed(scale * d.high, places)}</small></>;
}

function Differences({ found }) {
  const rows = [
    ["First less second", found.difference.neurons],
    ["Their control units likewise", found.difference.controls],
    ...found.results.map((r, i) => [`${SIDES[i]} less its control units`, r.against_controls]),
  ].filter(([, d]) => d);
  return (
    <>
      <div class="scroll" tabIndex={0} role="region" aria-label="How far apart">
        <table class="statuses beside apart">
          <thead><tr><td /><th class="n">Polysemantic, percentage points</th><th class="n wide-only">Of those with ten contexts</th><th class="n">Median score</th></tr></thead>
          <tbody>
            {rows.map(([name, d]) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td class="n"><Apart of={d.polysemantic} scale={100} places={1} /></td>
                <td class="n wide-only"><Apart of={d.polysemantic_with_evidence} scale={100} places={1} /></td>
                <td class="n"><Apart of={d.median_score} places={3} /></td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="hint reading">
        Below each difference its 95 % interval, as if the units had been drawn by chance. Where it holds 0, chance may be all. A difference
        that the control units have too says nothing of the units.
      </p>
    </>
  );
}
