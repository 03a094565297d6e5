// The samples of a class as points: near each other where their maps are alike, in the shape and colour of their strategy.

import { count, el, short, svg } from "../dom.js";
import { symbolColour, symbolPath } from "./symbols.js";

const [WIDTH, HEIGHT, EDGE, RADIUS] = [420, 300, 26, 5];
const LEAST_DRAG = 5; // pixels of the drawing; less is a click

const place = ([x, y]) => [EDGE + ((x + 1) / 2) * (WIDTH - 2 * EDGE), HEIGHT - EDGE - ((y + 1) / 2) * (HEIGHT - 2 * EDGE)];

/** What a sample is, in words. */
function sampleWords({ row, strategy }, { verdictOf, nameOf }) {
  const right = verdictOf(row);
  return `${nameOf(row)}, ${strategy < 0 ? "no map" : `strategy ${strategy + 1}`}${right === null ? "" : right ? ", recognised" : ", not recognised"}`;
}

/** The sample that lies next to one in a direction; undefined for none. */
function neighbour(points, from, key) {
  const [axis, sign] = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, -1], ArrowDown: [1, 1] }[key];
  let best;
  for (const other of points) {
    const along = sign * (other.at[axis] - from.at[axis]);
    const aside = Math.abs(other.at[1 - axis] - from.at[1 - axis]);
    const far = along + 2 * aside;
    if (other !== from && along > 0 && (!best || far < best.far)) best = { far, other };
  }
  return best?.other;
}

/**
 * Draw a scatter. `one` is a class, `selected` a set of samples, `select(rows, isAdded)` is told what was chosen, `verdictOf(row)` says
 * whether a sample is recognised (null where nobody knows), `nameOf(row)` names it.
 */
export function scatter(one, { letter, label, selected, select, verdictOf, nameOf }) {
  const points = one.samples.filter(({ point }) => point).map((sample) => ({ ...sample, at: place(sample.point) }));
  const said = el("output", { class: "reading" });
  const words = (point) => sampleWords(point, { verdictOf, nameOf });
  const nodes = new Map(points.map((point, i) => [point.row, svg("g", {
    class: `point${selected.has(point.row) ? " selected" : ""}${verdictOf(point.row) === false ? " mistaken" : ""}`, role: "option", "data-row": point.row,
    "aria-selected": String(selected.has(point.row)), "aria-label": words(point), tabindex: i === 0 ? "0" : "-1", transform: `translate(${point.at[0].toFixed(1)} ${point.at[1].toFixed(1)})`,
    on: { pointerenter: () => { said.textContent = words(point); }, pointerleave: () => { said.textContent = ""; }, focus: () => { said.textContent = words(point); } },
  }, svg("circle", { class: "halo", r: 2 * RADIUS }), svg("path", { class: "symbol", d: symbolPath(point.strategy, RADIUS), style: { "--own": symbolColour(point.strategy) } }), svg("title", { text: words(point) }))]));
  const frame = svg("rect", { class: "brush", width: 0, height: 0 });
  const plot = svg("svg", { class: "scatter", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": label },
    svg("rect", { class: "ground", x: 1, y: 1, width: WIDTH - 2, height: HEIGHT - 2, rx: 5 }),
    svg("g", { role: "listbox", "aria-multiselectable": "true", "aria-label": `Samples${letter ? ` at ${letter}` : ""}` }, ...nodes.values()), frame,
    ["x", "y"].map((axis, i) => svg("text", { class: `axis ${axis}`, "text-anchor": "middle", x: i ? 0 : WIDTH / 2, y: i ? 0 : HEIGHT - 7, transform: i ? `translate(13 ${HEIGHT / 2}) rotate(-90)` : undefined, text: short(one.axes[i] ?? "", 70) })));

  const spot = (event) => {
    const box = plot.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * WIDTH, ((event.clientY - box.top) / box.height) * HEIGHT];
  };
  let from = null;
  const corners = (to) => [0, 1].map((axis) => [Math.min(from[axis], to[axis]), Math.max(from[axis], to[axis])]);
  plot.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    from = spot(event);
    plot.setPointerCapture?.(event.pointerId);
  });
  plot.addEventListener("pointermove", (event) => {
    if (!from) return;
    const [[left, right], [top, bottom]] = corners(spot(event));
    for (const [key, value] of Object.entries({ x: left, y: top, width: right - left, height: bottom - top })) frame.setAttribute(key, value);
  });
  plot.addEventListener("pointercancel", () => { from = null; frame.setAttribute("width", 0); });
  plot.addEventListener("pointerup", (event) => {
    if (!from) return;
    const to = spot(event);
    const [[left, right], [top, bottom]] = corners(to);
    const isClick = right - left < LEAST_DRAG && bottom - top < LEAST_DRAG;
    from = null;
    frame.setAttribute("width", 0);
    const far = ({ at }) => Math.hypot(at[0] - to[0], at[1] - to[1]);
    const inside = isClick ? points.filter((point) => far(point) <= 2 * RADIUS).sort((one_, other) => far(one_) - far(other)).slice(0, 1)
      : points.filter(({ at }) => at[0] >= left && at[0] <= right && at[1] >= top && at[1] <= bottom);
    select(inside.map(({ row }) => row), event.shiftKey);
  });
  plot.addEventListener("keydown", (event) => {
    const here = points.find(({ row }) => String(row) === event.target.dataset?.row);
    if (!here) return;
    if (event.key === "Escape") select([], false);
    else if (event.key === "Enter" || event.key === " ") select([here.row], true);
    else if (event.key.startsWith("Arrow")) {
      const next = neighbour(points, here, event.key);
      if (next) nodes.get(next.row).focus();
    } else return;
    event.preventDefault();
    event.stopPropagation(); // the page has its own keys
  });
  const missing = one.samples.length - points.length;
  return el("figure", { class: "scatter-figure", "data-keys": "" },
    el("figcaption", {}, letter && el("span", { class: `step-letter ${letter.toLowerCase()}`, text: letter }), ` ${label}`),
    plot, said, missing > 0 && el("p", { class: "note", text: missing === 1 ? "One sample has no map, so no point." : `${count(missing)} samples have no map, so no points.` }));
}
