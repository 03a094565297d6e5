"""An attribution monitor's pictures, and the words around them: captions, titles, descriptions."""

from dataclasses import dataclass

from lightning_explain.callbacks.attribution.captions import captions, explained_inputs, group_names
from lightning_explain.callbacks.attribution.compare_with import NOW
from lightning_explain.callbacks.attribution.comparison import Comparison
from lightning_explain.callbacks.attribution.explainer import Explanation
from lightning_explain.callbacks.attribution.history import Film, History, Kept, Memory
from lightning_explain.callbacks.attribution.methods import Methods, described, full_name
from lightning_explain.callbacks.attribution.metrics import method_prefix
from lightning_explain.callbacks.attribution.record import agreement_words, missed, trust, unexplained_words
from lightning_explain.log import Journal, tag
from lightning_explain.probe import Probe
from lightning_explain.render.colour import Picture
from lightning_explain.render.modalities import (
    drawn_as,
    explanation_picture,
    film_frame,
    film_picture,
    full_scale,
    modality_of,
)
from lightning_explain.render.modality import Annotations, Shown
from lightning_explain.render.page_layout import Panel
from lightning_explain.render.words import markdown_safe, short_step
from lightning_explain.schedule import worth_redrawing

ONE_OUTPUT = "The model has one output for all classes: red raises it, whatever the sample's class."

MOST_INPUTS = 4
"""Of a sample's inputs, those that have pictures with `detail="terse"`."""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Draws one monitor's explanations.

    Attributes:
        name: The monitor's name.
        probe: What is explained.
        methods: Its methods.
        history: What is remembered of each; films and colour scales are kept there.
        is_full: Draw every input, and a filmstrip of each method; otherwise the first inputs, and the first method's.
    """

    name: str
    probe: Probe
    methods: Methods
    history: History
    is_full: bool = True

    def _memory(self, method: str) -> Memory:
        return self.history.memories.get(full_name(method, self.methods[method]), Memory())

    def _film(self, method: str, shown: Shown) -> Film:
        return self._memory(method).films.get(shown.index, Film())

    @property
    def shown(self) -> list[Shown]:
        """The probe's explained inputs that have a picture."""
        return [part for part in explained_inputs(self.probe, self.methods) if part.form is not None]

    @property
    def _drawn_inputs(self) -> list[Shown]:
        return self.shown if self.is_full else self.shown[:MOST_INPUTS]

    @property
    def _filmed(self) -> list[str]:
        """The methods that have a filmstrip."""
        return list(self.methods) if self.is_full else list(self.methods)[:1]

    def remember(self, explanation: Explanation) -> None:
        """Add an explanation to the films and colour scales, which are part of the history, drawn or not."""
        for shown in self.shown:
            for method, attribution in explanation.attributions.items():
                values = attribution.parts[shown.index]
                film = self.history.of(full_name(method, self.methods[method])).film(shown.index)
                film.add(
                    explanation.step, film_frame(shown, values, self.probe.labels), scale=full_scale(shown, values)
                )
                if method == explanation.primary:
                    others = [
                        one.explanation.attribution.parts[shown.index] for one in self._kept(explanation).values()
                    ]
                    film.widen(*(full_scale(shown, other) for other in others))

    def show(self, journal: Journal, comparison: Comparison, *, epoch: int) -> None:
        """Draw and log the heatmaps of each input, and each method's filmstrip when it has grown enough."""
        if journal.shows_pictures:
            for shown in self._drawn_inputs:
                self._show_input(journal, comparison, shown, epoch=epoch)

    def _show_input(self, journal: Journal, comparison: Comparison, shown: Shown, *, epoch: int) -> None:
        explanation = comparison.explanation
        described_methods = [described(name, self.methods[name]) for name in explanation.attributions]
        journal.image(
            tag(self.name, "heatmaps", *_own(shown)),
            self._heatmaps(comparison, shown, epoch=epoch),
            description=f"The probe{_of(shown)} beside what each feature contributes to the explained output, by "
            f"{markdown_safe(', '.join(described_methods))}. Red: speaks for it; blue: against it.",
        )
        self._write_text(journal, comparison, shown)
        for method in self._filmed:
            if method in explanation.attributions and worth_redrawing(self._memory(method).count):
                self._show_filmstrip(journal, method, shown)

    def _write_text(self, journal: Journal, comparison: Comparison, shown: Shown) -> None:
        """Write samples that can be read for the text dashboard, the first method's attributions in them."""
        method, attribution = next(iter(comparison.explanation.attributions.items()))
        values = attribution.parts[shown.index]
        drawn = drawn_as(shown, values)
        words = Annotations(title="", captions=captions(self.probe, comparison.explanation), labels=self.probe.labels)
        table = modality_of(drawn).markdown(drawn, values, words)
        if table:
            name = full_name(method, self.methods[method])
            head = f"{name}: **bold** supports the explained output, *italic* opposes it."
            journal.text(tag(self.name, str(shown.form), *_own(shown)), f"{head}\n\n{table}")

    def show_all_filmstrips(self, journal: Journal) -> None:
        """Draw and log every filmstrip that was not drawn when its last column came."""
        for method in self._filmed:
            if journal.shows_pictures and not worth_redrawing(self._memory(method).count):
                for shown in self._drawn_inputs:
                    self._show_filmstrip(journal, method, shown)

    def _show_filmstrip(self, journal: Journal, method: str, shown: Shown) -> None:
        """Draw and log a method's filmstrip as it is."""
        if self._film(method, shown).columns:
            journal.image(
                tag(*method_prefix(self.name, method, next(iter(self.methods))), "filmstrip", *_own(shown)),
                self._filmstrip(method, shown),
                description=f"How the explanation of the same samples forms as the network learns, by "
                f"{markdown_safe(described(method, self.methods[method]))}: a column (for signals and texts a stripe) "
                "for each explanation.",
            )

    def _heatmaps(self, comparison: Comparison, shown: Shown, *, epoch: int) -> Picture:
        explanation = comparison.explanation
        kept = self._kept(explanation)
        alone = len(explanation.attributions) == 1
        panels: list[Panel] = []
        for name, attribution in explanation.attributions.items():
            # the first method's explanations are set beside those that it is compared with
            named = kept if name == explanation.primary else {}
            maps = [(NOW if named and alone else name, attribution)]
            for reference, one in named.items():
                maps.append((reference if alone else f"{name}: {reference}", one.explanation.attribution))
            scale = self._film(name, shown).scale
            panels += [Panel(name=over, values=found.parts[shown.index], scale=scale) for over, found in maps]
        words = Annotations(
            title=self._title(comparison, shown, epoch=epoch),
            captions=self._captions(comparison),
            group_names=group_names(self.probe),
            labels=self.probe.labels,
            unit=explanation.unit,
        )
        return explanation_picture(shown, panels, words)

    def _kept(self, explanation: Explanation) -> dict[str, Kept]:
        """Return the comparisons of the first method's explanation, as the user named them; not with itself."""
        if explanation.primary not in explanation.attributions:
            return {}
        named = self._memory(explanation.primary).named
        return {n: one for n, one in named.items() if one.explanation.attribution is not explanation.attribution}

    def _captions(self, comparison: Comparison) -> list[str]:
        """Caption the samples; those whose first explanation misses its tolerance begin with a question mark."""
        explanation = comparison.explanation
        words = captions(self.probe, explanation)
        first = explanation.attributions.get(explanation.primary)
        for row in [] if first is None else missed(first, self.methods[explanation.primary]):
            words[row] = f"? {words[row]}"
        return words

    def _title(self, comparison: Comparison, shown: Shown, *, epoch: int) -> str:
        explanation = comparison.explanation
        names = {name: full_name(name, self.methods[name]) for name in explanation.attributions}
        started = self.history.count == 1 and explanation.step == 0
        moment = "before training" if started else f"in epoch {epoch}, at step {explanation.step:,}"
        looks = f"What the network looks at{_of(shown)} {moment}"
        several = len(names) > 1 or bool(self._kept(explanation))
        drawn = self._drawn(next(iter(names)), shown)
        reading = self._reading(drawn, explanation, several=several)
        if len(names) == 1:
            (name,) = names
            trusted = trust(explanation.attributions[name], comparison.drifts.get(name, {}), self.methods[name])
            return f"{looks}{self._beside(explanation)}. {names[name]}. {reading} {trusted} {self._caveat}".strip()
        return (
            f"{looks}, by {len(names)} methods{self._beside(explanation)}: {'; '.join(names.values())}. {reading} "
            f"Each method has a scale of its own, one for all samples and steps. {agreement_words(comparison)} "
            f"{self._trust_by_method(comparison)} {self._caveat}"
        ).strip()

    def _beside(self, explanation: Explanation) -> str:
        """Describe the other explanations in the picture: those that the user compares with."""
        words = [f"{name} is {one.words}" for name, one in self._kept(explanation).items()]
        return f" ({'; '.join(words)})" if words else ""

    @property
    def _caveat(self) -> str:
        return f"Drift: {self.history.caveat}" if self.history.caveat else ""

    def _reading(self, shown: Shown, explanation: Explanation, *, several: bool) -> str:
        has_labels, single = self.probe.labels is not None, explanation.unit == "output"
        head = ("label: output" if single else "label (confidence)") if has_labels else "output"
        words = modality_of(shown).legend_words(head, several=several)
        return f"{words} {ONE_OUTPUT}" if has_labels and single else words

    def _filmstrip(self, method: str, shown: Shown) -> Picture:
        probe, labels, film = self.probe, self.probe.labels, self._film(method, shown).columns
        names = ["" for _ in range(len(probe))] if labels is None else [probe.class_name(c) for c in labels.tolist()]
        drawn = self._drawn(method, shown)
        words = Annotations(
            title=(
                f"How the explanation{_of(shown)} forms: one {modality_of(drawn).film_part} per explanation, named by "
                f"training step. {full_name(method, self.methods[method])}. One colour scale for all: before a network "
                f"has learnt, its scores are small and its maps pale. {self._caveat}"
            ).strip(),
            captions=names,
            group_names=group_names(probe),
            column_names=["start" if step == 0 else short_step(step) for step, _ in film],
            labels=labels,
            unit="output" if self.history.target is None else "logits",
        )
        return film_picture(drawn, [maps for _, maps in film], words)

    def _drawn(self, method: str, shown: Shown) -> Shown:
        """Return an input as a method's attributions of it are drawn: the frames of a film do not tell."""
        last = self._memory(method).previous
        return shown if last is None else drawn_as(shown, last.attribution.parts[shown.index])

    def _trust_by_method(self, comparison: Comparison) -> str:
        """Describe the error of the first method, and for the others the share that reached no input."""
        explanation = comparison.explanation
        words = {name: unexplained_words(attribution) for name, attribution in explanation.attributions.items()}
        if explanation.primary in words:
            method = self.methods[explanation.primary]
            words[explanation.primary] = trust(explanation.attribution, comparison.primary_drifts, method)
        return " ".join(f"{name}: {said}" for name, said in words.items() if said)


def _own(shown: Shown) -> tuple[str, ...]:
    """Return the last part of an input's tags: its name, where there are several."""
    return (shown.name,) if shown.name else ()


def _of(shown: Shown) -> str:
    return f" in {shown.name}" if shown.name else ""
