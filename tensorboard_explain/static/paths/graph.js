// A decision path as a drawing: blocks of layers from left to right, edges as wide as their share.

import { count, el, figure, percent, short, svg } from "../dom.js";
import { inputPicture, patchImage } from "./input.js";
import { FACE, HALF, placed } from "./layout.js";
import { asTag } from "../words/names.js";
import { waysAlong, waysThrough } from "./ways.js";

const THICKEST = 10;
const MOST_LETTERS = 16; // the strongest of the edges that changed have a letter beside their dashes or second line
const sign = (value) => (value < 0 ? "against" : "for");

function band(from, to, sameColumn) {
  if (sameColumn) {
    const far = Math.max(from.x + from.half, to.x + to.half) + 14 + 0.2 * Math.abs(to.y - from.y);
    return { d: `M${from.x + from.half} ${from.y}C${far} ${from.y} ${far} ${to.y} ${to.x + to.half} ${to.y}`, middle: { x: far - 0.25 * (far - from.x), y: (from.y + to.y) / 2 } };
  }
  const [x0, x1] = [from.x + from.half, to.x - to.half];
  const bend = 0.45 * (x1 - x0);
  return { d: `M${x0} ${from.y}C${x0 + bend} ${from.y} ${x1 - bend} ${to.y} ${x1} ${to.y}`, middle: { x: (x0 + x1) / 2, y: (from.y + to.y) / 2 } };
}

/** What an edge is, in words. */
export function edgeWords(edge, nodes, mark) {
  const [from, to] = [nodes.get(edge.source), nodes.get(edge.target)].map((node) => short(node.label, 60));
  return `${from} → ${to}: ${percent(edge.share, 1)} of what comes from the input, contribution ${figure(edge.contribution)}${mark ? `, ${mark} since B` : ""}`;
}

function edgeNode(edge, { layout, nodes, full, mark, isMarked, on }) {
  const [from, to] = [layout.places.get(edge.source), layout.places.get(edge.target)];
  const { d, middle } = band(from, to, nodes.get(edge.source).column === nodes.get(edge.target).column);
  const width = Math.max(1, THICKEST * Math.min(1, Math.abs(edge.share) / full));
  const line = svg("path", { class: "line", fill: "none", d, "stroke-width": width.toFixed(1) });
  // what speaks against the output is a double line, for eyes that cannot tell the colours apart
  const core = edge.contribution < 0 && svg("path", { class: "core", fill: "none", d, "stroke-width": Math.max(0.5, width / 3).toFixed(1) });
  // the sign keeps its colour: what changed has a second line or dashes, and a mark
  const under = mark === "won" && svg("path", { class: "under", fill: "none", d, "stroke-width": (width + 3).toFixed(1) });
  const letter = isMarked && svg("text", { class: "mark", x: middle.x, y: middle.y + 4, "text-anchor": "middle", text: mark === "won" ? "+" : "−" });
  return svg("g", { class: `edge ${sign(edge.contribution)} ${mark}`, on }, under, line, core, letter, svg("title", { text: edgeWords(edge, nodes, mark) }));
}

/** What a node is, in words. */
export function nodeWords(node) {
  const share = Number.isFinite(node.share) ? `, ${percent(node.share, 1)} of what comes from the input passes it` : "";
  return `${short(node.label, 120)}: contribution ${figure(node.contribution)}${share}`;
}

function nodeNode(node, place, graph, on) {
  const kind = node.unit < 0 ? "bundle" : "unit";
  const picture = node.unit >= 0 && patchImage(graph, node, place);
  const named = { role: "button", tabindex: "-1", "aria-label": nodeWords(node), "data-node": node.id };
  return svg("g", { class: `node ${kind} ${sign(node.contribution)}`, ...(node.unit >= 0 ? named : {}), on },
    picture, svg("rect", { x: place.x - place.half, y: place.y - HALF - (picture ? 2 : 0), width: 2 * place.half, height: 2 * HALF + (picture ? 4 : 0), rx: picture ? 0 : 5 }),
    place.face && svg("image", { class: "face", href: place.face, x: place.x - place.half + 1, y: place.y - FACE / 2, width: FACE, height: FACE }),
    place.name && svg("text", { x: place.x + (place.face ? FACE / 2 : 0), y: place.y + 4, "text-anchor": "middle", text: place.name }),
    node.unit >= 0 && node.contribution < 0 && svg("text", { class: "minus", x: place.x - place.half - 2, y: place.y - HALF + 3, "text-anchor": "end", text: "−" }),
    svg("title", { text: nodeWords(node) }));
}

function outputNode(node, place, graph, on) {
  const label = `${place.name}: output ${figure(graph.output)}`;
  return svg("g", { class: "node output", role: "button", tabindex: "-1", "aria-label": label, "data-node": node.id, on },
    svg("rect", { x: place.x - place.half, y: place.y - 22, width: 2 * place.half, height: 44, rx: 6 }),
    svg("text", { class: "name", x: place.x, y: place.y - 3, "text-anchor": "middle", text: place.name }),
    svg("text", { x: place.x, y: place.y + 14, "text-anchor": "middle", text: figure(graph.output) }));
}

function heads(graph, layout) {
  const first = graph.columns[0];
  const what = graph.box ? "patches" : graph.words ? "tokens" : "units";
  const words = (column, kind = "units") => (column.nUnits >= 0 ? `${count(column.nUnits)} ${kind}, ${figure(column.contribution)}` : "");
  return [
    first && svg("text", { class: "layer", x: 0, y: 13, text: "input" }),
    first && svg("text", { class: "size", x: 0, y: 29, text: words(first, what) }),
    ...layout.columns.slice(0, -1).flatMap((column) => [
      svg("text", { class: "layer", x: column.x, y: 13, "text-anchor": "middle", text: column.shown }, svg("title", { text: short(asTag(column.layers.join(", ")), 300) })),
      svg("text", { class: "size", x: column.x, y: 29, "text-anchor": "middle", text: words(column, column.kind) }),
    ]),
  ];
}

/** Draw a graph's edges that are shown: {node, light(ways or null)}. `full` is the share of the thickest edge, `on(what, node or edge)` hears what is pointed at. */
export function pathDrawing(graph, { edges, marked, mark, room, full, on }) {
  const layout = placed(graph, room);
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const drawn = [...edges].filter((edge) => layout.places.has(edge.source) && layout.places.has(edge.target))
    .sort((one, other) => Math.abs(one.share) - Math.abs(other.share));
  const lettered = new Set(drawn.filter((edge) => marked.has(edge)).slice(-MOST_LETTERS));
  const pointer = (what, thing) => ({ pointerenter: () => on("enter", what, thing), pointerleave: () => on("leave", what, thing), click: () => on("click", what, thing) });
  const edgeNodes = new Map(drawn.map((edge) => [edge, edgeNode(edge, { layout, nodes, full, mark: marked.has(edge) ? mark : "", isMarked: lettered.has(edge), on: pointer("edge", edge) })]));
  const units = graph.nodes.filter((node) => layout.places.has(node.id));
  const nodeNodes = new Map(units.map((node, i) => [
    node.id, (i === units.length - 1 ? outputNode : nodeNode)(node, layout.places.get(node.id), graph, { ...pointer("node", node), focus: () => on("enter", "node", node), blur: () => on("leave", "node", node) }),
  ]));
  const drawing = svg("svg", {
    class: "path", viewBox: `0 0 ${layout.width} ${layout.height}`, width: layout.width, height: layout.height, role: "group",
    "aria-label": `Decision path: ${short(graph.title, 80)}; the arrow keys go from unit to unit, Enter shows its ways alone`,
  }, heads(graph, layout), inputPicture(graph, layout), [...edgeNodes.values()], [...nodeNodes.values()]);
  const stop = [...nodeNodes.values()].find((node) => node.hasAttribute("tabindex"));
  stop?.setAttribute("tabindex", "0");
  return {
    node: drawing,
    nodeOf: (id) => nodeNodes.get(id),
    layout,
    ways: (what, thing) => (what === "edge" ? waysAlong(thing, drawn) : waysThrough(thing.id, drawn)),
    light(ways, isAlone) {
      drawing.classList.toggle("lit", Boolean(ways));
      drawing.classList.toggle("alone", Boolean(ways && isAlone));
      for (const [edge, own] of edgeNodes) own.classList.toggle("on", Boolean(ways?.edges.has(edge)));
      for (const [id, own] of nodeNodes) own.classList.toggle("on", Boolean(ways?.nodes.has(id)));
    },
    drawn,
  };
}
