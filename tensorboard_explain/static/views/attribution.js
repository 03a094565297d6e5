// The view of an attribution monitor: explanations of the probe at A and B, and drift over training.

import { attributionOf, mapping, number, probeOf, refusal } from "../checked.js";
import { driftPanel } from "./drift.js";
import { el, labelled, options, percent, short } from "../dom.js";
import { modalityOf } from "../modality.js";
import { className, nSamples } from "./sample_card.js";
import { tileCount } from "../sprite.js";

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

function readProbe(loaded) {
  if (!loaded || refusal(loaded.header, "probe")) return null;
  if (!known.has(loaded)) known.set(loaded, { header: probeOf(loaded.header), sprite: loaded.sprite });
  return known.get(loaded);
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
  let kind = null; // {module, drawing}: what draws the inputs now

  const withMethod = (at, state) => {
    if (!at) return null;
    return { ...at, method: at.header.methods.find((m) => m.name === state.method) ?? at.header.methods[0] };
  };
  const onCard = (position) => store.set({ sample: store.get().sample === String(position) ? "" : String(position) });

  return {
    node,
    curves: (state, data) => drift.update(state, data),
    /** Load what draws this kind of input; the returned function puts it to use. */
    async prepare(loaded) {
      const module = await modalityOf(loaded?.header);
      if (!module) throw new Error("nothing draws this kind of input");
      return () => { if (kind?.module !== module) kind = { module, drawing: module.create(onCard) }; };
    },
    /** Draw A and B: what was loaded of their events. */
    draw(state, { a: loadedA, b: loadedB, probe: loadedProbe, points }) {
      const [a, b] = [understood(loadedA), understood(loadedB)].map((at) => withMethod(at, state));
      const positions = positionsOf(a.header, state);
      const shown = state.sample !== "" && positions.includes(Number(state.sample)) ? [Number(state.sample)] : positions;
      picked.show(state, { header: a.header, method: a.method, positions });
      const full = state.scale === "own" ? null : sharedScale(points, a.method);
      legend.replaceChildren(kind.drawing.legend(full, a.header.unit, Boolean(b)));
      const trouble = [a, b].map((at) => at?.trouble).filter(Boolean).join("; ");
      const formless = !a.header.form ? "These inputs have a form that has no picture here; drift and predictions are shown." : "";
      const caveat = a.header.caveat && `Drift at A: ${short(a.header.caveat, 300)}`;
      note.textContent = [caveat, trouble && `A picture could not be read: ${short(trouble, 200)}.`, formless,
        [summary(a, "A", shown), b && summary(b, "B", shown)].filter(Boolean).join(" · ")].filter(Boolean).join(" ");
      const large = state.sample !== "" && shown.length === 1;
      kind.drawing.draw(grid, a, b, { probe: readProbe(loadedProbe), positions: shown, full, large, state });
    },
    cursors: drift.cursors,
  };
}
