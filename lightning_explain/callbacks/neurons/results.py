"""A neuron monitor's report of one epoch, as arrays and as rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from matplotlib.figure import Figure

from lightning_explain.callbacks.neurons.layer_report import LayerReport
from lightning_explain.display import Display
from lightning_explain.errors import ConfigurationError
from lightning_explain.exemplars.cards import UnitCard
from lightning_explain.faithfulness.unit_effects import UnitEffects
from lightning_explain.feeding import FeedingFeatures
from lightning_explain.neurons import LayerProfile
from lightning_explain.render.units.unit_figure import unit_figure


@dataclass(frozen=True)
class Counted:
    """The share of a stage that was counted under a budget: every n-th batch.

    Attributes:
        n_batches: Batches that were counted.
        of: Batches of the stage.
        rate_error: Largest standard error of a rate of one half, of the class with the fewest samples counted; None
            where all batches were counted.

    Example:
        >>> Counted(8, 32).words()
        'Counted in 8 of 32 batches.'
    """

    n_batches: int
    of: int
    rate_error: float | None = None

    def words(self) -> str:
        """Return it as text for a title; empty where all were counted."""
        if self.n_batches >= self.of:
            return ""
        error = (
            "" if self.rate_error is None else f", rates within ± {100 * self.rate_error:.2g} points (standard error)"
        )
        return f"Counted in {self.n_batches:,} of {self.of:,} batches{error}."

    def record(self) -> dict[str, float]:
        """Return it as plain numbers; without an error where there is none."""
        error = {} if self.rate_error is None else {"rate_error": round(self.rate_error, 4)}
        return {"n_batches": self.n_batches, "of": self.of, **error}


@dataclass(frozen=True, eq=False, kw_only=True)
class NeuronReport:
    """The activity of the neurons of all watched layers by class, at one epoch.

    Attributes:
        step: The step it was logged at.
        epoch: Index of the epoch.
        stage: `"val"`, or `"train"` where the epoch had no validation.
        class_names: Name of each class.
        feature_names: Name of each feature of tabular inputs; may be empty.
        layers: Layer -> arrays.
        scores: Precision, recall and F1 by class, of the validation.
        counted: Number of batches of each stage that were counted; empty without a budget, where all are.
        silent: Watched layers that never fired.
        cards: The exemplars of the units that matter, by layer and unit, as last fetched; empty where there are none.
        display: How samples are shown.
        caveat: A sentence that must be known to read turnover; empty if there is none.
    """

    step: int
    epoch: int
    stage: str
    class_names: Sequence[str]
    layers: Mapping[str, LayerReport]
    feature_names: Sequence[str] = ()
    scores: Mapping[str, Sequence[float]] = field(default_factory=dict[str, Sequence[float]])
    counted: Mapping[str, Counted] = field(default_factory=dict[str, Counted])
    silent: Sequence[str] = ()
    cards: Mapping[str, Mapping[int, UnitCard]] = field(default_factory=dict[str, Mapping[int, UnitCard]])
    display: Display | None = None
    caveat: str = ""

    @property
    def profiles(self) -> dict[str, LayerProfile]:
        """The layers' rates, active sets and what follows from them, by layer."""
        return {name: layer.profile for name, layer in self.layers.items()}

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a row for each layer, class and neuron; `pandas.DataFrame(report.to_rows())` is a table.

        Columns: layer, class, neuron, rate, activation, active, became_active (epoch, -1 for never), gap,
        accuracy_change (of the class, without the neuron; NaN where it was not measured), accuracy_change_error,
        exclusive, selectivity, dormancy, dead, died (epoch, -1 for never).
        """
        return [{"layer": name, **row} for name, layer in self.layers.items() for row in layer.rows(self.class_names)]

    def overlap_rows(self) -> list[dict[str, Any]]:
        """Return a row for each layer and two classes: layer, class, other, jaccard (NaN where both sets are empty)."""
        rows: list[dict[str, Any]] = []
        for name, layer in self.layers.items():
            names = [self.class_names[c] for c in layer.profile.seen.nonzero().flatten().tolist()]
            rows += [
                {"layer": name, "class": a, "other": b, "jaccard": share}
                for a, shares in zip(names, layer.profile.seen_overlap.tolist(), strict=True)
                for b, share in zip(names, shares, strict=True)
            ]
        return rows

    def feature_rows(self) -> list[dict[str, Any]]:
        """Return a row for each layer, class, neuron and feeding feature, strongest first.

        Columns: layer, class, neuron, rank, feature, feature_index, value (signed), sign, method.
        """
        return [
            {"layer": name, **row}
            for name, layer in self.layers.items()
            if layer.feeding is not None
            for row in layer.feeding.to_rows(self.class_names, self.feature_names)
        ]

    def effect_rows(self) -> list[dict[str, Any]]:
        """Return a row for each layer, neuron whose ablation was measured, and class of the probe.

        Columns: layer, class, neuron, accuracy (with it), n_samples, accuracy_change (without it), standard_error,
        n_lost, n_gained, probability_change (of the samples' own class), probability_standard_error.
        """
        return [
            {"layer": name, **row}
            for name, layer in self.layers.items()
            if layer.effects is not None
            for row in layer.effects.to_rows(self.class_names)
        ]

    def record(self) -> dict[str, Any]:
        """Return everything as plain lists, for a machine-readable record."""
        return {
            "epoch": self.epoch,
            "stage": self.stage,
            "class_names": list(self.class_names),
            "scores": dict(self.scores),
            "layers": {name: layer.record(self.class_names) for name, layer in self.layers.items()},
            "feeding": {
                name: {"epoch": layer.feeding_epoch, **layer.feeding.record()}
                for name, layer in self.layers.items()
                if layer.feeding is not None
            },
            "effects": {
                name: {"epoch": layer.effects_epoch, **layer.effects.record()}
                for name, layer in self.layers.items()
                if layer.effects is not None
            },
            "feature_names": list(self.feature_names),
            **(
                {"counted": {stage: counted.record() for stage, counted in self.counted.items()}}
                if self.counted
                else {}
            ),
            "exemplars": {
                name: of.record(list(self.cards[name]))
                for name, layer in self.layers.items()
                if (of := layer.exemplars) is not None and name in self.cards
            },
            "never_fired": list(self.silent),
            "caveat": self.caveat,
        }

    def counted_words(self) -> str:
        """Return the number of batches counted as text for titles; empty where all were."""
        return self.counted[self.stage].words() if self.stage in self.counted else ""

    def show(self, layer: str, unit: int) -> Figure:
        """Draw a unit: its exemplars, its rates, the accuracy of each class without it.

        In a notebook the last expression of a cell is shown: `neurons.latest.show("relu2", 14)`.

        Args:
            layer: The layer's name.
            unit: The unit's index.

        Raises:
            ConfigurationError: No such layer was counted, or it has no such unit.
        """
        found = self.layers.get(layer)
        if found is None:
            raise ConfigurationError(f"layer={layer!r} was not counted; counted are {', '.join(self.layers)}.")
        n_units = found.profile.rates.shape[1]
        if not 0 <= unit < n_units:
            raise ConfigurationError(f"unit={unit}: layer {layer!r} has units 0 to {n_units - 1}.")
        card = self.cards.get(layer, {}).get(unit)
        title = f"unit {unit} of {layer} after epoch {self.epoch}"
        if int(found.profile.seen.sum()) > 1:
            c, kind = found.profile.listed_class(unit)
            title += f": {kind} {self._class_name(c)}"
        how = "no exemplars of it were fetched" if card is None else f"red raises it, blue lowers it ({card.method})"
        shown = () if card is None else card.exemplars
        captions = [f"{self._class_name(one.label)}\n" * (one.label >= 0) + f"{one.value:.3g}" for one in shown]
        rates, changes = found.class_rates(unit), found.class_changes(unit)
        return unit_figure(
            card,
            title=f"{title}\n{how}",
            captions=captions,
            rates=[(self._class_name(c), rate) for c, rate in rates],
            changes=[(self._class_name(c), change, error) for c, change, error in changes],
            display=self.display,
        )

    def _class_name(self, c: int) -> str:
        return self.class_names[c] if 0 <= c < len(self.class_names) else str(c)

    def with_effects(self, effects: Mapping[str, UnitEffects]) -> "NeuronReport":
        """Return the report with the effects of some layers' neurons."""
        layers = {
            name: replace(layer, effects=effects[name], effects_epoch=self.epoch) if name in effects else layer
            for name, layer in self.layers.items()
        }
        return replace(self, layers=layers)

    def with_feeding(self, feeding: Mapping[str, FeedingFeatures]) -> "NeuronReport":
        """Return the report with feeding features of some layers."""
        layers = {
            name: replace(layer, feeding=feeding[name], feeding_epoch=self.epoch) if name in feeding else layer
            for name, layer in self.layers.items()
        }
        return replace(self, layers=layers)
