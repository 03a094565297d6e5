// Sets and graphs: for each sample a bar for each of its entities, and the graph in the colours of their attribution.

import { barRow } from "../bars.js";
import { list, mapping, number, whole, words } from "../checked.js";
import { signedInk } from "../colours.js";
import { el, figure, short, svg } from "../dom.js";
import { barLegend } from "../legend.js";
import { sampleName, valuesAt, verdict } from "../views/sample_card.js";

const LARGEST = 20;
const SIDE = 150;
const MARGIN = 16;

/** The places of a sample's entities, those of padding left out; all of them where nothing names them. */
function placesOf(names, values) {
  return Array.from(values.keys()).filter((place) => names.length <= place || names[place] !== null);
}

function strongest(places, values, others) {
  const size = (place) => Math.max(Math.abs(values[place]) || 0, Math.abs(others?.[place]) || 0);
  return [...places].sort((one, other) => size(other) - size(one)).slice(0, LARGEST).sort((one, other) => one - other);
}

function graph(value, names, values, { full, letter, unit }) {
  const spots = list(mapping(value).at).map((point) => list(point).map((part) => MARGIN + (number(part) / 100) * (SIDE - 2 * MARGIN)));
  const places = list(mapping(value).nodes).map((place) => whole(place));
  const known = (node) => places[node] >= 0 && spots[node]?.length === 2 && spots[node].every(Number.isFinite);
  const edges = list(mapping(value).edges).map((edge) => list(edge).map((end) => whole(end))).filter((edge) => edge.length === 2 && edge.every(known));
  if (!edges.length) return null;
  const lines = edges.map(([start, end]) => {
    const [[x1, y1], [x2, y2]] = [spots[start], spots[end]];
    return svg("line", { x1, y1, x2, y2, stroke: "var(--soft)", "stroke-width": 1.5 });
  });
  const nodes = places.map((place, node) => {
    if (!known(node)) return null;
    const [cx, cy] = spots[node];
    const { ground, ink } = signedInk(values[place] ?? NaN, full);
    const name = words(names[place]);
    return svg("g", {}, svg("title", { text: `${short(name, 80)}: ${figure(values[place])} ${unit}` }),
      svg("circle", { cx, cy, r: places.length > 20 ? 6 : 11, stroke: "var(--soft)", style: { fill: ground } }),
      places.length <= 20 && svg("text", { x: cx, y: cy + 3, "text-anchor": "middle", style: { fill: ink, "font-size": "9px" }, text: short(name.replace(/ /g, ""), 4) }));
  });
  return el("figure", { class: "tile", style: { display: "inline-block" } },
    svg("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, width: SIDE, height: SIDE, role: "img", "aria-label": `graph ${letter}`.trim() }, ...lines, ...nodes),
    letter && el("figcaption", { text: letter }));
}

function card(a, b, i, { probe, full, large, onPick }) {
  const raw = mapping(probe?.header.raw);
  const names = list(list(raw.names)[i]).map((name) => (name === null ? null : words(name)));
  const [atA, atB] = [valuesAt(a, i), b ? valuesAt(b, i) : null];
  const [saidA, saidB] = [el("span", { class: "verdict" }), el("span", { class: "verdict" })];
  const right = verdict(saidA, b ? "A" : "", a, i);
  if (b) verdict(saidB, "B", b, i);
  const parts = [];
  if (atA) {
    const places = placesOf(names, atA);
    const shown = strongest(places, atA, atB);
    const own = Math.max(...shown.flatMap((place) => [Math.abs(atA[place]) || 0, Math.abs(atB?.[place]) || 0]), 0);
    const top = full ?? own;
    const unit = a.header.unit;
    const graphs = [graph(list(raw.graphs)[i], names, atA, { full: top, letter: b ? "A" : "", unit }), atB && graph(list(raw.graphs)[i], names, atB, { full: top, letter: "B", unit })];
    if (graphs[0]) parts.push(el("span", { class: "tiles", style: { display: "flex", gap: "10px" } }, ...graphs));
    parts.push(...shown.map((place) => barRow(names[place] ?? `entity ${place}`, atA[place], atB ? atB[place] : null, { full: top })));
    if (shown.length < places.length) parts.push(el("p", { class: "note", text: `The strongest ${LARGEST} of ${places.length} entities.` }));
  }
  const name = sampleName(a.header, i);
  return el("button", {
    class: `card bars entities${large ? " large" : ""}${right === false ? " mistaken" : ""}`, type: "button", "data-sample": i,
    style: { width: "100%", "white-space": "normal" }, on: { click: () => onPick(i) },
  }, el("span", { class: "caption" }, el("b", { text: short(name, 40), title: short(name, 400) }), saidA, saidB), ...parts);
}

export function create(onPick) {
  return {
    legend: (_, unit, compared) => barLegend(unit, compared),
    draw(grid, a, b, options) {
      grid.className = "bar-panels";
      grid.replaceChildren(...options.positions.map((i) => card(a, b, i, { ...options, onPick })));
    },
  };
}
