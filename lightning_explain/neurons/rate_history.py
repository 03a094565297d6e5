"""History of a layer over the epochs: when neurons became active for a class, and when they died."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lightning_explain.errors import ConfigurationError
from lightning_explain.neurons.profile import LayerProfile, turnover

NEVER = -1
"""Stands for an epoch that did not come."""


def _with_classes(epochs: Tensor, n_classes: int) -> Tensor:
    grown = epochs.new_full((max(n_classes, len(epochs)), epochs.shape[1]), NEVER)
    grown[: len(epochs)] = epochs
    return grown


@dataclass(frozen=True, eq=False)
class LayerHistory:
    """History of one layer's neurons over the epochs so far.

    Attributes:
        active_sets: Of the last profile: boolean [classes, neurons].
        became_active: First epoch in which the neuron was in the class's active set: int32 [classes, neurons]; -1 for
            never.
        died: First epoch in which the neuron passed the threshold for no sample: int32 [neurons]; -1 for never. It
            may have come to life again: `LayerProfile.dead` says how it is now.
        turnover: How much of each class's set the last profile changed: [classes], 1 - Jaccard; NaN before there
            were two profiles, and for classes without samples.
    """

    active_sets: Tensor
    became_active: Tensor
    died: Tensor
    turnover: Tensor

    @classmethod
    def begin(cls, profile: LayerProfile, epoch: int) -> "LayerHistory":
        """Start with a layer's first profile."""
        n_classes, n_neurons = profile.rates.shape
        nothing = cls(
            torch.zeros(n_classes, n_neurons, dtype=torch.bool),
            # half of what counting in 64 bits takes: with many classes this is most of a checkpoint
            torch.full((n_classes, n_neurons), NEVER, dtype=torch.int32),
            torch.full((n_neurons,), NEVER, dtype=torch.int32),
            torch.full((n_classes,), torch.nan),
        )
        return nothing._with(profile, epoch, turned_over=nothing.turnover)

    def after(self, profile: LayerProfile, epoch: int) -> "LayerHistory":
        """Continue with the profile of a later epoch; a layer of another width starts over."""
        if profile.rates.shape[1] != self.active_sets.shape[1]:
            return LayerHistory.begin(profile, epoch)
        changed = turnover(self.active_sets, profile.active_sets)
        return self._with(profile, epoch, turned_over=torch.where(profile.seen, changed, torch.nan))

    def put_together(self, profile: LayerProfile, epoch: int) -> "LayerHistory":
        """Start over when the classes turn out to be none: only what does not depend on classes is kept."""
        if profile.rates.shape[1] != self.active_sets.shape[1]:
            return LayerHistory.begin(profile, epoch)
        begun = LayerHistory.begin(profile, epoch)
        return replace(begun, died=torch.where(self.died == NEVER, begun.died, self.died))

    def _with(self, profile: LayerProfile, epoch: int, *, turned_over: Tensor) -> "LayerHistory":
        became = _with_classes(self.became_active, len(profile.rates))
        is_new = (became == NEVER)[: len(profile.rates)] & profile.active_sets
        became[: len(profile.rates)][is_new] = epoch
        measured = bool(profile.seen.any())
        died = torch.where((self.died == NEVER) & profile.dead & measured, epoch, self.died)
        return LayerHistory(profile.active_sets, became, died, turned_over)

    def mean_turnover(self) -> float:
        """Return the mean turnover over the classes that were seen; NaN if there is no earlier epoch."""
        return float(self.turnover.nanmean())

    def state_dict(self) -> dict[str, Any]:
        """Return plain tensors, which `torch.load(weights_only=True)` accepts."""
        return {
            "active_sets": self.active_sets,
            "became_active": self.became_active,
            "died": self.died,
            "turnover": self.turnover,
        }

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> "LayerHistory":
        """Rebuild a history from `state_dict`.

        Raises:
            ConfigurationError: Its parts do not fit together.
        """
        found = cls(**state)
        classes, neurons = found.active_sets.shape
        if found.died.shape != (neurons,) or found.became_active.shape[1] != neurons or len(found.turnover) < classes:
            raise ConfigurationError(
                f"A layer's history holds sets of {classes} classes x {neurons} neurons, but {len(found.died)} epochs "
                "of death; expected parts of one layer. The checkpoint is damaged."
            )
        return found
