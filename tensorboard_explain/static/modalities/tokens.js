// Texts: words on the colours of their attribution at A, at B, and the difference.

import { signedInk } from "../colours.js";
import { el, figure, short } from "../dom.js";
import { signedLegend } from "../legend.js";
import { sampleName, valuesAt, verdict } from "../views/sample_card.js";

const LETTERS = 40;

function line(letter, text, values, { full, unit }) {
  const spans = text.map((word, i) => {
    if (word === null) return null;
    const { ground, ink } = signedInk(values[i] ?? NaN, full);
    return el("span", { class: "token", style: { "background-color": ground, color: ink },
      title: `${short(word, LETTERS)}: ${figure(values[i])} ${unit}`, text: short(word, LETTERS) || "·" });
  });
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
    const right = verdict(saidA, b ? "A" : "", header, i);
    if (b) verdict(saidB, "B", b.header, i);
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
