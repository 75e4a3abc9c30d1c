// The senses of one tail, side by side.

import { useState } from "preact/hooks";
import { count, fixed, number, percent } from "./format.js";
import { Fact, Sentence, ShadedText, Token } from "./parts.jsx";
import { cutContext } from "./surface.js";

const FIRST = 3; // contexts shown before one asks for more

export function ShareBar({ senses, coverage }) {
  const rest = coverage === null || coverage === undefined ? 0 : 1 - coverage;
  const words = senses.map((s) => `sense ${s.sense + 1} ${percent(s.share * (1 - rest))}`).join(", ");
  return (
    <div class="sharebar" role="img" aria-label={`Shares: ${words}${rest > 0.005 ? `; in no sense ${percent(rest)} of its firing` : ""}`}>
      {senses.map((s) => (
        <span key={s.sense} class={`fill sense-${s.sense % 8} ${s.sure === false ? "tentative" : ""}`} style={{ flexGrow: s.share * (1 - rest) }} title={`Sense ${s.sense + 1}: ${percent(s.share * (1 - rest))} of its firing`}>
          {s.share * (1 - rest) > 0.06 && s.sense + 1}
        </span>
      ))}
      {rest > 0.005 && <span class="fill rest" style={{ flexGrow: rest }} title={`In no sense: ${percent(rest)} of its firing`} />}
    </div>
  );
}

// Senses of one broad sense stand together.
function gather(senses) {
  const things = new Map();
  for (const s of senses) things.set(s.broad, [...(things.get(s.broad) ?? []), s]);
  return [...things.values()];
}

// Every per cent is of all the firing in the contexts. coverage: the part of it that is in senses.
export function SenseCards({ report, senses, most, coverage }) {
  const ofAll = (s) => s.share * (coverage ?? 1);
  const card = (s) => <SenseCard key={`${s.tail} ${s.sense}`} sense={s} share={ofAll(s)} report={report} most={most} />;
  return (
    <div class="senses">
      {gather(senses).map((thing) => (thing.length === 1 ? card(thing[0]) : (
        <section key={`broad ${thing[0].broad}`} class="broad" aria-label="Senses of one field">
          <p class="quiet">Of one field: senses {thing.map((s) => s.sense + 1).join(" and ")}, together {percent(thing.reduce((total, s) => total + ofAll(s), 0))}</p>
          <div class="senses">{thing.map(card)}</div>
        </section>
      )))}
    </div>
  );
}

const Standing = ({ sense: s }) => (
  <span class={`badge ${s.sure ? "sure" : ""}`} title={`The chance that it comes again in other documents of this kind: ${percent(s.replication)}`}>
    {s.sure ? "sure" : "tentative"} {percent(s.replication)}
  </span>
);

function SenseCard({ sense: s, share, report, most }) {
  const [all, setAll] = useState(false);
  const byActivation = s.contexts.filter((i) => i !== s.medoid).sort((a, b) => Math.abs(report.contexts[b].activation) - Math.abs(report.contexts[a].activation));
  const order = s.isPreview ? s.contexts : [...(s.medoid === null ? [] : [s.medoid]), ...byActivation];
  const chosen = all ? order : order.slice(0, FIRST);
  return (
    <section class={`card sense-${s.sense % 8}`} aria-label={`Sense ${s.sense + 1}`}>
      <h3><span class="dot" aria-hidden="true" /> Sense {s.sense + 1} {!s.isPreview && <Standing sense={s} />} <span class="share" title="Of all its firing">{percent(share)}</span></h3>
      <div class="bar" aria-hidden="true"><span style={{ width: `${100 * share}%` }} /></div>
      {s.name && <p class="name"><Sentence text={s.name} /></p>}
      <Spoken languages={s.languages ?? []} />
      <p class="tokens">{unlike(s.tokens).map((t) => <Token key={`${t.text}${t.at}`} token={t.text} class={`token ${t.at}`} title={t.at === "peak" ? `at ${t.count} peaks` : `near ${t.count} peaks`} />)}</p>
      <ol class="contexts">{chosen.map((i) => <Context key={i} context={report.contexts[i]} most={most} isTypical={!s.isPreview && i === s.medoid} />)}</ol>
      {order.length > FIRST && (
        <button type="button" class="plain" aria-expanded={all} onClick={() => setAll(!all)}>
          {all ? "Fewer contexts" : `All ${order.length} contexts`}
        </button>
      )}
      <Evidence entries={s.evidence.map((i) => report.evidence[i])} />
      <Numbers sense={s} />
    </section>
  );
}

// Nothing where Latin letters are all that is known.
function Spoken({ languages }) {
  if (languages.every((l) => l.language === "Latin")) return null;
  return (
    <p class="quiet spoken" title="Of its firing: the language of the documents, or the script where they name none">
      Language: {languages.map((l, i) => <span key={l.language}>{i > 0 && ", "}<bdi>{l.language}</bdi> {percent(l.share)}</span>)}
    </p>
  );
}

// Parts of one character say the same.
const unlike = (tokens) => [...new Map(tokens.map((t) => [`${t.text}${t.at}`, t])).values()];

// Contexts that were kept for their meaning alone: where they are, and no text.
export function Evidence({ entries }) {
  const [isOpen, setOpen] = useState(false);
  if (!entries.length) return null;
  return (
    <details class="evidence" onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>{entries.length === 1 ? "1 further context" : `${entries.length} further contexts`}</summary>
      {isOpen && (
        <div class="scroll" tabIndex={0} role="region" aria-label="Further contexts">
          <table>
            <thead><tr><th>Peak</th><th class="n">Activation</th><th class="n">Document</th><th class="n" title="Of its characters">Place</th></tr></thead>
            <tbody>
              {entries.map((e, i) => (
                <tr key={i}><td><Token token={e.text} /></td><td class="n">{number(e.activation)}</td><td class="n">{count(e.document)}</td><td class="n">{count(e.char_span[0])}</td></tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </details>
  );
}

function Numbers({ sense: s }) {
  const { min, median, max } = s.activation;
  return (
    <details>
      <summary>Numbers</summary>
      <dl class="facts small">
        <Fact name="contexts">{count(s.size)}</Fact>
        <Fact name="activation" help="Smallest, median and largest of its contexts">{number(min)} · {number(median)} · {number(max)}</Fact>
        {!s.isPreview && <>
          <Fact name="within" help="Mean chance that two of its contexts mean the same">{percent(s.within)}</Fact>
          <Fact name="between" help="The largest such mean with the contexts of another sense">{percent(s.between)}</Fact>
          <Fact name="AUPRC" help="Area under the precision-recall curve: how well nearness to this sense finds, among random tokens, those on which the neuron fires. The second number is what chance finds">{fixed(s.auprc)} against {fixed(s.auprc_baseline)}</Fact>
          <Fact name="lexical diversity" help="Different peak tokens over contexts">{fixed(s.lexical_diversity)}</Fact>
        </>}
      </dl>
    </details>
  );
}

const STRONGEST = 3;

// The strongest of a tail, whatever sense they are in: what the sentence must be true of.
// senseOf: where the contexts are grouped otherwise than in the result.
export function StrongestFew({ contexts, most, senseOf = (c) => c.sense }) {
  const first = [...contexts].sort((a, b) => Math.abs(b.activation) - Math.abs(a.activation)).slice(0, STRONGEST);
  return (
    <section class="strongest" aria-label="Strongest contexts">
      <h2>Strongest</h2>
      <ol class="contexts wide">{first.map((c, i) => <Context key={i} context={c} most={most} sense={senseOf(c)} />)}</ol>
    </section>
  );
}

export function Context({ context: c, most, isTypical = false, sense = null }) {
  const where = `Document ${c.document}, characters ${c.char_span[0]} to ${c.char_span[1]}${c.sample === "top" ? "; among the strongest" : "; sampled"}`;
  return (
    <li title={where}>
      <span class="activation">{number(c.activation)}{isTypical && <span class="typical">the typical one</span>}{sense !== null && <span class="typical">sense {sense + 1}</span>}</span>
      <ShadedText pieces={cutContext(c)} most={most} sign={c.tail === "negative" ? -1 : 1} />
    </li>
  );
}
