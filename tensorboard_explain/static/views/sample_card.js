// One probe sample: input, heatmap at A, heatmap at B, their difference; and what the network takes it for.

import { paintOver, paintPixels, paintSigned } from "../colours.js";
import { el, figure, percent, short } from "../dom.js";
import { markedCanvas } from "../marks.js";
import { tilePixels, tileValues } from "../sprite.js";

/** Name a class by its index. */
export function className(names, index) {
  return names.get(index) || (index >= 0 ? String(index) : "?");
}

/** Name a sample by its label, else by its place. */
export function sampleName(header, position) {
  return header.labels ? className(header.classNames, header.labels[position]) : `sample ${position + 1}`;
}

/** Read the attributions of a sample at a step; null where there are none. */
export function valuesAt(at, position) {
  if (!at?.method) return null;
  const { numbers, scales, rows } = at.method;
  const row = rows ? rows[position] ?? -1 : position;
  if (row < 0) return null;
  if (numbers) {
    const width = numbers.length / scales.length;
    return Number.isInteger(width) && row < scales.length ? numbers.subarray(row * width, (row + 1) * width) : null;
  }
  if (!at.sprite || !at.header.tile) return null;
  return tileValues(at.sprite, at.header.tile, at.method.firstTile + row, scales[row] || 0);
}

/** Return how many samples an explanation holds. */
export function nSamples(header) {
  return header.labels?.length ?? header.predicted?.length ?? header.outputs?.length ?? header.methods[0]?.scales.length ?? 0;
}

function largest(values) {
  let top = 0;
  for (const value of values) if (Math.abs(value) > top) top = Math.abs(value); // NaN is never larger
  return top;
}

function said(header, position) {
  if (header.outputs) return { words: `output ${figure(header.outputs[position])}`, right: null };
  if (!header.predicted) return { words: "", right: null };
  const predicted = header.predicted[position];
  const share = header.confidence ? percent(header.confidence[position]) : "";
  const right = header.labels ? predicted === header.labels[position] : null;
  return { words: [right ? "" : `as ${short(className(header.classNames, predicted), 24)}`, share].filter(Boolean).join(", "), right };
}

/** Write in a card's caption what the network takes a sample for, and the class whose score the method subtracts; return true if that is right, null where nobody can tell. */
export function verdict(node, mark, { header, method }, position) {
  const { words, right } = said(header, position);
  const other = method?.contrast?.[position];
  node.replaceChildren(
    mark && el("span", { class: `step-letter ${mark.toLowerCase()}`, text: mark }),
    right === null ? "" : el("span", { class: right ? "right" : "wrong", text: right ? "✓" : "✗", title: right ? "as labelled" : "not as labelled" }),
    ` ${words}`,
    other === undefined ? "" : el("span", { class: "contrast", title: "the score of this class is subtracted", text: ` vs ${short(className(header.classNames, other), 24)}` }),
  );
  return right;
}

function tileBox(letter, title) {
  const canvas = el("canvas", { role: "img", width: 1, height: 1 });
  const marked = markedCanvas(canvas);
  return { canvas, title, marked, node: el("figure", { class: "tile" }, marked.node, el("figcaption", { text: letter })) };
}

/** Make a card. paint(A, B, options) draws it; A and B are {header, sprite, method} or null. */
function sampleCard(position, { probe, name, onPick, isStrip }) {
  const boxes = {
    input: tileBox("input", "input"), a: tileBox("A", "heatmap at A"),
    b: tileBox("B", "heatmap at B"), difference: tileBox("A − B", "difference, A minus B"),
  };
  const title = el("b", { text: short(name, 80), title: short(name, 400) });
  const [atA, atB] = [el("span", { class: "verdict" }), el("span", { class: "verdict" })];
  const reading = el("output", { class: "reading" });
  const node = el("button", {
    class: "card", type: "button", "data-sample": position, on: { click: () => onPick(position) },
  }, el("span", { class: "caption" }, title, atA, atB), el("span", { class: "tiles" }, ...Object.values(boxes).map((b) => b.node)), reading);
  let drawn = {};

  const place = probe?.header.places ? probe.header.places.get(position) ?? -1 : position; // of its picture
  const pixels = place >= 0 && probe?.sprite && probe.header.tile ? tilePixels(probe.sprite, probe.header.tile, place) : null;
  if (pixels) paintPixels(boxes.input.canvas, pixels);
  else boxes.input.node.hidden = true;

  const read = new WeakMap(); // by method, which is one event's: B mostly stays while A moves
  const values = (at) => {
    if (!at?.method) return null;
    if (!read.has(at.method)) read.set(at.method, valuesAt(at, position));
    return read.get(at.method);
  };
  const paintBox = (box, map, tile, { full, over, large }) => {
    box.node.hidden = !map;
    const how = `${full} ${over} ${large}`;
    if (!map || (box.map === map && box.how === how)) return;
    [box.map, box.how] = [map, how];
    const isMarked = !over && paintSigned(box.canvas, map, tile, full, { isMarked: large });
    if (over) paintOver(box.canvas, pixels, map, tile, full);
    box.marked.show(isMarked ? null : map, tile, full, isStrip);
  };
  const minus = (one, other) => (one && other && one.length === other.length ? one.map((v, i) => v - other[i]) : null);

  node.addEventListener("pointermove", (event) => {
    const key = Object.keys(boxes).find((k) => boxes[k].canvas === event.target);
    const map = drawn[key];
    if (!map || !node.classList.contains("large")) return reading.replaceChildren();
    const box = event.target.getBoundingClientRect();
    const [height, width] = drawn.tile;
    const row = Math.min(height - 1, Math.floor(((event.clientY - box.top) / box.height) * height));
    const column = Math.min(width - 1, Math.floor(((event.clientX - box.left) / box.width) * width));
    return reading.replaceChildren(`${boxes[key].title}, row ${row}, column ${column}: ${figure(map[row * width + column])} ${drawn.unit}`);
  });

  return {
    node,
    paint(a, b, { full, large, over }) {
      node.classList.toggle("large", large);
      const [mapA, mapB] = [values(a), b ? values(b) : null];
      const difference = minus(mapA, mapB);
      const own = full === null ? Math.max(mapA ? largest(mapA) : 0, mapB ? largest(mapB) : 0) : full;
      drawn = { a: mapA, b: mapB, difference, tile: a?.header.tile, unit: a?.header.unit };
      const how = { full: own, over: Boolean(over && pixels), large };
      paintBox(boxes.a, mapA, a?.header.tile, how);
      paintBox(boxes.b, mapB, b?.header.tile, how);
      paintBox(boxes.difference, difference, a?.header.tile, how);
      const right = a ? verdict(atA, b ? "A" : "", a, position) : null;
      node.classList.toggle("mistaken", right === false);
      if (b) verdict(atB, "B", b, position);
      else atB.replaceChildren();
      node.setAttribute("aria-label", `sample ${position + 1}: ${short(name, 40)}; ${atA.textContent} ${atB.textContent}`);
      for (const key of ["a", "b", "difference"]) boxes[key].canvas.setAttribute("aria-label", boxes[key].title);
      boxes.input.canvas.setAttribute("aria-label", "input");
    },
  };
}

/** Make a grid of cards, which are kept from step to step; the returned function draws it. */
export function cardGrid(onPick, kind = "") {
  let cards = new Map();
  let built = { key: "", probe: undefined, shown: "", grid: null };
  return (grid, a, b, { probe, positions, full, large, state }) => {
    grid.className = `cards${b ? " compared" : ""}${kind ? ` ${kind}` : ""}`;
    const { header } = a;
    const key = JSON.stringify([header.labels, nSamples(header), document.documentElement.dataset.theme]);
    if (built.probe !== probe?.sprite || built.key !== key) {
      cards = new Map();
      built = { key, probe: probe?.sprite, shown: "", grid: null };
    }
    for (const i of positions) if (!cards.has(i)) cards.set(i, sampleCard(i, { probe, name: sampleName(header, i), onPick, isStrip: kind === "signals" }));
    if (built.shown !== positions.join() || built.grid !== grid) {
      built = { ...built, shown: positions.join(), grid };
      grid.replaceChildren(...positions.map((i) => cards.get(i).node));
    }
    for (const i of positions) cards.get(i).paint(a, b, { full, large, over: kind === "" && state.over === "1" });
  };
}
