// Bars that go right for what speaks for the output, and left for what speaks against it.

import { el, figure, short } from "./dom.js";

function bar(value, full, letter) {
  const share = Math.min(1, Math.abs(value) / (full || 1)) * 50;
  const style = { width: `${share}%`, left: value < 0 ? `${50 - share}%` : "50%" };
  return el("i", { class: `bar ${letter} ${value < 0 ? "against" : "for"}`, style });
}

/** The bar of a value at A, and at B unless that is null. */
export function barTrack(valueA, valueB, full) {
  return el("span", { class: "track" }, bar(valueA, full, "a"), valueB !== null && bar(valueB, full, "b"));
}

/** A named bar: its value at A, and at B unless that is null; `input` is written between name and bar. */
export function barRow(name, valueA, valueB, { full, input = null }) {
  const compared = valueB !== null;
  const words = `${short(name, 200)}: ${figure(valueA)}${compared ? `, at B ${figure(valueB)}` : ""}`;
  return el("div", { class: "bar-row", title: words },
    el("span", { class: "name", text: short(name, 200) }),
    input !== null && el("span", { class: "value", text: figure(input) }),
    barTrack(valueA, valueB, full),
    el("span", { class: "value", text: figure(valueA) }), compared && el("span", { class: "value b", text: figure(valueB) }));
}
