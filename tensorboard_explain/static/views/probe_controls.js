// What can be chosen of a probe's explanations, and what is said of them above.

import { el, labelled, options, percent, short } from "../dom.js";
import { className } from "./sample_card.js";

/** Make the controls: class, sample, method, scale, and for images whether maps lie over them. */
export function pickers(store) {
  const change = (key) => ({ on: { change: (event) => store.set({ [key]: event.target.value }) } });
  const [ofClass, sample, method, scale] = ["class", "sample", "method", "scale"].map((key) => el("select", change(key)));
  ofClass.addEventListener("change", () => store.set({ sample: "" }));
  const over = el("input", { type: "checkbox", on: { change: () => store.set({ over: over.checked ? "1" : "0" }) } });
  const overField = labelled("Over the image", over, { class: "field check" });
  const fields = [labelled("Class", ofClass), labelled("Sample", sample), labelled("Method", method), labelled("Colour scale", scale), overField];
  return {
    nodes: fields,
    show(state, { header, method: chosen, positions, isImage }) {
      const labels = header.labels ? [...new Set(header.labels)].sort((x, y) => x - y) : [];
      options(ofClass, [["", "all"], ...labels.map((c) => [String(c), className(header.classNames, c)])], state.class);
      const name = (i) => (header.labels ? `${i + 1}: ${className(header.classNames, header.labels[i])}` : `${i + 1}`);
      options(sample, [["", "all"], ...positions.map((i) => [String(i), name(i)])], state.sample);
      const gone = chosen || !state.method ? [] : [[state.method, `${state.method} (not here)`]];
      options(method, [...header.methods.map((m) => [m.name, m.name]), ...gone], chosen?.name ?? state.method);
      options(scale, [["shared", "shared by all"], ["own", "own for each sample"]], state.scale);
      overField.hidden = !isImage;
      over.checked = state.over === "1";
    },
  };
}

function summary(at, letter, positions) {
  const { header, method } = at;
  const right = header.labels && header.predicted ? positions.filter((i) => header.predicted[i] === header.labels[i]).length : null;
  const errors = positions.map((i) => method?.error?.[i]).filter(Number.isFinite);
  const mean = errors.length ? errors.reduce((sum, e) => sum + e, 0) / errors.length : NaN;
  return [
    right === null ? "" : `${letter}: ${right} of ${positions.length} as labelled`,
    Number.isFinite(mean) ? `explanation error ${percent(mean, 1)}` : "",
  ].filter(Boolean).join(", ");
}

const LITTLE = { logits: 0.1, output: 0.05 }; // of a logit: what changes a probability by 2.5 points at most; of the spread of outputs
const HARDLY = 0.1; // of the samples

/** Say that hardly any output moved from the baseline to the sample, so that there is little to explain; "" otherwise. */
export function stillWords({ header, method }, letter = "") {
  const moved = (method?.moved ?? []).filter(Number.isFinite);
  if (moved.length < 2) return "";
  const outputs = (header.outputs ?? []).filter(Number.isFinite);
  const spread = outputs.length ? Math.max(...outputs) - Math.min(...outputs) : 0;
  const little = header.unit === "logits" ? LITTLE.logits : LITTLE.output * Math.max(spread, Math.max(...moved.map(Math.abs)));
  const n = moved.filter((change) => Math.abs(change) > little).length;
  if (n > HARDLY * moved.length) return "";
  return `${letter && `At ${letter} `}${letter ? "hardly" : "Hardly"} any output moved from that of the baseline (${n} of ${moved.length} samples): the maps share out next to nothing. Choose another baseline, or train on.`;
}

/** What is said above the samples: caveats first, then how many are as labelled. */
export function notes({ a, b, shown, unlike, name }) {
  const trouble = [a, b].map((at) => at?.trouble).filter(Boolean).join("; ");
  const still = [stillWords(a, b ? "A" : ""), b && stillWords(b, "B")].filter(Boolean).map((words) => el("strong", { class: "hint", text: `${words} ` }));
  const said = [
    unlike, b && !b.method ? `B has no attributions by ${short(name, 60)}.` : "",
    a.header.caveat && `Drift at A: ${short(a.header.caveat, 300)}`,
    trouble && `A picture could not be read: ${short(trouble, 200)}.`,
    a.header.form ? "" : "These inputs have a form that has no picture here; drift and predictions are shown.",
    [summary(a, "A", shown[0]), b && summary(b, "B", unlike ? shown[1] : shown[0])].filter(Boolean).join(" · "),
  ].filter(Boolean).join(" ");
  return [...still, said];
}
