// The views, each by the kind that the events of its monitor name.
//
// create(store, onPick, {run, tag}) returns {node, draw(state, data), and maybe prepare(record), curves(state, data),
// cursors(a, b), stop()}. What draw gets of A and B is described in views/view.js; it returns sentences on what the state
// names and the record lacks.

import { attributionView } from "./attribution.js";
import { neuronView } from "./neurons.js";
import { pathView } from "./paths.js";
import { strategiesView } from "../strategies/view.js";

export const KINDS = {
  attribution: { words: "what it looks at", create: attributionView, hasProbe: true },
  neurons: { words: "which neurons it uses", create: neuronView, namesUnits: true },
  paths: { words: "the way to the class", create: pathView, namesUnits: true },
  strategies: { words: "in how many ways it decides", create: strategiesView, hasProbe: true },
};
