// The view of a neuron monitor: the layers in figures, one layer's class × neuron rates, one neuron.

import { mapping, neuronsOf, number, refusal } from "../checked.js";
import { el, labelled, options, panel, percent, short } from "../dom.js";
import { kindLegend, shareLegend } from "../legend.js";
import { runName } from "../sides/chosen.js";
import { createTable } from "../tables/table.js";
import { facedUnits } from "../units/faces.js";
import { asTag, commonPrefix } from "../words/names.js";
import { neuronDetail } from "./neuron_detail.js";
import { matrices, withClasses } from "./neuron_matrix.js";
import { unitGallery } from "./unit_gallery.js";
import { scorePanel } from "./drift.js";
import { tellingLayer, tellingNeuron } from "./telling.js";

function understood(loaded) {
  if (!loaded) return null;
  const wrong = refusal(loaded.header, "neurons");
  if (wrong) throw new Error(wrong);
  return neuronsOf(loaded.header);
}

/** The layers in figures: a table that can be sorted. */
function layerTable(onLayer) {
  const order = { key: "place", down: false };
  let chosen = null;
  const table = createTable({ label: "Layers", what: "layers", columns: [], most: 40, className: "layers", order, rowClass: ({ layer }) => (layer.name === chosen?.name ? "chosen" : "") });
  const show = (a, b, layer) => {
    chosen = layer;
    const prefix = commonPrefix(a.layers.map(({ name }) => name));
    const pick = ({ layer: each }) => el("button", { type: "button", "aria-pressed": String(each.name === chosen?.name), title: short(asTag(each.name), 300), on: { click: () => onLayer(each.name) } }, short(asTag(each.name.slice(prefix.length)), 60));
    const metrics = [...new Set(a.layers.flatMap((each) => [...each.metrics.keys()]))];
    const columns = [
      { key: "name", words: prefix ? `layer of ${short(asTag(prefix.slice(0, -1)), 60)}` : "layer", isName: true, value: (row) => row.layer.name, cell: pick },
      { key: "neurons", words: "neurons", value: (row) => row.layer.nNeurons, cell: (row) => String(row.layer.nNeurons) },
      ...metrics.map((name) => ({
        key: name, words: short(name, 24).replaceAll("_", " "), value: (row) => row.layer.metrics.get(name) ?? NaN,
        cell: (row) => {
          const then = row.other?.metrics.get(name) ?? NaN;
          return el("span", {}, percent(row.layer.metrics.get(name) ?? NaN), Number.isFinite(then) && el("small", { text: ` B ${percent(then)}` }));
        },
      })),
    ];
    table.update(a.layers.map((each) => ({ layer: each, other: b?.layers.find(({ name }) => name === each.name) })), columns);
  };
  return { node: table.node, show };
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

function facts(header, layer, b, otherRun) {
  const said = [`${header.stage === "train" ? "Training" : "Validation"} data.`];
  if (otherRun) said.push("A neuron of one run is not the neuron of the same number in another one, so there is no difference of the two; each is sorted for itself.");
  if (layer.neurons.length < layer.nNeurons) said.push(`${layer.neurons.length} of ${layer.nNeurons} neurons are in the record: those that differ most between classes.`);
  if (header.classes.length < header.nClasses) said.push(`${header.classes.length} of ${header.nClasses} classes are in the record.`);
  if (header.layers.length < header.nLayers) said.push(`${header.layers.length} of ${header.nLayers} layers are in the record.`);
  if (b && !otherRun && b.neurons.join() !== layer.neurons.join()) said.push("At B other neurons were recorded, so the matrices are not compared.");
  if (layer.saturated) said.push("Saturated: nearly every neuron is active for nearly every sample, so these rates say nothing of the classes.");
  if (layer.nNotFinite > 0) said.push(`${layer.nNotFinite} neurons gave NaN or infinity, which counts as not active.`);
  if (header.neverFired.length) said.push(`Never fired, and not shown: ${header.neverFired.map((name) => short(asTag(name), 60)).join(", ")}.`);
  if (header.training) said.push(`Training: ${short(header.training, 200)}`);
  if (header.caveat) said.push(`Turnover: ${short(header.caveat, 300)}`);
  return said.join(" ");
}

/** What the state names that the record lacks, in words. */
function missingWords(state, layer, other, b) {
  const said = [];
  if (state.layer !== "" && state.layer !== layer.name) said.push(`There is no layer “${short(asTag(state.layer), 60)}” in this record; this is ${short(asTag(layer.name), 60)}.`);
  if (state.neuron !== "" && !(Number(state.neuron) < layer.nNeurons)) said.push(`Layer ${short(asTag(layer.name), 60)} has no neuron ${short(state.neuron, 20)}.`);
  if (b && !other) said.push(`B has no layer ${short(asTag(layer.name), 60)}.`);
  return said;
}

/** Make the view. */
export function neuronView(store, onPick, where) {
  const [matrix, note, gallery, legend] = [el("div"), el("p", { class: "note" }), el("div"), el("div")];
  const layers = layerTable((name) => store.set({ layer: name, neuron: "", neuronb: "" }));
  const sort = sortPicker(store);
  const [detail, detailB] = [neuronDetail({ onPick }), neuronDetail({ onPick, label: "One neuron of the other run" })];
  const scores = scorePanel(onPick);
  detailB.node.hidden = true;
  const node = el("div", { class: "view neurons" },
    panel("Neurons", "main", layers.node, gallery, el("div", { class: "controls" }, sort.node, legend), note, matrix),
    el("div", { class: "side" }, detail.node, detailB.node, scores.node));
  let cursor = [NaN, NaN];
  let telling = ""; // of the record that was shown first, so that moving A changes no layer

  /** Show the neuron chosen: at A and B of one run; of two runs each has its own. */
  function drawDetails(state, { a, b, layer, other, otherRun, sideA, sideB, neuron }) {
    const stampOf = (side) => `${side.own.length}/${side.step}`;
    const of = (side, shown, units, at) => ({ layer: layer.name, neuron: at, names: shown.classNames, steps: side.steps, cursor, stamp: `${side.own.length}/${mapping(side.points.at(-1)).step}`, run: side.run, tag: where.tag, units });
    const bySteps = { a: sideA.units, b: otherRun ? null : sideB?.units ?? null, isCompared: Boolean(sideB) && !otherRun };
    detail.show({ ...of(sideA, a, bySteps, neuron), a: layer, b: otherRun ? null : other, title: otherRun ? `A, ${runName(sideA.run)}: ` : "" });
    detailB.node.hidden = !otherRun || !other;
    if (!otherRun || !other) return;
    const chosenB = state.neuronb === "" ? tellingNeuron(other, facedUnits(sideB.units, other.name)) : number(Number(state.neuronb));
    detailB.show({ ...of(sideB, b, { a: sideB.units, b: null, isCompared: false }, chosenB), tag: sideB.monitor.tag, stamp: stampOf(sideB), a: other, b: null, title: `B, ${runName(sideB.run)}: ` });
  }

  return {
    node,
    curves: (state, data) => { scores.update(state, data); scores.cursors(...cursor); },
    cursors(a, b) {
      cursor = [a, b];
      detail.cursors(a, b);
      detailB.cursors(b, NaN);
      scores.cursors(a, b);
    },
    draw(state, { a: sideA, b: sideB, otherRun }) {
      const [a, b] = [understood(sideA.record), understood(sideB?.record)];
      telling ||= tellingLayer(a);
      const layer = a.layers.find((l) => l.name === state.layer) ?? a.layers.find((l) => l.name === telling) ?? a.layers[0];
      if (!layer) throw new Error("it names no layer");
      const found = b?.layers.find((l) => l.name === layer.name) ?? null;
      const names = a.classNames;
      // the rows of B in the order of the classes of A, which B may have in another one, or not at all
      const other = found && withClasses(found, b, otherRun ? a.classes.map((c) => names.get(c) ?? String(c)) : a.classes, otherRun);
      layers.show(a, b, layer);
      sort.show(state, a.classes, names, Boolean(other) && !otherRun);
      legend.replaceChildren(shareLegend(), kindLegend());
      note.textContent = facts(a, layer, other, otherRun);
      const neuron = state.neuron === "" ? tellingNeuron(layer, facedUnits(sideA.units, layer.name)) : number(Number(state.neuron));
      gallery.replaceChildren(unitGallery({ a: sideA.units, b: otherRun ? null : sideB?.units ?? null, isCompared: Boolean(sideB) && !otherRun }, layer.name, neuron, (n) => store.set({ neuron: String(n) })));
      const hadFocus = matrix.firstChild && document.activeElement === matrix.firstChild;
      matrix.replaceChildren(matrices({
        a: layer, b: other, classes: a.classes, names, sort: state.sort, neuron, otherRun, neuronB: state.neuronb === "" ? NaN : Number(state.neuronb),
        onSort: (by) => store.set({ sort: by }), onNeuron: (n, isOfB) => store.set(isOfB ? { neuronb: String(n) } : { neuron: String(n) }),
      }));
      if (hadFocus) matrix.firstChild.focus();
      drawDetails(state, { a, b, layer, other, otherRun, sideA, sideB, neuron });
      return missingWords(state, layer, other, b);
    },
  };
}
