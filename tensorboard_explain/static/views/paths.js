// The view of a path monitor: the decision path at A and at B, with the edges that were won and lost between them.

import { pathsOf, refusal } from "../checked.js";
import { el, labelled, options, panel, percent, short } from "../dom.js";
import { edgeLegend } from "../legend.js";
import { pathBlock } from "../paths/block.js";
import { imageOf } from "../paths/input.js";
import { runName } from "../sides/chosen.js";
import { firstThreshold, fullShares } from "../paths/ways.js";
import { faceAddress, faceOf, unitCard } from "../units/card.js";

const known = new WeakMap(); // what was loaded -> what was read of it

function understood(loaded) {
  if (!loaded) return null;
  if (!known.has(loaded)) known.set(loaded, readEvent(loaded));
  return known.get(loaded);
}

function readEvent(loaded) {
  const wrong = refusal(loaded.header, "paths");
  if (wrong) throw new Error(wrong);
  const header = pathsOf(loaded.header);
  for (const graph of header.graphs) {
    graph.tile = header.tile;
    graph.image = imageOf(loaded.sprite, header.tile, graph.tileIndex);
    const isPatch = (node) => node.unit >= 0 && graph.columns[node.column]?.isInput;
    graph.box = graph.image ? (node) => (isPatch(node) ? graph.boxes.get(node.unit) ?? null : null) : null;
  }
  return header;
}

/** A slider over the shares of a graph's edges: a place from 0 to 100 on a scale of logarithms. */
function scaleOf(graph) {
  const shares = graph.edges.map((edge) => edge.share).filter((share) => share > 0);
  const [low, high] = shares.length ? [Math.min(...shares), Math.max(...shares)] : [0, 0];
  const spread = Math.log(high / low);
  return {
    share: (place) => (place <= 0 || !(spread > 0) ? low : low * Math.exp((spread * place) / 100) * (1 - 1e-9)),
    place: (share) => (spread > 0 ? Math.min(100, Math.max(0, (100 * Math.log(share / low)) / spread)) : 0),
  };
}

/** Make the view. */
export function pathView(store) {
  const select = el("select", { on: { change: () => store.set({ graph: select.value }) } });
  const slider = el("input", { type: "range", min: 0, max: 100, step: 0.5 });
  const least = el("output", { class: "number" });
  const hide = labelled("Hide lines below", slider, { class: "field hide-lines" });
  hide.append(least);
  const [drawn, keys] = [el("div", { class: "paths" }), el("div")];
  const node = el("div", { class: "view one" },
    panel("Decision paths", "main", el("div", { class: "controls" }, labelled("Path of", select), hide, keys), drawn));
  const chosen = { threshold: null, picked: "", title: "" }; // by the reader: of the path that is shown
  let again = () => {};

  function draw(state, sides) {
    const { a: sideA, b: sideB, otherRun } = sides;
    const [a, b] = [understood(sideA.record), understood(sideB?.record)];
    const units = { a: sideA.units, b: otherRun ? null : sideB?.units ?? null, isCompared: Boolean(sideB) && !otherRun };
    options(select, a.graphs.map((graph) => [graph.title, graph.title]), state.graph);
    const graph = a.graphs.find(({ title }) => title === select.value);
    if (!graph) throw new Error("it holds no path");
    const title = `${sideA.run} ${sideA.monitor.tag} ${graph.title}`;
    if (title !== chosen.title) Object.assign(chosen, { threshold: null, picked: "", title });
    const unlike = otherRun ? unlikeSample(graph, a, b) : "";
    const other = (!unlike && b?.graphs.find(({ title: own }) => own === graph.title)) || null;
    const scale = scaleOf(graph);
    const threshold = chosen.threshold ?? firstThreshold(graph);
    if (document.activeElement !== slider) slider.value = scale.place(threshold);
    least.textContent = percent(threshold, threshold < 0.0995 ? 2 : 1);
    hide.hidden = graph.isSpread || graph.edges.length < 2;
    keys.replaceChildren(edgeLegend(Boolean(other && !otherRun)));
    const focused = drawn.contains(document.activeElement) ? document.activeElement.dataset?.node : null;
    const options_ = { room: Math.max(420, (drawn.clientWidth || 1100) / (other ? 2 : 1) - 8), picked: chosen.picked, pick, threshold, full: fullShares([graph, other].filter(Boolean)) };
    const comparable = other && !otherRun && other.isSpread === graph.isSpread && sameColumns(graph, other);
    graph.faceOf = (each) => faceAddress(faceOf(units?.a, each.layer, each.unit));
    if (other) other.faceOf = (each) => faceAddress(faceOf(sideB.units, each.layer, each.unit));
    const card = (each) => (faceOf(units.a ?? units.b, each.layer, each.unit) ? unitCard({ layer: each.layer, unit: each.unit, title: each.label }, units) : null);
    const where = (side) => (otherRun ? `${runName(side.run)}, step ${side.step}` : "");
    const shown = [pathBlock(graph, { ...options_, other: comparable ? other : null, mark: "won", letter: b ? "A" : "", where: where(sideA), card })];
    if (other) shown.push(pathBlock(other, { ...options_, picked: otherRun ? "" : chosen.picked, threshold: chosen.threshold ?? firstThreshold(other), other: comparable ? graph : null, mark: "lost", letter: "B", where: where(sideB) }));
    else if (b) shown.push(el("p", { class: "note", text: unlike || "B has no such path." }));
    if (other && otherRun) shown.unshift(el("p", { class: "note caveat", text: "A unit of one run is not the unit of the same number in another one, so edges are not compared; inputs, blocks and shares are." }));
    else if (other && !comparable) shown.unshift(el("p", { class: "note caveat", text: "At A and B other layers are drawn, so their edges are not compared." }));
    if (a.caveat) shown.unshift(el("p", { class: "note caveat", text: `Edges won and lost in the record at A: ${short(a.caveat, 300)}` }));
    drawn.replaceChildren(...shown);
    const missing = state.graph === "" || state.graph === graph.title ? [] : [`There is no path of “${short(state.graph, 60)}” in this record; this is that of ${short(graph.title, 60)}.`];
    if (focused) drawn.querySelector(`[data-node="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    again = () => draw(state, sides);
    slider.oninput = () => {
      chosen.threshold = scale.share(Number(slider.value));
      again();
    };
    return missing;
  }

  function pick(id) {
    chosen.picked = id;
    again();
  }

  return { node, draw };
}

/** Say why a path of one sample has no counterpart in another run; "" if it has one. */
function unlikeSample(graph, a, b) {
  if (graph.sample < 0 || !b) return "";
  if (!a.probe || !b.probe) return "This path is of one sample, and a record does not say of which probe: it is not compared with that of another run.";
  return a.probe === b.probe ? "" : `The probes differ (fingerprints ${short(a.probe, 12)} and ${short(b.probe, 12)}), so this sample is another one at B.`;
}

function sameColumns(graph, other) {
  const layers = (each) => each.columns.map((column) => column.layers.join(" ")).join("|");
  return layers(graph) === layers(other);
}
