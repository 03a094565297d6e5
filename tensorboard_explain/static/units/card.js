// A card of one unit: what excites it, for which class it fires, and what the network is without it; at A and at B.

import { el, figure, percent, short } from "../dom.js";
import { exemplarsNode } from "./exemplars.js";
import { faceOf, kindsOf, ratesOf } from "./faces.js";
import { asTag } from "../words/names.js";

export { faceOf } from "./faces.js";
export { cardOn } from "./popover.js";

const MOST_CLASSES = 3;

const named = (names, c) => short(names.get(c) ?? String(c), 24);
const signed = (points) => (points > 0 ? `+${points}` : String(points).replace("-", "−"));

/** The address of the crop of a unit's best exemplar, for an `img` or an SVG `image`; "" where there is none. */
export function faceAddress(face) {
  if (!face?.picture) return "";
  if (!face.address) {
    const canvas = el("canvas", { width: face.picture.width, height: face.picture.height });
    canvas.getContext("2d").putImageData(face.picture, 0, 0);
    face.address = canvas.toDataURL();
  }
  return face.address;
}

/** Write a change of accuracy in percentage points, with its standard error. */
export function changeWords({ change, error }) {
  return Number.isFinite(change) ? `${signed(Math.round(100 * change))} ± ${Math.round(100 * error)}` : "–";
}

function rates(face) {
  const found = ratesOf(face).slice(0, MOST_CLASSES);
  if (!found.length) return null;
  return el("div", { class: "unit-rates" }, el("p", { class: "unit-what", text: "Active for" }), ...found.map(([c, rate]) => el("span", { class: "unit-rate", title: `active for ${percent(rate)} of ${named(face.names, c)}` },
    el("i", { style: { width: `${Math.max(1, 100 * rate)}%` } }), el("span", { text: `${named(face.names, c)}: ${percent(rate)}` }))));
}

/** The class that loses most without a unit, in words; "" where it was not measured. */
export function lossWords(face) {
  const rows = face.layer.effects?.units.get(face.unit) ?? [];
  if (!rows.length) return "";
  const worst = [...rows].sort((one, other) => one.change - other.change || one.c - other.c)[0];
  const changed = rows.reduce((sum, row) => sum + row.changed, 0);
  if (!changed) return `Without it no probe sample changes (each class ± ${Math.round(100 * Math.max(...rows.map((row) => row.error)))} points).`;
  return `Without it, accuracy of ${named(face.names, worst.c)}: ${changeWords(worst)} points.`;
}

/** The classes of a unit's exemplars in words, the commonest first; "" where they are not known. */
function classesOf(face) {
  const counts = new Map();
  for (const c of face.layer.exemplarLabels[face.unit] ?? []) if (c >= 0) counts.set(c, (counts.get(c) ?? 0) + 1);
  return [...counts].sort((one, other) => other[1] - one[1]).map(([c, n]) => `${named(face.names, c)}${n > 1 ? ` (${n})` : ""}`).join(", ");
}

function stability(face) {
  const said = [];
  if (Number.isFinite(face.purity)) said.push(`${percent(face.purity)} of its exemplars are of one class`);
  if (Number.isFinite(face.stayed)) said.push(`${percent(face.stayed)} were there before`);
  if (face.settled >= 0) said.push(`settled in epoch ${face.settled}`);
  return said.join("; ");
}

/** What a unit is at one step. */
export function faceNode(face, letter = "") {
  const mark = letter && el("span", { class: `step-letter ${letter.toLowerCase()}`, text: letter });
  if (!face) return el("div", { class: "unit-step" }, mark, el("p", { class: "note", text: "Nothing is known of it at this step." }));
  const kinds = kindsOf(face, named);
  const classes = classesOf(face);
  const shown = exemplarsNode(face);
  const said = [kinds.join("; "), lossWords(face), stability(face), face.dated && `${face.dated[0].toUpperCase()}${face.dated.slice(1)}.`].filter(Boolean);
  const what = `${face.by === "relevance" ? "Samples in which it matters most" : "Samples that excite it most"}${Number.isFinite(face.scale) && face.scale > 0 ? `; red raises it, blue lowers it (${face.method}, full colour ${figure(face.scale)})` : ""}${/^(exclusive|selective)/.test(face.reason ?? "") ? ". It is listed by its means over classes; single samples may be of another class" : ""}`;
  return el("div", { class: "unit-step" }, mark,
    shown && el("p", { class: "unit-what", text: what }), shown ?? el("p", { class: "unit-what", text: classes ? `The samples that excite it most are of ${classes}; no crops of them are in this record.` : "No exemplars of it are in this record." }),
    rates(face), ...said.map((words) => el("p", { class: "unit-said", text: words })));
}

/** Make the card of a unit: {layer, unit, title}, units = {a, b}, each from `unitsOf` or null. */
export function unitCard({ layer, unit, title = "" }, units) {
  const [a, b] = [faceOf(units?.a, layer, unit), faceOf(units?.b, layer, unit)];
  const isCompared = Boolean(units?.isCompared);
  const label = (a ?? b)?.label ?? `neuron ${unit} of ${asTag(layer)}`;
  const reason = (a ?? b)?.reason ?? "";
  return el("article", { class: `unit-card${isCompared ? " compared" : ""}`, "aria-label": short(label, 80) },
    el("h3", {}, short(title || label, 60), title && title !== label && el("small", { text: ` ${short(label, 60)}` }), reason && el("span", { class: "unit-reason", text: short(reason, 60) })),
    el("div", { class: "unit-steps" }, faceNode(a, isCompared ? "A" : ""), isCompared && faceNode(b, "B")));
}
