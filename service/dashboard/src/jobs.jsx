import { useEffect, useState } from "preact/hooks";
import { post, query, read } from "./api.js";
import { DeleteDialog } from "./delete.jsx";
import { followJob, isOver } from "./follow.js";
import { count, duration, number, percent, time } from "./format.js";
import { Fact, Failure, Field, JobFailure, Waiting, useAsync, useTitle } from "./parts.jsx";
import { Result } from "./result.jsx";
import { Link, go, setQuery, useQuery } from "./router.jsx";

const STATUSES = ["queued", "running", "succeeded", "failed", "cancelling", "cancelled"];
const EVERY_MS = 5000;
const NEURON = /^\d+\/\d+$/; // layer and neuron

export function JobsPage() {
  useTitle("Jobs");
  const { status, model } = useQuery();
  const [pages, setPages] = useState([]);
  const [error, fail] = useState(null);
  const [leaving, setLeaving] = useState(null); // the job that is to be deleted
  const [said, say] = useState("");
  const load = async (cursor) => {
    try {
      const page = await read(`/v1/jobs${query({ status, model, cursor, limit: 50 })}`);
      setPages((before) => (cursor ? [...before, page] : [page]));
      fail(null);
    } catch (e) {
      fail(e);
    }
  };
  useEffect(() => {
    load();
  }, [status, model]);
  const jobs = pages.flatMap((p) => p.data);
  const alive = pages.length === 1 && jobs.some((job) => !isOver(job));
  useEffect(() => {
    if (!alive) return undefined;
    const timer = setInterval(load, EVERY_MS, undefined);
    return () => clearInterval(timer);
  }, [alive, status, model]);
  const next = pages.at(-1)?.next_cursor;
  const remove = ({ id }) => {
    setPages((before) => before.map((page) => ({ ...page, data: page.data.filter((job) => job.id !== id) })));
    say(`Job …${id.slice(-8)} is deleted.`);
    document.getElementById("main").focus({ preventScroll: true });
  };
  return (
    <>
      <div class="title">
        <h1>Jobs</h1>
        <Link to="/ui/new" class="button">New analysis</Link>
      </div>
      <p class="lead">
        A job reads text with a language model and finds out what makes each of its neurons fire, and whether that is one
        thing or several. <Link to="/ui/about">What is this?</Link>
      </p>
      <div class="filters">
        <Field label="Status">
          {(a) => (
            <select {...a} value={status ?? ""} onChange={(e) => setQuery({ status: e.target.value })}>
              <option value="">any</option>
              {STATUSES.map((s) => <option key={s}>{s}</option>)}
            </select>
          )}
        </Field>
      </div>
      {error && <Failure error={error} />}
      {!pages.length && !error && <Waiting />}
      {pages.length > 0 && !jobs.length && (
        <div class="notice">
          <p><strong>{status ? "No job has this status." : "There are no jobs yet."}</strong></p>
          <p><Link to="/ui/new">Submit the first</Link></p>
        </div>
      )}
      <p class="quiet" role="status">{said}</p>
      {jobs.length > 0 && <JobTable jobs={jobs} remove={setLeaving} />}
      {leaving && <DeleteDialog job={leaving} close={() => setLeaving(null)} deleted={remove} />}
      {next && <button type="button" class="second" onClick={() => load(next)}>Older jobs</button>}
    </>
  );
}

function JobTable({ jobs, remove }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Jobs">
      <table class="jobs">
        <thead>
          <tr><th>Job</th><th>Status</th><th>Model</th><th class="wide-only">Text</th><th class="wide-only">Neurons</th><th class="wide-only">Submitted</th><th><span class="hidden">Delete</span></th></tr>
        </thead>
        <tbody>
          {jobs.map((job) => (
            <tr key={job.id}>
              <td><Link to={`/ui/jobs/${job.id}`}><code>…{job.id.slice(-8)}</code></Link>{job.request.metadata?.name && <> {job.request.metadata.name}</>}</td>
              <td><JobStatus job={job} /></td>
              <td>{job.request.model}</td>
              <td class="wide-only">{job.request.corpus.id}</td>
              <td class="wide-only">{describeNeurons(job.request.neurons)}{job.request.source_job && `, grouped anew at ${job.request.senses.same_at}`}</td>
              <td class="wide-only">{time(job.created_at)}</td>
              <td class="n">{isOver(job) && <button type="button" class="plain" aria-label={`Delete job …${job.id.slice(-8)}`} onClick={() => remove(job)}>Delete</button>}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const part = (value) => (Array.isArray(value) ? (value.length > 4 ? `${value.length} chosen` : value.join(", ")) : value);

export function describeNeurons({ site, dictionary, layers, indices }) {
  const units = site === "mlp" ? "neurons" : dictionary ? "latents" : "units";
  const chosen = [
    // A dictionary says its layer.
    ...(dictionary ? [`latents of ${part(dictionary)}`] : [
      ...(site === "mlp" ? [] : [site]),
      ...(layers === "all" ? [] : [`layers ${part(layers)}`]),
    ]),
    ...(indices === "all" ? [] : [dictionary ? part(indices) : `${units} ${part(indices)}`]),
  ];
  return chosen.join(", ") || "all";
}

function describeReused({ layers, jobs }) {
  const named = jobs.map((id) => `…${id.slice(-8)}`).join(", ");
  return `Layers ${layers} were not computed anew: they come from ${jobs.length === 1 ? "job" : "jobs"} ${named}.`;
}

function JobStatus({ job }) {
  const done = job.phase === "scanning" && job.progress.fraction !== null ? ` ${percent(job.progress.fraction)}` : "";
  return <span class={`state ${job.status}`}>{job.status}{done}</span>;
}

export function JobPage({ id }) {
  const [job, set] = useState(null);
  const [way, setWay] = useState(null);
  const [error, fail] = useState(null);
  const [leaving, setLeaving] = useState(false);
  useTitle(`Job …${id.slice(-8)}`);
  // Senses that were made anew from a neuron's page lead back to it.
  const { back } = useQuery();
  const isBack = NEURON.test(back ?? "");
  useEffect(() => {
    if (isBack && job?.status === "succeeded") go(`/ui/jobs/${id}/neurons/${back}`, { replace: true });
  }, [id, back, job?.status]);
  useEffect(() => {
    const stop = new AbortController();
    const tell = (found, how) => (set(found), setWay(how), fail(null));
    read(`/v1/jobs/${id}`, { signal: stop.signal }).then((found) => {
      set(found);
      if (!isOver(found)) followJob(id, tell, fail, stop.signal);
    }, (e) => e.name !== "AbortError" && fail(e));
    return () => stop.abort();
  }, [id]);
  if (error && !job) return <Failure error={error} />;
  if (!job) return <Waiting />;
  return (
    <>
      <p class="crumbs"><Link to="/ui/jobs">Jobs</Link> / <code>…{id.slice(-8)}</code></p>
      <div class="title">
        <h1>{job.request.model} <span class="on">on {job.request.corpus.id}</span></h1>
        <JobStatus job={job} />
      </div>
      {error && <Failure error={error} />}
      {job.warning && <div class="notice"><p><strong>{job.warning}.</strong></p><p>Start one with “polyseme up”, or on another machine with “python -m polyseme.workers”.</p></div>}
      {!isOver(job) && <Progress job={job} way={way} />}
      {!isOver(job) && isBack && <p class="quiet">When the senses are there, the neuron is shown again.</p>}
      {job.error && <JobFailure error={job.error} />}
      {job.status === "failed" && <p><Link class="button" to={again(job)}>Submit it again</Link></p>}
      {job.status === "cancelled" && <p>It was cancelled, so there is no result. <Link to={again(job)}>Submit it again</Link></p>}
      {job.reused && <p class="quiet">{describeReused(job.reused)}</p>}
      {job.status === "succeeded" && !isBack && <Result job={job} />}
      <Details job={job} />
      {isOver(job) && <p class="last"><button type="button" class="second" onClick={() => setLeaving(true)}>Delete the job</button></p>}
      {leaving && <DeleteDialog job={job} close={() => setLeaving(false)} deleted={() => go("/ui/jobs", { replace: true })} />}
    </>
  );
}

// Uploaded directions, and a dictionary, say site and layer themselves.
const again = ({ request: { model, corpus, neurons: n } }) => `/ui/new${query({
  model,
  corpus: corpus.id,
  ...(n.vectors ? { vectors: n.vectors } : n.dictionary ? { dictionary: n.dictionary.join(",") } : {
    site: n.site === "mlp" ? "" : n.site,
    layers: n.layers === "all" ? "" : n.layers,
  }),
})}`;

const PHASES = {
  queued: "Waiting for a worker",
  planning: "Cutting the text into windows",
  calibrating: "Looking at a sample of the text",
  scanning: "Reading the text with the model",
  merging: "Telling the senses apart",
  closing: "Writing the result",
};

function Progress({ job, way }) {
  const { progress: p } = job;
  const [error, fail] = useState(null);
  const cancel = () => post(`/v1/jobs/${job.id}/cancel`).then(() => fail(null), fail);
  const merging = job.phase === "merging" && p.layers.total;
  const part = merging ? p.layers.done / p.layers.total : p.fraction;
  return (
    <section class="progress" aria-label="Progress">
      <p class="phase" role="status">{job.status === "cancelling" ? "Cancelling" : PHASES[job.phase] ?? job.phase}</p>
      <progress aria-label="Share done" max={1} value={part ?? undefined} />
      <dl class="facts">
        <Fact name="tokens">{count(p.tokens_done)}{p.tokens_total !== null && ` of ${count(p.tokens_total)}`}</Fact>
        <Fact name="tokens a second">{number(p.tokens_per_second)}</Fact>
        <Fact name="time left" help="Of what it does now; what comes after is not in it">{p.eta_seconds === null ? "–" : duration(p.eta_seconds)}</Fact>
        <Fact name="layers done">{p.layers.total === null ? "–" : `${p.layers.done} of ${p.layers.total}`}</Fact>
      </dl>
      <button type="button" class="second" disabled={job.status === "cancelling"} onClick={cancel}>Cancel the job</button>
      {error && <Failure error={error} />}
      {way && <p class="quiet" data-way={way}>{way === "stream" ? "Follows the job as it happens." : "Looks every few seconds."}</p>}
    </section>
  );
}

function Details({ job }) {
  const [open, set] = useState(false);
  const manifest = useAsync(async () => (open && job.status === "succeeded" ? read(`/v1/jobs/${job.id}/manifest`) : null), [open, job.status]);
  return (
    <details onToggle={(e) => set(e.currentTarget.open)}>
      <summary>How it was made</summary>
      <dl class="facts">
        <Fact name="job"><code>{job.id}</code></Fact>
        <Fact name="submitted">{time(job.created_at)}</Fact>
        <Fact name="begun">{time(job.started_at)}</Fact>
        <Fact name="ended">{time(job.finished_at)}</Fact>
      </dl>
      <h3>The request</h3>
      <pre tabIndex={0} aria-label="The request">{JSON.stringify(job.request, null, 2)}</pre>
      {manifest.data && <><h3>The manifest</h3><pre tabIndex={0} aria-label="The manifest">{JSON.stringify(manifest.data, null, 2)}</pre></>}
      <p><a href={job.links.self}>This job as JSON</a></p>
    </details>
  );
}
