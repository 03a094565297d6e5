// Which run and which monitor; whether the page follows a run that is being written.

import { el, labelled, options, short } from "../dom.js";
import { monitorName, runName } from "../sides/chosen.js";
import { KINDS } from "./kinds.js";

const OF_A_RUN = { monitor: "", a: "", class: "", sample: "", layer: "", neuron: "", neuronb: "", graph: "", method: "", strategy: "" };

/** Make the toolbar. */
export function toolbar(store, live) {
  const run = el("select", { on: { change: () => store.set({ ...OF_A_RUN, run: run.value, monitor: store.get().monitor, ...(store.get().runb === "" ? { b: "" } : {}) }) } });
  const monitors = el("div", { class: "segments", role: "radiogroup", "aria-label": "Monitor" });
  const follow = el("input", { type: "checkbox", checked: live.on, on: { change: () => live.set(follow.checked) } });
  const refresh = el("button", { type: "button", on: { click: () => live.now() } }, "Refresh");
  const said = el("span", { class: "live-words", role: "status" });
  const heading = el("h1", { class: "unseen" });
  const node = el("header", { class: "toolbar" }, heading, labelled("Run", run), monitors, el("span", { class: "spring" }), said,
    labelled("Live", follow, { class: "field check" }), refresh);

  const choose = (tag) => store.set({ monitor: tag });
  monitors.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const all = [...monitors.children];
    const at = all.indexOf(document.activeElement);
    if (!by || at < 0) return;
    event.preventDefault();
    event.stopPropagation();
    const next = all[(at + by + all.length) % all.length];
    choose(next.dataset.tag);
    [...monitors.children].find((button) => button.dataset.tag === next.dataset.tag)?.focus();
  });
  return {
    node,
    say: (words) => { said.textContent = short(words, 120); },
    show({ runs, run: chosenRun, monitors: found, monitor }) {
      heading.textContent = `Explain: ${monitorName(monitor?.tag ?? "")} of run ${runName(chosenRun)}`;
      options(run, runs.map((name) => [name, runName(name)]), chosenRun);
      const key = JSON.stringify(found.map(({ tag, kind }) => [tag, kind]));
      if (monitors.dataset.key !== key) {
        monitors.dataset.key = key;
        monitors.replaceChildren(...found.map(({ tag, kind }) => el("button", {
          type: "button", role: "radio", "data-tag": tag, title: KINDS[kind]?.words ?? "", on: { click: () => choose(tag) },
        }, short(monitorName(tag), 30))));
      }
      for (const button of monitors.children) {
        const on = button.dataset.tag === monitor?.tag;
        button.setAttribute("aria-checked", String(on));
        button.tabIndex = on ? 0 : -1;
      }
    },
  };
}
