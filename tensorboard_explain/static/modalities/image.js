// Images: each beside its heatmaps.

import { signedLegend } from "../legend.js";
import { cardGrid } from "../views/sample_card.js";

export function create(onPick) {
  return { legend: signedLegend, draw: cardGrid(onPick) };
}
