import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { query, read } from "./api.js";
import { below } from "./base.js";
import { STATUS, count, counted, fixed, number, percent } from "./format.js";
import { Failure, Field, Sentence, Status, Token, Waiting, useTitle } from "./parts.jsx";
import { Link, go, setQuery, useQuery } from "./router.jsx";

const ROW = 37; // pixels, as in the style sheet
const SPARE = 12; // rows drawn beyond what is seen
const PAGE = 100;
const PAUSE_MS = 300;

const COLUMNS = [
  { name: "neuron", title: "Neuron", sort: null, show: (r) => `L${r.layer} · ${r.neuron}` },
  { name: "status", title: "Status", sort: null, show: (r) => <Status status={r.status} /> },
  { name: "meaning", title: "Meaning", help: "One sentence, made by rules", sort: null, class: "said", show: (r) => <span title={r.meaning}><Sentence text={shorten(r.meaning)} /></span> },
  { name: "polysemanticity", title: "Score", help: "Polysemanticity: the chance that two firings differ in meaning", n: true, show: showScore },
  { name: "score_percentile", title: "Above controls", help: "Control units of its layer whose score is lower", n: true, show: (r) => percent(r.score_percentile) },
  { name: "sense_count", title: "Senses", n: true, show: (r) => count(r.sense_count) },
  { name: "sure_count", title: "Sure", help: "Senses that would come again in other documents of this kind", n: true, show: (r) => count(r.sure_count) },
  { name: "coverage", title: "Coverage", help: "The part of its firing that belongs to a sense", n: true, show: (r) => percent(r.coverage) },
  { name: "selectivity_percentile", title: "Selective", help: "Control units of its layer that fire less strongly and rarely", n: true, show: (r) => percent(r.selectivity_percentile) },
  { name: "monosemanticity_score", title: "MS", help: "Monosemanticity score: mean cosine of its contexts", n: true, show: (r) => fixed(r.monosemanticity_score) },
  { name: "density", title: "Density", help: "Share of tokens on which it is above 0", n: true, show: (r) => percent(r.density) },
  { name: "max", title: "Largest", help: "Largest activation", n: true, show: (r) => number(r.max) },
  { name: "kurtosis", title: "Kurtosis", help: "Excess kurtosis of its activations", n: true, show: (r) => number(r.kurtosis) },
  { name: "peak_token", title: "Peaks on", help: "The commonest token at its peaks", sort: null, show: (r) => r.peak_token !== null && <Token token={r.peak_token} /> },
];
const FIELDS = "layer,neuron,status,polysemanticity,polysemanticity_low,polysemanticity_high,score_percentile,sense_count,sure_count,coverage,selectivity_percentile,monosemanticity_score,density,max,kurtosis,peak_token,meaning";
const FILTERS = ["layer", "neuron", "status", "token", "meaning", "min_polysemanticity", "max_polysemanticity", "min_sense_count", "max_sense_count", "min_sure_count", "min_coverage", "min_score_percentile", "min_selectivity_percentile", "min_density", "max_density"];

// What most sentences begin with says nothing in a list.
const shorten = (text) => text.replace(/^(Fires in this text|In this text it fires) for /, "");

function showScore(r) {
  if (r.polysemanticity === null) return "–";
  const ends = r.polysemanticity_low === null ? "" : `${fixed(r.polysemanticity_low)} to ${fixed(r.polysemanticity_high)}`;
  return <span title={ends && `90 % interval: ${ends}`}>{fixed(r.polysemanticity)}</span>;
}

// Pages of a list, loaded one after the other. `asked` is a query without a cursor.
function usePages(path) {
  const [state, set] = useState({ rows: [], total: null, cursor: null, error: null, busy: true, path });
  const wanted = useRef(path);
  const load = async (cursor) => {
    set((s) => ({ ...s, busy: true }));
    try {
      const page = await read(path + (cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""));
      if (wanted.current !== path) return;
      set((s) => ({ rows: cursor ? [...s.rows, ...page.data] : page.data, total: page.total, cursor: page.next_cursor, error: null, busy: false, path }));
    } catch (error) {
      if (wanted.current === path) set((s) => ({ ...s, error, busy: false }));
    }
  };
  useEffect(() => {
    wanted.current = path;
    load(null);
  }, [path]);
  return { ...state, more: () => !state.busy && state.cursor && load(state.cursor) };
}

export function NeuronsPage({ job }) {
  useTitle("Neurons");
  const asked = useQuery();
  const filters = Object.fromEntries(FILTERS.map((name) => [name, asked[name]]));
  const path = `/v1/jobs/${job}/neurons${query({ ...filters, sort: asked.sort, fields: FIELDS, limit: PAGE })}`;
  const list = usePages(path);
  return (
    <>
      <p class="crumbs"><Link to="/ui/jobs">Jobs</Link> / <Link to={`/ui/jobs/${job}`}><code>…{job.slice(-8)}</code></Link> / Neurons</p>
      <div class="title">
        <h1>Neurons</h1>
        <p class="total" role="status">{list.total === null ? "" : counted(list.total, "neuron")}</p>
      </div>
      <Filters asked={asked} error={list.error} />
      {list.error && <Failure error={list.error} />}
      {list.total === null && !list.error && <Waiting />}
      {list.total === 0 && <div class="notice"><p><strong>No neuron passes these filters.</strong></p><p><Link to={`/ui/jobs/${job}/neurons`}>Clear the filters</Link></p></div>}
      {list.rows.length > 0 && <Table job={job} list={list} sort={asked.sort ?? ""} />}
      <p class="quiet"><a href={below(path)}>This list as JSON</a></p>
    </>
  );
}

// Goes into the address once one has stopped typing.
function FilterInput({ name, value, ...rest }) {
  const [text, set] = useState(value);
  const timer = useRef();
  useEffect(() => set(value), [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const put = (found) => (clearTimeout(timer.current), found.trim() !== value && setQuery({ [name]: found.trim() }, { replace: true }));
  const type = (e) => {
    const found = e.target.value;
    set(found);
    clearTimeout(timer.current);
    timer.current = setTimeout(put, PAUSE_MS, found);
  };
  return <input {...rest} value={text} onInput={type} onKeyDown={(e) => e.key === "Enter" && put(e.target.value)} onBlur={(e) => put(e.target.value)} />;
}

function Filters({ asked, error }) {
  const wrong = (name) => error?.errors?.find((e) => e.pointer === `/${name}`)?.detail;
  const put = (name) => (e) => setQuery({ [name]: e.target.value.trim() }, { replace: true });
  const input = (name, label, options = {}) => (
    <Field label={label} error={wrong(name)}>
      {(a) => <FilterInput {...a} name={name} value={asked[name] ?? ""} {...options} />}
    </Field>
  );
  const isUsed = ["neuron", "max_polysemanticity", "min_sense_count", "max_sense_count", "min_sure_count", "min_score_percentile", "min_selectivity_percentile", "min_density", "max_density"].some((n) => asked[n]);
  return (
    <form class="filters" role="search" aria-label="Filters" onSubmit={(e) => e.preventDefault()}>
      {input("token", "Peaks on the token", { placeholder: "seat", type: "search" })}
      {input("meaning", "Meaning has", { placeholder: "prepositions", type: "search" })}
      {input("layer", "Layers", { placeholder: "0-3,14", size: 8 })}
      <Field label="Status" error={wrong("status")}>
        {(a) => (
          <select {...a} value={asked.status ?? ""} onChange={put("status")}>
            <option value="">any</option>
            {Object.entries(STATUS).map(([value, text]) => <option key={value} value={value}>{text}</option>)}
          </select>
        )}
      </Field>
      {input("min_polysemanticity", "Score from", { inputMode: "decimal", size: 5, placeholder: "0" })}
      {input("min_coverage", "Coverage from", { inputMode: "decimal", size: 5, placeholder: "0" })}
      <details open={isUsed || undefined}>
        <summary>More filters</summary>
        <div class="filters">
          {input("max_polysemanticity", "Score to", { inputMode: "decimal", size: 5, placeholder: "1" })}
          {input("min_sense_count", "Senses from", { inputMode: "numeric", size: 4 })}
          {input("max_sense_count", "Senses to", { inputMode: "numeric", size: 4 })}
          {input("min_sure_count", "Sure senses from", { inputMode: "numeric", size: 4 })}
          {input("min_score_percentile", "Score above control units from", { inputMode: "decimal", size: 5, placeholder: "0.95" })}
          {input("min_selectivity_percentile", "Selectivity above control units from", { inputMode: "decimal", size: 5, placeholder: "0.95" })}
          {input("min_density", "Density from", { inputMode: "decimal", size: 5 })}
          {input("max_density", "Density to", { inputMode: "decimal", size: 5 })}
          {input("neuron", "Neuron numbers", { placeholder: "0-99", size: 8 })}
        </div>
      </details>
    </form>
  );
}

// On a phone a row has no room for the others.
const ALWAYS = ["neuron", "meaning", "polysemanticity"];
const classOf = (c) => [c.n && "n", c.class, !ALWAYS.includes(c.name) && "wide-only"].filter(Boolean).join(" ");
// Descending first, since large numbers are what one looks for; then ascending; then by layer and neuron.
const turn = (sort, name) => (sort === `-${name}` ? name : sort === name ? "" : `-${name}`);
const direction = (sort, name) => (sort === `-${name}` ? "descending" : sort === name ? "ascending" : undefined);

function Table({ job, list, sort }) {
  const box = useRef();
  const [top, setTop] = useState(0);
  const { rows, cursor, more, path } = list;
  useEffect(() => {
    box.current.scrollTop = 0;
    setTop(0);
  }, [path]);
  const seen = Math.ceil((box.current?.clientHeight ?? 700) / ROW);
  const first = Math.max(0, Math.floor(top / ROW) - SPARE);
  const last = Math.min(rows.length, first + seen + 2 * SPARE);
  useEffect(() => {
    if (cursor && last >= rows.length - SPARE) more();
  }, [last, rows.length, cursor]);
  const main = sort.split(",")[0];
  const heads = useMemo(() => COLUMNS.map((c) => (
    <th key={c.name} scope="col" class={classOf(c)} title={c.help} aria-sort={direction(main, c.name)}>
      {c.sort === null ? c.title : (
        <button type="button" class="sort" onClick={() => setQuery({ sort: turn(main, c.name) }, { replace: true })}>
          {c.title}<span aria-hidden="true">{{ descending: " ↓", ascending: " ↑" }[direction(main, c.name)] ?? ""}</span>
        </button>
      )}
    </th>
  )), [main]);
  const open = (r) => (e) => !e.target.closest("a") && go(`/ui/jobs/${job}/neurons/${r.layer}/${r.neuron}`);
  return (
    <div class="window" ref={box} tabIndex={0} role="region" aria-label="Table of neurons" onScroll={(e) => setTop(e.currentTarget.scrollTop)}>
      <table class="neurons" aria-rowcount={list.total + 1} aria-busy={list.busy}>
        <thead><tr aria-rowindex={1}>{heads}</tr></thead>
        <tbody>
          {first > 0 && <tr key="above" class="gap" aria-hidden="true"><td colSpan={COLUMNS.length} style={{ height: `${first * ROW}px` }} /></tr>}
          {rows.slice(first, last).map((r, i) => (
            <tr key={`${r.layer}/${r.neuron}`} aria-rowindex={first + i + 2} onClick={open(r)}>
              {COLUMNS.map((c) => (
                <td key={c.name} class={classOf(c)}>
                  {c.name === "neuron" ? <Link to={`/ui/jobs/${job}/neurons/${r.layer}/${r.neuron}`}>{c.show(r)}</Link> : c.show(r)}
                </td>
              ))}
            </tr>
          ))}
          {last < rows.length && <tr key="below" class="gap" aria-hidden="true"><td colSpan={COLUMNS.length} style={{ height: `${(rows.length - last) * ROW}px` }} /></tr>}
        </tbody>
      </table>
    </div>
  );
}
