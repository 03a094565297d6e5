// The exemplars of a unit: image crops under the unit's own heatmap, words, lines or bars.

import { barRow } from "../bars.js";
import { paintOver, paintPixels, signedInk } from "../colours.js";
import { el, figure, short, svg } from "../dom.js";
import { markedCanvas } from "../marks.js";
import { tokenNode } from "../modalities/tokens.js";
import { wordPieces } from "../words/pieces.js";

const LETTERS = 24;

const named = (names, c) => (c >= 0 ? short(names.get(c) ?? String(c), 20) : "");

function caption(one, names) {
  const name = named(names, one.label);
  return el("figcaption", {}, name && el("b", { text: name, title: name }), el("span", { text: ` ${figure(one.value)}` }));
}

function crops(face) {
  const figures = face.shown.filter((one) => one.pixels).map((one) => {
    const said = `sample ${one.sample}${one.label >= 0 ? ` of ${named(face.names, one.label)}` : ""}`;
    const plain = el("canvas", { role: "img", "aria-label": `crop of ${said}` });
    paintPixels(plain, one.pixels);
    const heat = one.map && el("canvas", { role: "img", "aria-label": `what excites the neuron in ${said}` });
    const marked = heat && markedCanvas(heat);
    if (heat) paintOver(heat, one.pixels, one.map, one.mapSize, face.scale);
    marked?.show(one.map, one.mapSize, face.scale);
    return el("figure", { class: "unit-exemplar", title: said }, plain, marked?.node, caption(one, face.names));
  });
  return figures.length ? el("div", { class: "unit-crops" }, ...figures) : null;
}

function texts(face) {
  const lines = face.shown.filter((one) => one.words.length).map((one) => el("p", { class: "unit-text" }, ...wordPieces(one.words).flatMap((piece, i) => [!piece.joins && el("wbr"), tokenNode({ ...piece, text: short(piece.text, LETTERS) }, { token: one.words[i], value: one.values[i] ?? 0, full: face.scale })]), el("small", { text: ` ${named(face.names, one.label)} ${figure(one.value)}` })));
  return lines.length ? el("div", {}, ...lines) : null;
}

function bars(face) {
  const rows = face.shown.filter((one) => one.words.length).map((one) => el("div", { class: "bars" },
    el("h4", { text: `${named(face.names, one.label)} ${figure(one.value)}` }),
    ...one.words.map((word, i) => barRow(word, one.values[i] ?? NaN, null, { full: face.scale, input: one.inputs[i] ?? null }))));
  return rows.length ? el("div", { class: "unit-bars" }, ...rows) : null;
}

const [WIDTH, HEIGHT] = [132, 40];

function line(one, face) {
  const [low, high] = [Math.min(...one.inputs), Math.max(...one.inputs)];
  const at = (i, n) => (WIDTH * i) / Math.max(1, n);
  const y = (value) => 2 + (HEIGHT - 4) * (1 - (value - low) / (high - low || 1));
  const ground = one.values.map((value, i) => svg("rect", {
    x: at(i, one.values.length), y: 0, width: at(1, one.values.length) + 0.5, height: HEIGHT, fill: signedInk(value, face.scale).ground,
  }));
  const points = one.inputs.map((value, i) => `${at(i, one.inputs.length - 1).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  return el("figure", { class: "unit-exemplar wide" },
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, role: "img", "aria-label": `window of sample ${one.sample}` }, ...ground, svg("polyline", { points, class: "unit-line" })),
    caption(one, face.names));
}

function lines(face) {
  const figures = face.shown.filter((one) => one.inputs.length > 1).map((one) => line(one, face));
  return figures.length ? el("div", { class: "unit-crops" }, ...figures) : null;
}

/** Draw a unit's exemplars, whatever kind of input they are of; null where there is nothing to draw. */
export function exemplarsNode(face) {
  return crops(face) ?? ({ tokens: texts, signal: lines }[face.form] ?? bars)(face) ?? null;
}
