import { useEffect, useRef, useState } from "preact/hooks";
import { ask, makeKey, post, read } from "./api.js";
import { bytes, count, counted, duration } from "./format.js";
import { Fact, Failure, Field, Waiting, useAsync, useTitle } from "./parts.jsx";
import { go, setQuery, useQuery } from "./router.jsx";
import { Upload } from "./upload.jsx";

const PAUSE_MS = 350;
// No corpus can have these as its name.
const OWN = "~own";
const NEW = "~new";
const DEFAULTS = { vectors: "", site: "mlp", dictionary: "", layers: "all", indices: "all", top_k: "60", sampled: "60", window: "128", tails: "auto", max_tokens: "", same_at: "0.35", priority: "normal" };
// Where the service's words about a value are shown.
const POINTERS = {
  "/model": "model",
  "/corpus": "corpus",
  "/neurons/site": "site",
  "/neurons/dictionary": "dictionary",
  "/neurons/vectors": "vectors",
  "/neurons/layers": "layers",
  "/neurons/indices": "indices",
  "/contexts/top_k": "top_k",
  "/contexts/sampled": "sampled",
  "/contexts/window": "window",
  "/contexts/tails": "tails",
  "/contexts/per_document": "per_document",
  "/tokens/max_tokens": "max_tokens",
  "/senses/same_at": "same_at",
};

const SITES = {
  mlp: "MLP neurons",
  resid_pre: "residual stream before the layer",
  resid_mid: "residual stream between attention and MLP",
  resid_post: "residual stream after the layer",
  mlp_in: "what enters the MLP",
  mlp_out: "what the MLP adds",
  mlp_out_raw: "what the MLP gives, before a norm",
  attn_out: "what attention adds",
  z: "outputs of attention heads",
};

const HIDDEN = ["top_k", "sampled", "window", "max_tokens", "tails", "per_document", "same_at"];

const numeric = (text) => (text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text);

export function buildRequest(form, text) {
  const corpus = form.corpus === OWN ? { texts: text.split(/\n\s*\n/).map((t) => t.trim()).filter(Boolean) } : { id: form.corpus };
  const value = (name, read = numeric) => (form[name] === DEFAULTS[name] ? undefined : read(form[name]));
  // Site and layers follow from a dictionary, or from several: one a layer.
  const ids = form.dictionary.split(",").filter(Boolean);
  const where = form.vectors ? { vectors: form.vectors } : ids.length > 0 ? { dictionary: ids.length > 1 ? ids : ids[0] } : { site: value("site", String), layers: value("layers", String) };
  const part = (values) => (Object.values(values).some((v) => v !== undefined) ? values : undefined);
  return {
    model: form.model,
    corpus,
    neurons: part({ ...where, indices: value("indices", String) }),
    contexts: part({ top_k: value("top_k"), sampled: value("sampled"), window: value("window"), tails: value("tails", String), per_document: form.per_document === "any" ? null : undefined }),
    tokens: part({ max_tokens: value("max_tokens") }),
    senses: part({ same_at: value("same_at") }),
    priority: value("priority", String),
  };
}

const placeErrors = (error) => {
  const found = {};
  for (const { pointer, detail } of error?.errors ?? []) {
    const name = Object.entries(POINTERS).find(([p]) => pointer === p || pointer.startsWith(`${p}/`))?.[1];
    if (name) found[name] ??= detail;
  }
  return found;
};

const NOTHING_YET = { estimate: null, error: null, busy: false };

// Asks for an estimate whenever the request has rested for a moment.
function useEstimate(request, ready) {
  const [state, set] = useState(NOTHING_YET);
  const text = JSON.stringify(request);
  useEffect(() => {
    if (!ready) return undefined;
    const stop = new AbortController();
    set((before) => ({ ...before, busy: true }));
    const timer = setTimeout(() => {
      post("/v1/jobs?dry_run=true", request, { signal: stop.signal }).then(
        (estimate) => set({ estimate, error: null, busy: false }),
        (error) => error.name !== "AbortError" && set({ estimate: null, error, busy: false }),
      );
    }, PAUSE_MS);
    return () => (clearTimeout(timer), stop.abort());
  }, [text, ready]);
  return ready ? state : NOTHING_YET;
}

export function SubmitPage() {
  useTitle("New analysis");
  const found = useAsync(async () => {
    const paths = ["/v1/models", "/v1/corpora?limit=1000", "/v1/dictionaries"];
    const [models, corpora, dictionaries] = await Promise.all(paths.map((path) => read(path)));
    return { models: models.data, corpora: corpora.data, dictionaries: dictionaries.data };
  }, []);
  return (
    <>
      <h1>New analysis</h1>
      {found.error && <Failure error={found.error} />}
      {found.busy && <Waiting />}
      {found.data && <Form {...found.data} />}
    </>
  );
}

// What may be chosen of a model's dictionaries; also what the address has, such as several of them.
function listChoices(dictionaries, chosen) {
  const known = dictionaries.map((d) => [d.id, d.state === "ready" ? `${d.id} (${d.site}, layer ${d.layer})` : `${d.id} (${d.state})`]);
  const others = chosen && known.every(([id]) => id !== chosen) ? [[chosen, chosen.split(",").join(", ")]] : [];
  return [["", "none: units of the model itself"], ...known, ...others];
}

function Form({ models, corpora: found, dictionaries }) {
  const [added, add] = useState([]);
  const corpora = [...added, ...found.filter((c) => added.every((a) => a.id !== c.id))];
  const usable = models.filter((m) => m.state === "ready");
  const asked = useQuery();
  const form = { ...DEFAULTS, model: usable[0]?.id ?? "", corpus: corpora[0]?.id ?? OWN, ...asked };
  // What is pasted is often one document, which would give a neuron one context.
  form.per_document ??= form.corpus === OWN ? "any" : "one";
  const [text, setText] = useState("");
  const corpusChoice = useRef();
  const [failure, fail] = useState(null);
  const [sending, send] = useState(false);
  const request = buildRequest(form, text);
  const ready = Boolean(form.model) && form.corpus !== NEW && (form.corpus !== OWN || request.corpus.texts.length > 0);
  const { estimate, error, busy } = useEstimate(request, ready);
  const wrong = placeErrors(error);
  // Another model has other dictionaries.
  const put = (name) => (e) => setQuery({ ...(name === "model" && { dictionary: "" }), [name]: e.target.value === DEFAULTS[name] ? "" : e.target.value }, { replace: true });
  const submit = async (event) => {
    event.preventDefault();
    send(true);
    try {
      const answer = await ask("/v1/jobs", { method: "POST", body: request, headers: { "Idempotency-Key": makeKey() } });
      go(`/ui/jobs/${(await answer.json()).id}`);
    } catch (e) {
      fail(e);
      send(false);
    }
  };
  const take = (corpus) => {
    add([corpus, ...added]);
    setQuery({ corpus: corpus.id }, { replace: true });
    corpusChoice.current.focus();
  };
  const field = (name, label, hint, options = {}) => (
    <Field label={label} hint={hint} error={wrong[name]}>
      {(a) => <input {...a} value={form[name]} onInput={put(name)} {...options} />}
    </Field>
  );
  const choice = (name, label, hint, values, options = {}) => (
    <Field label={label} hint={hint} error={wrong[name]}>
      {(a) => <select {...a} {...options} value={form[name]} onChange={put(name)}>{values.map(([v, t]) => <option key={v} value={v}>{t}</option>)}</select>}
    </Field>
  );
  const model = models.find((m) => m.id === form.model);
  const site = model?.sites?.find((s) => s.site === form.site);
  const latents = listChoices(dictionaries.filter((d) => d.model === form.model), form.dictionary);
  const dictionary = dictionaries.find((d) => d.id === form.dictionary);
  return (
    <form class="submit" onSubmit={submit}>
      <div class="fields">
        {choice("model", "Model", model?.layers ? `${counted(model.layers, "layer")} of ${counted(model.neurons, "neuron")}` : model?.error ?? "", models.map((m) => [m.id, m.state === "ready" ? m.id : `${m.id} (${m.state})`]))}
        {choice("corpus", "Text", "What the model reads", [...corpora.map((c) => [c.id, `${c.id} (${counted(c.documents, "document")})`]), [OWN, "my own, pasted here for this job"], [NEW, "a new corpus: upload a file or texts"]], { ref: corpusChoice })}
        <div aria-live="polite" class="added">{added[0]?.id === form.corpus && <Added corpus={added[0]} />}</div>
        {form.corpus === NEW && <Upload done={take} />}
        {form.corpus === OWN && (
          <Field label="Your text" hint="An empty line begins another document. At most 1 MiB: upload more as a new corpus." error={wrong.corpus}>
            {(a) => <textarea {...a} rows={8} value={text} onInput={(e) => setText(e.target.value)} />}
          </Field>
        )}
        {form.vectors && field("vectors", "Directions", "the id of uploaded ones, which are the units; empty for the model's own")}
        {!form.vectors && latents.length > 1 && choice("dictionary", "Sparse dictionary", dictionary?.error ?? (dictionary?.latents ? `${counted(dictionary.latents, "latent")}, read at ${dictionary.hook}` : "Its latents in place of the model's units"), latents)}
        {!form.vectors && !form.dictionary && (
          <>
            {choice("site", "Units", site?.why_not ? `This model has none: ${site.why_not}.` : site ? `${counted(site.units, "unit")} a layer, read at ${site.hook.replace("{layer}", "L")}` : "", (model?.sites ?? []).map((s) => [s.site, SITES[s.site] ?? s.site]))}
            {field("layers", "Layers", "all, or ranges such as 0-3,14")}
          </>
        )}
        {field("indices", "Which of each layer", "all, or ranges such as 0-99")}
        <details open={HIDDEN.some((n) => wrong[n] || asked[n]) || undefined}>
          <summary>More settings</summary>
          <div class="fields">
            {field("top_k", "Strongest contexts", "kept of each neuron; 1 to 200", { inputMode: "numeric" })}
            {field("sampled", "Sampled contexts", "drawn from all that fires, by activation", { inputMode: "numeric" })}
            {field("window", "Window", "tokens that the model sees at once", { inputMode: "numeric" })}
            {field("max_tokens", "At most so many tokens", "empty for the whole text", { inputMode: "numeric" })}
            {choice("per_document", "Contexts of one document", "in one list of a neuron", [["one", "at most one"], ["any", "any number"]])}
            {choice("tails", "Tails", "the most negative activations too?", [["auto", "as suits the units"], ["positive", "positive only"], ["both", "both"]])}
            {field("same_at", "Same at", "how sure we must be that two groups mean the same before we call them one; 0.01 to 0.99", { inputMode: "decimal" })}
            {choice("priority", "Priority", "", ["low", "normal", "high"].map((p) => [p, p]))}
          </div>
        </details>
      </div>
      <aside class="estimate" aria-live="polite" aria-busy={busy}>
        <h2>Estimate</h2>
        {estimate && <Estimate estimate={estimate} />}
        {error && (Object.keys(wrong).length ? <p class="error">A value is not allowed yet: see the field that is marked.</p> : <Failure error={error} />)}
        {!estimate && !error && <p class="quiet">{ready ? "Estimating …" : form.corpus === NEW ? "Upload the corpus first." : "Choose a model, and give some text."}</p>}
        <button type="submit" disabled={sending || !estimate}>Submit</button>
        {failure && <Failure error={failure} />}
      </aside>
    </form>
  );
}

function Added({ corpus: c }) {
  const dropped = [[c.duplicates_dropped, "that were there twice"], [c.empty_dropped, "empty"]].filter(([n]) => n);
  return (
    <p class="quiet">
      {counted(c.documents, "document")} uploaded as “{c.id}”.
      {dropped.length > 0 && ` Left out: ${dropped.map(([n, why]) => `${count(n)} ${why}`).join(", ")}.`}
    </p>
  );
}

const Estimate = ({ estimate: e }) => (
  <>
    <dl class="facts stacked">
      <Fact name={e.seconds === null ? "time" : "about"}>{e.seconds === null ? "known once all layers were run on enough text" : `${duration(e.seconds)} on one worker`}</Fact>
      <Fact name="tokens">{e.basis.tokens_from === "planned" ? "" : "about "}{count(e.tokens)}</Fact>
      <Fact name="neurons">{count(e.neurons)} in {counted(e.layers, "layer")}</Fact>
      <Fact name="memory">{bytes(e.memory_bytes)} beside the model</Fact>
    </dl>
    {e.notes.length > 0 && (
      <ul class="notes" aria-label="What the result will lack">
        {e.notes.map((n) => <li key={n.code}>{n.message}</li>)}
      </ul>
    )}
  </>
);
