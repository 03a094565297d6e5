// A decision path as a drawing: layers from left to right, edges as wide as their share.

import { el, figure, percent, short, svg } from "../dom.js";

const WIDTH = 600; // of a graph with few layers; more layers make it wider
const NARROWEST = 130;
const ROW = 38;
const PAD = { left: 150, right: 60, y: 26 };

/** Name a node over time. One without a unit stands for the rest of its layer, however many that are at a step. */
function keysOf(graph) {
  return new Map(graph.nodes.map((node) => [
    node.id, node.unit >= 0 ? node.id : `${node.layer}: rest ${node.contribution < 0 ? "against" : "for"}`,
  ]));
}

const edgeKey = (keys, edge) => `${keys.get(edge.source)}\u0000${keys.get(edge.target)}`;

/** Find the edges of one graph that another one lacks. */
export function missing(graph, other) {
  const [keys, otherKeys] = [keysOf(graph), keysOf(other)];
  const there = new Set(other.edges.map((edge) => edgeKey(otherKeys, edge)));
  return new Set(graph.edges.filter((edge) => !there.has(edgeKey(keys, edge))));
}

function columnsOf(graph) {
  const columns = [];
  const seen = new Map();
  for (const node of graph.nodes) {
    if (!seen.has(node.layer)) {
      seen.set(node.layer, columns.length);
      columns.push([]);
    }
    columns[seen.get(node.layer)].push(node);
  }
  return columns;
}

function placed(graph) {
  const columns = columnsOf(graph);
  const step = Math.max(NARROWEST, (WIDTH - PAD.left - PAD.right) / Math.max(1, columns.length - 1));
  const tallest = Math.max(...columns.map((column) => column.length), 1);
  const places = new Map();
  columns.forEach((column, x) => column.forEach((node, i) => {
    places.set(node.id, { x: PAD.left + x * step, y: PAD.y + ROW * (i + (tallest - column.length) / 2) + ROW / 2 });
  }));
  return { columns, step, places, width: PAD.left + PAD.right + step * (columns.length - 1), height: 2 * PAD.y + ROW * tallest };
}

function edgeNode(edge, { places, full, marked, mark, say }) {
  const [from, to] = [places.get(edge.source), places.get(edge.target)];
  const middle = (from.x + to.x) / 2;
  const changed = marked.has(edge);
  const kind = changed ? mark : edge.contribution < 0 ? "against" : "for";
  const words = `${edge.source} → ${edge.target}: share ${percent(edge.share, 1)}, contribution ${figure(edge.contribution)}${changed ? `, ${mark}` : ""}`;
  return svg("path", {
    class: `edge ${kind}`, fill: "none", d: `M${from.x} ${from.y}C${middle} ${from.y} ${middle} ${to.y} ${to.x} ${to.y}`,
    "stroke-width": (1 + 9 * Math.min(1, Math.abs(edge.share) / full)).toFixed(1),
    on: { pointerenter: () => say(words), pointerleave: () => say("") },
  }, svg("title", { text: short(words, 300) }));
}

function nodeNode(node, place, isFirst, say) {
  const words = `${short(node.label, 120)}: contribution ${figure(node.contribution)}`;
  return svg("g", { class: `node ${node.contribution < 0 ? "against" : "for"}`, on: { pointerenter: () => say(words), pointerleave: () => say("") } },
    svg("circle", { cx: place.x, cy: place.y, r: 5.5 }),
    svg("text", { x: place.x + (isFirst ? -11 : 0), y: place.y + (isFirst ? 4 : -9), "text-anchor": isFirst ? "end" : "middle", text: short(node.label, isFirst ? 24 : 18) }),
    svg("title", { text: words }));
}

function edgeTable(graph, marked, mark) {
  const largest = [...graph.edges].sort((one, other) => Math.abs(other.share) - Math.abs(one.share)).slice(0, 40);
  return el("details", {}, el("summary", { text: "The edges as a table" }),
    el("table", {}, el("thead", {}, el("tr", {}, ...["from", "to", "share", "contribution", ""].map((name) => el("th", { scope: "col", text: name })))),
      el("tbody", {}, ...largest.map((edge) => el("tr", {}, el("td", { text: short(edge.source, 40) }), el("td", { text: short(edge.target, 40) }),
        el("td", { text: percent(edge.share, 1) }), el("td", { text: figure(edge.contribution) }), el("td", { text: marked.has(edge) ? mark : "" }))))));
}

/** Draw a graph; `other` is the one it is compared with, `mark` ("won" or "lost") what an edge is that `other` lacks. */
export function pathGraph(graph, { other, mark, letter }) {
  const { columns, step, places, width, height } = placed(graph);
  const marked = other ? missing(graph, other) : new Set();
  const full = Math.max(...graph.edges.map((edge) => Math.abs(edge.share)).filter(Number.isFinite), 0) || 1;
  const reading = el("output", { class: "reading" });
  const say = (words) => { reading.textContent = short(words, 240); };
  const edges = graph.edges.filter((edge) => Number.isFinite(edge.share)).sort((x, y) => Math.abs(x.share) - Math.abs(y.share));
  const drawing = svg("svg", {
    class: "path", viewBox: `0 0 ${width} ${height}`, role: "img", style: { "max-width": `${1.2 * width}px` },
    "aria-label": `Decision path: ${short(graph.title, 80)}; the table below has the figures`,
  },
  columns.map((column, x) => svg("text", { class: "layer", x: PAD.left + x * step, y: 12, "text-anchor": "middle", text: short(column[0].layer, 20) })),
  edges.map((edge) => edgeNode(edge, { places, full, marked, mark, say })),
  graph.nodes.map((node) => nodeNode(node, places.get(node.id), columns[0].includes(node), say)));
  const share = Number.isFinite(graph.shownShare) ? `; the paths drawn carry ${percent(graph.shownShare)} of it` : "";
  return el("section", { class: "path-block", "aria-label": `Path at ${letter || "this step"}` },
    el("h3", {}, letter && el("span", { class: `step-letter ${letter.toLowerCase()}`, text: letter }), ` ${short(graph.title, 80)}`),
    el("p", { class: "note", text: `Output ${figure(graph.output)}${share}.${other ? ` ${marked.size} of ${graph.edges.length} edges ${mark}.` : ""}` }),
    el("div", { class: "scroll" }, drawing), reading, edgeTable(graph, marked, mark));
}
