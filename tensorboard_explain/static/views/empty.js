// What stands here while there is nothing to show: how to get it.

import { el } from "../dom.js";

const CODE = `import lightning as L
from lightning_explain import ActiveNeuronMonitor, AttributionMonitor

trainer = L.Trainer(callbacks=[AttributionMonitor(), ActiveNeuronMonitor()])
trainer.fit(model, datamodule=data)`;

/** Say which callback writes what. */
export function emptyState() {
  return el("main", { class: "empty" },
    el("h1", { text: "No explanations here yet" }),
    el("p", {}, "This tab shows what a network looks at, and which neurons it uses, while it trains. Add the callbacks of ",
      el("code", { text: "lightning_explain" }), " to your Trainer:"),
    el("pre", { tabindex: 0 }, el("code", { text: CODE })),
    el("dl", {},
      el("dt", {}, el("code", { text: "AttributionMonitor()" })), el("dd", { text: "heatmaps of held-out samples, and how far they drift" }),
      el("dt", {}, el("code", { text: "ActiveNeuronMonitor()" })), el("dd", { text: "class × neuron rates, dead and exclusive neurons, F1 by class" }),
      el("dt", {}, el("code", { text: "DecisionPathMonitor()" })), el("dd", { text: "the way from the input to the class" })),
    el("p", { text: "They write through Lightning's TensorBoardLogger. If a run is being written already, its first explanation appears here by itself." }));
}
