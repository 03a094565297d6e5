// The view of a path monitor: the decision path at A and at B, with the edges that were won and lost between them.

import { pathsOf, refusal } from "../checked.js";
import { el, labelled, options, short } from "../dom.js";
import { edgeLegend } from "../legend.js";
import { pathGraph } from "./path_graph.js";

function understood(loaded) {
  if (!loaded) return null;
  const wrong = refusal(loaded.header, "paths");
  if (wrong) throw new Error(wrong);
  return pathsOf(loaded.header);
}

/** Make the view. */
export function pathView(store) {
  const select = el("select", { on: { change: () => store.set({ graph: select.value }) } });
  const [drawn, keys] = [el("div", { class: "paths" }), el("div")];
  const node = el("div", { class: "view one" },
    el("section", { class: "panel main", "aria-label": "Decision paths" }, el("div", { class: "controls" }, labelled("Path of", select), keys), drawn));
  return {
    node,
    draw(state, { a: loadedA, b: loadedB }) {
      const [a, b] = [understood(loadedA), understood(loadedB)];
      options(select, a.graphs.map((graph) => [graph.title, graph.title]), state.graph);
      const graph = a.graphs.find(({ title }) => title === select.value);
      if (!graph) throw new Error("it holds no path");
      const other = b?.graphs.find(({ title }) => title === graph.title) ?? null;
      keys.replaceChildren(edgeLegend(Boolean(other)));
      const shown = [pathGraph(graph, { other, mark: "won", letter: b ? "A" : "" })];
      if (other) shown.push(pathGraph(other, { other: graph, mark: "lost", letter: "B" }));
      else if (b) shown.push(el("p", { class: "note", text: "At B there was no such path." }));
      if (a.caveat) shown.unshift(el("p", { class: "note caveat", text: `Edges won and lost in the record at A: ${short(a.caveat, 300)}` }));
      drawn.replaceChildren(...shown);
    },
  };
}
