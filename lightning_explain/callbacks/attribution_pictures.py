"""An attribution monitor's pictures, and the words around them: captions, titles, descriptions."""

from dataclasses import dataclass

from torch import Tensor

from lightning_explain.callbacks.attribution_figures import method_prefix
from lightning_explain.callbacks.attribution_methods import Methods, described, full_name
from lightning_explain.callbacks.attribution_report import agreement_words, missed, trust
from lightning_explain.callbacks.findings import Findings
from lightning_explain.callbacks.history import History, Memory
from lightning_explain.callbacks.question import probabilities
from lightning_explain.log import Journal, tag
from lightning_explain.log.words import markdown_safe
from lightning_explain.probe import Probe
from lightning_explain.render.colour import Picture
from lightning_explain.render.explanation import explanation_picture, film_frame, film_picture, full_scale, kind_of
from lightning_explain.render.panels import Panel
from lightning_explain.schedule import worth_redrawing


def captions(probe: Probe, scores: Tensor) -> list[str]:
    """Say of each sample what it is and what the model takes it for: `7 (as 1, 63 %)`, `7 (98 %)`."""
    labels = probe.labels
    if scores.ndim != 2 or scores.shape[1] < 2:
        return [f"output {value:.3g}" for value in scores.flatten().tolist()]
    confidence, predicted = probabilities(scores).max(1)
    words: list[str] = []
    for row, (p, c) in enumerate(zip(confidence.tolist(), predicted.tolist(), strict=True)):
        share = f"{p:.0%}".replace("%", " %")
        if labels is None:
            words.append(f"as {probe.class_name(c)}, {share}")
        elif c == int(labels[row]):
            words.append(f"{probe.class_name(c)} ({share})")
        else:
            words.append(f"{probe.class_name(int(labels[row]))} (as {probe.class_name(c)}, {share})")
    return words


def group_names(probe: Probe) -> list[str]:
    """Name the groups that samples are averaged over: the probe's classes, or all samples together."""
    labels = probe.labels
    return ["all samples"] if labels is None else [probe.class_name(c) for c in labels.unique().tolist()]


def _short(step: int) -> str:
    """Write a step in at most four letters: 629, 1.2k, 13k, 2M."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if step >= size:
            return f"{step / size:.1f}{letter}" if step < 10 * size else f"{step // size}{letter}"
    return str(step)


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Draws one monitor's explanations.

    Attributes:
        name: The monitor's name.
        probe: What is explained.
        methods: Its methods.
        history: What is remembered of each; films and colour scales are kept there.
    """

    name: str
    probe: Probe
    methods: Methods
    history: History

    def _memory(self, method: str) -> Memory:
        return self.history.of(full_name(method, self.methods[method]))

    def show(self, journal: Journal, findings: Findings, *, epoch: int) -> None:
        """Draw and log the heatmaps, and each method's filmstrip when it has grown enough."""
        explanation = findings.explanation
        if not journal.shows_pictures or kind_of(self.probe.parts[0]) is None:
            return
        for method, attribution in explanation.attributions.items():
            memory = self._memory(method)
            memory.add_film(explanation.step, film_frame(attribution.parts[0], self.probe.labels))
            memory.scale = max(memory.scale, full_scale(attribution.parts[0]))
        described_methods = [described(name, self.methods[name]) for name in explanation.attributions]
        journal.image(
            tag(self.name, "heatmaps"),
            self._heatmaps(findings, epoch=epoch),
            description=f"The probe beside what each feature contributes to the explained output, by "
            f"{markdown_safe(', '.join(described_methods))}. Red: speaks for it; blue: against it.",
        )
        for method in explanation.attributions:
            if worth_redrawing(self._memory(method).count):
                self.show_filmstrip(journal, method)

    def show_all_filmstrips(self, journal: Journal) -> None:
        """Draw and log every filmstrip that was not drawn when its last column came."""
        for method in self.methods:
            if not worth_redrawing(self._memory(method).count):
                self.show_filmstrip(journal, method)

    def show_filmstrip(self, journal: Journal, method: str) -> None:
        """Draw and log a method's filmstrip as it is."""
        if journal.shows_pictures and self._memory(method).film:
            journal.image(
                tag(*method_prefix(self.name, method, next(iter(self.methods))), "filmstrip"),
                self._filmstrip(method),
                description=f"How the explanation of the same samples forms as the network learns, by "
                f"{markdown_safe(described(method, self.methods[method]))}: a column for each explanation.",
            )

    def _heatmaps(self, findings: Findings, *, epoch: int) -> Picture:
        explanation = findings.explanation
        panels = [
            Panel(name=name, values=attribution.parts[0], scale=self._memory(name).scale)
            for name, attribution in explanation.attributions.items()
        ]
        return explanation_picture(
            self.probe.parts[0],
            panels,
            labels=self.probe.labels,
            captions=self._captions(findings),
            group_names=group_names(self.probe),
            feature_names=self.probe.feature_names,
            title=self._title(findings, epoch=epoch),
        )

    def _captions(self, findings: Findings) -> list[str]:
        """Caption the samples; those whose first explanation misses its tolerance begin with a question mark."""
        explanation = findings.explanation
        words = captions(self.probe, explanation.scores)
        first = explanation.attributions.get(explanation.primary)
        for row in [] if first is None else missed(first, self.methods[explanation.primary]):
            words[row] = f"? {words[row]}"
        return words

    def _title(self, findings: Findings, *, epoch: int) -> str:
        explanation = findings.explanation
        names = {name: full_name(name, self.methods[name]) for name in explanation.attributions}
        started = self.history.count == 1 and explanation.step == 0
        moment = "before training" if started else f"in epoch {epoch}, at step {explanation.step:,}"
        reading = "Bars: means; points: samples."
        if kind_of(self.probe.parts[0]) == "image":
            reading = f"Over each {'pair' if len(names) == 1 else 'row'}: label (confidence)."
        if len(names) == 1:
            (name,) = names
            trusted = trust(explanation.attributions[name], findings.drifts.get(name, {}), self.methods[name])
            return f"What the network looks at {moment}. {names[name]}. {reading} {trusted} {self._caveat}".strip()
        return (
            f"What the network looks at {moment}, by {len(names)} methods: {'; '.join(names.values())}. {reading} "
            f"Each method has a scale of its own, one for all samples and steps. {agreement_words(findings)} "
            f"{self._primary_trust(findings)} {self._caveat}"
        ).strip()

    @property
    def _caveat(self) -> str:
        return f"Drift: {self.history.caveat}" if self.history.caveat else ""

    def _filmstrip(self, method: str) -> Picture:
        probe, labels, film = self.probe, self.probe.labels, self._memory(method).film
        names = ["" for _ in range(len(probe))] if labels is None else [probe.class_name(c) for c in labels.tolist()]
        return film_picture(
            probe.parts[0],
            [maps for _, maps in film],
            labels=labels,
            column_names=["start" if step == 0 else _short(step) for step, _ in film],
            row_names=names,
            group_names=group_names(probe),
            feature_names=probe.feature_names,
            title=(
                f"How the explanation forms: one column per explanation, named by training step. "
                f"{full_name(method, self.methods[method])}. One colour scale for all: before a network has learnt, "
                f"its scores are small and its maps pale. {self._caveat}"
            ).strip(),
        )

    def _primary_trust(self, findings: Findings) -> str:
        explanation = findings.explanation
        if explanation.primary not in explanation.attributions:
            return ""
        method = self.methods[explanation.primary]
        words = trust(explanation.attribution, findings.primary_drifts, method)
        return f"{explanation.primary}: {words}" if words else ""
