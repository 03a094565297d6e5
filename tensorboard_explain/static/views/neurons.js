// The view of a neuron monitor: the layers in figures, one layer's class × neuron rates, one neuron.

import { mapping, neuronsOf, number, refusal } from "../checked.js";
import { el, labelled, options, percent, short } from "../dom.js";
import { kindLegend, shareLegend } from "../legend.js";
import { facedUnits } from "../units/faces.js";
import { neuronDetail } from "./neuron_detail.js";
import { matrices } from "./neuron_matrix.js";
import { unitGallery } from "./unit_gallery.js";
import { scorePanel } from "./drift.js";

function understood(loaded) {
  if (!loaded) return null;
  const wrong = refusal(loaded.header, "neurons");
  if (wrong) throw new Error(wrong);
  return neuronsOf(loaded.header);
}

function table(a, b, chosen, onLayer) {
  const columns = [...new Set(a.layers.flatMap((layer) => [...layer.metrics.keys()]))];
  const cell = (name, layer, other) => {
    const [now, then] = [layer.metrics.get(name) ?? NaN, other?.metrics.get(name) ?? NaN];
    return el("td", {}, percent(now), Number.isFinite(then) && el("small", { text: ` B ${percent(then)}` }));
  };
  const rows = a.layers.map((layer) => {
    const other = b?.layers.find((l) => l.name === layer.name);
    const pick = el("button", { type: "button", "aria-pressed": String(layer === chosen), title: short(layer.name, 300), on: { click: () => onLayer(layer.name) } }, short(layer.name, 36));
    return el("tr", { class: layer === chosen ? "chosen" : "" }, el("th", { scope: "row" }, pick), el("td", { text: layer.nNeurons }),
      ...columns.map((name) => cell(name, layer, other)));
  });
  return el("table", { class: "layers" }, el("thead", {}, el("tr", {}, ...["layer", "neurons", ...columns.map((name) => short(name, 24).replaceAll("_", " "))].map((name) => el("th", { scope: "col", text: name })))), el("tbody", {}, ...rows));
}

function sortPicker(store) {
  const select = el("select", { on: { change: () => store.set({ sort: select.value }) } });
  return {
    node: labelled("Sort neurons by", select),
    show(state, classes, names, compared) {
      options(select, [["index", "index"], ["selectivity", "class selectivity"], ["spread", "difference between classes"],
        ...(compared ? [["change", "change from B to A"]] : []),
        ...classes.map((c) => [`class:${c}`, `rate for ${names.get(c) ?? c}`])], state.sort);
    },
  };
}

function facts(header, layer, b) {
  const said = [`${header.stage === "train" ? "Training" : "Validation"} data.`];
  if (layer.neurons.length < layer.nNeurons) said.push(`${layer.neurons.length} of ${layer.nNeurons} neurons are in the record: those that differ most between classes.`);
  if (header.classes.length < header.nClasses) said.push(`${header.classes.length} of ${header.nClasses} classes are in the record.`);
  if (header.layers.length < header.nLayers) said.push(`${header.layers.length} of ${header.nLayers} layers are in the record.`);
  if (b && b.neurons.join() !== layer.neurons.join()) said.push("At B other neurons were recorded, so the matrices are not compared.");
  if (layer.saturated) said.push("Saturated: nearly every neuron is active for nearly every sample, so these rates say nothing of the classes.");
  if (layer.nNotFinite > 0) said.push(`${layer.nNotFinite} neurons gave NaN or infinity, which counts as not active.`);
  if (header.neverFired.length) said.push(`Never fired, and not shown: ${header.neverFired.map((name) => short(name, 60)).join(", ")}.`);
  if (header.caveat) said.push(`Turnover: ${short(header.caveat, 300)}`);
  return said.join(" ");
}

/** Make the view. */
export function neuronView(store, onPick, where) {
  const [layers, matrix, note, gallery] = [el("div", { class: "scroll" }), el("div"), el("p", { class: "note" }), el("div")];
  const legend = el("div");
  const sort = sortPicker(store);
  const detail = neuronDetail({ ...where, onPick });
  const scores = scorePanel(onPick);
  const node = el("div", { class: "view neurons" },
    el("section", { class: "panel main", "aria-label": "Neurons" }, layers, gallery, el("div", { class: "controls" }, sort.node, legend), note, matrix),
    el("div", { class: "side" }, detail.node, scores.node));
  let cursor = [NaN, NaN];
  return {
    node,
    curves: (state, data) => { scores.update(state, data); scores.cursors(...cursor); },
    cursors(a, b) {
      cursor = [a, b];
      detail.cursors(a, b);
      scores.cursors(a, b);
    },
    draw(state, { a: loadedA, b: loadedB, steps, own, points, units }) {
      const [a, b] = [understood(loadedA), understood(loadedB)];
      const layer = a.layers.find((l) => l.name === state.layer) ?? a.layers[0];
      if (!layer) throw new Error("it names no layer");
      const other = b?.layers.find((l) => l.name === layer.name) ?? null;
      const names = a.classNames;
      layers.replaceChildren(table(a, b, layer, (name) => store.set({ layer: name, neuron: "" })));
      sort.show(state, a.classes, names, Boolean(other));
      legend.replaceChildren(shareLegend(), kindLegend());
      note.textContent = facts(a, layer, other);
      const neuron = state.neuron === "" ? facedUnits(units.a, layer.name)[0] ?? defaultNeuron(layer) : number(Number(state.neuron));
      gallery.replaceChildren(unitGallery(units, layer.name, neuron, (n) => store.set({ neuron: String(n) })));
      const hadFocus = matrix.firstChild && document.activeElement === matrix.firstChild;
      matrix.replaceChildren(matrices({
        a: layer, b: other, classes: a.classes, names, sort: state.sort, neuron,
        onSort: (by) => store.set({ sort: by }), onNeuron: (n) => store.set({ neuron: String(n) }),
      }));
      if (hadFocus) matrix.firstChild.focus();
      detail.show({ a: layer, b: other, units, layer: layer.name, neuron, names, steps, cursor, stamp: `${own.length}/${mapping(points.at(-1)).step}` });
    },
  };
}

/** The neuron to begin with: the one that tells classes apart best. */
function defaultNeuron(layer) {
  let best = 0;
  layer.selectivity.forEach((value, i) => { if (value > (layer.selectivity[best] || 0)) best = i; });
  return layer.neurons[best] ?? 0;
}
