"""One layer of a neuron monitor's report, as arrays, rows and plain lists."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_explain.exemplars import LayerExemplars
from lightning_explain.faithfulness.unit_effects import UnitEffects
from lightning_explain.feeding import FeedingFeatures
from lightning_explain.neurons import LayerHistory, LayerProfile

MOST_RATES = 200_000
"""With more classes x neurons, rates and active sets of a layer are left out of the JSON record: it would fill memory
and disk."""


MOST_CLASSES = 100
"""With more classes the overlap of every two of them is left out of the JSON record."""


@dataclass(frozen=True, eq=False)
class LayerReport:
    """One layer's neurons at one epoch.

    Attributes:
        profile: Rates, mean activations, active sets, dead, dormant, exclusive neurons, overlap of classes.
        history: The epochs in which neurons became active or died, and the turnover since the previous report.
        gaps: Training minus validation rates [classes, neurons]; None where the two were not both measured. Training
            is counted while the weights change, and with dropout.
        feeding: The input features that feed the classes' neurons, as last computed; None if never.
        feeding_epoch: Index of the epoch that they were computed in; -1 for never.
        effects: The change of each class's accuracy without single neurons, as last measured; None if never.
        effects_epoch: Index of the epoch that they were measured in; -1 for never.
        exemplars: The samples of the last validation that stand for each neuron; None if there are none.
    """

    profile: LayerProfile
    history: LayerHistory
    gaps: Tensor | None = None
    feeding: FeedingFeatures | None = None
    feeding_epoch: int = -1
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

    def class_rates(self, unit: int) -> list[tuple[int, float]]:
        """Return each class that was seen and the unit's rate for it, the largest first."""
        rates, seen = self.profile.rates[:, unit].tolist(), self.profile.seen.nonzero().flatten().tolist()
        return sorted(((c, rates[c]) for c in seen), key=lambda pair: -pair[1])

    def class_changes(self, unit: int) -> list[tuple[int, float, float]]:
        """Return each class of the probe, the change of its accuracy without the unit, and its error; the worst first.

        Empty where that was not measured.
        """
        place = None if self.effects is None else self.effects.place_of(unit)
        if self.effects is None or place is None:
            return []
        change, error = self.effects.change[place].tolist(), self.effects.standard_error[place].tolist()
        known = self.effects.n_samples.nonzero().flatten().tolist()
        return sorted(((c, change[c], error[c]) for c in known), key=lambda row: row[1])

    def record(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Return the layer as plain lists, for a machine-readable record; metrics are rounded to 4 digits."""
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
