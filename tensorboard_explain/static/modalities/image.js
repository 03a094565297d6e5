// Images: each beside its heatmaps, or under them.

import { signedLegend } from "../legend.js";
import { cardGrid } from "../views/sample_card.js";

export const isImage = true; // so that a map may lie over its input

export function create(onPick) {
  return { legend: signedLegend, draw: cardGrid(onPick) };
}
