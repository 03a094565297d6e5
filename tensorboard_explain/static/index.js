// The Explain tab. TensorBoard imports this file into an iframe and calls render().

import * as api from "./api.js";
import { el, short } from "./dom.js";
import { emptyState } from "./views/empty.js";
import { followDarkMode, onAddress, onReload, readAddress, writeAddress } from "./host.js";
import { createLive } from "./live.js";
import { chosen, newest, readRuns } from "./sides/chosen.js";
import { createState } from "./state.js";
import { toolbar } from "./views/toolbar.js";
import { createView } from "./views/view.js";

const CURVES = new Set(["class", "ref", "factor", "log"]);
const SIDES = new Set(["run", "monitor", "runb"]);

function style(file) {
  return new Promise((resolve) => {
    const link = el("link", { rel: "stylesheet", href: new URL(file, import.meta.url) });
    link.onload = link.onerror = resolve;
    document.head.append(link);
  });
}

/** Build the page. */
export async function render() {
  document.documentElement.lang = "en";
  document.title = "Explain";
  const stage = el("div", { id: "explain" });
  const styles = Promise.all(["base.css", "views.css", "tables/tables.css", "units/cards.css", "strategies/strategies.css"].map(style));
  const store = createState(readAddress());
  let runs = [];
  let failed = "";

  const live = createLive(async () => {
    try {
      runs = readRuns(await api.runs());
      failed = "";
    } catch (error) {
      failed = `TensorBoard does not answer: ${short(error.message, 100)}`;
    }
    await show();
  });
  const bar = toolbar(store, live);
  const view = createView(store, stage);

  let shown = "";
  async function show() {
    bar.say(failed);
    // written down, so that the page stays with this run, and so does who gets the address
    if (store.get().run === "" && runs.length) store.set({ run: newest(runs).run });
    const found = chosen(runs, store.get());
    const what = found ? "data" : "empty";
    if (shown !== what) stage.replaceChildren(...(found ? [bar.node, view.node] : [emptyState()]));
    shown = what;
    stage.dataset.state = what;
    if (!found) return;
    const { entry, monitor } = found.a;
    bar.show({ runs: runs.map(({ run }) => run), run: entry.run, monitors: entry.monitors, monitor });
    try {
      await view.open({ ...found, runs });
    } catch (error) {
      bar.say(`This run cannot be read: ${short(error.message, 100)}`);
    }
  }

  let before = store.get();
  store.listen((state, changed) => {
    writeAddress(state);
    const opens = changed.has("run") && before.run === "" && changed.size === 1;
    const compares = changed.has("b") && (before.b === "") !== (state.b === "");
    before = state;
    if (opens) return undefined; // show() did that itself
    if ([...SIDES].some((key) => changed.has(key)) || compares) {
      view.stop();
      return show();
    }
    if (!view.ready) return undefined;
    if ([...changed].some((key) => CURVES.has(key))) view.curves();
    return view.draw();
  });
  onAddress((state) => store.set(state));
  onReload(() => live.now());
  followDarkMode(() => {
    if (!view.ready) return;
    view.curves();
    view.draw();
  });

  await Promise.all([styles, live.now()]);
  document.body.append(stage);
}
