// The step sliders: A, and B to compare with; play; how many steps there are.

import { count, el } from "../dom.js";

const PERIOD = 350;

/** Find the position of the step at or before the one asked for. */
export function indexOf(steps, step) {
  if (step === "" || !Number.isFinite(Number(step))) return steps.length - 1;
  let found = 0;
  for (let i = 0; i < steps.length && steps[i] <= Number(step); i++) found = i;
  return found;
}

function slider(letter, onMove) {
  const range = el("input", {
    type: "range", min: 0, step: 1, "aria-label": `step ${letter}`, id: `slider-${letter.toLowerCase()}`,
    on: { input: () => onMove(Number(range.value)) },
  });
  const words = el("output", { class: "step-words", for: range.id });
  return { range, words };
}

/** Make the timeline. show(state, steps, facts) brings it up to date. */
export function timeline(store) {
  let steps = [];
  let playing = null;
  // at the last step "" is kept, so that the view follows a run that goes on
  const at = (index) => (index >= steps.length - 1 ? "" : String(steps[Math.max(0, index)]));
  const a = slider("A", (index) => store.set({ a: at(index) }));
  const b = slider("B", (index) => store.set({ b: String(steps[index] ?? "") }));
  const play = el("button", { type: "button", class: "play", "aria-label": "play", on: { click: () => toggle() } }, "▶");
  const compare = el("button", { type: "button", class: "switch", "aria-pressed": "false", on: { click: () => flip() } }, "Compare with B");
  const kept = el("p", { class: "kept", role: "status" });
  const rowB = el("div", { class: "row b" }, el("span", { class: "step-letter b", text: "B" }), b.range, b.words);
  const node = el("section", { class: "timeline", "aria-label": "Training steps" },
    el("div", { class: "row a" }, play, el("span", { class: "step-letter a", text: "A" }), a.range, a.words, compare), rowB, kept);

  const index = (key) => indexOf(steps, store.get()[key]);
  const stop = () => {
    clearInterval(playing);
    playing = null;
    play.textContent = "▶";
    play.setAttribute("aria-label", "play");
  };
  const toggle = () => {
    if (playing) return stop();
    if (index("a") === steps.length - 1) store.set({ a: at(0) });
    play.textContent = "❚❚";
    play.setAttribute("aria-label", "pause");
    playing = setInterval(() => {
      store.set({ a: at(index("a") + 1) });
      if (index("a") >= steps.length - 1) stop();
    }, PERIOD);
    return undefined;
  };
  const flip = () => store.set({ b: store.get().b === "" && steps.length ? String(steps[0]) : "" });
  const move = (key, by) => {
    const next = Math.min(steps.length - 1, Math.max(0, index(key) + by));
    store.set({ [key]: key === "a" ? at(next) : String(steps[next]) });
  };

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input:not([type=checkbox]), select, textarea, [data-keys]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !steps.length) return;
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9 }[event.key];
    if (by) {
      if (event.shiftKey && store.get().b !== "") move("b", by);
      else move("a", by);
    } else if (event.key === " " && !event.target.closest?.("button, summary")) toggle();
    else return;
    event.preventDefault();
  });

  const words = (key, facts) => {
    const step = steps[index(key)];
    const epoch = facts.epochs.get(step);
    const last = key === "a" && store.get().a === "" ? " · latest" : "";
    return `step ${count(step)}${Number.isFinite(epoch) ? ` · epoch ${epoch}` : ""}${last}`;
  };
  return {
    node,
    stop,
    show(state, found, facts) {
      steps = found;
      node.hidden = !steps.length;
      for (const [key, { range, words: output }] of Object.entries({ a, b })) {
        range.max = String(Math.max(0, steps.length - 1));
        range.value = String(index(key));
        output.textContent = words(key, facts);
        range.setAttribute("aria-valuetext", output.textContent);
      }
      rowB.hidden = state.b === "";
      compare.setAttribute("aria-pressed", String(state.b !== ""));
      compare.textContent = state.b === "" ? "Compare with B" : "Stop comparing";
      kept.textContent = facts.kept;
    },
  };
}
