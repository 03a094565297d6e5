// The Explain tab. TensorBoard imports this file into an iframe and calls render().

import * as api from "./api.js";
import { el, short } from "./dom.js";
import { emptyState } from "./views/empty.js";
import { followDarkMode, onAddress, onReload, readAddress, writeAddress } from "./host.js";
import { createLive } from "./live.js";
import { createState } from "./state.js";
import { toolbar } from "./views/toolbar.js";
import { createView, readRuns } from "./views/view.js";

const CURVES = new Set(["class", "ref", "factor", "log"]);

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
  const styles = Promise.all(["base.css", "views.css", "units/cards.css"].map(style));
  const store = createState(readAddress());
  let runs = [];
  let failed = "";

  const chosen = () => {
    const state = store.get();
    const entry = runs.find(({ run }) => run === state.run) ?? runs[0];
    return { entry, monitor: entry?.monitors.find(({ tag }) => tag === state.monitor) ?? first(entry?.monitors) };
  };
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
    const { entry, monitor } = chosen();
    const what = entry ? "data" : "empty";
    if (shown !== what) stage.replaceChildren(...(entry ? [bar.node, view.node] : [emptyState()]));
    shown = what;
    stage.dataset.state = what;
    if (!entry) return;
    bar.show({ runs: runs.map(({ run }) => run), run: entry.run, monitors: entry.monitors, monitor });
    try {
      await view.open(entry, monitor);
    } catch (error) {
      bar.say(`This run cannot be read: ${short(error.message, 100)}`);
    }
  }

  store.listen((state, changed) => {
    writeAddress(state);
    if (changed.has("run") || changed.has("monitor")) {
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

/** The monitor to begin with: one of attributions, if there is any. */
function first(monitors) {
  return monitors?.find(({ kind }) => kind === "attribution") ?? monitors?.[0];
}
