// A second cue beside the colours of a small map: a plus at its largest value, a minus at its smallest one.

import { el } from "./dom.js";

const LEAST = 0.15; // of the full colour; weaker values have next to no colour to be told apart

/** The index of the largest value, times `sign`; -1 where none is above 0. NaN is never the largest. */
function extreme(values, sign) {
  let [best, at] = [0, -1];
  for (let i = 0; i < values.length; i++) {
    if (sign * values[i] > best) [best, at] = [sign * values[i], i];
  }
  return at;
}

/** Where a value stands in a box of side 1, in which a map keeps its proportions, unless it fills it: [x, y]. */
function placeIn([height, width], i, isFilled) {
  const side = Math.max(height, width);
  const [tall, wide] = isFilled ? [1, 1] : [height / side, width / side];
  return [(1 - wide) / 2 + (wide * ((i % width) + 0.5)) / width, (1 - tall) / 2 + (tall * (Math.floor(i / width) + 0.5)) / height];
}

/** Put marks over a canvas, once: {node, show(values, tile, full, isFilled)}; without values there are none. */
export function markedCanvas(canvas) {
  const marks = [["+", 1], ["−", -1]].map(([text, sign]) => ({ sign, node: el("i", { class: "sign", "aria-hidden": "true", hidden: true, text }) }));
  return {
    node: el("span", { class: "signed" }, canvas, ...marks.map(({ node }) => node)),
    show(values, tile, full, isFilled = false) {
      for (const { sign, node } of marks) {
        const i = values && tile ? extreme(values, sign) : -1;
        node.hidden = i < 0 || sign * values[i] < LEAST * full;
        if (node.hidden) continue;
        const [x, y] = placeIn(tile, i, isFilled);
        node.style.left = `${(100 * x).toFixed(1)}%`;
        node.style.top = `${(100 * y).toFixed(1)}%`;
      }
    },
  };
}
