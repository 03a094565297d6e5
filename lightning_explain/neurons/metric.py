"""The active-neuron counts of one layer as a `torchmetrics.Metric`."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_explain.errors import ConfigurationError
from lightning_explain.neurons.activity import Activity, unit_activity
from lightning_explain.neurons.class_counts import ClassCounts, JointCounts, SummedLayer, class_rows


class ClassRates(NamedTuple):
    """Activation rates of one layer's neurons, by class.

    Attributes:
        rates: Share of the class's samples in which the neuron was active: [classes, neurons]; NaN for classes
            without samples.
        activation: Mean activation over the class's samples: [classes, neurons]; NaN likewise.
        n_samples: Samples of each class: int64 [classes].
        alive: Whether the neuron passed the threshold anywhere, be it at a single position: boolean [neurons].
        magnitude: Mean size |activation| over all samples: [neurons]; NaN without samples.
    """

    rates: Tensor
    activation: Tensor
    n_samples: Tensor
    alive: Tensor
    magnitude: Tensor


class ActiveNeurons(Metric):
    """Counts the samples of each class for which each neuron of a layer is active.

    Memory does not depend on the size of the data set. Distributed processes add their counts up.

    Args:
        n_classes: Number of classes; `grow` makes room for more.
        n_neurons: Units or channels of the layer.
        unit_dim: Which dimension of the layer's output counts neurons: 1 for channels first, -1 for features last.
        threshold: Activation above which a position is active.
        min_fraction: For maps: share of positions that must be active for the channel to be.
        **kwargs: Passed to `torchmetrics.Metric`.

    Example:
        >>> metric = ActiveNeurons(n_classes=2, n_neurons=3)
        >>> metric.update(torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 1.0]]), torch.tensor([0, 1]))
        >>> metric.compute().rates
        tensor([[1., 0., 1.],
                [0., 0., 1.]])
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = None

    active: Tensor
    activation: Tensor
    samples: Tensor
    alive: Tensor
    magnitude: Tensor

    def __init__(
        self,
        n_classes: int,
        n_neurons: int,
        *,
        unit_dim: int = 1,
        threshold: float = 0.0,
        min_fraction: float = 0.25,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if n_classes < 1 or n_neurons < 1:
            raise ConfigurationError(f"n_classes={n_classes}, n_neurons={n_neurons}; expected at least 1 of each.")
        if not 0 <= min_fraction <= 1:
            raise ConfigurationError(f"min_fraction={min_fraction}; expected a share from 0 to 1.")
        self.n_neurons = n_neurons
        self.unit_dim = unit_dim
        self.threshold = threshold
        self.min_fraction = min_fraction
        self.add_state("active", torch.zeros(n_classes, n_neurons, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("activation", torch.zeros(n_classes, n_neurons, dtype=torch.double), dist_reduce_fx="sum")
        self.add_state("samples", torch.zeros(n_classes, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("alive", torch.zeros(n_neurons, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("magnitude", torch.zeros(n_neurons, dtype=torch.double), dist_reduce_fx="sum")
        self.persistent(mode=True)

    @property
    def n_classes(self) -> int:
        """Number of classes the counts have room for."""
        return len(self.samples)

    def grow(self, n_classes: int) -> None:
        """Enlarge the counts for more classes, keeping what was counted; never shrinks."""
        if n_classes <= self.n_classes:
            return
        # outside inference mode: states made inside it could not be counted up by training later
        with torch.inference_mode(mode=False):
            for name in ("active", "activation", "samples"):
                kept: Tensor = getattr(self, name)
                empty = kept.new_zeros((n_classes, *kept.shape[1:]))
                self.add_state(name, empty, dist_reduce_fx="sum", persistent=True)
                getattr(self, name)[: len(kept)] = kept
        self._computed = None

    def narrow(self, n_classes: int) -> None:
        """Give up the room for classes from `n_classes` on, of which no sample was counted."""
        if n_classes >= self.n_classes:
            return
        with torch.inference_mode(mode=False):
            for name in ("active", "activation", "samples"):
                kept: Tensor = getattr(self, name)[:n_classes].clone()
                self.add_state(name, torch.zeros_like(kept), dist_reduce_fx="sum", persistent=True)
                getattr(self, name).copy_(kept)
        self._computed = None

    def put_together(self) -> "ActiveNeurons":
        """Merge the counts of all classes into one; samples without a class stay left out."""
        one = ActiveNeurons(
            1,
            self.n_neurons,
            unit_dim=self.unit_dim,
            threshold=self.threshold,
            min_fraction=self.min_fraction,
        ).to(self.active.device)
        if self._update_count:
            sums = (self.active.sum(0, keepdim=True), self.activation.sum(0, keepdim=True), self.samples.sum()[None])
            one.add(ClassCounts(*sums, self.alive, self.magnitude))
        return one

    def update(self, activity: Tensor | Activity, target: Tensor, counted: Tensor | None = None) -> None:
        """Count one batch.

        Args:
            activity: The layer's output, or what `unit_activity` made of it.
            target: Class of each sample: LongTensor [batch].
            counted: Boolean [batch]; False for samples to leave out.

        Raises:
            ConfigurationError: A label is beyond `n_classes`, or the layer has another number of neurons.
        """
        if target.numel() and int(target.max()) >= self.n_classes:
            raise ConfigurationError(
                f"target contains class index {int(target.max())}, but n_classes={self.n_classes}. "
                "Give the right n_classes, or call grow first."
            )
        if isinstance(activity, Tensor):
            activity = unit_activity(
                activity, unit_dim=self.unit_dim, threshold=self.threshold, min_fraction=self.min_fraction
            )
        if activity.active.shape[1] != self.n_neurons:
            raise ConfigurationError(
                f"The layer gave {activity.active.shape[1]} neurons, but n_neurons={self.n_neurons}."
            )
        sums = JointCounts(self.n_classes, [SummedLayer.of(activity)], activity.active.device)
        sums.add([activity], class_rows(target, self.n_classes, counted))
        self._count(sums.drain()[0])

    @torch.no_grad()
    def add(self, counts: ClassCounts) -> None:
        """Add the sums that a `JointCounts` collected over several batches, for the classes it has."""
        self._count(counts)
        # what torchmetrics does around `update`
        self._update_count += 1
        self._computed = None

    def _count(self, counts: ClassCounts) -> None:
        self._leave_inference_mode()
        n = len(counts.samples)
        # in place: under inference mode a new tensor could not be changed outside it again
        self.active[:n] += counts.active.long()
        self.activation[:n] += counts.activation
        self.samples[:n] += counts.samples.long()
        self.alive += counts.alive.long()
        self.magnitude += counts.magnitude

    def _leave_inference_mode(self) -> None:
        """Clone states that `reset` or `forward` created under inference mode, which training could not update."""
        with torch.inference_mode(mode=False):
            for name in self._defaults:
                state: Tensor = getattr(self, name)
                if state.is_inference():
                    setattr(self, name, state.clone())

    def compute(self) -> ClassRates:
        """Return rates, mean activations and sample counts by class."""
        n = self.samples[:, None]
        some = torch.where(n > 0, n.double(), torch.nan)
        total = torch.where(n.sum() > 0, n.sum().double(), torch.nan)
        return ClassRates(
            (self.active / some).float(),
            (self.activation / some).float(),
            self.samples.clone(),
            self.alive > 0,
            (self.magnitude / total).float(),
        )
