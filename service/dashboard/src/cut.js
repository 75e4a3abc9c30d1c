// What a neuron's contexts would be as groups at another same_at, from its stored tree. As service/results/curve.py does it.

export const SMALLEST_SENSE = 0.05; // share of a neuron's contexts

export function cutTree(merges, contexts, sameAt) {
  const pieces = new Map(Array.from({ length: contexts }, (_, i) => [i, [i]]));
  for (const [step, { left, right, same_at: same }] of merges.entries()) {
    if (same < sameAt) continue;
    pieces.set(contexts + step, [...pieces.get(left), ...pieces.get(right)].sort((a, b) => a - b));
    pieces.delete(left);
    pieces.delete(right);
  }
  return [...pieces.values()];
}

// Groups that are big enough to be senses, in the form of a report's senses, the largest first.
export function previewSenses(tree, report, sameAt, minContexts) {
  const leaves = [...tree.contexts.map((i) => ["contexts", i]), ...tree.evidence.map((i) => ["evidence", i])];
  const least = Math.max(minContexts, Math.ceil(SMALLEST_SENSE * leaves.length));
  const known = new Set(cutTree(tree.merges, leaves.length, tree.same_at).map(String));
  const read = ([kept, i]) => report[kept][i];
  const sum = (group) => group.reduce((total, leaf) => total + Math.abs(read(leaf).activation), 0);
  const groups = cutTree(tree.merges, leaves.length, sameAt)
    .filter((g) => g.length >= least)
    .flatMap((g) => {
      const group = g.map((i) => leaves[i]);
      return known.has(String(g)) ? splitAsFound(group, read) : [group];
    })
    .sort((a, b) => sum(b) - sum(a));
  const covered = groups.reduce((total, g) => total + sum(g), 0);
  return groups.map((group, sense) => describeGroup(group, sense, sum(group) / covered, tree.tail, read));
}

// What the job found as one group it may have split into two uses of a word.
function splitAsFound(group, read) {
  const parts = new Map();
  for (const leaf of group) {
    const { sense } = read(leaf);
    parts.set(sense, [...(parts.get(sense) ?? []), leaf]);
  }
  return [...parts.values()];
}

function readPeak({ tokens, peak, text, peak_span: span }) {
  if (!tokens) return text; // of a context without its text: the token
  return span ? [...text].slice(...span).join("") : tokens[peak];
}

function describeGroup(group, sense, share, tail, read) {
  const activations = group.map((leaf) => read(leaf).activation).sort((a, b) => a - b);
  const peaks = new Map();
  for (const said of group.map((leaf) => readPeak(read(leaf)))) peaks.set(said, (peaks.get(said) ?? 0) + 1);
  const tokens = [...peaks].sort((a, b) => b[1] - a[1]).slice(0, 8).map(([text, count]) => ({ text, count, at: "peak" }));
  const activation = { min: activations[0], median: activations[activations.length >> 1], max: activations.at(-1) };
  const kept = (name) => group.filter(([of]) => of === name).map(([, i]) => i);
  return { tail, sense, share, size: group.length, medoid: null, contexts: kept("contexts"), evidence: kept("evidence"), tokens, activation, broad: sense, isPreview: true };
}
