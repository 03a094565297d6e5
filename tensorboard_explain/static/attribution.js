// The view of an attribution monitor: heatmaps or bars of the probe at A and B, and drift over training.

import { attributionOf, mapping, number, probeOf, refusal } from "./checked.js";
import { barPanels } from "./bars.js";
import { driftPanel } from "./drift.js";
import { el, labelled, options, percent, short } from "./dom.js";
import { barLegend, signedLegend } from "./legend.js";
import { className, sampleCard } from "./sample_card.js";
import { tileCount } from "./sprite.js";
import { textCards } from "./text_card.js";

const known = new WeakMap(); // what was loaded -> what was read of it

/** Read what was loaded of an event: {header, sprite, trouble}; null for none. */
function understood(loaded) {
  if (!loaded) return null;
  if (!known.has(loaded)) known.set(loaded, readEvent(loaded));
  return known.get(loaded);
}

function readEvent(loaded) {
  const wrong = refusal(loaded.header, "attribution");
  if (wrong) throw new Error(wrong);
  const header = attributionOf(loaded.header);
  const { sprite } = loaded;
  const fits = sprite && header.tile && tileCount(sprite, header.tile) >= header.methods.length;
  return { header, sprite: fits ? sprite : null, trouble: loaded.trouble };
}

function pickers(store) {
  const change = (key) => ({ on: { change: (event) => store.set({ [key]: event.target.value }) } });
  const [ofClass, sample, method, scale] = ["class", "sample", "method", "scale"].map((key) => el("select", change(key)));
  ofClass.addEventListener("change", () => store.set({ sample: "" }));
  const fields = [labelled("Class", ofClass), labelled("Sample", sample), labelled("Method", method), labelled("Colour scale", scale)];
  return {
    nodes: fields,
    show(state, { header, method: chosen, positions }) {
      const labels = header.labels ? [...new Set(header.labels)].sort((x, y) => x - y) : [];
      options(ofClass, [["", "all"], ...labels.map((c) => [String(c), className(header.classNames, c)])], state.class);
      const name = (i) => (header.labels ? `${i + 1}: ${className(header.classNames, header.labels[i])}` : `${i + 1}`);
      options(sample, [["", "all"], ...positions.map((i) => [String(i), name(i)])], state.sample);
      options(method, header.methods.map((m) => [m.name, m.name]), chosen?.name ?? "");
      options(scale, [["shared", "shared by all"], ["own", "own for each sample"]], state.scale);
    },
  };
}

const nSamples = (header) =>
  header.labels?.length ?? header.predicted?.length ?? header.outputs?.length ?? header.methods[0]?.scales.length ?? 0;

function positionsOf(header, state) {
  const all = Array.from({ length: Math.min(nSamples(header), 200) }, (_, i) => i);
  return state.class === "" || !header.labels ? all : all.filter((i) => String(header.labels[i]) === state.class);
}

/** The scale that all steps share: the largest full colour that any of them had. */
function sharedScale(points, method) {
  const scales = points.map((p) => number(mapping(p.curve.full_colour)[method?.name])).filter(Number.isFinite);
  return Math.max(...scales, Number.isFinite(method?.full) ? method.full : 0);
}

function summary(at, letter, positions) {
  const { header, method } = at;
  const right = header.labels && header.predicted ? positions.filter((i) => header.predicted[i] === header.labels[i]).length : null;
  const errors = positions.map((i) => method?.error?.[i]).filter(Number.isFinite);
  const mean = errors.length ? errors.reduce((sum, e) => sum + e, 0) / errors.length : NaN;
  return [
    right === null ? "" : `${letter}: ${right} of ${positions.length} as labelled`,
    Number.isFinite(mean) ? `explanation error ${percent(mean, 1)}` : "",
  ].filter(Boolean).join(", ");
}

/** Make the view. */
export function attributionView(store, onPick) {
  const drift = driftPanel(store, onPick);
  const picked = pickers(store);
  const [legend, grid, note] = [el("div"), el("div", { class: "cards" }), el("p", { class: "note", role: "status" })];
  const node = el("div", { class: "view attribution" },
    el("section", { class: "panel main", "aria-label": "Explanations of the probe" },
      el("div", { class: "controls" }, ...picked.nodes, legend), note, grid), drift.node);
  let cards = new Map();
  let built = null;

  const withMethod = (at, state) => {
    if (!at) return null;
    return { ...at, method: at.header.methods.find((m) => m.name === state.method) ?? at.header.methods[0] };
  };
  const onCard = (position) => store.set({ sample: store.get().sample === String(position) ? "" : String(position) });

  const rebuild = (probe, header) => {
    cards = new Map();
    for (let i = 0; i < Math.min(nSamples(header), 200); i++) {
      const name = header.labels ? className(header.classNames, header.labels[i]) : `sample ${i + 1}`;
      cards.set(i, sampleCard(i, { probe, name, onPick: onCard }));
    }
  };
  const readProbe = (loaded) => {
    if (!loaded || refusal(loaded.header, "probe")) return null;
    const header = probeOf(loaded.header);
    return { header, sprite: loaded.sprite };
  };

  return {
    node,
    curves: (state, data) => drift.update(state, data),
    /** Draw A and B: what was loaded of their events. */
    draw(state, { a: loadedA, b: loadedB, probe: loadedProbe, points }) {
      const [a, b] = [understood(loadedA), understood(loadedB)].map((at) => withMethod(at, state));
      const positions = positionsOf(a.header, state);
      const shown = state.sample !== "" && positions.includes(Number(state.sample)) ? [Number(state.sample)] : positions;
      picked.show(state, { header: a.header, method: a.method, positions });
      const full = state.scale === "own" ? null : sharedScale(points, a.method);
      legend.replaceChildren(a.header.form === "table" ? barLegend(a.header.unit, Boolean(b)) : signedLegend(full, a.header.unit));
      const trouble = [a, b].map((at) => at?.trouble).filter(Boolean).join("; ");
      const formless = !a.header.form ? "These inputs have a form that has no picture here; drift and predictions are shown." : "";
      const caveat = a.header.caveat && `Drift at A: ${short(a.header.caveat, 300)}`;
      note.textContent = [caveat, trouble && `A picture could not be read: ${short(trouble, 200)}.`, formless,
        [summary(a, "A", shown), b && summary(b, "B", shown)].filter(Boolean).join(" · ")].filter(Boolean).join(" ");
      if (a.header.form === "table") {
        grid.className = "bar-panels";
        built = null;
        grid.replaceChildren(...barPanels(a, b, { state, probe: readProbe(loadedProbe), positions: shown, scale: state.scale }));
        return;
      }
      if (a.header.form === "tokens") {
        grid.className = "texts";
        built = null;
        const large = state.sample !== "" && shown.length === 1;
        grid.replaceChildren(...textCards(a, b, { probe: readProbe(loadedProbe), positions: shown, full, large, onPick: onCard }));
        return;
      }
      grid.className = `cards${b ? " compared" : ""}${a.header.form === "signal" ? " signals" : ""}`;
      const labels = JSON.stringify([a.header.labels, nSamples(a.header), document.documentElement.dataset.theme]);
      if (built?.probe !== loadedProbe || built.labels !== labels) {
        rebuild(readProbe(loadedProbe), a.header);
        built = { probe: loadedProbe, labels, shown: "" };
      }
      if (built.shown !== shown.join()) {
        built.shown = shown.join();
        grid.replaceChildren(...shown.map((i) => cards.get(i).node));
      }
      for (const i of shown) cards.get(i).paint(a, b, { full, large: state.sample !== "" && shown.length === 1 });
    },
    cursors: drift.cursors,
  };
}
