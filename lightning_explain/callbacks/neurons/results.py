"""A neuron monitor's report of one epoch, as arrays and as rows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from lightning_explain.exemplars import LayerExemplars
from lightning_explain.exemplars.cards import UnitCard
from lightning_explain.faithfulness.unit_effects import UnitEffects
from lightning_explain.feeding import FeedingFeatures
from lightning_explain.neurons import LayerHistory, LayerProfile

MOST_RATES = 200_000
"""With more classes x neurons, rates and active sets of a layer are left out of the JSON record: it would fill memory
and disk."""


MOST_CLASSES = 100
"""With more classes the overlap of every two of them is left out of the JSON record."""


@dataclass(frozen=True)
class Counted:
    """The share of a stage that was counted under a budget: every n-th batch.

    Attributes:
        n_batches: Batches that were counted.
        of: Batches of the stage.

    Example:
        >>> Counted(8, 32).words()
        'Counted in 8 of 32 batches.'
    """

    n_batches: int
    of: int

    def words(self) -> str:
        """Return it as text for a title; empty where all were counted."""
        return f"Counted in {self.n_batches:,} of {self.of:,} batches." if self.n_batches < self.of else ""


@dataclass(frozen=True, eq=False)
class LayerReport:
    """One layer's neurons at one epoch.

    Attributes:
        profile: Rates, mean activations, active sets, dead, dormant, exclusive neurons, overlap of classes.
        history: The epochs in which neurons became active or died, and the turnover since the previous report.
        gaps: Training minus validation rates [classes, neurons]; None where the two were not both measured. Training
            is counted while the weights change, and with dropout.
        feeding: The input features that feed the classes' neurons, as last worked out; None if never.
        effects: The change of each class's accuracy without single neurons, as last measured; None if never.
        effects_epoch: Index of the epoch that they were measured in; -1 for never.
        exemplars: The samples of the last validation that stand for each neuron; None if there are none.
    """

    profile: LayerProfile
    history: LayerHistory
    gaps: Tensor | None = None
    feeding: FeedingFeatures | None = None
    effects: UnitEffects | None = None
    effects_epoch: int = -1
    exemplars: LayerExemplars | None = None

    def _effect_columns(self) -> dict[str, Tensor]:
        """Return accuracy changes and their errors as [classes, neurons], NaN where nothing was measured."""
        columns = {name: torch.full_like(self.profile.rates, torch.nan) for name in ("change", "standard_error")}
        if self.effects is not None:
            n = min(len(self.profile.rates), len(self.effects.n_samples))
            for name, values in columns.items():
                values[:n, self.effects.units] = getattr(self.effects, name)[:, :n].T
        return {"accuracy_change": columns["change"], "accuracy_change_error": columns["standard_error"]}

    exemplars: LayerExemplars | None = None

    def rows(self, class_names: Sequence[str]) -> list[dict[str, Any]]:
        """Return a row for each class that was seen and each neuron."""
        profile, history = self.profile, self.history
        missing = torch.full_like(profile.rates, torch.nan)
        by_class = {
            "rate": profile.rates,
            "activation": profile.activation,
            "active": profile.active_sets,
            "became_active": history.became_active,
            "gap": missing if self.gaps is None else self.gaps,
            **self._effect_columns(),
        }
        by_neuron = {
            "exclusive": profile.exclusive,
            "selectivity": profile.selectivity,
            "dormancy": profile.dormancy,
            "dead": profile.dead,
            "died": history.died,
        }
        columns = {name: values.tolist() for name, values in {**by_class, **by_neuron}.items()}
        return [
            {
                "class": class_names[c],
                "neuron": neuron,
                **{name: columns[name][c][neuron] for name in by_class},
                **{name: columns[name][neuron] for name in by_neuron},
            }
            for c in profile.seen.nonzero().flatten().tolist()
            for neuron in range(profile.rates.shape[1])
        ]

    def record(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Return the layer as plain lists, for a machine-readable record; figures are rounded to 4 digits."""
        profile, history = self.profile, self.history
        seen = profile.seen.nonzero().flatten().tolist()
        small = profile.rates.numel() <= MOST_RATES
        return {
            "n_neurons": profile.rates.shape[1],
            "dead": _indices(profile.dead),
            "dormant": _indices(profile.dormant),
            "always_on": _indices(profile.always_on),
            "saturated": profile.saturated,
            "not_finite": _indices(profile.not_finite),
            "exclusive": _indices(profile.exclusive),
            "died": {str(j): int(history.died[j]) for j in _indices(history.died >= 0)},
            "selectivity": _rounded(profile.selectivity) if small else None,
            "overlap": [_rounded(row) for row in profile.seen_overlap] if len(seen) <= MOST_CLASSES else None,
            "classes": {
                class_names[c]: {
                    "n_samples": int(profile.n_samples[c]),
                    "n_active": int(profile.active_sets[c].sum()),
                    "active": _indices(profile.active_sets[c]) if small else None,
                    "became_active": history.became_active[c][profile.active_sets[c]].tolist() if small else None,
                    "turnover": _rounded(history.turnover[c : c + 1])[0],
                    "gap": None if self.gaps is None else _rounded(self.gaps[c].abs().nanmean()[None])[0],
                    "rates": _rounded(profile.rates[c]) if small else None,
                    "activation": _rounded(profile.activation[c]) if small else None,
                }
                for c in seen
            },
        }


def _indices(members: Tensor) -> list[int]:
    return members.nonzero().flatten().tolist()


def _rounded(values: Tensor) -> list[float | None]:
    return [None if math.isnan(value) else round(value, 4) for value in values.tolist()]


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
    caveat: str = ""

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
                name: layer.feeding.record() for name, layer in self.layers.items() if layer.feeding is not None
            },
            "effects": {
                name: {"epoch": layer.effects_epoch, **layer.effects.record()}
                for name, layer in self.layers.items()
                if layer.effects is not None
            },
            "feature_names": list(self.feature_names),
            **({"counted": {stage: vars(counted) for stage, counted in self.counted.items()}} if self.counted else {}),
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

    def with_effects(self, effects: Mapping[str, UnitEffects]) -> "NeuronReport":
        """Return the report with the effects of some layers' neurons."""
        layers = {
            name: replace(layer, effects=effects[name], effects_epoch=self.epoch) if name in effects else layer
            for name, layer in self.layers.items()
        }
        return replace(self, layers=layers)

    def with_feeding(self, feeding: Mapping[str, FeedingFeatures]) -> "NeuronReport":
        """Return the report with feeding features of some layers."""
        layers = {name: replace(layer, feeding=feeding.get(name, layer.feeding)) for name, layer in self.layers.items()}
        return replace(self, layers=layers)
