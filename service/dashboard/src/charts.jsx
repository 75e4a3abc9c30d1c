// Plain SVG. Each chart says in words what it shows.

import { count, counted, fixed, number, percent } from "./format.js";
import { Explained } from "./parts.jsx";

// A phone's screen has no room for more.
const isNarrow = () => matchMedia("(max-width: 760px)").matches;

// A distribution of neurons: buckets of equal width.
// control: the median of control units, where these have one.
export function Distribution({ title, edges, counts, median, help, control = null }) {
  if (!counts.length) return null;
  const [w, h] = [280, 90];
  const most = Math.max(...counts);
  const step = w / counts.length;
  const [low, high] = [edges[0], edges.at(-1)];
  const at = (value) => (high > low ? Math.min(Math.max((value - low) / (high - low), 0), 1) * w : w / 2);
  const beside = control === null ? "" : `, of control units ${number(control)}`;
  const words = `${title}: from ${number(low)} to ${number(high)}, median ${number(median)}${beside}`;
  return (
    <figure class="chart">
      <figcaption><Explained name={title} help={help} /> <small>median {number(median)}{beside}</small></figcaption>
      <svg viewBox={`0 0 ${w} ${h + 16}`} role="img" aria-label={words}>
        {counts.map((n, i) => (
          <rect key={i} class="bar" x={i * step + 0.5} width={step - 1} y={h - (n / most) * h} height={(n / most) * h}>
            <title>{`${number(edges[i])} to ${number(edges[i + 1])}: ${counted(n, "neuron")}`}</title>
          </rect>
        ))}
        <line class="axis" x1={0} x2={w} y1={h} y2={h} />
        <line class="median" x1={at(median)} x2={at(median)} y1={0} y2={h} />
        {control !== null && control >= low && control <= high && <line class="control" x1={at(control)} x2={at(control)} y1={0} y2={h} />}
        <text x={0} y={h + 13}>{number(low)}</text>
        <text x={w} y={h + 13} text-anchor="end">{number(high)}</text>
      </svg>
    </figure>
  );
}

const LABEL = 48; // room that the label of an end takes
const OCTAVES = 7; // of magnitude shown; what is nearer to zero is one bar

// Bins of one neuron's histogram, those near zero put together.
export function foldBins({ edges, counts }) {
  const limit = Math.max(Math.abs(edges[0]), Math.abs(edges.at(-1))) / 2 ** OCTAVES;
  const bins = [];
  counts.forEach((n, i) => {
    const near = Math.abs(edges[i]) <= limit && Math.abs(edges[i + 1]) <= limit;
    if (near && bins.at(-1)?.near) Object.assign(bins.at(-1), { high: edges[i + 1], n: bins.at(-1).n + n });
    else bins.push({ low: edges[i], high: edges[i + 1], n, near });
  });
  return bins;
}

function place(bins, value) {
  const i = bins.findIndex((b) => value < b.high);
  if (i < 0) return bins.length;
  const { low, high } = bins[i];
  return i + (high > low ? Math.min(Math.max((value - low) / (high - low), 0), 1) : 0.5);
}

export function Histogram({ stats, senses }) {
  const { histogram } = stats;
  if (!histogram.counts.length) return <p class="quiet">There is no histogram.</p>;
  const bins = foldBins(histogram);
  const [w, h, row] = [isNarrow() ? 340 : 640, 130, 16];
  const step = w / bins.length;
  const most = Math.log1p(Math.max(...bins.map((b) => b.n)));
  const x = (value) => place(bins, value) * step;
  const below = h + 24;
  const near = bins.findIndex((b) => b.near);
  const hasRoom = (t) => t * step > LABEL && w - t * step > LABEL;
  const ticks = [0, ...(near >= 0 && hasRoom(near + 0.5) ? [near + 0.5] : []), bins.length];
  const label = (t) => (t === 0 ? number(stats.min) : t === bins.length ? number(stats.max) : "0");
  const words = `Activations of ${counted(stats.n_tokens, "token")}, from ${number(stats.min)} to ${number(stats.max)}, mean ${number(stats.mean)}.`;
  return (
    <figure class="chart wide">
      <div class="scroll" tabIndex={0} role="region" aria-label="Histogram of activations">
      <svg viewBox={`0 0 ${w} ${below + senses.length * row + 4}`} role="img" aria-label={words}>
        {bins.map((b, i) => {
          const height = (Math.log1p(b.n) / most) * h;
          return (
            <rect key={i} class="bar" x={i * step + 0.5} width={Math.max(step - 1, 0.5)} y={h - height} height={height}>
              <title>{`${number(b.low)} to ${number(b.high)}: ${counted(b.n, "token")}`}</title>
            </rect>
          );
        })}
        <line class="axis" x1={0} x2={w} y1={h} y2={h} />
        {ticks.map((t) => (
          <text key={t} x={t * step} y={h + 14} text-anchor={t === 0 ? "start" : t === bins.length ? "end" : "middle"}>{label(t)}</text>
        ))}
        {senses.map((s, i) => {
          const ends = [x(s.activation.min), x(s.activation.max)].sort((a, b) => a - b);
          const y = below + i * row;
          const left = ends[0] > w / 2;
          return (
            <g key={`${s.tail}${s.sense}`} class={`sense-${s.sense % 8}`}>
              <rect class="range" x={ends[0]} width={Math.max(ends[1] - ends[0], 3)} y={y + 3} height={9} rx={2} />
              <circle class="middle" cx={x(s.activation.median)} cy={y + 7.5} r={3.5} />
              <text x={left ? ends[0] - 6 : ends[1] + 6} y={y + 12} text-anchor={left ? "end" : "start"}>{s.label ?? `Sense ${s.sense + 1}`}</text>
            </g>
          );
        })}
      </svg>
      </div>
      <figcaption>
        All {count(stats.n_tokens)} tokens by activation. The farther from zero, the wider the range of a bar (four to an
        octave); heights are logarithmic.{senses.length > 0 && " Below: the range of each sense's contexts, with its median."}
      </figcaption>
    </figure>
  );
}

export function LayerBars({ layers, statuses, labels, link }) {
  const most = Math.max(...layers.map((l) => l.neurons));
  return (
    <div class="layers">
      <ul class="legend" aria-hidden="true">{statuses.map((s) => <li key={s}><span class={`swatch ${s}`} /> {labels[s]}</li>)}</ul>
      <table>
        <caption class="hidden">Neurons of each layer by status</caption>
        <thead class="hidden">
          <tr><th>Layer</th>{statuses.map((s) => <th key={s}>{labels[s]}</th>)}</tr>
        </thead>
        <tbody>
          {layers.map((l) => (
            <tr key={l.layer}>
              <th scope="row">{link(l)}</th>
              {statuses.map((s) => (
                <td key={s} class={s} style={{ width: `${(100 * l.statuses[s]) / most}%` }} title={`Layer ${l.layer}: ${count(l.statuses[s])} ${labels[s]}`}>
                  <span class="hidden">{l.statuses[s]}</span>
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

// rows: [title, group with its shares of status]. The numbers stand in a table beside it.
export function ShareBars({ rows, statuses, labels }) {
  const told = (shares) => statuses.map((s) => `${labels[s]} ${percent(shares[s])}`).join(", ");
  return (
    <div class="shares">
      <ul class="legend" aria-hidden="true">{statuses.map((s) => <li key={s}><span class={`swatch ${s}`} /> {labels[s]}</li>)}</ul>
      {rows.map(([title, { shares }]) => (
        <div key={title} class="layers" role="img" aria-label={`${title}: ${told(shares)}`}>
          <span>{title}</span>
          <span class="whole">
            {statuses.map((s) => <span key={s} class={`swatch ${s}`} style={{ width: `${100 * shares[s]}%` }} title={`${title}: ${percent(shares[s])} ${labels[s]}`} />)}
          </span>
        </div>
      ))}
    </div>
  );
}

const TAIL = 0.01; // of a group: so much at an end is put into the outer bar

// The first and the last bin that are drawn.
function findRange(groups) {
  const past = (shares) => {
    let sum = 0;
    return shares.findIndex((share) => (sum += share) >= TAIL);
  };
  const shares = groups.map((g) => g.score.counts.map((n) => n / g.score.units));
  const last = (found) => found.length - 1 - past([...found].reverse());
  return [Math.min(...shares.map(past)), Math.max(...shares.map(last))];
}

// The shares of a group in the bins that are drawn.
function shareBins({ score }, [first, last]) {
  const shares = score.counts.map((n) => n / score.units);
  const sum = (from, to) => shares.slice(from, to).reduce((a, b) => a + b, 0);
  return shares.slice(first, last + 1).map((share, at, all) => share + (at === 0 ? sum(0, first) : 0) + (at === all.length - 1 ? sum(last + 1) : 0));
}

// Scores of several results below each other, on one axis; of each the units as bars, its control units as an outline.
// edges: of the bins; rows: title, neurons, controls, each of these with its score's counts.
export function ScoreRows({ edges, rows }) {
  const hasScores = (g) => g?.score.units > 0;
  const groups = rows.flatMap((r) => [r.neurons, r.controls]).filter(hasScores);
  if (!groups.length) return <p class="quiet">There are no scores.</p>;
  const range = findRange(groups);
  const most = Math.max(...groups.flatMap((g) => shareBins(g, range)));
  const [low, high] = [edges[range[0]], edges[range[1] + 1]];
  const [w, h, gap] = [isNarrow() ? 340 : 640, isNarrow() ? 70 : 96, 22];
  const step = w / (range[1] - range[0] + 1);
  const foot = (row) => (row + 1) * (h + gap);
  const words = rows.map((r) => `${r.title}: ${tellScores(r.neurons, "units")}${r.controls ? `; ${tellScores(r.controls, "control units")}` : ""}`).join(". ");
  return (
    <figure class="chart wide">
      <svg viewBox={`0 0 ${w} ${foot(rows.length - 1) + 16}`} role="img" aria-label={words}>
        {rows.map(({ title, neurons, controls }, row) => (
          <g key={title} transform={`translate(0 ${foot(row)})`}>
            <text x={0} y={-h - 7}>{title}{hasScores(neurons) && `: median ${fixed(neurons.score.quantiles["0.5"])}`}{hasScores(controls) && `, of control units ${fixed(controls.score.quantiles["0.5"])}`}</text>
            {hasScores(neurons) && shareBins(neurons, range).map((share, at) => (
              <rect key={at} class="bar" x={at * step + 0.5} width={step - 1} y={(-share / most) * h} height={(share / most) * h}>
                <title>{`${title}, ${fixed(edges[range[0] + at])} to ${fixed(edges[range[0] + at + 1])}: ${percent(share)} of the units`}</title>
              </rect>
            ))}
            {hasScores(controls) && <path class="outline" d={`M0 0${shareBins(controls, range).map((share, at) => `V${(-share / most) * h}H${(at + 1) * step}`).join("")}V0`} />}
            <line class="axis" x1={0} x2={w} y1={0} y2={0} />
            {hasScores(neurons) && <Upright at={((neurons.score.quantiles["0.5"] - low) / (high - low)) * w} height={h} />}
          </g>
        ))}
        <text x={0} y={foot(rows.length - 1) + 13}>{fixed(low)}</text>
        <text x={w} y={foot(rows.length - 1) + 13} text-anchor="end">{fixed(high)}</text>
      </svg>
      <figcaption>
        From left to right the polysemanticity: the chance that two firings differ in meaning. The height is the share of the units, dashed that of
        the control units; the outer bars have what lies beyond. The upright line is the units' median.
      </figcaption>
    </figure>
  );
}

const Upright = ({ at, height }) => <line class="median" x1={at} x2={at} y1={-height} y2={0} />;

const tellScores = ({ score: s }, noun) =>
  s.units ? `${count(s.units)} ${noun}, median ${fixed(s.quantiles["0.5"])}, half of them from ${fixed(s.quantiles["0.25"])} to ${fixed(s.quantiles["0.75"])}` : `no scores of ${noun}`;
