// Line charts over training steps: bands, markers, two cursors, a click or a key to jump to a step.

import { count, el, figure, short, svg } from "./dom.js";

const WIDTH = 440;
const HEIGHT = 196;
const PAD = { left: 60, right: 10, top: 8, bottom: 38 };
const MOST_KEYS = 14; // of a legend that is open from the beginning

function ticks(low, high, most) {
  const rough = (high - low) / most || 1;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * size).find((s) => s >= rough);
  const found = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-9; t += step) found.push(Number(t.toPrecision(12)));
  return found;
}

function logTicks(low, high) {
  const [from, to] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const decades = Array.from({ length: to - from + 1 }, (_, i) => from + i);
  const every = Math.ceil(decades.length / 6);
  const within = (t) => t >= low && t <= high;
  const whole = decades.filter((_, i) => i % every === 0).map((t) => 10 ** t).filter(within);
  return whole.length > 2 ? whole : decades.flatMap((t) => [1, 2, 5].map((k) => Number((k * 10 ** t).toPrecision(3)))).filter(within);
}

function scaleOf(series, { log: wanted, range }) {
  const all = series.flatMap((s) => s.points.map((p) => p.y)).filter(Number.isFinite);
  const log = wanted && all.some((y) => y > 0); // nothing but zeros has no logarithm
  const values = all.filter((y) => !log || y > 0);
  const tops = series.flatMap((s) => (s.band ? s.points.map((p) => p.y + (p.error || 0)) : [])).filter(Number.isFinite);
  let [low, high] = range ?? [0, Math.max(...tops, ...values, 0) * 1.04 || 1];
  if (log) [low, high] = [Math.min(...values) * 0.7, Math.max(...values, ...tops) * 1.3];
  const inner = HEIGHT - PAD.top - PAD.bottom;
  const place = log
    ? (y) => (Math.log10(Math.max(y, low)) - Math.log10(low)) / (Math.log10(high) - Math.log10(low) || 1)
    : (y) => (y - low) / (high - low || 1);
  const marks = log ? logTicks(low, high) : ticks(low, high, 4);
  return { y: (value) => PAD.top + inner * (1 - Math.min(1, Math.max(0, place(value)))), marks };
}

function path(points, x, y) {
  let words = "";
  let pen = false;
  for (const point of points) {
    const there = Number.isFinite(point.y);
    if (there) words += `${pen ? "L" : "M"}${x(point.x).toFixed(1)} ${y(point.y).toFixed(1)}`;
    pen = there;
  }
  return words;
}

function band(points, x, y) {
  const known = points.filter((p) => Number.isFinite(p.y) && Number.isFinite(p.error));
  if (known.length < 2) return "";
  const edge = (sign) => known.map((p) => `${x(p.x).toFixed(1)} ${y(Math.max(0, p.y + sign * p.error)).toFixed(1)}`);
  return `M${edge(1).join("L")}L${edge(-1).reverse().join("L")}Z`;
}

function drawn(series, x, y) {
  return series.map((s) => {
    const lines = [
      s.band && svg("path", { d: band(s.points, x, y), fill: s.colour, class: "band" }),
      svg("path", {
        d: path(s.points, x, y), stroke: s.colour, "stroke-dasharray": s.dash || undefined,
        class: s.bold ? "line bold" : s.faint ? "line faint" : "line",
      }),
      s.bold && s.points.length <= 60 && s.points.filter((p) => Number.isFinite(p.y)).map((p) =>
        svg("circle", { cx: x(p.x), cy: y(p.y), r: 2, fill: s.colour })),
      s.points.filter((p) => p.marked).map((p) =>
        svg("circle", {
          cx: x(p.x), cy: y(p.y), r: p.loud ? 6.5 : 4.5, class: p.loud ? "marker loud" : "marker", stroke: s.colour,
        }, svg("title", { text: p.marked }))),
    ];
    return svg("g", {}, ...lines.flat());
  });
}

/**
 * Draw a chart.
 *
 * series: [{name, colour, dash, bold, faint, band, points: [{x, y, error, marked, loud}]}]; `unit` is the title of the axis of
 * values. onPick(step, withShift) is called with the step nearest to a click. Returns {node, cursors(a, b)}.
 */
export function chart({ title, series, steps, unit = "", log = false, range = null, onPick, empty }) {
  if (!series.some((s) => s.points.some((p) => Number.isFinite(p.y)))) {
    return { node: el("div", { class: "chart none" }, el("h3", { text: title }), el("p", { text: empty })), cursors() {} };
  }
  const first = steps[0];
  const span = steps[steps.length - 1] - first || 1;
  const x = (step) => PAD.left + ((step - first) / span) * (WIDTH - PAD.left - PAD.right);
  const { y, marks } = scaleOf(series, { log, range });
  const cursor = (name) => svg("line", { class: `cursor ${name}`, y1: PAD.top, y2: HEIGHT - PAD.bottom, x1: -9, x2: -9 });
  const [lineA, lineB, lineHover] = [cursor("a"), cursor("b"), cursor("hover")];
  const plot = svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", tabindex: 0, "aria-label": `${title}. Click to jump to a step.` },
    marks.map((t) => svg("g", { class: "tick" },
      svg("line", { x1: PAD.left, x2: WIDTH - PAD.right, y1: y(t), y2: y(t) }),
      svg("text", { x: PAD.left - 6, y: y(t) + 3.5, "text-anchor": "end", text: figure(t).replace(/\.?0+$/, "") || "0" }))),
    ticks(first, first + span, 5).filter((t) => Number.isInteger(t)).map((t) =>
      svg("text", { class: "tick", x: x(t), y: HEIGHT - 23, "text-anchor": "middle", text: count(t) })),
    svg("text", { class: "axis", x: (WIDTH + PAD.left - PAD.right) / 2, y: HEIGHT - 6, "text-anchor": "middle", text: "training step" }),
    svg("text", { class: "axis", x: 0, y: 0, transform: `translate(11 ${(HEIGHT - PAD.bottom + PAD.top) / 2}) rotate(-90)`, "text-anchor": "middle", text: `${unit}${log ? ", logarithmic" : ""}` }),
    lineHover, lineB, ...drawn(series, x, y), lineA,
  );
  const said = el("output", { class: "reading", "aria-live": "off" });
  const nearest = (event) => {
    const box = plot.getBoundingClientRect();
    const step = first + (((event.clientX - box.left) / box.width) * WIDTH - PAD.left) / (WIDTH - PAD.left - PAD.right) * span;
    return steps.reduce((best, s) => (Math.abs(s - step) < Math.abs(best - step) ? s : best), first);
  };
  plot.addEventListener("pointermove", (event) => {
    const step = nearest(event);
    set(lineHover, x(step));
    said.replaceChildren(...reading(series, step));
  });
  plot.addEventListener("pointerleave", () => { set(lineHover, -9); said.replaceChildren(); });
  plot.addEventListener("click", (event) => onPick(nearest(event), event.shiftKey));
  return {
    node: el("div", { class: "chart" }, el("h3", { text: title }), el("div", { class: "plot" }, plot, said), legendOf(series)),
    cursors(a, b) {
      set(lineA, Number.isFinite(a) ? x(a) : -9);
      set(lineB, Number.isFinite(b) ? x(b) : -9);
    },
  };
}

function set(line, x) {
  line.setAttribute("x1", x);
  line.setAttribute("x2", x);
}

const swatch = (s) => svg("svg", { class: "swatch-line", viewBox: "0 0 26 8", width: 26, height: 8, "aria-hidden": "true" },
  svg("line", { x1: 0, x2: 26, y1: 4, y2: 4, stroke: s.colour, "stroke-width": s.bold ? 2.6 : 1.6, "stroke-dasharray": s.dash || undefined }));

/** The legend: every line with its colour and its dashes; behind a click where there are very many. */
function legendOf(series) {
  const there = series.filter((s) => s.points.some((p) => Number.isFinite(p.y)));
  const keys = [...there].sort((one, other) => Number(Boolean(other.bold)) - Number(Boolean(one.bold)))
    .map((s) => el("li", { title: short(s.name, 200) }, swatch(s), short(s.name, 60)));
  const list = el("ul", { class: "keys" }, ...keys);
  const marked = there.flatMap((s) => s.points.filter((p) => p.marked));
  const said = [marked.some((p) => !p.loud) && "○ drift far above its error", marked.some((p) => p.loud) && "◉ alert"].filter(Boolean);
  const marks = said.length > 0 && el("p", { class: "keys", text: said.join(" · ") });
  const band = there.some((s) => s.band) && el("p", { class: "keys", text: "The band is the error." });
  return el("div", { class: "chart-legend" }, keys.length > MOST_KEYS ? el("details", {}, el("summary", { text: `Legend: ${keys.length} lines` }), list) : list, band, marks);
}

/** Every line at a step, in their order of size. */
function reading(series, step) {
  const found = series.map((s) => ({ s, p: s.points.find((p) => p.x === step) })).filter(({ p }) => p && Number.isFinite(p.y));
  found.sort((one, other) => Number(Boolean(other.s.bold)) - Number(Boolean(one.s.bold)) || other.p.y - one.p.y);
  const shown = found.map(({ s, p }) => el("span", {}, swatch(s), `${short(s.name, 40)} ${figure(p.y)}`, Number.isFinite(p.error) ? ` ± ${figure(p.error)}` : ""));
  return [el("b", { text: `step ${count(step)}` }), ...(shown.length ? shown : ["no record of these at this step"])];
}
