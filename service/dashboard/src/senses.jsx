// The senses of one tail, side by side.

import { useState } from "preact/hooks";
import { count, fixed, number, percent } from "./format.js";
import { Fact, ShadedText, Token } from "./parts.jsx";
import { cutContext } from "./surface.js";

const FIRST = 3; // contexts shown before one asks for more

export function ShareBar({ senses, coverage }) {
  const rest = coverage === null || coverage === undefined ? 0 : 1 - coverage;
  const words = senses.map((s) => `sense ${s.sense + 1} ${percent(s.share)}`).join(", ");
  return (
    <div class="sharebar" role="img" aria-label={`Shares: ${words}${rest > 0.005 ? `; in no sense ${percent(rest)} of its firing` : ""}`}>
      {senses.map((s) => (
        <span key={s.sense} class={`fill sense-${s.sense % 8}`} style={{ flexGrow: s.share * (1 - rest) }} title={`Sense ${s.sense + 1}: ${percent(s.share)}`}>
          {s.share * (1 - rest) > 0.06 && s.sense + 1}
        </span>
      ))}
      {rest > 0.005 && <span class="fill rest" style={{ flexGrow: rest }} title={`In no sense: ${percent(rest)}`} />}
    </div>
  );
}

export function SenseCards({ report, senses, most }) {
  return <div class="senses">{senses.map((s) => <SenseCard key={`${s.tail} ${s.sense}`} sense={s} report={report} most={most} />)}</div>;
}

function SenseCard({ sense: s, report, most }) {
  const [all, setAll] = useState(false);
  const byActivation = s.contexts.filter((i) => i !== s.medoid).sort((a, b) => Math.abs(report.contexts[b].activation) - Math.abs(report.contexts[a].activation));
  const order = s.isPreview ? s.contexts : [s.medoid, ...byActivation];
  const chosen = all ? order : order.slice(0, FIRST);
  return (
    <section class={`card sense-${s.sense % 8}`} aria-label={`Sense ${s.sense + 1}`}>
      <h3><span class="dot" aria-hidden="true" /> Sense {s.sense + 1} <span class="share">{percent(s.share)}</span></h3>
      <div class="bar" aria-hidden="true"><span style={{ width: `${100 * s.share}%` }} /></div>
      <p class="tokens">{unlike(s.tokens).map((t) => <Token key={`${t.text}${t.at}`} token={t.text} class={`token ${t.at}`} title={t.at === "peak" ? `at ${t.count} peaks` : `near ${t.count} peaks`} />)}</p>
      <ol class="contexts">{chosen.map((i) => <Context key={i} context={report.contexts[i]} most={most} isTypical={!s.isPreview && i === s.medoid} />)}</ol>
      {order.length > FIRST && (
        <button type="button" class="plain" aria-expanded={all} onClick={() => setAll(!all)}>
          {all ? "Fewer contexts" : `All ${order.length} contexts`}
        </button>
      )}
      <Numbers sense={s} />
    </section>
  );
}

// Parts of one character say the same.
const unlike = (tokens) => [...new Map(tokens.map((t) => [`${t.text}${t.at}`, t])).values()];

function Numbers({ sense: s }) {
  const { min, median, max } = s.activation;
  return (
    <details>
      <summary>Numbers</summary>
      <dl class="facts small">
        <Fact name="contexts">{count(s.size)}</Fact>
        <Fact name="activation" help="Smallest, median and largest of its contexts">{number(min)} · {number(median)} · {number(max)}</Fact>
        {!s.isPreview && <>
          <Fact name="cohesion" help="Mean distance inside, as a quantile of random pairs: 0 is the same place, 0.5 random">{fixed(s.cohesion, 3)}</Fact>
          <Fact name="separation" help="Mean distance to the nearest other sense, in the same unit">{fixed(s.separation, 3)}</Fact>
          <Fact name="AUPRC" help="How well nearness to this sense finds other tokens on which it fires">{fixed(s.auprc)} against {fixed(s.auprc_baseline)}</Fact>
          <Fact name="lexical diversity" help="Different peak tokens over contexts">{fixed(s.lexical_diversity)}</Fact>
        </>}
      </dl>
    </details>
  );
}

export function Context({ context: c, most, isTypical = false }) {
  const where = `Document ${c.document}, characters ${c.char_span[0]} to ${c.char_span[1]}${c.sample === "top" ? "; among the strongest" : "; sampled"}`;
  return (
    <li title={where}>
      <span class="activation">{number(c.activation)}{isTypical && <span class="typical">the typical one</span>}</span>
      <ShadedText pieces={cutContext(c)} most={most} sign={c.tail === "negative" ? -1 : 1} />
    </li>
  );
}
