// What a neuron's contexts would be as groups at another alpha, from its stored tree. As service/alpha.py does it.

export const SMALLEST_SENSE = 0.05; // share of a neuron's contexts

export function cutTree(merges, contexts, alpha) {
  const pieces = new Map(Array.from({ length: contexts }, (_, i) => [i, [i]]));
  for (const [step, { left, right, height }] of merges.entries()) {
    // Not in the order of their heights; but none is lower than those within it.
    if (height > alpha) continue;
    pieces.set(contexts + step, [...pieces.get(left), ...pieces.get(right)].sort((a, b) => a - b));
    pieces.delete(left);
    pieces.delete(right);
  }
  return [...pieces.values()];
}

// Groups that are big enough to be senses, in the form of a report's senses, the largest first.
export function previewSenses(tree, report, alpha, minContexts) {
  const count = tree.contexts.length;
  const least = Math.max(minContexts, Math.ceil(SMALLEST_SENSE * count));
  const known = new Set(cutTree(tree.merges, count, tree.alpha).map(String));
  const sizeOf = (i) => Math.abs(report.contexts[i].activation);
  const sum = (group) => group.reduce((total, i) => total + sizeOf(i), 0);
  const groups = cutTree(tree.merges, count, alpha)
    .filter((g) => g.length >= least)
    .flatMap((g) => {
      const contexts = g.map((i) => tree.contexts[i]);
      return known.has(String(g)) ? splitAsFound(contexts, report) : [contexts];
    })
    .sort((a, b) => sum(b) - sum(a));
  const covered = groups.reduce((total, g) => total + sum(g), 0);
  return groups.map((group, sense) => describeGroup(group, sense, sum(group) / covered, tree.tail, report));
}

// What the job found as one group it may have split into two uses of a word.
function splitAsFound(contexts, report) {
  const parts = new Map();
  for (const i of contexts) {
    const { sense } = report.contexts[i];
    parts.set(sense, [...(parts.get(sense) ?? []), i]);
  }
  return [...parts.values()];
}

function describeGroup(contexts, sense, share, tail, report) {
  const activations = contexts.map((i) => report.contexts[i].activation).sort((a, b) => a - b);
  const peaks = new Map();
  for (const i of contexts) {
    const { tokens, peak, text, peak_span: span } = report.contexts[i];
    const said = span ? [...text].slice(...span).join("") : tokens[peak];
    peaks.set(said, (peaks.get(said) ?? 0) + 1);
  }
  const tokens = [...peaks].sort((a, b) => b[1] - a[1]).slice(0, 8).map(([text, count]) => ({ text, count, at: "peak" }));
  const activation = { min: activations[0], median: activations[activations.length >> 1], max: activations.at(-1) };
  return { tail, sense, share, size: contexts.length, medoid: contexts[0], contexts, tokens, activation, isPreview: true };
}
