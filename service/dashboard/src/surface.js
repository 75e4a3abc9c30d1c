// A text in pieces with the activation of each, for a reader to shade. Tokens need not read as the text does: several
// may be parts of one character, some stand for none of it. Places are code points, so a text is spread into these.

// marks: by token, names of those that have no place in the text; each is put where it stands among the others.
// The end of a line is never cut apart.
export function cutPieces(text, spans, activations, marks, peak = -1) {
  const points = [...text];
  const isPlaced = (s) => s && s[1] > s[0];
  const isInside = (edge) => points[edge - 1] === "\r" && points[edge] === "\n";
  const cuts = new Set([0, points.length, ...spans.filter(isPlaced).flat()]);
  const edges = [...cuts].filter((edge) => !isInside(edge)).sort((a, b) => a - b);
  const at = new Map(edges.map((edge, i) => [edge, i]));
  const held = edges.map(() => []);
  const marked = edges.map(() => []);
  let reached = 0;
  spans.forEach((s, i) => {
    if (isPlaced(s)) {
      const [start, end] = [at.get(s[0]) ?? at.get(s[0] - 1), at.get(s[1]) ?? at.get(s[1] + 1)];
      for (let place = start; place < end; place++) held[place].push(i);
      reached = Math.max(reached, s[1]);
    } else if (i in marks) marked[at.get(reached) ?? at.get(reached + 1)].push(i);
  });
  const size = (i) => Math.abs(activations[i] ?? 0);
  const piece = (place) => {
    const strongest = held[place].reduce((best, i) => (best === undefined || size(i) > size(best) ? i : best), undefined);
    return { text: points.slice(edges[place], edges[place + 1]).join(""), activation: activations[strongest], isPeak: held[place].includes(peak) };
  };
  return edges.flatMap((edge, place) => [
    ...marked[place].map((i) => ({ text: marks[i], activation: activations[i], isPeak: i === peak, isMark: true })),
    ...(edge < points.length ? [piece(place)] : []),
  ]);
}

export function cutContext(c) {
  const marks = Object.fromEntries([...c.special, c.peak].map((i) => [i, c.tokens[i]]));
  return cutPieces(c.text, c.spans, c.activations, marks, c.peak);
}

// Of a live check; activations: of one neuron.
export function cutChecked(found, activations) {
  const marks = Object.fromEntries(found.tokens.map((t, i) => [i, t.token]).filter((_, i) => !found.tokens[i].char_span));
  return cutPieces(found.text, found.tokens.map((t) => t.char_span), activations, marks);
}
