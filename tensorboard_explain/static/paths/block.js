// One path: what it carries, its drawing or its ranking, the unit that was picked, its edges as a table.

import { count, el, figure, percent, short } from "../dom.js";
import { createTable } from "../tables/table.js";
import { edgeWords, nodeWords, pathDrawing } from "./graph.js";
import { rankedUnits } from "./ranked.js";
import { drawnShare, missing } from "./ways.js";

const [MOST_ROWS, MOST_NEIGHBOURS] = [40, 6];
const order = { key: "share", down: true }; // of the tables of edges, whatever is drawn

function edgeTable(graph, edges, marked, mark) {
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const label = (edge, end) => short(nodes.get(edge[end]).label, 120);
  const table = createTable({
    label: `Edges of ${short(graph.title, 80)}`, what: "edges", most: MOST_ROWS, order,
    columns: [
      ...[["source", "from"], ["target", "to"]].map(([end, words]) => ({ key: end, words, isName: true, value: (edge) => label(edge, end), cell: (edge) => label(edge, end) })),
      { key: "share", words: "share", value: (edge) => Math.abs(edge.share), cell: (edge) => percent(edge.share, 1) },
      { key: "contribution", words: "contribution", value: (edge) => edge.contribution, cell: (edge) => figure(edge.contribution) },
      ...(marked.size ? [{ key: "mark", words: "since B", value: (edge) => (marked.has(edge) ? 1 : 0), cell: (edge) => (marked.has(edge) ? mark : "") }] : []),
    ],
  });
  table.update(edges);
  return el("details", {}, el("summary", { text: "The edges as a table" }), table.node);
}

function neighbours(words, edges, end, nodes) {
  const strongest = [...edges].sort((one, other) => other.share - one.share).slice(0, MOST_NEIGHBOURS);
  return strongest.length > 0 && el("p", {}, `${words}: ${strongest.map((edge) => `${short(nodes.get(edge[end]).label, 40)} (${percent(edge.share, 1)}, ${figure(edge.contribution)})`).join("; ")}`);
}

/** What is known of a unit from its path. */
function unitMetrics(graph, node, edges) {
  const nodes = new Map(graph.nodes.map((each) => [each.id, each]));
  const own = graph.nodes.filter((each) => each.column === node.column && each.unit >= 0).sort((one, other) => other.share - one.share);
  const rank = own.findIndex((each) => each.id === node.id) + 1;
  return el("div", { class: "unit-metrics", role: "status" }, el("h4", { text: short(node.label, 80) }),
    el("p", { text: `${nodeWords(node)}.${rank > 0 && Number.isFinite(node.share) ? ` Rank ${rank} of those drawn here.` : ""}` }),
    neighbours("Fed by", edges.filter((edge) => edge.target === node.id), "source", nodes),
    neighbours("Feeds", edges.filter((edge) => edge.source === node.id), "target", nodes));
}

function said(graph, edges, { other, marked, mark, isRanked }) {
  const shown = isRanked ? NaN : drawnShare(graph, edges);
  const share = Number.isFinite(shown) ? shown : graph.shownShare;
  const parts = [`Output ${figure(graph.output)}.`];
  if (isRanked) parts.push(`No few ways carry this decision: those through the strongest units carry ${share >= 0.001 ? percent(share, 1) : "less than 0.1 %"} of what comes from the input. Units are ranked by the share that passes each.`);
  else if (Number.isFinite(share)) parts.push(`The ways drawn carry ${percent(share)} of ${Number.isFinite(shown) ? "what comes from the input" : "it"}.`);
  if (!isRanked && graph.columns.reduce((sum, column) => sum + column.layers.length, 0) < graph.nLayers) parts.push("They pass through layers that are not shown.");
  if (graph.absorbedShare >= 0.005) parts.push(`${percent(graph.absorbedShare)} of the decision comes from biases.`);
  if (Number.isFinite(graph.ablation)) parts.push(`Without the units ${graph.sample < 0 ? "drawn" : "of its class's mean path"}, ${percent(graph.ablation)} of the score is lost; without as many random ones, ${percent(graph.ablationRandom)}.`);
  if (graph.picture >= 0) parts.push(`Nothing that its picture shows has changed since step ${count(graph.picture)}, so that Images has no newer one.`);
  if (other && !isRanked) parts.push(`${marked.size} of ${edges.length} edges ${mark} since B.`);
  return parts.join(" ");
}

/** The unit that an arrow key leads to from another one: in its column, or along its strongest edge. */
function nextNode(key, id, drawing, graph) {
  const { places } = drawing.layout;
  const here = graph.nodes.find((node) => node.id === id);
  if (key === "ArrowUp" || key === "ArrowDown") {
    const column = graph.nodes.filter((node) => node.column === here.column && node.unit >= 0 && places.has(node.id));
    column.sort((one, other) => places.get(one.id).y - places.get(other.id).y);
    return column[column.indexOf(here) + (key === "ArrowUp" ? -1 : 1)]?.id;
  }
  const [from, to] = key === "ArrowLeft" ? ["target", "source"] : ["source", "target"];
  const ways = drawing.drawn.filter((edge) => edge[from] === id);
  return ways.length ? ways.reduce((best, edge) => (edge.share > best.share ? edge : best))[to] : undefined;
}

/**
 * Make one path. `other` is the graph it is compared with, `mark` ("won" or "lost") what an edge is that `other` lacks,
 * `full` = {edge, unit} the shares of the thickest edge and the longest bar, `picked` the id of the unit that is shown alone, `pick(id)` picks another one ("" for none).
 */
export function pathBlock(graph, { other, mark, letter, where = "", full, threshold, room, picked, pick, card }) {
  const isRanked = graph.isSpread;
  const edges = graph.edges.filter((edge) => Number.isFinite(edge.share) && edge.share >= threshold);
  const marked = other && !isRanked ? missing(graph, edges, other) : new Set();
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const reading = el("output", { class: "reading" });
  const metrics = el("div", {});
  const toggle = (id) => pick(id === picked ? "" : id);
  let drawing = null;
  const rest = () => {
    const node = nodes.get(picked);
    drawing?.light(node && drawing.layout.places.has(picked) ? drawing.ways("node", node) : null, true);
    reading.textContent = "";
  };
  const on = (event, what, thing) => {
    if (event === "click") return what === "node" && thing.unit >= 0 ? toggle(thing.id) : undefined;
    if (event === "leave") return rest();
    reading.textContent = short(what === "edge" ? edgeWords(thing, nodes, marked.has(thing) ? mark : "") : nodeWords(thing), 240);
    if (!nodes.has(picked)) drawing.light(drawing.ways(what, thing), false);
    return undefined;
  };
  drawing = isRanked ? null : pathDrawing(graph, { edges, marked, mark, room, full: full.edge, on });
  const shown = drawing?.node ?? rankedUnits(graph, { other, mark, full: full.unit, on });
  shown.addEventListener("keydown", (event) => {
    const id = event.target.dataset?.node;
    if (event.key === "Escape" && picked) pick("");
    else if (id && (event.key === "Enter" || event.key === " ")) toggle(id);
    else if (id && event.key.startsWith("Arrow")) drawing.nodeOf(nextNode(event.key, id, drawing, graph))?.focus();
    else return;
    event.preventDefault();
    event.stopPropagation(); // the page has its own keys
  });
  const node = nodes.get(picked);
  if (node) metrics.replaceChildren(...[unitMetrics(graph, node, edges), card?.(node)].filter(Boolean));
  rest();
  return el("section", { class: "path-block", "aria-label": `Path at ${letter || "this step"}`, style: { "--natural": `${drawing?.layout.width ?? 640}px` } },
    el("h3", {}, letter && el("span", { class: `step-letter ${letter.toLowerCase()}`, text: letter }), ` ${where ? `${where}: ` : ""}${short(graph.title, 80)}`),
    el("p", { class: "note", text: said(graph, edges, { other, marked, mark, isRanked }) }),
    el("div", { class: "scroll" }, shown), reading, metrics, !isRanked && edgeTable(graph, edges, marked, mark));
}
