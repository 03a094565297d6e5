// The units of each block that carry most, for a decision that no few ways carry.

import { count, el, figure, percent, short, svg } from "../dom.js";
import { nodeWords } from "./graph.js";
import { nameInColumn, shortNames } from "./layout.js";
import { newUnits } from "./ways.js";

const ROOM = 150;

function crop(graph, node) {
  const box = graph.box?.(node);
  if (!box) return null;
  const [top, left, height, width] = box;
  const side = (share) => `${(100 * share).toFixed(2)}%`;
  return el("i", { class: "crop", style: {
    "background-image": `url("${graph.image}")`, "background-size": `${side(1 / width)} ${side(1 / height)}`,
    "background-position": `${side(width < 1 ? left / (1 - width) : 0)} ${side(height < 1 ? top / (1 - height) : 0)}`,
  } });
}

/** The best exemplar of a unit, where its neuron monitor has one. */
function exemplar(graph, node) {
  const address = graph.faceOf?.(node);
  return address ? el("i", { class: "crop", style: { "background-image": `url("${address}")`, "background-size": "100% 100%" } }) : null;
}

/** The image with the patches that are listed. */
function patchMap(graph) {
  const [rows, columns] = graph.tile;
  const boxes = graph.nodes.map((node) => [node, graph.box(node)]).filter(([, box]) => box);
  return svg("svg", { class: "path patches", viewBox: `0 0 ${columns} ${rows}`, role: "img", "aria-label": "The patches that are listed" },
    svg("image", { class: "pixels", href: graph.image, width: columns, height: rows }),
    ...boxes.map(([node, [top, left, height, width]]) => svg("rect", {
      class: `outline ${node.contribution < 0 ? "against" : "for"}`, x: left * columns, y: top * rows, width: width * columns, height: height * rows, fill: "none", "vector-effect": "non-scaling-stroke",
    })));
}

function row(graph, node, column, full, mark, on) {
  const name = nameInColumn(node, column);
  if (node.unit < 0) return el("li", { class: "rest", text: `${short(name, 40)}, ${percent(node.share)}` });
  const isPatch = Boolean(graph.box?.(node));
  const label = `${nodeWords(node)}${mark ? `; ${mark} since B` : ""}`;
  return el("li", {}, el("button", { class: `rank ${node.contribution < 0 ? "against" : "for"} ${mark}`, "aria-label": label, title: label, on: { click: () => on("click", "node", node) } },
    el("span", { class: "name" }, crop(graph, node) ?? exemplar(graph, node), mark && el("b", { text: mark === "won" ? "+ " : "− " }), short(name, 40)),
    el("span", { class: "length" }, el("i", { style: { width: `${(100 * node.share) / full}%` } })), el("span", { class: "number", text: `${node.contribution < 0 ? "− " : ""}${percent(node.share, 1)}` })));
}

/** List a graph's units by block, those that carry most first; `mark` is what a unit is that `other` lacks. */
export function rankedUnits(graph, { other, mark, full, on }) {
  const marked = other ? newUnits(graph, other) : new Set();
  const columns = graph.columns.slice(0, -1);
  const names = shortNames(columns.map((column) => column.name), ROOM);
  return el("div", { class: "ranking" }, ...columns.map((column, i) => {
    const nodes = graph.nodes.filter((node) => graph.columns[node.column] === column);
    nodes.sort((one, two) => (one.unit < 0) - (two.unit < 0) || two.share - one.share);
    const size = column.nUnits >= 0 ? ` ${count(column.nUnits)} ${column.kind}, ${figure(column.contribution)}` : "";
    return el("section", { "aria-label": short(column.name, 80) }, el("h4", { title: short(column.layers.join(", "), 300) }, names[i], el("small", { text: size })),
      column.isInput && graph.box && patchMap(graph),
      el("ol", {}, ...nodes.map((node) => row(graph, node, column, full, marked.has(node.id) ? mark : "", on))));
  }));
}
