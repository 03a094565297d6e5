// The view of a path monitor: the decision path at A and at B, with the edges that were won and lost between them.

import { pathsOf, refusal } from "../checked.js";
import { el, labelled, options, percent, short } from "../dom.js";
import { edgeLegend } from "../legend.js";
import { pathBlock } from "../paths/block.js";
import { imageOf } from "../paths/input.js";
import { firstThreshold } from "../paths/ways.js";
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
    el("section", { class: "panel main", "aria-label": "Decision paths" }, el("div", { class: "controls" }, labelled("Path of", select), hide, keys), drawn));
  const chosen = { threshold: null, picked: "", title: "" }; // by the reader: of the path that is shown
  let again = () => {};

  function draw(state, { a: loadedA, b: loadedB, units, run, monitor }) {
    const [a, b] = [understood(loadedA), understood(loadedB)];
    options(select, a.graphs.map((graph) => [graph.title, graph.title]), state.graph);
    const graph = a.graphs.find(({ title }) => title === select.value);
    if (!graph) throw new Error("it holds no path");
    const title = `${run} ${monitor?.tag} ${graph.title}`;
    if (title !== chosen.title) Object.assign(chosen, { threshold: null, picked: "", title });
    const other = b?.graphs.find(({ title: own }) => own === graph.title) ?? null;
    const scale = scaleOf(graph);
    const threshold = chosen.threshold ?? firstThreshold(graph);
    if (document.activeElement !== slider) slider.value = scale.place(threshold);
    least.textContent = percent(threshold, threshold < 0.0995 ? 2 : 1);
    hide.hidden = graph.isSpread || graph.edges.length < 2;
    keys.replaceChildren(edgeLegend(Boolean(other)));
    const focused = drawn.contains(document.activeElement) ? document.activeElement.dataset?.node : null;
    const options_ = { room: Math.max(420, (drawn.clientWidth || 1100) / (other ? 2 : 1) - 8), picked: chosen.picked, pick, threshold };
    const comparable = other && other.isSpread === graph.isSpread && sameColumns(graph, other);
    graph.faceOf = (each) => faceAddress(faceOf(units?.a, each.layer, each.unit));
    if (other) other.faceOf = (each) => faceAddress(faceOf(units?.b ?? units?.a, each.layer, each.unit));
    const card = (each) => (faceOf(units?.a, each.layer, each.unit) ? unitCard({ layer: each.layer, unit: each.unit, title: each.label }, units) : null);
    const shown = [pathBlock(graph, { ...options_, other: comparable ? other : null, mark: "won", letter: b ? "A" : "", card })];
    if (other) shown.push(pathBlock(other, { ...options_, threshold: chosen.threshold ?? firstThreshold(other), other: comparable ? graph : null, mark: "lost", letter: "B" }));
    else if (b) shown.push(el("p", { class: "note", text: "At B there was no such path." }));
    if (other && !comparable) shown.unshift(el("p", { class: "note caveat", text: "At A and B other layers are drawn, so their edges are not compared." }));
    if (a.caveat) shown.unshift(el("p", { class: "note caveat", text: `Edges won and lost in the record at A: ${short(a.caveat, 300)}` }));
    drawn.replaceChildren(...shown);
    if (focused) drawn.querySelector(`[data-node="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    again = () => draw(state, { a: loadedA, b: loadedB, units, run, monitor });
    slider.oninput = () => {
      chosen.threshold = scale.share(Number(slider.value));
      again();
    };
  }

  function pick(id) {
    chosen.picked = id;
    again();
  }

  return { node, draw };
}

function sameColumns(graph, other) {
  const layers = (each) => each.columns.map((column) => column.layers.join(" ")).join("|");
  return layers(graph) === layers(other);
}
