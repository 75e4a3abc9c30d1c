import { query, read, readOnce } from "./api.js";
import { below } from "./base.js";
import example from "./example.json";
import { count, number, percent } from "./format.js";
import { Failure, Sentence, ShadedText, Status, Waiting, useAsync, useTitle } from "./parts.jsx";
import { Link, useQuery } from "./router.jsx";
import { Context, ShareBar } from "./senses.jsx";
import { cutChecked } from "./surface.js";

const WORD = /^\s?\p{L}{4,}$/u;
const isWord = (row) => WORD.test(row.peak_token);

// best: one that fires on a word is easier to see through than one that fires on a sign, and things are more plainly
// several where they are surely unrelated. The first of these that some neuron passes.
const EXAMPLES = [
  { status: "monosemantic", sort: "-selectivity", min_peak_token_share: 0.3, best: [isWord], title: "One thing",
    text: "A monosemantic neuron fires for one thing in the text that was read. If you know it, you know what this piece of the model looked for there." },
  { status: "polysemantic", sort: "-selectivity", min_coverage: 0.8, best: [(r) => r.unrelated && isWord(r), isWord], title: "Several things",
    text: "A polysemantic neuron fires for several things. Each of them is called a sense. Whoever reads only its strongest example will misunderstand the rest." },
  { status: "described", sort: "selectivity_percentile,-max", title: "Nothing that is its own",
    text: "Contexts of any direction in a layer have some meaning. Where a neuron does no better than random directions, its contexts are described and nothing is claimed of it." },
];

const SHOWN = 4; // senses of an example

async function findExamples(asked) {
  const job = asked ?? (await read("/v1/jobs?status=succeeded&limit=1")).data[0]?.id;
  if (!job) return { job: null, neurons: [] };
  const neurons = await Promise.all(EXAMPLES.map(async ({ title, text, best = [], ...filter }) => {
    const list = (wanted) => readOnce(`/v1/jobs/${job}/neurons${query({ ...wanted, limit: 100, fields: "layer,neuron,peak_token,unrelated" })}`);
    let { data } = await list(filter);
    // A small result may have none that is as telling.
    if (!data.length) ({ data } = await list({ status: filter.status, sort: filter.sort }));
    const row = [...best, () => true].map((test) => data.find(test)).find(Boolean);
    return row ? readOnce(`/v1/jobs/${job}/neurons/${row.layer}/${row.neuron}`) : null;
  }));
  return { job, neurons };
}

export function About() {
  useTitle("What is this?");
  const { job } = useQuery();
  const { data, error } = useAsync(() => findExamples(job), [job]);
  return (
    <div class="reading">
      <h1>What is this?</h1>
      <p class="lead">
        A language model is made of layers, and a layer of some thousands of <em>neurons</em>. Each neuron is one number for each
        word of a text, its <em>activation</em>. When the number is large, the neuron <em>fires</em>.
      </p>
      <p>
        To find out what a neuron means, one lets the model read much text and looks where it fires most. Often that is one
        thing: names of months, say. But often it is several things that have nothing to do with each other. The word for that is <em>polysemantic</em>: of many meanings. The model has more things to keep
        apart than it has neurons, so some neurons must do for several.
      </p>
      <p>
        Polyseme reads your text with your model, keeps for each neuron the places where it fires, and groups them by what
        the word at each place means to the model. Each group is a <em>sense</em>.
      </p>
      <Stored />
      <h2>From your own results</h2>
      <p>
        {data?.job
          ? <>Three neurons of <Link to={`/ui/jobs/${data.job}`}>a result of this service</Link>. The word in bold is the peak of each context, and the number is its activation.</>
          : "As soon as there is a result, three of its neurons stand here."}
      </p>
      {error && <Failure error={error} />}
      {!data && !error && <Waiting />}
      {data && !data.job && <p><Link to="/ui/new">Start an analysis</Link></p>}
      {data?.neurons.map((report, i) => report && <Example key={i} example={EXAMPLES[i]} report={report} />)}
      <h2>How to read the numbers</h2>
      <dl class="words">
        <dt>Share</dt><dd>A sense's part of all of the neuron's firing in the contexts that were kept of it.</dd>
        <dt>Polysemanticity</dt><dd>The chance that two firings, drawn by activation, differ in meaning: 0 for one sense, 0.5 for two unrelated ones of equal share, and near 1 for many.</dd>
        <dt>Coverage</dt><dd>The part of its firing that belongs to a sense.</dd>
        <dt>Sure and tentative</dt><dd>A sense is sure when it is likely, by at least 80 %, to come again in other documents of the same kind.</dd>
        <dt>Control unit</dt><dd>A random direction of the layer, read on the same text. Each number has its place among theirs. Something is claimed of a neuron only if it fires more selectively than 95 % of them.</dd>
        <dt>MS</dt><dd>The monosemanticity score: the mean cosine of the contexts with each other, weighted by activation. It needs no grouping; near 1 all contexts are alike.</dd>
        <dt>AUPRC</dt><dd>The area under the precision-recall curve: how well nearness to a sense finds, among random tokens, those on which the neuron fires.</dd>
        <dt>Kurtosis</dt><dd>Excess kurtosis of the activations: 0 for a normal distribution, large when the neuron is nearly always quiet and seldom loud.</dd>
        <dt>Same at</dt><dd>How sure we must be that two groups mean the same before we call them one. It is a choice: on a neuron's page you can move it and see what changes.</dd>
      </dl>
      <p>
        The docs say of <a href={below("/guide/measures")}>every number</a> its range and where it fails, and what to think
        of <a href={below("/guide/neurons")}>ten neurons</a>. <a href={below("/guide")}>All docs</a> are here,
        and <a href={below("/docs")}>the API</a>.
      </p>
      <p>Senses are found by rules, not by people. Read the contexts before you trust a label, and prefer neurons with many contexts and a high coverage.</p>
    </div>
  );
}

// A neuron of the sample model and sentences that were written for this page. It is stored, so nothing need have run.
function Stored() {
  const { senses, texts, polysemanticity: p } = example;
  const [first, second] = senses;
  return (
    <section class="example" aria-label="An example">
      <h2>One neuron</h2>
      <p>
        This is neuron {example.neuron} of layer {example.layer} of {example.model}, a small language model, after it read {count(example.tokens)} tokens of facts,
        scripture and documentation:
      </p>
      <div class="card">
        <p class="meaning"><Sentence text={example.meaning} /></p>
        <ShareBar senses={senses} coverage={p.coverage} />
        <p class="quiet">
          Polysemanticity {number(p.score)}, higher than that of {percent(p.score_percentile)} of the random directions of its layer that it was compared with. It fires
          more selectively than {p.selectivity_percentile === 1 ? "each" : percent(p.selectivity_percentile)} of them. A random direction fires for a bit of everything, so
          its score is high. What sets a neuron apart is that it fires selectively, for few things.
        </p>
      </div>
      <p>
        Here it reads sentences that were written for this page. The stronger the colour behind a word, the more it fires there.
      </p>
      <Checked texts={texts.senses} />
      <h2>Two of its senses at once</h2>
      <p>Sense {first.sense + 1} has {first.name}; sense {second.sense + 1} has {second.name}. In each of these sentences both fire:</p>
      <Checked texts={texts.both} />
      <p>
        That is a <em>cross-activation</em>. The neuron is one number, so whatever reads it later in the model gets the same signal from both words:
        of a sport, and of a language. Where a model gives an odd answer, such a place is worth a look.
      </p>
      <p>
        What it does not tell: that the model confuses the two. Other neurons tell them apart, and nothing was changed here to see what
        this one does to the answer. Nor is a sense a rule. On these it stays below a fifth of its largest activation, where we no longer speak of firing, though one
        of them names a language:
      </p>
      <Checked texts={texts.silent} />
    </section>
  );
}

function Checked({ texts }) {
  return (
    <ul class="checked">
      {texts.map((found) => (
        <li key={found.text}>
          <ShadedText pieces={cutChecked(found, found.activations)} most={example.most} />
          {found.peaks.map((peak) => (
            <span key={peak.token} class={`which sense-${peak.sense % 8}`}>
              <span class="dot" aria-hidden="true" /> Sense {peak.sense + 1}: {number(peak.activation)} on {found.tokens[peak.token].token.trim()}
            </span>
          ))}
          {!found.peaks.length && <span class="which">does not fire</span>}
        </li>
      ))}
    </ul>
  );
}

function Example({ example, report }) {
  const most = Math.max(...report.contexts.map((c) => Math.abs(c.activation ?? 0)), 0);
  const senses = report.senses.filter((s) => s.tail === "positive");
  const several = senses.length > 1;
  const strongest = (senses[0]?.contexts ?? [...report.contexts.keys()]).slice(0, 3);
  const neuron = `/ui/jobs/${report.job}/neurons/${report.layer}/${report.neuron}`;
  const firsts = several ? senses.filter((s) => s.contexts.length).slice(0, SHOWN).map((s) => [s, report.contexts[s.medoid ?? s.contexts[0]]]) : strongest.map((i) => [null, report.contexts[i]]);
  return (
    <section class="example">
      <h2>{example.title}</h2>
      <p>{example.text}</p>
      <div class="card">
        <h3>
          <Link to={neuron}>Layer {report.layer}, neuron {report.neuron}</Link>{" "}
          <Status status={report.status} />
        </h3>
        <p class="meaning"><Sentence text={report.meaning} /></p>
        {senses.length > 0 && report.polysemanticity && <ShareBar senses={senses} coverage={report.polysemanticity.coverage} />}
        <ol class="contexts wide">
          {firsts.map(([s, c], i) => (
            <li key={i} class={s ? `sense-${s.sense % 8}` : undefined}>
              {s && <p class="which"><span class="dot" aria-hidden="true" /> Sense {s.sense + 1}, {percent(s.share * (report.polysemanticity?.coverage ?? 1))}</p>}
              <ol class="contexts wide"><Context context={c} most={most} /></ol>
            </li>
          ))}
        </ol>
        {senses.length > SHOWN && <p><Link to={neuron}>All {senses.length} senses</Link></p>}
      </div>
    </section>
  );
}
