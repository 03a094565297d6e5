// The step sliders: A, and B to compare with, of the same run or another one; play; how many steps there are.

import { count, el, options } from "../dom.js";
import { LATEST, runName } from "../sides/chosen.js";
import { indexOf } from "../sides/side.js";

const PERIOD = 350;

function slider(letter, onMove) {
  const range = el("input", {
    type: "range", min: 0, step: 1, "aria-label": `step ${letter}`, id: `slider-${letter.toLowerCase()}`,
    on: { input: () => onMove(Number(range.value)) },
  });
  const words = el("output", { class: "step-words", for: range.id });
  return { range, words };
}

/** Make the timeline. show(state, {a, b, runs, run}, kept) brings it up to date; a and b are {steps, epochs}. */
export function timeline(store) {
  let steps = { a: [], b: [] };
  let epochs = { a: new Map(), b: new Map() };
  let playing = null;
  // at the last step of A no number is kept, so that the view follows a run that goes on
  const at = (key, index) => (key === "a" && index >= steps.a.length - 1 ? "" : String(steps[key][Math.max(0, index)] ?? ""));
  const a = slider("A", (index) => store.set({ a: at("a", index) }));
  const b = slider("B", (index) => store.set({ b: at("b", index) }));
  const play = el("button", { type: "button", class: "play", "aria-label": "play", on: { click: () => toggle() } }, "▶");
  const compare = el("button", { type: "button", class: "switch", "aria-pressed": "false", on: { click: () => flip() } }, "Compare with B");
  const runB = el("select", { "aria-label": "run of B", class: "run-b", on: { change: () => ofRun(runB.value) } });
  const kept = el("p", { class: "kept", role: "status" });
  const missing = el("p", { class: "missing", role: "status", hidden: true });
  const rowB = el("div", { class: "row b" }, el("span", { class: "step-letter b", text: "B" }), b.range, b.words, runB);
  const node = el("section", { class: "timeline", "aria-label": "Training steps" },
    el("div", { class: "row a" }, play, el("span", { class: "step-letter a", text: "A" }), a.range, a.words, compare), rowB, kept, missing);

  const index = (key) => indexOf(steps[key], store.get()[key]);
  const stop = () => {
    clearInterval(playing);
    playing = null;
    play.textContent = "▶";
    play.setAttribute("aria-label", "play");
  };
  const toggle = () => {
    if (playing) return stop();
    if (index("a") === steps.a.length - 1) store.set({ a: at("a", 0) });
    play.textContent = "❚❚";
    play.setAttribute("aria-label", "pause");
    playing = setInterval(() => {
      store.set({ a: at("a", index("a") + 1) });
      if (index("a") >= steps.a.length - 1) stop();
    }, PERIOD);
    return undefined;
  };
  const flip = () => store.set(store.get().b === "" && steps.a.length ? { b: String(steps.a[0]) } : { b: "", runb: "", neuronb: "" });
  // the step of A, so that runs are compared at the same one; said if B has no record there
  const ofRun = (run) => store.set({ runb: run, neuronb: "", b: store.get().a === "" ? LATEST : store.get().a });
  const move = (key, by) => store.set({ [key]: at(key, Math.min(steps[key].length - 1, Math.max(0, index(key) + by))) });

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input:not([type=checkbox]), select, textarea, [data-keys]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !steps.a.length) return;
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9 }[event.key];
    if (by) {
      if (event.shiftKey && steps.b.length) move("b", by);
      else move("a", by);
    } else if (event.key === " " && !event.target.closest?.("button, summary")) toggle();
    else return;
    event.preventDefault();
  });

  const words = (key) => {
    const step = steps[key][index(key)];
    const epoch = epochs[key].get(step);
    const last = [{ a: "", b: LATEST }[key]].includes(store.get()[key]) ? " · latest" : "";
    return `step ${count(step)}${Number.isFinite(epoch) ? ` · epoch ${epoch}` : ""}${last}`;
  };
  return {
    node,
    stop,
    show(state, { a: sideA, b: sideB, runs, run }, facts) {
      steps = { a: sideA.steps, b: sideB?.steps ?? [] };
      epochs = { a: sideA.epochs, b: sideB?.epochs ?? new Map() };
      for (const [key, { range, words: output }] of Object.entries({ a, b })) {
        range.max = String(Math.max(0, steps[key].length - 1));
        range.value = String(index(key));
        range.disabled = !steps[key].length;
        output.textContent = steps[key].length ? words(key) : "nothing to compare";
        range.setAttribute("aria-valuetext", output.textContent);
      }
      rowB.hidden = state.b === "";
      const gone = state.runb !== "" && !runs.includes(state.runb) ? [[state.runb, `${runName(state.runb)} (not here)`]] : [];
      options(runB, [["", `of ${runName(run)}`], ...runs.filter((name) => name !== run).map((name) => [name, `of ${runName(name)}`]), ...gone], state.runb === run ? "" : state.runb);
      runB.hidden = runs.length < 2 && !gone.length;
      compare.setAttribute("aria-pressed", String(state.b !== ""));
      compare.textContent = state.b === "" ? "Compare with B" : "Stop comparing";
      kept.textContent = facts;
    },
    /** Say what the state names and is not there. */
    say(sentences) {
      missing.textContent = sentences.join(" ");
      missing.hidden = !sentences.length;
    },
  };
}
