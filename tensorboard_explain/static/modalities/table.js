// Tables: attribution by feature at A and B, as bars in tables that can be sorted; one for each class, or for one sample.

import { barTrack } from "../bars.js";
import { el, figure, short } from "../dom.js";
import { barLegend } from "../legend.js";
import { createTable } from "../tables/table.js";
import { className, valuesAt } from "../views/sample_card.js";

const [LARGEST, SHORT] = [20, 28]; // rows shown at first; letters of a name that is not broken

function rows(at, positions) {
  return positions.map((i) => valuesAt(at, i)).filter(Boolean);
}

function means(maps) {
  if (!maps.length) return null;
  const mean = new Float32Array(maps[0].length);
  for (const map of maps) for (let i = 0; i < mean.length; i++) mean[i] += map[i] / maps.length;
  return mean;
}

const signs = (value) => (Number.isFinite(value) ? `${value > 0 ? "+" : ""}${figure(value)}` : "–");

/** The columns of a table: feature, input, bar, numbers. */
function columnsOf({ full, inputs, isCompared }) {
  const number = (key, words) => ({ key, words, value: (row) => row[key], cell: (row) => signs(row[key]) });
  return [
    { key: "name", words: "feature", isName: true, value: (row) => row.name, cell: (row) => el("span", { class: row.name.length <= SHORT ? "whole" : "", text: short(row.name, 200) }) },
    ...(inputs ? [{ key: "input", words: "input", value: (row) => row.input, cell: (row) => figure(row.input) }] : []),
    { key: "bar", words: "", small: "wide", cell: (row) => barTrack(row.a, isCompared ? row.b : null, full) },
    { key: "size", words: isCompared ? "at A" : "attribution", value: (row) => Math.abs(row.a), cell: (row) => signs(row.a) },
    ...(isCompared ? [number("b", "at B"), number("change", "A − B")] : []),
  ];
}

/** Group samples into panels: a chosen sample, or the classes. */
function groupsOf(header, positions, state) {
  const groups = new Map();
  for (const i of positions) {
    const key = state.sample !== "" && positions.length === 1 ? `sample ${i + 1}` : header.labels ? className(header.classNames, header.labels[i]) : "all samples";
    groups.set(key, [...(groups.get(key) ?? []), i]);
  }
  return groups;
}

function panelOf(title, members, a, b) {
  const [meanA, meanB] = [means(rows(a, members)), b ? means(rows(b, members)) : null];
  return { title: members.length > 1 ? `${title}: mean of ${members.length}` : title, meanA, meanB, members };
}

const largest = ({ meanA, meanB }) => Math.max(...[meanA, meanB].flatMap((mean) => (mean ? Array.from(mean, Math.abs) : [])).filter(Number.isFinite), 0);

/** Make what draws tables. */
export function create() {
  const order = { key: "size", down: true };
  const tables = new Map(); // by title, so that a table keeps what was asked of it
  let again = () => {};

  const tableOf = (title) => {
    if (!tables.has(title)) tables.set(title, createTable({ label: `Attribution by feature, ${short(title, 80)}`, what: "features", columns: [], most: LARGEST, className: "features", order, onOrder: () => again() }));
    return tables.get(title);
  };

  function draw(grid, a, b, { state, probe, positions }) {
    const features = probe?.header.features ?? [];
    const panels = [...groupsOf(a.header, positions, state)].map(([title, members]) => panelOf(title, members, a, b)).filter(({ meanA }) => meanA);
    const top = Math.max(...panels.map(largest), 0);
    for (const { title, meanA, meanB, members } of panels) {
      const inputs = members.length === 1 ? probe?.header.inputs?.[members[0]] ?? null : null;
      const found = Array.from(meanA, (value, i) => ({ name: features[i] || `feature ${i}`, a: value, b: meanB ? meanB[i] : NaN, change: meanB ? value - meanB[i] : NaN, input: inputs ? inputs[i] : NaN }));
      tableOf(title).update(found, columnsOf({ full: state.scale === "own" ? largest({ meanA, meanB }) : top, inputs, isCompared: Boolean(meanB) }));
    }
    grid.className = `bar-panels${b ? " compared" : ""}`;
    grid.replaceChildren(...panels.map(({ title }) => el("section", { class: "bars", "aria-label": short(title, 80) }, el("h3", { text: short(title, 200) }), tableOf(title).node)));
    again = () => draw(grid, a, b, { state, probe, positions });
  }

  return { legend: (_, unit, compared) => barLegend(unit, compared), draw };
}
