// One neuron: what it is, how often it fired for each class over training, what feeds it.

import * as api from "../api.js";
import { chart } from "../chart.js";
import { list, mapping, number } from "../checked.js";
import { classColour, classDash, paintSigned } from "../colours.js";
import { el, figure, percent, short } from "../dom.js";
import { changeWords, faceNode, faceOf } from "../units/card.js";
import { asTag } from "../words/names.js";

/** Tabulate the accuracy of each class without a neuron; null where it was not measured. */
function withoutIt(letter, layer, neuron, names) {
  const rows = layer?.effects?.units.get(neuron);
  if (!rows?.length) return null;
  const changed = rows.reduce((sum, row) => sum + row.changed, 0);
  const mark = letter && el("span", { class: `step-letter ${letter.toLowerCase()}`, text: letter });
  const worst = [...rows].sort((one, other) => one.change - other.change || one.c - other.c).slice(0, 12);
  const said = changed ? "" : " No probe sample changed, which is no proof that none would: the error says how much could be hidden.";
  return el("div", { class: "without" }, el("h4", {}, mark, " accuracy without it"),
    el("table", {}, el("thead", {}, el("tr", {}, ...["class", "with", "change, points"].map((name) => el("th", { scope: "col", text: name })))),
      el("tbody", {}, ...worst.map((row) => el("tr", {}, el("th", { scope: "row", text: short(names.get(row.c) ?? String(row.c), 60) }),
        el("td", { text: percent(row.accuracy) }), el("td", { class: row.change < 0 ? "wrong" : "", text: changeWords(row) }))))),
    el("p", { class: "note", text: `Its output set to its mean over the probe (epoch ${layer.effects.epoch}); ± standard error.${said}` }));
}

const [PLACE, MOST_SIDE] = [/row (\d+), column (\d+)$/, 256];

/** The places that are named of what feeds a neuron, as a map; null where they are no places. */
function namedPlaces(features, [height, width]) {
  if (!(height > 0 && width > 0 && Math.max(height, width) <= MOST_SIDE)) return null;
  const values = new Float32Array(height * width);
  for (const [name, value] of features) {
    const [, row, column] = name.match(PLACE) ?? [];
    if (!(Number(row) < height && Number(column) < width)) return null;
    values[Number(row) * width + Number(column)] += value;
  }
  return { values, size: [height, width] };
}

/** The pixels that feed a neuron as a small picture; null for other inputs. */
function fedPicture(layer, neuron, className, features) {
  const found = layer.fedMaps.find((map) => map.neuron === neuron && map.className === className) ?? namedPlaces(features, layer.fedShape);
  if (!found) return null;
  const canvas = el("canvas", { class: "fed-map", role: "img", "aria-label": `What feeds neuron ${neuron} for ${short(className, 60)}: ${features.slice(0, 3).map(([name, value]) => `${short(name, 60)} ${figure(value)}`).join("; ")}` });
  const full = Math.max(...Array.from(found.values, Math.abs).filter(Number.isFinite), 0);
  paintSigned(canvas, found.values, found.size, full, { isMarked: true });
  return el("figure", { class: "fed-figure" }, canvas, el("figcaption", { text: `red feeds it, blue (−) stills it; full colour ${figure(full)}` }));
}

function fedBy(letter, layer, neuron) {
  const groups = layer?.feeding.filter((group) => group.neuron === neuron && group.features.length).slice(0, 10) ?? [];
  return groups.map(({ className, features }) => {
    const full = Math.max(...features.map(([, value]) => Math.abs(value)).filter(Number.isFinite), 0) || 1;
    const mark = letter && el("span", { class: `step-letter ${letter.toLowerCase()}`, text: letter });
    const when = Number.isFinite(layer.fedEpoch) ? ` (epoch ${layer.fedEpoch})` : "";
    return el("div", { class: "bars" }, el("h4", {}, mark, ` what feeds it, for ${short(className, 60)}${when}`), fedPicture(layer, neuron, className, features), ...features.map(([feature, value]) => {
      const share = Math.min(50, (50 * Math.abs(value)) / full);
      const style = { width: `${share}%`, left: value < 0 ? `${50 - share}%` : "50%" };
      return el("div", { class: "bar-row" }, el("span", { class: "name", text: short(feature, 200) }),
        el("span", { class: "track" }, el("i", { class: `bar a ${value < 0 ? "against" : "for"}`, style })),
        el("span", { class: "value", text: figure(value) }));
    }));
  });
}

/** Make the panel. show({...}) fills it; only the newest call does. */
export function neuronDetail({ onPick, label = "One neuron" }) {
  const node = el("section", { class: "panel detail", "aria-label": label, "aria-live": "polite" });
  let turn = 0;
  let drawn = null;
  let known = "";
  return {
    node,
    cursors: (a, b) => drawn?.cursors(a, b),
    async show({ run, tag, a, b, units, layer, neuron, names, steps, cursor, stamp, title: before = "" }) {
      const key = JSON.stringify([run, tag, layer, neuron, stamp, [...names]]);
      const there = a.neurons.includes(neuron);
      const face = (letter, at) => faceNode(faceOf(at, layer, neuron), letter);
      const isCompared = units.isCompared;
      const words = el("div", { class: isCompared ? "compared" : "" },
        !there && el("p", { class: "note", text: "not among the neurons that were written at this step" }),
        el("div", { class: "unit-steps" }, face(isCompared ? "A" : "", units.a), isCompared && face("B", units.b)));
      const without = [withoutIt(isCompared ? "A" : "", a, neuron, names), withoutIt("B", b, neuron, names)].filter(Boolean);
      const fed = [...without, ...fedBy(isCompared ? "A" : "", a, neuron), ...fedBy("B", b, neuron)];
      const title = el("h3", { text: `${before}${before ? "neuron" : "Neuron"} ${neuron} of ${short(asTag(layer), 60)}` });
      if (known === key && drawn) {
        node.replaceChildren(title, words, drawn.node, ...fed);
        return;
      }
      const mine = ++turn;
      node.replaceChildren(title, words, ...fed);
      let points = [];
      let problem = "Its history is not known.";
      try {
        points = await api.history(run, tag, layer, neuron);
      } catch (error) {
        problem = `Its history cannot be read: ${short(error.message, 120)}.`;
      }
      if (mine !== turn) return;
      known = key;
      drawn = historyChart(list(points), { names, steps, onPick, problem });
      drawn.cursors(...cursor);
      node.replaceChildren(title, words, drawn.node, ...fed);
    },
  };
}

function historyChart(points, { names, steps, onPick, problem }) {
  const classes = [...new Set(points.flatMap((p) => Object.keys(mapping(p.rates))))].sort((x, y) => x - y);
  const series = classes.map((c) => ({
    name: names.get(Number(c)) ?? `class ${c}`, colour: classColour(Number(c)), dash: classDash(Number(c)),
    points: points.map((p) => ({ x: number(p.step), y: number(mapping(p.rates)[c]) })),
  }));
  return chart({ title: "Rate by class over training", unit: "share of samples active", series, steps, range: [0, 1], onPick, empty: problem });
}
