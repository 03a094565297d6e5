// Texts: words on the colours of their attribution at A, at B, and the difference.

import { signedInk } from "../colours.js";
import { el, figure, short } from "../dom.js";
import { signedLegend } from "../legend.js";
import { sampleName, valuesAt, verdict } from "../views/sample_card.js";
import { wordPieces } from "../words/pieces.js";

const LETTERS = 40;
const WEAK = 0.1; // of the full colour

/** A token on its colour; what speaks against the output is underlined, too, and a piece of a word stands close to the one before. */
export function tokenNode({ text, joins }, { token, value, full, unit = "" }) {
  const { ground, ink } = signedInk(value ?? NaN, full);
  const against = value < -WEAK * full;
  return el("span", { class: `token${joins ? " joined" : ""}${against ? " against" : ""}`, style: { "background-color": ground, color: ink },
    title: `${short(token, LETTERS)}: ${figure(value)} ${unit}`.trim(), text: short(text, LETTERS) || "·" });
}

function line(letter, text, values, { full, unit }) {
  const spans = wordPieces(text).map((piece, i) => piece && [!piece.joins && el("wbr"), tokenNode(piece, { token: text[i], value: values[i], full, unit })]).flat();
  return el("span", { class: "text-line" }, letter && el("span", { class: "line-name", text: letter }), ...spans);
}

function textCards(a, b, { probe, positions, full, large, onPick }) {
  const { header } = a;
  return positions.map((i) => {
    const text = probe?.header.texts?.[i] ?? [];
    const [atA, atB] = [valuesAt(a, i), b ? valuesAt(b, i) : null];
    const shown = (values) => (values ? text.map((word, j) => (word === null ? 0 : Math.abs(values[j] ?? 0))) : [0]);
    const own = full ?? Math.max(...shown(atA), ...shown(atB));
    const options = { full: own, unit: header.unit };
    const name = sampleName(header, i);
    const [saidA, saidB] = [el("span", { class: "verdict" }), el("span", { class: "verdict" })];
    const right = verdict(saidA, b ? "A" : "", a, i);
    if (b) verdict(saidB, "B", b, i);
    const lines = [
      atA && line(b ? "A" : "", text, atA, options),
      atB && line("B", text, atB, options),
      atA && atB && line("A − B", text, atA.map((value, j) => value - atB[j]), options),
    ];
    return el("button", {
      class: `card text${large ? " large" : ""}${right === false ? " mistaken" : ""}`, type: "button", "data-sample": i,
      on: { click: () => onPick(i) },
    }, el("span", { class: "caption" }, el("b", { text: short(name, 40), title: short(name, 400) }), saidA, saidB), ...lines);
  });
}

export function create(onPick) {
  return {
    legend: signedLegend,
    draw(grid, a, b, options) {
      grid.className = "texts";
      grid.replaceChildren(...textCards(a, b, { ...options, onPick }));
    },
  };
}
