// Drift over training with its error, by class; per-class F1 beside it.

import { chart } from "../chart.js";
import { mapping, number, list } from "../checked.js";
import { classColour, classDash } from "../colours.js";
import { el, labelled, short } from "../dom.js";
import { runName } from "../sides/chosen.js";

const ALWAYS = ["previous", "first"];
const OTHER_DASH = "5 3"; // as the cursor of B
const MOST_REFERENCES = 20;

const allSteps = (steps, other) => [...new Set([...steps, ...(other?.steps ?? [])])].sort((x, y) => x - y);

const driftAt = (point, ref, c) => {
  const reference = mapping(mapping(point.curve.drift)[ref]);
  const pair = list(c === "" ? reference.all : mapping(reference.classes)[c]);
  const alert = typeof point.curve.alert === "string" ? point.curve.alert : "";
  return { x: point.step, y: number(pair[0]), error: number(pair[1]), alert };
};

function marked(points, factor) {
  return points.map((p) => p.alert ? { ...p, marked: `alert: ${p.alert}`, loud: true } :
    factor > 0 && p.y > factor * p.error
      ? { ...p, marked: `drift is ${(p.y / p.error).toFixed(1)} times its error` }
      : p);
}

function classesIn(points, ref) {
  const found = new Set();
  for (const point of points) for (const c of Object.keys(mapping(mapping(mapping(point.curve.drift)[ref]).classes))) found.add(c);
  return [...found].sort((one, other) => Number(one) - Number(other));
}

function driftSeries(points, state, names) {
  const ofClass = (c, more) => ({
    name: names.get(Number(c)) ?? `class ${c}`, colour: classColour(Number(c)), dash: classDash(Number(c)),
    points: points.map((point) => driftAt(point, state.ref, c)), ...more,
  });
  const factor = Number(state.factor);
  const chosen = state.class;
  const all = { name: "all samples", colour: "var(--ink)", points: points.map((p) => driftAt(p, state.ref, "")) };
  if (chosen !== "") {
    const one = ofClass(chosen, { bold: true, band: true });
    return [{ ...all, faint: true }, { ...one, points: marked(one.points, factor) }];
  }
  return [
    ...classesIn(points, state.ref).map((c) => ofClass(c, { faint: true })),
    { ...all, bold: true, band: true, points: marked(all.points, factor) },
  ];
}

/** The same line of the other run, dashed; under the name of that run. */
const asOther = (series, other) => ({ ...series, name: `B, ${runName(other.run)}: ${series.name}`, dash: OTHER_DASH, bold: true, faint: false, band: false, colour: "var(--b)" });

/** The bold line of a chart beside that of the other run. */
function beside(series, ofOther, other) {
  if (!other) return series;
  const theirs = ofOther.filter((s) => s.bold).map((s) => asOther(s, other));
  return [...series.map((s) => (s.bold ? { ...s, name: `A: ${s.name}` } : s)), ...theirs];
}

/** The state for another run, which may number its classes otherwise. */
function stateFor(state, names, other) {
  if (state.class === "") return state;
  const name = names.get(Number(state.class));
  const same = [...other.names].find(([, each]) => each === name && name !== undefined);
  return { ...state, class: same ? String(same[0]) : names.size && other.names.size ? "none" : state.class };
}

function f1Series(points, state, names) {
  const known = points.filter((point) => Object.keys(mapping(point.curve.f1)).length);
  const classes = [...new Set(known.flatMap((p) => Object.keys(mapping(p.curve.f1))))].sort((a, b) => a - b);
  const series = classes.map((c) => ({
    name: names.get(Number(c)) ?? `class ${c}`, colour: classColour(Number(c)), dash: classDash(Number(c)),
    faint: state.class !== c, bold: state.class === c,
    points: known.map((p) => ({ x: p.step, y: number(mapping(p.curve.f1)[c]) })),
  }));
  if (state.class !== "") return series;
  const mean = (p) => {
    const values = Object.values(mapping(p.curve.f1)).map(number).filter(Number.isFinite);
    return values.length ? values.reduce((sum, v) => sum + v, 0) / values.length : NaN;
  };
  return [...series, { name: "mean", colour: "var(--ink)", bold: true, points: known.map((p) => ({ x: p.step, y: mean(p) })) }];
}

function f1Chart(state, { scores, steps, names, other }, onPick) {
  const series = beside(f1Series(scores, state, names), other ? f1Series(other.scores, stateFor(state, names, other), other.names) : [], other);
  const lowest = Math.min(...series.flatMap((s) => s.points.map((p) => p.y)).filter(Number.isFinite), 1);
  return chart({
    title: "F1 by class, in validation", series, steps: allSteps(steps, other), onPick, unit: "F1",
    range: [Math.max(0, Math.floor((lowest - 0.05) * 10) / 10), 1],
    empty: "Add ActiveNeuronMonitor() to the Trainer's callbacks to see the F1 of each class here.",
  });
}

/** What drift is measured against: the previous explanation, the first, and what the user named. */
function references(points) {
  const found = new Set(ALWAYS);
  for (const point of points) for (const name of Object.keys(mapping(point.curve.drift))) found.add(name);
  return [...found].slice(0, MOST_REFERENCES);
}

function controls(store) {
  const ref = el("select", { on: { change: () => store.set({ ref: ref.value }) } });
  const factor = el("input", {
    type: "number", min: "0", step: "0.5", class: "narrow",
    on: { change: () => store.set({ factor: String(Number(factor.value) || 0) }) },
  });
  const log = el("input", { type: "checkbox", on: { change: () => store.set({ log: log.checked ? "1" : "0" }) } });
  const node = el("div", { class: "controls" }, labelled("Drift against", ref), labelled("Mark above error ×", factor),
    labelled("Log scale", log, { class: "field check" }));
  const show = (state, known, chosen) => {
    // only when there is something new: an open list would close
    if ([...ref.options].map((option) => option.value).join("\n") !== known.join("\n"))
      ref.replaceChildren(...known.map((name) => el("option", { value: name, text: name })));
    ref.value = chosen;
    factor.value = state.factor;
    log.checked = state.log === "1";
  };
  return { node, show };
}

/** Make the panel. update(state, data) redraws it; cursors(a, b) only moves the two lines. */
export function driftPanel(store, onPick) {
  const settings = controls(store);
  const [drawn, gone] = [el("div", { class: "charts" }), el("p", { class: "note gone", role: "status" })];
  let charts = [];
  let cursor = [NaN, NaN];
  const cursors = (a, b) => {
    cursor = [a, b];
    for (const one of charts) one.cursors(a, b);
  };
  return {
    node: el("section", { class: "panel", "aria-label": "Drift and scores" }, settings.node, gone, drawn),
    update(state, data) {
      const { points, steps, names, other } = data;
      const known = references(points);
      const ref = known.includes(state.ref) ? state.ref : "previous";
      settings.show(state, known, ref);
      gone.textContent = ref === state.ref || !points.length ? "" : `There is no drift against “${short(state.ref, 60)}” in this run; this is drift to the previous explanation.`;
      const measure = points.map((p) => mapping(mapping(p.curve.drift)[ref]).measure).find((m) => typeof m === "string");
      const reference = ALWAYS.includes(ref) ? `the ${ref} explanation` : ref;
      const method = points.map((p) => p.curve.method).find((m) => typeof m === "string");
      charts = [
        chart({
          title: `Drift${method ? ` of ${method}` : ""} to ${reference}${measure ? ` (${measure} distance)` : ""}`,
          series: beside(driftSeries(points, { ...state, ref }, names), other ? driftSeries(other.points, { ...stateFor(state, names, other), ref }, other.names) : [], other),
          steps: allSteps(steps, other), log: state.log === "1", onPick, unit: `${measure ?? "cosine"} distance`,
          empty: "Drift is known from the second explanation on.",
        }),
        f1Chart(state, data, onPick),
      ];
      drawn.replaceChildren(...charts.map((c) => c.node));
      cursors(...cursor);
    },
    cursors,
  };
}

/** Make the panel of scores alone, for views without drift. */
export function scorePanel(onPick) {
  const node = el("section", { class: "panel", "aria-label": "Scores" });
  let drawn = null;
  return {
    node,
    update(state, data) {
      drawn = f1Chart(state, data, onPick);
      node.replaceChildren(drawn.node);
    },
    cursors: (a, b) => drawn?.cursors(a, b),
  };
}
