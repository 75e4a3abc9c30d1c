// "Try your own text": the text through the job's model, with the sense of each peak.

import { useEffect, useRef, useState } from "preact/hooks";
import { ask } from "./api.js";
import { ownPath } from "./base.js";
import { isOver } from "./follow.js";
import { number, percent } from "./format.js";
import { Failure, Field, ShadedText, Token } from "./parts.jsx";
import { setQuery, useQuery } from "./router.jsx";
import { cutChecked } from "./surface.js";

const WAIT = { Prefer: "wait=20" };
const LONGEST_LINK = 1000;

async function check(body, tell, signal) {
  let answer = await ask("/v1/activations", { method: "POST", body, headers: WAIT, signal });
  for (;;) {
    const found = await answer.json();
    tell(found);
    if (isOver(found)) return;
    if (!answer.headers.get("Preference-Applied")) await new Promise((resolve) => setTimeout(resolve, 1000));
    answer = await ask(ownPath(found.links.self), { headers: WAIT, signal });
  }
}

export function TryText({ report, tail, most }) {
  const { text: asked } = useQuery();
  const [text, setText] = useState(asked ?? "");
  const [state, set] = useState({ busy: false, found: null, error: null });
  const stop = useRef(null);
  useEffect(() => () => stop.current?.abort(), []);
  const submit = async (event) => {
    event.preventDefault();
    stop.current?.abort();
    const control = (stop.current = new AbortController());
    setQuery({ text: text.length <= LONGEST_LINK ? text : "" }, { replace: true });
    set({ busy: true, found: null, error: null });
    try {
      const body = { job: report.job, text, neurons: [{ layer: report.layer, neuron: report.neuron }] };
      await check(body, (found) => set({ busy: !isOver(found), found, error: null }), control.signal);
    } catch (error) {
      if (error.name !== "AbortError") set({ busy: false, found: null, error });
    }
  };
  const { found, busy, error } = state;
  return (
    <section class="try">
      <h2>Try your own text</h2>
      <form onSubmit={submit}>
        <Field label="A text for this neuron" error={error?.errors?.find((e) => e.pointer === "/text")?.detail}>
          {(a) => <textarea {...a} rows={3} maxLength={20000} required value={text} placeholder="Write or paste a sentence" onInput={(e) => setText(e.target.value)} />}
        </Field>
        <button type="submit" disabled={busy || !text.trim()}>Run</button>
      </form>
      <div aria-live="polite">
        {busy && <p class="quiet waiting">The model reads it … A worker that is busy does so after its present unit of work.</p>}
        {error && <Failure error={error} />}
        {found?.error && <div class="notice bad"><p><strong>{found.error.detail}</strong></p><p>Try another text.</p></div>}
        {found?.status === "succeeded" && <Answer found={found} report={report} tail={tail} most={most} />}
      </div>
    </section>
  );
}

function Answer({ found, report, tail, most }) {
  const isTentative = (peak) => report.senses.some((s) => s.tail === tail && s.sense === peak.sense && !s.sure);
  const neuron = found.neurons[0];
  const peaks = neuron.peaks.filter((p) => p.tail === tail);
  const points = [...found.text];
  const tokens = found.tokens.map(({ token, char_span: s }) => (s && s[1] > s[0] ? points.slice(...s).join("") : token));
  const sizes = peaks.map((p) => Math.abs(p.activation));
  return (
    <div class="answer">
      <p class="read"><ShadedText pieces={cutChecked(found, neuron.activations)} most={Math.max(most, ...sizes)} sign={tail === "negative" ? -1 : 1} /></p>
      {!peaks.length && <p>It does not fire on this text: nothing is above a fifth of its largest activation in the job.</p>}
      {peaks.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label="Peaks in your text">
          <table>
            <thead><tr><th>Fires on</th><th class="n">Activation</th><th>Sense</th><th class="n" title="The mean chance that it means the same as the contexts of the nearest sense">Same meaning</th></tr></thead>
            <tbody>
              {peaks.map((p) => (
                <tr key={p.token}>
                  <td><Token token={tokens[p.token]} /></td>
                  <td class="n">{number(p.activation)}</td>
                  <td>{p.sense === null ? "in none" : <span class={`sense-${p.sense % 8}`}><span class="dot" aria-hidden="true" /> Sense {p.sense + 1}: {p.name}{isTentative(p) && " (tentative)"}</span>}</td>
                  <td class="n">{percent(p.same)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {neuron.cross_activations.filter((c) => c.tail === tail).map((c) => (
        <p key={c.senses.join()}>
          Two of its senses fire here: sense {c.senses[0] + 1} on <Token token={tokens[c.tokens[0]]} /> and sense {c.senses[1] + 1} on{" "}
          <Token token={tokens[c.tokens[1]]} />. The chance that they mean the same is {percent(c.same)}.
        </p>
      ))}
      {found.note && <p class="quiet">{found.note}</p>}
      <p class="quiet"><a href={found.links.self}>This answer as JSON</a></p>
    </div>
  );
}
