// A strategy's symbol: a shape and a colour of its own.

import { classColour } from "../colours.js";
import { el, svg } from "../dom.js";

const polygon = (r, n, turn) => `M${Array.from({ length: n }, (_, i) => `${(r * Math.sin(turn + (2 * Math.PI * i) / n)).toFixed(2)} ${(-r * Math.cos(turn + (2 * Math.PI * i) / n)).toFixed(2)}`).join("L")}Z`;
const star = (r) => `M${Array.from({ length: 10 }, (_, i) => `${((i % 2 ? 0.45 : 1.25) * r * Math.sin((Math.PI * i) / 5)).toFixed(2)} ${((i % 2 ? -0.45 : -1.25) * r * Math.cos((Math.PI * i) / 5)).toFixed(2)}`).join("L")}Z`;
const cross = (r) => { const [a, b] = [0.35 * r, 1.1 * r]; return `M${-a} ${-b}H${a}V${-a}H${b}V${a}H${a}V${b}H${-a}V${a}H${-b}V${-a}H${-a}Z`; };

const SHAPES = [
  (r) => `M${-r} 0A${r} ${r} 0 1 0 ${r} 0A${r} ${r} 0 1 0 ${-r} 0Z`,
  (r) => polygon(1.25 * r, 3, 0),
  (r) => polygon(1.2 * r, 4, Math.PI / 4),
  cross,
  (r) => polygon(1.25 * r, 4, 0),
  star,
];

/** The outline of a strategy's symbol around 0, 0. */
export const symbolPath = (strategy, r) => SHAPES[((strategy % SHAPES.length) + SHAPES.length) % SHAPES.length](r);

/** The colour of a strategy; grey for none. */
export const symbolColour = (strategy) => (strategy < 0 ? "var(--soft)" : classColour(strategy));

/** A strategy's symbol as a small picture beside its name. */
export const symbolNode = (strategy) => el("span", { class: "strategy-symbol" }, svg("svg", { viewBox: "-9 -9 18 18", width: 16, height: 16, "aria-hidden": "true" },
  svg("path", { d: symbolPath(strategy, 6), style: { fill: symbolColour(strategy) } })));
