// Tables: attribution by feature at A and B, as bars; a panel for each class, or for one sample.

import { barRow } from "../bars.js";
import { el, short } from "../dom.js";
import { barLegend } from "../legend.js";
import { className, valuesAt } from "../views/sample_card.js";

const LARGEST = 20;

function rows(at, positions) {
  return positions.map((i) => valuesAt(at, i)).filter(Boolean);
}

function means(maps) {
  if (!maps.length) return null;
  const mean = new Float32Array(maps[0].length);
  for (const map of maps) for (let i = 0; i < mean.length; i++) mean[i] += map[i] / maps.length;
  return mean;
}

function panel(title, meanA, meanB, { full, features, inputs, shown }) {
  const lines = shown.map((i) =>
    barRow(features[i] || `feature ${i}`, meanA[i], meanB ? meanB[i] : null, { full, input: inputs ? inputs[i] : null }));
  return el("section", { class: "bars", "aria-label": short(title, 80) }, el("h3", { text: short(title, 60), title: short(title, 400) }), ...lines);
}

/** Draw the bars: for a chosen sample, a chosen class or every class. */
function barPanels(a, b, { state, probe, positions }) {
  const labels = a.header.labels;
  const features = probe?.header.features ?? [];
  const groups = new Map();
  for (const i of positions) {
    const key = state.sample !== "" ? `sample ${i + 1}` : labels ? className(a.header.classNames, labels[i]) : "all samples";
    groups.set(key, [...(groups.get(key) ?? []), i]);
  }
  const drawn = [...groups].map(([title, members]) => {
    const [meanA, meanB] = [means(rows(a, members)), b ? means(rows(b, members)) : null];
    return { title: members.length > 1 ? `${title}: mean of ${members.length}` : title, meanA, meanB, members };
  }).filter(({ meanA }) => meanA);
  const size = new Map();
  for (const { meanA } of drawn) meanA.forEach((v, i) => size.set(i, (size.get(i) ?? 0) + Math.abs(v)));
  const shown = [...size.keys()].sort((one, other) => size.get(other) - size.get(one)).slice(0, LARGEST).sort((x, y) => x - y);
  const top = Math.max(...drawn.flatMap(({ meanA, meanB }) => shown.flatMap((i) => [Math.abs(meanA[i]), Math.abs(meanB?.[i] ?? 0)])), 0);
  const hidden = size.size - shown.length;
  const panels = drawn.map(({ title, meanA, meanB, members }) => {
    const own = Math.max(...shown.flatMap((i) => [Math.abs(meanA[i]), Math.abs(meanB?.[i] ?? 0)]), 0);
    const inputs = members.length === 1 ? probe?.header.inputs?.[members[0]] : null;
    return panel(title, meanA, meanB, { full: state.scale === "own" ? own : top, features, inputs, shown });
  });
  return hidden > 0 ? [...panels, el("p", { class: "note", text: `The ${LARGEST} strongest of ${size.size} features.` })] : panels;
}

export function create() {
  return {
    legend: (_, unit, compared) => barLegend(unit, compared),
    draw(grid, a, b, options) {
      grid.className = "bar-panels";
      grid.replaceChildren(...barPanels(a, b, options));
    },
  };
}
