// What follows from a path's edges: which ways lead through a node, what they carry, what another step lacks.

/** Name a node over time. One without a unit stands for the rest of its layer, however many that are at a step. */
function keysOf(graph) {
  return new Map(graph.nodes.map((node) => [
    node.id, node.unit >= 0 ? node.id : `${node.layer}: rest ${node.contribution < 0 ? "against" : "for"}`,
  ]));
}

const edgeKey = (keys, edge) => `${keys.get(edge.source)}\u0000${keys.get(edge.target)}`;

/** Find the edges among some of one graph that another one lacks, whatever it hides. */
export function missing(graph, edges, other) {
  const [keys, otherKeys] = [keysOf(graph), keysOf(other)];
  const there = new Set(other.edges.map((edge) => edgeKey(otherKeys, edge)));
  return new Set(edges.filter((edge) => !there.has(edgeKey(keys, edge))));
}

/** Find the units of one graph that another one has not drawn. */
export function newUnits(graph, other) {
  const there = new Set(other.nodes.map((node) => node.id));
  return new Set(graph.nodes.filter((node) => node.unit >= 0 && !there.has(node.id)).map((node) => node.id));
}

function reached(start, edges, from, to) {
  const [nodes, found, waiting] = [new Set([start]), new Set(), [start]];
  while (waiting.length) {
    const here = waiting.pop();
    for (const edge of edges) {
      if (edge[from] !== here) continue;
      found.add(edge);
      if (!nodes.has(edge[to])) {
        nodes.add(edge[to]);
        waiting.push(edge[to]);
      }
    }
  }
  return { nodes, edges: found };
}

/** Find the whole ways through a node: {nodes, edges}, from the inputs and on to the output. */
export function waysThrough(id, edges) {
  const [up, down] = [reached(id, edges, "source", "target"), reached(id, edges, "target", "source")];
  return { nodes: new Set([...up.nodes, ...down.nodes]), edges: new Set([...up.edges, ...down.edges]) };
}

/** Find the whole ways along an edge. */
export function waysAlong(edge, edges) {
  const [up, down] = [reached(edge.target, edges, "source", "target"), reached(edge.source, edges, "target", "source")];
  return { nodes: new Set([...up.nodes, ...down.nodes]), edges: new Set([edge, ...up.edges, ...down.edges]) };
}

/** The share of what comes from the input that takes ways along some edges; NaN where the record cannot tell. */
export function drawnShare(graph, edges) {
  if (!graph.nodes.every((node) => Number.isFinite(node.share))) return NaN;
  const into = new Map();
  for (const edge of edges) into.set(edge.target, [...(into.get(edge.target) ?? []), edge]);
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const arriving = new Map([[graph.nodes.at(-1)?.id, 1]]);
  let total = 0;
  for (const { id, share, column } of [...graph.nodes].reverse()) {
    const here = arriving.get(id) ?? 0;
    if (here <= 0 || share <= 0) continue;
    if (graph.columns[column]?.isInput) total += here;
    for (const edge of into.get(id) ?? []) {
      if (nodes.has(edge.source)) arriving.set(edge.source, (arriving.get(edge.source) ?? 0) + (here * edge.share) / share);
    }
  }
  return total;
}

/** The shares of the thickest edge and the longest bar, for graphs beside each other. */
export function fullShares(graphs) {
  const largest = (shares) => Math.max(...shares.map(Math.abs).filter(Number.isFinite), 0) || 1;
  return {
    edge: largest(graphs.flatMap((graph) => graph.edges.map((edge) => edge.share))),
    unit: largest(graphs.flatMap((graph) => graph.nodes.slice(0, -1).filter((node) => node.unit >= 0).map((node) => node.share))),
  };
}

const MOST = 60; // lines that can be followed

/** The share below which edges are hidden at first: the record's own, or of an older one what leaves few enough. */
export function firstThreshold(graph) {
  if (Number.isFinite(graph.threshold)) return graph.threshold;
  const shares = graph.edges.map((edge) => edge.share).filter(Number.isFinite).sort((one, other) => other - one);
  return shares[Math.min(MOST, shares.length) - 1] ?? 0;
}
