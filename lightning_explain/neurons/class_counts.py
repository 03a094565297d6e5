"""Sums of neurons' activity by class: of all layers of a batch in one reduction."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_explain.neurons.activity import Activity

JOINED = 1 << 17
"""Values of a batch up to which a processor copies the layers side by side first; more are added layer by layer."""


def class_rows(labels: Tensor, n_classes: int, counted: Tensor | None = None) -> Tensor:
    """Return the row of a `JointCounts` under which each sample is counted: LongTensor [batch].

    Args:
        labels: Class of each sample: LongTensor [batch]; labels outside 0 to n_classes-1 (ignore indices) go to the
            last row, `n_classes`, which is thrown away.
        n_classes: Number of classes.
        counted: Boolean [batch]; False for samples to throw away (a distributed sampler's padding).

    Example:
        >>> class_rows(torch.tensor([1, -100, 0]), 2)
        tensor([1, 2, 0])
    """
    counts = (labels >= 0) & (labels < n_classes)
    if counted is not None:
        counts = counts & counted
    return torch.where(counts, labels, n_classes)


class ClassCounts(NamedTuple):
    """Sums over the samples of each class.

    Attributes:
        active: How often each neuron was active: [classes, neurons].
        activation: Sum of its activations: [classes, neurons].
        samples: Number of samples: [classes].
        alive: 1 for neurons that passed the threshold anywhere: [neurons].
        magnitude: Sum of the sizes of its activations, over all classes: [neurons].
    """

    active: Tensor
    activation: Tensor
    samples: Tensor
    alive: Tensor
    magnitude: Tensor


class SummedLayer(NamedTuple):
    """The sums that are made of one layer.

    Attributes:
        n_neurons: Its neurons.
        is_signed: True if its activations may be negative, so that their size is summed apart.
        has_positions: True if a neuron may be alive without being active for any sample.
    """

    n_neurons: int
    is_signed: bool
    has_positions: bool

    @classmethod
    def of(cls, activity: Activity) -> "SummedLayer":
        """Return the sums that are kept of an activity like this one."""
        return cls(activity.active.shape[1], activity.magnitude is not None, activity.alive is not None)


class JointCounts:
    """Sums of the activity of several layers by class, in float32: cheap enough for every training step.

    Layers lie side by side, so that a batch costs one reduction, however many layers there are. That is no product with
    one-hot labels, by which a NaN in one class would reach all, and which would be rounded where products are.

    Drain it before a class has met 2^24 samples, where float32 stops counting.

    Args:
        n_classes: Number of classes.
        layers: What is summed of each layer.
        device: Where the layers' outputs are.

    Attributes:
        is_empty: True if no batch was added since the last drain.
    """

    def __init__(self, n_classes: int, layers: Sequence[SummedLayer], device: torch.device) -> None:
        self.n_classes = n_classes
        self.layers = tuple(layers)
        widths = [layer.n_neurons for layer in layers]
        signed = [layer.n_neurons for layer in layers if layer.is_signed]
        width = 2 * sum(widths) + sum(signed) + 1
        # outside inference mode, where training can change it; float32 whatever the run's default is
        with torch.inference_mode(mode=False):
            self._sums = torch.zeros(n_classes + 1, width, dtype=torch.float32, device=device)
            n_maps = sum(layer.n_neurons for layer in layers if layer.has_positions)
            self._alive = torch.zeros(n_maps, dtype=torch.float32, device=device)
            self._one = torch.ones(1, 1, dtype=torch.float32, device=device)
            self._columns = self._sums.split([*widths, *widths, *signed, 1], dim=1)
        self._ones = self._one
        self.is_empty = True

    def add(self, activities: Sequence[Activity], rows: Tensor) -> None:
        """Add one batch; does not wait for the device.

        Args:
            activities: Of the layers, each [batch, neurons].
            rows: From `class_rows`.
        """
        self.is_empty = False
        if len(self._ones) != len(rows):
            self._ones = self._one.expand(len(rows), 1)
        magnitudes = [each.magnitude for each in activities if each.magnitude is not None]
        parts = [
            *(each.active for each in activities),
            *(each.activation for each in activities),
            *magnitudes,
            self._ones,
        ]
        if self._sums.device.type == "cpu" and len(rows) * self._sums.shape[1] > JOINED:
            for columns, part in zip(self._columns, parts, strict=True):
                columns.index_add_(0, rows, part.float())
        else:
            # no bincount: on a GPU it would wait for the device
            self._sums.index_add_(0, rows, torch.cat(parts, 1))
        alive = [each.alive for each in activities if each.alive is not None]
        if alive:
            torch.maximum(self._alive, alive[0] if len(alive) == 1 else torch.cat(alive), out=self._alive)

    def drain(self) -> list[ClassCounts]:
        """Return the sums of each layer, without the row of ignored samples, and reset them."""
        n, k = self.n_classes, len(self.layers)
        columns = [part.clone() for part in self._columns]
        sizes = iter(columns[2 * k : -1])
        alive = iter(self._alive.clone().split([layer.n_neurons for layer in self.layers if layer.has_positions]))
        found = [
            ClassCounts(
                active[:n],
                activation[:n],
                columns[-1][:n, 0],
                ((active.amax(0) + next(alive) if layer.has_positions else active.amax(0)) > 0).float(),
                (next(sizes) if layer.is_signed else activation)[:n].sum(0),
            )
            for layer, active, activation in zip(self.layers, columns[:k], columns[k : 2 * k], strict=True)
        ]
        self._sums.zero_()
        self._alive.zero_()
        self.is_empty = True
        return found
