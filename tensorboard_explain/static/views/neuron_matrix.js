// Class × neuron rates of a layer as a picture, at A, at B and their difference; a column is a neuron.

import { paintCells, paintKinds, paintShares } from "../colours.js";
import { el, percent, short } from "../dom.js";

const [ROW_PIXELS, WIDE] = [10, 1200]; // of the difference: pixels of a row, and of a row's length at most

/** Rate of a class (row) and a neuron (column). */
export const rateAt = (layer, row, column) => layer.rates[row * layer.neurons.length + column];

/** A layer with its rows as `wanted`: indices of classes, or their names where another run may number them otherwise. */
export function withClasses(layer, header, wanted, byName) {
  const own = header.classes.map((c) => (byName ? header.classNames.get(c) ?? String(c) : c));
  const n = layer.neurons.length;
  const rates = new Float32Array(wanted.length * n).fill(NaN);
  wanted.forEach((each, row) => {
    const from = own.indexOf(each);
    if (from >= 0) rates.set(layer.rates.subarray(from * n, (from + 1) * n), row * n);
  });
  return { ...layer, rates };
}

function spread(layer, nClasses, column) {
  let [low, high] = [Infinity, -Infinity];
  for (let row = 0; row < nClasses; row++) {
    const rate = rateAt(layer, row, column);
    if (rate < low) low = rate;
    if (rate > high) high = rate;
  }
  return high - low;
}

function change(a, b, nClasses, column) {
  let most = 0;
  for (let row = 0; row < nClasses; row++) most = Math.max(most, Math.abs(rateAt(a, row, column) - rateAt(b, row, column)) || 0);
  return most;
}

/** Order a layer's columns: by index, a class's rate, selectivity, spread between classes, or change from B to A. */
export function ordered(sort, { a, b, classes }) {
  const columns = a.neurons.map((_, i) => i);
  const row = sort.startsWith("class:") ? classes.indexOf(Number(sort.slice(6))) : -1;
  const key = {
    selectivity: (i) => a.selectivity[i],
    spread: (i) => spread(a, classes.length, i),
    change: (i) => (b ? change(a, b, classes.length, i) : 0),
  }[sort] ?? (row >= 0 ? (i) => rateAt(a, row, i) : null);
  if (!key) return columns;
  const values = columns.map((i) => (Number.isFinite(key(i)) ? key(i) : -1));
  return columns.sort((one, other) => values[other] - values[one] || one - other);
}

function values(layer, nClasses, order, read) {
  const out = new Float32Array(nClasses * order.length);
  for (let row = 0; row < nClasses; row++) {
    for (let at = 0; at < order.length; at++) out[row * order.length + at] = read(layer, row, order[at]);
  }
  return out;
}

function picture(letter, title, { classes, names, sort, onSort }) {
  const canvas = el("canvas", { class: "matrix", role: "img", "aria-label": title, width: 1, height: 1 });
  const rows = classes.map((c) => el("button", {
    type: "button", "aria-pressed": String(sort === `class:${c}`), title: `sort by ${short(names.get(c) ?? c, 80)}`,
    on: { click: () => onSort(sort === `class:${c}` ? "index" : `class:${c}`) },
  }, short(names.get(c) ?? String(c), 40)));
  const node = el("div", { class: "matrix-block" }, el("h3", { class: "quiet" }, letter && el("span", { class: `step-letter ${letter.toLowerCase()}`, text: letter }), ` ${title}`),
    el("div", { class: "matrix-row" }, el("div", { class: "row-names" }, ...rows), canvas),
    el("div", { class: "matrix-row" }, el("span", { class: "axis-title", text: "class ↑" }), el("span", { class: "axis-title across", text: `neuron → (${sort === "index" ? "by index" : "sorted"})` })));
  return { canvas, node };
}

function kindOf(layer, neuron) {
  if (layer.dead.has(neuron)) return "dead";
  if (layer.exclusive.has(neuron)) return "exclusive";
  return layer.alwaysOn.has(neuron) ? "always" : "";
}

/** Draw a layer's matrices. onNeuron(neuron, whether it is of another run) is called with the neuron that was chosen. */
export function matrices(given) {
  const { b, otherRun } = given;
  if (!b || !otherRun) return matricesOf(given);
  const one = matricesOf({ ...given, b: null, letter: "A", onNeuron: (n) => given.onNeuron(n, false) });
  return el("div", {}, one, matricesOf({ ...given, a: b, b: null, letter: "B", neuron: given.neuronB, onNeuron: (n) => given.onNeuron(n, true) }));
}

function matricesOf({ a, b, classes, names, sort, neuron, letter = "", onSort, onNeuron }) {
  const order = ordered(sort, { a, b, classes });
  const size = [classes.length, order.length];
  const same = b && b.neurons.join() === a.neurons.join() ? b : null;
  const options = { classes, names, sort, onSort };
  const blocks = [picture(letter || (b ? "A" : ""), "rate by class (down) and neuron (across)", options)];
  paintShares(blocks[0].canvas, values(a, classes.length, order, rateAt), size);
  if (same) {
    blocks.push(picture("B", "the same at B", options), picture("", "A − B: red where it fires more often at A, blue with a minus where it fires less often", options));
    paintShares(blocks[1].canvas, values(same, classes.length, order, rateAt), size);
    const difference = (layer, row, i) => rateAt(layer, row, i) - rateAt(same, row, i);
    // as many pixels as fit: rows are high, columns may be narrow
    paintCells(blocks[2].canvas, values(a, classes.length, order, difference), size, 1, [ROW_PIXELS, Math.max(1, Math.floor(WIDE / order.length))]);
  }
  blocks.slice(0, same ? 2 : 1).forEach((block, i) => {
    const kinds = el("canvas", { class: "kinds", role: "img", "aria-label": "dead, exclusive and always active neurons" });
    paintKinds(kinds, order.map((column) => kindOf(i ? same : a, a.neurons[column])));
    block.node.lastChild.before(el("div", { class: "matrix-row" }, el("span"), kinds));
  });
  const reading = el("output", { class: "reading" });
  const place = (event) => {
    const box = event.target.getBoundingClientRect();
    const at = Math.min(order.length - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * order.length)));
    const row = Math.min(classes.length - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * classes.length)));
    return { column: order[at], row };
  };
  const marks = blocks.map(({ canvas }) => {
    const mark = el("i", { class: "column-mark", hidden: true });
    const holder = el("div", { class: "matrix-holder", style: { "--rows": classes.length } });
    canvas.replaceWith(holder);
    holder.append(canvas, mark);
    canvas.addEventListener("pointermove", (event) => {
      const { column, row } = place(event);
      const words = (r) => `${short(names.get(classes[r]) ?? classes[r], 40)} ${percent(rateAt(a, r, column))}${same ? ` (B ${percent(rateAt(same, r, column))})` : ""}`;
      reading.replaceChildren(el("b", { text: `neuron ${a.neurons[column]}` }), ...classes.map((_, r) => el("span", { class: r === row ? "here" : "", text: words(r) })));
    });
    canvas.addEventListener("click", (event) => onNeuron(a.neurons[place(event).column]));
    return mark;
  });
  const at = order.findIndex((i) => a.neurons[i] === neuron);
  for (const mark of marks) {
    mark.hidden = at < 0;
    mark.style.setProperty("left", `${(100 * at) / order.length}%`);
    mark.style.setProperty("width", `${100 / order.length}%`);
  }
  const step = (by) => {
    const next = at < 0 ? 0 : Math.min(order.length - 1, Math.max(0, at + by));
    onNeuron(a.neurons[order[next]]);
  };
  const node = el("div", {
    class: "matrices", tabindex: 0, "data-keys": true, role: "group",
    "aria-label": "Neurons of the layer; the arrow keys choose one",
    on: {
      keydown: (event) => {
        const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (!by || event.target !== node) return;
        event.preventDefault();
        event.stopPropagation();
        step(by);
      },
    },
  }, ...blocks.map((block) => block.node), reading);
  return node;
}
