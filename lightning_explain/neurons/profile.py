"""Active sets of classes and kinds of neurons, computed from class rates."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lightning_explain.neurons.metric import ClassRates

DORMANT_SHARE = 0.025
"""Sokar et al. (2023) leave this threshold, their tau, open; from 0 to 0.1 is usual."""


def active_sets(rates: Tensor, min_rate: float) -> Tensor:
    """Return each class's active set: boolean [classes, neurons].

    Args:
        rates: [classes, neurons]; classes without samples are NaN and get an empty set.
        min_rate: A neuron belongs to a class when it is active in at least this share of its samples.

    Example:
        >>> active_sets(torch.tensor([[0.9, 0.1, 0.5]]), 0.5)
        tensor([[ True, False,  True]])
    """
    return (rates >= min_rate) & (rates > 0)


def selectivity(activation: Tensor) -> Tensor:
    """Return the class selectivity of each neuron: [neurons], 0 (all classes alike) to 1 (a single class).

    Source: Morcos, Barrett, Rabinowitz, Botvinick (2018), On the importance of single directions, Sec. 2:
    (mu_max - mu_rest) / (mu_max + mu_rest), mu_rest being the mean over the other classes.

    Args:
        activation: Mean activation by class: [classes, neurons]; classes without samples are NaN.

    Returns:
        Selectivity [neurons]; NaN for neurons that are never positive, and where fewer than two classes were seen.
        Activations that go below zero are cut off at 0, as for a ReLU.

    Example:
        >>> selectivity(torch.tensor([[3.0, 1.0], [1.0, 1.0], [0.0, 1.0]]))
        tensor([0.7143, 0.0000])
    """
    seen = activation[~activation.isnan().any(1)].clamp_min(0)
    if len(seen) < 2:
        return activation.new_full((activation.shape[1],), torch.nan)
    highest = seen.max(0).values
    rest = (seen.sum(0) - highest) / (len(seen) - 1)
    total = highest + rest
    return torch.where(total > 0, (highest - rest) / total, torch.nan)


def jaccard(a: Tensor, b: Tensor) -> Tensor:
    """Return |A and B| / |A or B| of sets given as booleans along the last dimension; NaN where both are empty.

    Example:
        >>> jaccard(torch.tensor([True, True, False]), torch.tensor([True, False, False]))
        tensor(0.5000)
    """
    union = (a | b).sum(-1)
    return torch.where(union > 0, (a & b).sum(-1) / union, torch.nan)


def overlaps(sets: Tensor) -> Tensor:
    """Return the Jaccard index of every pair of sets, given as boolean rows: [sets, sets]; NaN where both are empty.

    Example:
        >>> overlaps(torch.tensor([[True, True, False], [True, False, False]]))
        tensor([[1.0000, 0.5000],
                [0.5000, 1.0000]])
    """
    members = sets.float()
    # as a product of matrices: comparing every two rows would take sets^2 * neurons bytes
    both, sizes = members @ members.T, members.sum(1)
    union = sizes[:, None] + sizes - both
    return torch.where(union > 0, both / union, torch.nan)


def turnover(previous: Tensor, current: Tensor) -> Tensor:
    """Return the changed share of each class's set: 1 - Jaccard, [classes]; 0 where both sets are empty.

    Args:
        previous: Boolean [classes, neurons]; may have met fewer or more classes than `current`.
        current: Boolean [classes, neurons].

    Returns:
        Turnover of each class of `current`.

    Example:
        >>> turnover(torch.tensor([[True, False]]), torch.tensor([[True, True]]))
        tensor([0.5000])
    """
    before = torch.zeros_like(current)
    n_known = min(len(previous), len(current))
    before[:n_known] = previous[:n_known]
    return (1 - jaccard(before, current)).nan_to_num(0.0)


def dormancy(magnitude: Tensor) -> Tensor:
    """Return the dormancy score of each neuron: its mean size relative to the layer's mean neuron, [neurons].

    A neuron is tau-dormant when its score is at most tau; the scores of a layer have mean 1.

    Source: Sokar, Agarwal, Castro, Evci (2023), The Dormant Neuron Phenomenon in Deep Reinforcement Learning,
    Definition 3.1: s_i = E|h_i| / (1/H sum_k E|h_k|).

    Args:
        magnitude: Mean |activation| of each neuron over the data: [neurons].

    Returns:
        Scores; 0 for all neurons of a layer that is silent altogether, NaN where nothing was measured.

    Example:
        >>> dormancy(torch.tensor([0.0, 1.0, 3.0, 4.0]))
        tensor([0.0000, 0.5000, 1.5000, 2.0000])
    """
    mean = magnitude.mean()
    return torch.where(mean == 0, torch.zeros_like(magnitude), magnitude / mean)


SATURATED_RATE, SATURATED_SHARE = 0.99, 0.9
"""A layer is saturated when this share of its neurons is active in this share of all samples."""


@dataclass(frozen=True)
class LayerProfile:
    """Profile of one layer: activation rates by class, and the kinds of its neurons.

    Attributes:
        rates: Activation rate by class: [classes, neurons]; NaN for classes without samples.
        activation: Mean activation by class: [classes, neurons]; NaN likewise.
        n_samples: Samples of each class: [classes].
        alive: Whether the neuron ever passed the threshold, be it at a single position: boolean [neurons].
        min_rate: The rate from which a neuron belongs to a class's active set.
        magnitude: Mean size |activation| over all samples: [neurons].
        dormant_share: Dormancy score up to which a neuron is called dormant.
    """

    rates: Tensor
    activation: Tensor
    n_samples: Tensor
    alive: Tensor
    min_rate: float
    magnitude: Tensor
    dormant_share: float = DORMANT_SHARE

    @classmethod
    def of(cls, class_rates: ClassRates, min_rate: float) -> "LayerProfile":
        """Create the profile of the result of `ActiveNeurons.compute`, on the CPU."""
        n_classes = class_rates.n_samples.numel()
        # torchmetrics squeezes tensors of one element
        return cls(
            class_rates.rates.detach().cpu().reshape(n_classes, -1),
            class_rates.activation.detach().cpu().reshape(n_classes, -1),
            class_rates.n_samples.detach().cpu().reshape(n_classes),
            class_rates.alive.detach().cpu().reshape(-1),
            min_rate,
            class_rates.magnitude.detach().cpu().reshape(-1),
        )

    @property
    def seen(self) -> Tensor:
        """Classes that had samples: boolean [classes]."""
        return self.n_samples > 0

    @cached_property
    def active_sets(self) -> Tensor:
        """Active set of each class: boolean [classes, neurons]."""
        return active_sets(self.rates, self.min_rate)

    def set_indices(self) -> dict[int, tuple[int, ...]]:
        """Return the indices of each class's active neurons, for the classes that were seen."""
        return {
            c: tuple(self.active_sets[c].nonzero().flatten().tolist()) for c in self.seen.nonzero().flatten().tolist()
        }

    @property
    def dead(self) -> Tensor:
        """Neurons that were active at no position of any sample: boolean [neurons]."""
        # NaN passes no threshold, but a neuron that gives it is not dead
        return ~self.alive & ~self.not_finite

    @property
    def not_finite(self) -> Tensor:
        """Neurons that were NaN or infinite for some sample: boolean [neurons]; none if no class was seen."""
        return ~self.magnitude.isfinite() & self.seen.any()

    @property
    def saturated(self) -> bool:
        """True if nearly all neurons are active for nearly all samples, so that rates do not distinguish classes."""
        seen = self.seen
        if not bool(seen.any()):
            return False
        counts = self.n_samples[seen].to(self.rates.dtype)
        overall = (self.rates[seen] * counts[:, None]).sum(0) / counts.sum()
        return bool((overall >= SATURATED_RATE).float().mean() >= SATURATED_SHARE)

    @cached_property
    def dormancy(self) -> Tensor:
        """Dormancy score of each neuron: [neurons], 1 for one of the layer's mean size."""
        return dormancy(self.magnitude)

    @property
    def dormant(self) -> Tensor:
        """Neurons whose dormancy score is at most `dormant_share`: boolean [neurons]; dead ones among them."""
        return self.dormancy <= self.dormant_share

    @property
    def always_on(self) -> Tensor:
        """Neurons that were active for every sample of every class: boolean [neurons]; none if no class was seen."""
        return (self.rates[self.seen] == 1).all(0) & self.seen.any()

    @property
    def exclusive(self) -> Tensor:
        """Neurons that belong to the active set of one class only: boolean [neurons]; none if one class was seen."""
        if int(self.seen.sum()) < 2:
            return torch.zeros(self.rates.shape[1], dtype=torch.bool)
        return self.active_sets.sum(0) == 1

    @property
    def selectivity(self) -> Tensor:
        """Class selectivity of each neuron: [neurons]; NaN where undefined."""
        return selectivity(self.activation)

    @property
    def overlap(self) -> Tensor:
        """Jaccard index of the active sets of every two classes: [classes, classes]; NaN where both are empty."""
        return overlaps(self.active_sets)

    @cached_property
    def seen_overlap(self) -> Tensor:
        """The same for the classes that were seen: [seen, seen]. Labels may be sparse, so that few of many are."""
        return overlaps(self.active_sets[self.seen])

    def listed_class(self, unit: int) -> tuple[int, str]:
        """Return the class that a unit is listed for, and as what: exclusive to it, or how selective for it."""
        if bool(self.exclusive[unit]):
            return int(self.active_sets[:, unit].float().argmax()), "exclusive to"
        activation = self.activation[:, unit].nan_to_num(-torch.inf)
        return int(activation.argmax()), f"selectivity {float(self.selectivity[unit]):.2f} for"

    def mean_overlap(self) -> float:
        """Return the mean overlap of pairs of classes that were seen; NaN with fewer than two."""
        n_seen = int(self.seen.sum())
        first, second = torch.triu_indices(n_seen, n_seen, offset=1)
        return float(self.seen_overlap[first, second].nanmean())

    def scalars(self) -> dict[str, float]:
        """Return the layer's metrics: shares of dead, dormant, always-on and exclusive neurons; means of the rest."""
        metrics = {
            "dead": float(self.dead.float().mean()),
            "dormant": float(self.dormant.float().mean()),
            "always_on": float(self.always_on.float().mean()),
            "exclusive": float(self.exclusive.float().mean()),
            "selectivity": float(self.selectivity.nanmean()),
            "overlap": self.mean_overlap(),
        }
        only_with_classes = {"exclusive", "selectivity", "overlap"}
        several = int(self.seen.sum()) > 1
        return {name: value for name, value in metrics.items() if several or name not in only_with_classes}


def rate_gaps(train: LayerProfile, validation: LayerProfile) -> Tensor:
    """Return training minus validation rates: [classes of the validation, neurons]; NaN where one saw no sample."""
    gaps = torch.full_like(validation.rates, torch.nan)
    n = min(len(train.rates), len(validation.rates))
    gaps[:n] = train.rates[:n] - validation.rates[:n]
    return gaps


def rate_gap(train: LayerProfile, validation: LayerProfile) -> float:
    """Return the mean absolute difference of two profiles' rates over the classes that both saw; NaN if none."""
    return float(rate_gaps(train, validation).abs().nanmean())
