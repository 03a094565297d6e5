// A strategy in words and as the mean of its maps.

import { barRow } from "../bars.js";
import { paintSigned } from "../colours.js";
import { count, el, figure, percent, short } from "../dom.js";
import { tileValues } from "../sprite.js";
import { symbolNode } from "./symbols.js";

const row = (words, value) => value && [el("dt", { text: words }), el("dd", { text: value })];

/** The mean of a strategy's maps: {values, tile}; null where there is none. */
function meanMap({ header, sprite, method }, { mean }) {
  if (!sprite || !header.tile || !method || mean < 0) return null;
  const values = tileValues(sprite, header.tile, method.firstTile + mean, method.scales[mean] || 0);
  return values && { values, tile: header.tile };
}

const largest = (values) => values.reduce((top, value) => (Math.abs(value) > top ? Math.abs(value) : top), 0);

function meanNode(at, strategy) {
  const map = meanMap(at, strategy);
  if (map) {
    const canvas = el("canvas", { role: "img", "aria-label": "mean map" });
    paintSigned(canvas, map.values, map.tile, largest(map.values), { isMarked: true });
    return el("figure", { class: `mean-map${map.tile[0] === 1 ? " strip" : ""}` }, canvas, el("figcaption", { text: "mean map, in its own colours" }));
  }
  const top = Math.max(0, ...strategy.named.map(([, size]) => Math.abs(size) || 0));
  return strategy.named.length > 0 && el("div", { class: "bars" }, el("h4", { text: "Looks at more than the others" }), ...strategy.named.map(([name, size]) => barRow(name, size, null, { full: top })));
}

/** Make the card of strategy `k` of a class; `isPressed` says whether its samples are selected, `onPick()` selects them. */
export function strategyCard(at, one, k, { isPressed, onPick, letter }) {
  const strategy = one.strategies[k];
  const n = strategy.members.length;
  const knows = Number.isFinite(strategy.inside);
  const since = Number.isFinite(strategy.epoch) ? `epoch ${count(strategy.epoch)} (step ${count(strategy.step)})` : "";
  return el("section", { class: "strategy-card", "aria-label": `Strategy ${k + 1}${letter ? ` at ${letter}` : ""}` },
    el("h3", {}, symbolNode(k), ` Strategy ${k + 1}`),
    el("p", { class: "strategy-share", text: `${percent(strategy.share)} (${count(n)} of ${count(one.samples.length)})` }),
    el("dl", {}, row("by", short(strategy.where, 160)), row("since", since),
      row("accuracy", knows && percent(strategy.inside)), one.strategies.length > 1 && row("of the others", knows && percent(strategy.outside)),
      row("effect", Number.isFinite(strategy.effect) && `${percent(strategy.effect)} of its relevance`),
      one.strategies.length > 1 && row("separation", figure(strategy.separation)), one.strategies.length > 1 && row("stability", figure(strategy.stability))),
    meanNode(at, strategy),
    el("button", { type: "button", "aria-pressed": String(isPressed), on: { click: onPick } }, isPressed ? "Show all" : "Show its samples"));
}
