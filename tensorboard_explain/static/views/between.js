// Drift between A and B as they stand, in all and by class; and why there is none, where their probes differ.

import { classColour } from "../colours.js";
import { el, figure, short } from "../dom.js";
import { distanceOf, meanOf } from "../sides/distance.js";
import { runName } from "../sides/chosen.js";
import { createTable } from "../tables/table.js";
import { className } from "./sample_card.js";

/** Say why two explanations are not of the same question; "" if they are. */
export function unlikeWords(a, b) {
  const [one, other] = [a.header.probe, b.header.probe];
  if (!one || !other) return "A record does not say of which probe it is, so samples are not compared one by one.";
  if (one !== other) return `The probes differ (fingerprints ${short(one, 12)} and ${short(other, 12)}), so there is no difference and no drift between them: give both runs the same probe.`;
  if (a.header.unit !== b.header.unit) return `Attributions are in ${a.header.unit} at A and in ${b.header.unit} at B, so they are not compared.`;
  return "";
}

/** Make the panel. */
export function betweenPanel() {
  const title = el("h3", {});
  const said = el("p", { class: "note" });
  const table = createTable({
    label: "Distance between A and B by class", what: "classes", order: { key: "distance", down: true }, most: 12,
    columns: [
      { key: "name", words: "class", cell: (row) => el("span", {}, el("i", { class: "swatch", style: { background: row.colour } }), row.name), value: (row) => row.name, isName: true },
      { key: "n", words: "samples", cell: (row) => String(row.n), value: (row) => row.n },
      { key: "distance", words: "cosine distance", cell: (row) => `${figure(row.distance)} ± ${figure(row.error)}`, value: (row) => row.distance },
    ],
  });
  const node = el("section", { class: "panel between", "aria-label": "Distance between A and B", hidden: true }, title, said, table.node);
  return {
    node,
    show(a, b, { otherRun, runs, steps }) {
      node.hidden = !b;
      if (!b) return;
      const where = (letter, i) => `${letter}: ${otherRun ? `${runName(runs[i])}, ` : ""}step ${steps[i]}`;
      title.textContent = `${otherRun ? "Drift between the runs" : "Drift from B to A"} (cosine distance)`;
      const unlike = unlikeWords(a, b);
      const all = Array.from({ length: a.header.labels?.length ?? a.method?.scales.length ?? 0 }, (_, i) => i);
      const found = unlike || !b.method ? [] : all.map((i) => distanceOf(a, b, i));
      const mean = meanOf(found);
      const rows = mean && a.header.labels ? [...new Set(a.header.labels)].map((c) => ({ c, ...meanOf(found.filter((_, i) => a.header.labels[i] === c)) })) : [];
      said.textContent = unlike || (mean
        ? `${figure(mean.distance)} ± ${figure(mean.error)}, mean of ${mean.n} samples by ${a.method.name}. ${where("A", 0)}; ${where("B", 1)}.${mean.distance <= mean.error ? " That is within its error." : ""}`
        : "There are no two maps of the same size and method to compare.");
      table.node.hidden = !rows.length;
      table.update(rows.filter((row) => row.n).map((row) => ({ ...row, name: className(a.header.classNames, row.c), colour: classColour(row.c) })));
    },
  };
}

