// Where the nodes of a path stand: a column for each block, as high as its nodes need.

import { short } from "../dom.js";
import { asTag, commonPrefix } from "../words/names.js";

export const ROW = 26;
export const HALF = 9;
export const TOP = 46;
export const FACE = 22; // side of the crop of a unit's best exemplar
const [LETTERS, NARROWEST, WIDEST] = [12, 118, 340];
const INPUT = { image: 178, words: 150, other: 210 };
const OUTPUT = 110;

let pen = null;

/** The width of words in the drawing's letters, in pixels. */
export function widthOf(words) {
  pen ??= new OffscreenCanvas(1, 1).getContext("2d");
  pen.font = `${LETTERS}px Roboto, system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif`;
  return pen.measureText(words).width;
}

/** Cut words at their front, where names of layers have what they share, to fit into a width. */
export function cutAtFront(words, width) {
  let line = words;
  while (line.length > 1 && widthOf(line) > width) line = `…${line.replace(/^…/, "").slice(1)}`;
  return line;
}

const fitted = (words, width) => {
  let line = short(words, 60);
  while (line.length > 1 && widthOf(line) > width) line = `${line.replace(/…$/, "").slice(0, -1)}…`;
  return line;
};

/** Names of layers without the modules that they have in common, cut at the front if they do not fit. */
export function shortNames(names, width) {
  const layers = names.filter((name) => name !== "input");
  const prefix = commonPrefix(layers);
  return names.map((name) => cutAtFront(asTag(name.startsWith(prefix) ? name.slice(prefix.length) : name), width));
}

/** What tells a unit apart from the others of its column. */
export function nameInColumn(node, column) {
  const layer = asTag(node.layer);
  if (column.isInput || node.unit < 0 || !node.label.startsWith(layer)) return node.label;
  const number = node.label.slice(layer.length).trim();
  return column.layers.length === 1 ? number : `${layer.slice(commonPrefix(column.layers).length)} ${number}`;
}

function inputWidth(graph) {
  return graph.box ? INPUT.image : graph.words ? INPUT.words : INPUT.other;
}

/** The places of a text that are written: all but padding. */
export function placesOf(graph) {
  const drawn = new Set(graph.nodes.filter((node) => graph.columns[node.column]?.isInput).map((node) => node.unit));
  return (graph.words ?? []).map((word, i) => (word || drawn.has(i) ? i : -1)).filter((i) => i >= 0);
}

/** Set nodes in columns: {places: id -> {x, y, half, name}, columns: [{x, name, ...}], width, height}. */
export function placed(graph, room) {
  const others = graph.columns.filter((column) => !column.isInput);
  const left = inputWidth(graph);
  const step = Math.min(WIDEST, Math.max(NARROWEST, Math.floor((room - left - OUTPUT / 2) / Math.max(1, others.length))));
  const places = new Map();
  const nodesOf = (column) => graph.nodes.filter((node) => graph.columns[node.column] === column);
  const inputs = graph.columns.filter((column) => column.isInput).flatMap(nodesOf).filter((node) => node.unit >= 0 || !graph.words);
  const written = placesOf(graph);
  const rows = Math.max(inputs.length, written.length, ...others.map((column) => nodesOf(column).length), 3);
  const height = TOP + rows * ROW + 6;
  const put = (nodes, column, x, isInput) => {
    const pitch = Math.min(1.5 * ROW, (rows * ROW) / Math.max(1, nodes.length));
    const top = TOP + (rows * ROW - pitch * nodes.length) / 2;
    nodes.forEach((node, i) => {
      const isPatch = isInput && graph.box?.(node);
      const name = isPatch ? "" : isInput ? fitted(node.label, left - 16) : cutAtFront(nameInColumn(node, column), step - 34);
      const face = !isInput && node.unit >= 0 ? graph.faceOf?.(node) ?? "" : "";
      const half = isPatch ? HALF + 2 : Math.max(HALF + 3, Math.ceil(widthOf(name) / 2) + 7) + (face ? FACE / 2 : 0);
      const isWord = isInput && graph.words && node.unit >= 0 && node.unit < graph.words.length;
      const y = isWord ? TOP + (rows * ROW * (written.indexOf(node.unit) + 0.5)) / written.length : top + pitch * (i + 0.5);
      places.set(node.id, { x: isInput ? left - half : x, y, half, name, face });
    });
  };
  put(inputs, graph.columns[0], left, true);
  const columns = others.map((column, i) => {
    const x = left + step * (i + 1);
    if (column !== graph.columns.at(-1)) put(nodesOf(column), column, x, false);
    return { ...column, x };
  });
  const output = graph.nodes.at(-1);
  if (output) places.set(output.id, { x: columns.at(-1)?.x ?? left, y: TOP + (rows * ROW) / 2, half: OUTPUT / 2 - 6, name: short(output.label, 18) });
  const names = shortNames(columns.slice(0, -1).map((column) => column.name), step - 10);
  const named = columns.map((column, i) => ({ ...column, shown: names[i] ?? "" }));
  return { places, columns: named, left, step, rows, width: left + step * others.length + OUTPUT / 2 + 4, height };
}
