// What the colours mean.

import { shareGradient, signedGradient } from "./colours.js";
import { el, figure } from "./dom.js";

/** The colour bar of signed values; `full` is null where each sample has its own scale. */
export function signedLegend(full, unit) {
  const [low, high] = full === null ? ["own minimum", "own maximum"] : [`−${figure(full)}`, `+${figure(full)} ${unit}`];
  const [against, speaks] = unit === "output" ? ["lowers the output", "raises it"] : ["against the class", "for it"];
  return el("div", { class: "legend" }, el("span", { text: against }), el("span", { class: "number", text: low }),
    el("i", { class: "ramp", style: { background: signedGradient() } }),
    el("span", { class: "number", text: high }), el("span", { text: speaks }));
}

const key = (kind, words) => el("span", { class: `key ${kind}` }, el("i"), words);

/** What the bars of tabular probes mean. */
export function barLegend(unit, compared) {
  const [speaks, against] = unit === "output" ? ["raises the output", "lowers it"] : ["for the class", "against it"];
  const steps = compared ? [key("filled", "at A"), key("dashed", "at B")] : [];
  return el("div", { class: "legend" }, key("for", speaks), key("against", against), ...steps, el("span", { text: `in ${unit}` }));
}

/** What the edges of a path mean. */
export function edgeLegend(compared) {
  return el("div", { class: "legend" }, key("for", "speaks for the output"), key("against double", "against it (double line, −)"),
    compared && key("won", "+ won since B"), compared && key("lost", "− lost since B"));
}

/** The colour bar of rates. */
export function shareLegend() {
  return el("div", { class: "legend" }, el("span", { text: "active for" }), el("span", { class: "number", text: "no sample" }),
    el("i", { class: "ramp", style: { background: shareGradient() } }), el("span", { class: "number", text: "every sample" }));
}

/** What the marks under a layer's neurons mean. */
export function kindLegend() {
  return el("div", { class: "legend" }, key("dead", "dead"), key("exclusive", "exclusive to a class"), key("always", "always on"));
}
