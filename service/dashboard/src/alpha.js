// What a neuron's contexts would be as groups at another alpha, from its stored tree. As service/alpha.py does it.

export const SMALLEST_SENSE = 0.05; // share of a neuron's contexts

export function cutTree(merges, contexts, alpha) {
  const pieces = new Map(Array.from({ length: contexts }, (_, i) => [i, [i]]));
  for (const [step, { left, right, height }] of merges.entries()) {
    if (height > alpha) break;
    pieces.set(contexts + step, [...pieces.get(left), ...pieces.get(right)].sort((a, b) => a - b));
    pieces.delete(left);
    pieces.delete(right);
  }
  return [...pieces.values()];
}

// Groups that are big enough to be senses, in the form of a report's senses, the largest first.
export function previewSenses(tree, report, alpha, minContexts) {
  const least = Math.max(minContexts, Math.ceil(SMALLEST_SENSE * tree.contexts.length));
  const sizeOf = (i) => Math.abs(report.contexts[i].activation);
  const sum = (group) => group.reduce((total, i) => total + sizeOf(i), 0);
  const groups = cutTree(tree.merges, tree.contexts.length, alpha)
    .filter((g) => g.length >= least)
    .map((g) => g.map((i) => tree.contexts[i]))
    .sort((a, b) => sum(b) - sum(a));
  const covered = groups.reduce((total, g) => total + sum(g), 0);
  return groups.map((group, sense) => describeGroup(group, sense, sum(group) / covered, tree.tail, report));
}

function describeGroup(contexts, sense, share, tail, report) {
  const activations = contexts.map((i) => report.contexts[i].activation).sort((a, b) => a - b);
  const peaks = new Map();
  for (const i of contexts) {
    const { tokens, peak } = report.contexts[i];
    peaks.set(tokens[peak], (peaks.get(tokens[peak]) ?? 0) + 1);
  }
  const tokens = [...peaks].sort((a, b) => b[1] - a[1]).slice(0, 8).map(([token, count]) => ({ token, count, at: "peak" }));
  const activation = { min: activations[0], median: activations[activations.length >> 1], max: activations.at(-1) };
  return { tail, sense, share, size: contexts.length, medoid: contexts[0], contexts, tokens, activation, isPreview: true };
}
