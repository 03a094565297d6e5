// Time series and audio: the line, and below it a row of colours for each channel.

import { signedLegend } from "../legend.js";
import { cardGrid } from "../views/sample_card.js";

export function create(onPick) {
  return { legend: signedLegend, draw: cardGrid(onPick, "signals") };
}
