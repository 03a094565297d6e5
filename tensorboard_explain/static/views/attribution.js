// The view of an attribution monitor: explanations of the probe at A and B, and drift over training.

import { attributionOf, mapping, number, probeOf, refusal } from "../checked.js";
import { betweenPanel, unlikeWords } from "./between.js";
import { driftPanel } from "./drift.js";
import { el, panel, short } from "../dom.js";
import { modalityOf } from "../modality.js";
import { runName } from "../sides/chosen.js";
import { notes, pickers } from "./probe_controls.js";
import { className, nSamples, sampleName } from "./sample_card.js";
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

/** The samples of a class, which another run may number otherwise; all of them where no class is chosen. */
function positionsOf(header, name) {
  const all = Array.from({ length: Math.min(nSamples(header), 200) }, (_, i) => i);
  return name === "" || !header.labels ? all : all.filter((i) => className(header.classNames, header.labels[i]) === name);
}

/** The scale that all steps share: the largest full colour that any of them had. */
function sharedScale(points, method) {
  const scales = points.map((p) => number(mapping(p.curve.full_colour)[method?.name])).filter(Number.isFinite);
  return Math.max(...scales, Number.isFinite(method?.full) ? method.full : 0);
}

/** What the state names that a record lacks, in words. */
function missingWords(state, { header }, method) {
  const said = [];
  if (state.method !== "" && !method) said.push(`There are no attributions by “${short(state.method, 60)}” in this record.`);
  if (state.class !== "" && header.labels && !header.labels.includes(Number(state.class))) said.push(`There is no sample of class ${short(state.class, 20)} in this record.`);
  if (state.sample !== "" && !(Number(state.sample) < nSamples(header))) said.push(`There is no sample ${short(String(Number(state.sample) + 1), 20)} in this record.`);
  return said;
}

/** Make the view. */
export function attributionView(store, onPick) {
  const [drift, between] = [driftPanel(store, onPick), betweenPanel()];
  const picked = pickers(store);
  const [legend, note] = [el("div"), el("p", { class: "note", role: "status" })];
  const onCard = (position) => store.set({ sample: store.get().sample === String(position) ? "" : String(position) });
  const close = () => store.set({ sample: "" });
  const closer = el("button", { type: "button", class: "closer", on: { click: close } }, "✕ Close");
  const [enlarged, enlargedName] = [el("div", { class: "enlarged", hidden: true }), el("h3", {})];
  enlarged.append(enlargedName, closer);
  const grids = [0, 1].map(() => ({ title: el("h3", { class: "run-title", hidden: true }), grid: el("div", { class: "cards" }) }));
  const node = el("div", { class: "view attribution" },
    panel("Explanations of the probe", "main", el("div", { class: "controls" }, ...picked.nodes, legend), note, enlarged, ...grids.flatMap(({ title, grid }) => [title, grid])),
    el("div", { class: "side" }, between.node, drift.node));
  node.addEventListener("keydown", (event) => { if (event.key === "Escape" && store.get().sample !== "") close(); });
  let kind = null; // {module, drawings}: what draws the inputs now, of either run

  const withMethod = (at, name) => at && { ...at, method: at.header.methods.find((m) => m.name === name) ?? null };

  /** Draw the samples: A and B in one grid where they are the same samples, else in one for each run. */
  function drawGrids({ a, b, apart, probes, shown, full, state }) {
    const large = state.sample !== "" && shown[0].length === 1;
    const options = { full, large, state };
    kind.drawings[0].draw(grids[0].grid, a, apart ? null : b, { ...options, probe: probes[0], positions: shown[0] });
    if (apart) kind.drawings[1].draw(grids[1].grid, b, null, { ...options, large: false, probe: probes[1], positions: shown[1] });
    else grids[1].grid.replaceChildren();
    enlarged.hidden = !large;
    enlargedName.textContent = large ? `Sample ${shown[0][0] + 1}: ${short(sampleName(a.header, shown[0][0]), 80)}` : "";
  }

  return {
    node,
    curves: (state, data) => drift.update(state, data),
    /** Load what draws this kind of input; the returned function puts it to use. */
    async prepare(loaded) {
      const module = await modalityOf(loaded?.header);
      if (!module) throw new Error("nothing draws this kind of input");
      return () => { if (kind?.module !== module) kind = { module, drawings: [module.create(onCard), module.create(() => {})] }; };
    },
    /** Draw A and B: what was loaded of their events. */
    draw(state, { a: sideA, b: sideB, otherRun }) {
      const [readA, readB] = [understood(sideA.record), understood(sideB?.record)];
      const name = state.method || readA.header.methods[0]?.name || "";
      const [a, b] = [withMethod(readA, name), withMethod(readB, name)];
      const className_ = state.class === "" ? "" : className(a.header.classNames, Number(state.class));
      const all = [a, b].map((at) => (at ? positionsOf(at.header, className_) : []));
      const one = state.sample !== "" && all[0].includes(Number(state.sample));
      const unlike = b ? unlikeWords(a, b) : "";
      const apart = Boolean(b && unlike);
      const shown = [one ? [Number(state.sample)] : all[0], all[1]];
      picked.show(state, { header: a.header, method: a.method, positions: all[0], isImage: Boolean(kind.module.isImage) });
      const full = state.scale === "own" ? null : Math.max(sharedScale(sideA.points, a.method), b ? sharedScale(sideB.points, b.method) : 0);
      legend.replaceChildren(kind.drawings[0].legend(full, a.header.unit, Boolean(b)));
      note.replaceChildren(...notes({ a, b, shown, unlike, name }));
      grids.forEach(({ title }, i) => {
        title.hidden = !apart;
        title.textContent = apart ? `${"AB"[i]}: ${runName([sideA, sideB][i].run)}, step ${[sideA, sideB][i].step}` : "";
      });
      drawGrids({ a, b, apart, probes: [readProbe(sideA.probe), readProbe(sideB?.probe)], shown, full, state });
      between.show(a, b, { otherRun, runs: [sideA.run, sideB?.run], steps: [sideA.step, sideB?.step] });
      return missingWords(state, a, a.method);
    },
    cursors: drift.cursors,
  };
}
