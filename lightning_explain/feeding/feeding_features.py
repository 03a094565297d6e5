"""Feeding features of a layer's neurons, as arrays and as rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Pairs = Sequence[tuple[int, int]]
"""Class and neuron, several times."""


def feature_name(index: int, shape: Sequence[int], names: Sequence[str] = (), *, kernel: bool = False) -> str:
    """Return the name of one value of a sample.

    Args:
        index: In the flattened sample.
        shape: The sample's: [features], [steps, features], [height, width] or [channels, height, width].
        names: Of the features of tabular data and sequences; elsewhere, and if empty, numbers are used.
        kernel: Whether the place is in a convolution's kernel.

    Example:
        >>> feature_name(1, [3], ["width", "length", "colour"]), feature_name(5, [1, 2, 3])
        ('length', 'row 1, column 2')
    """
    if index < len(names) and len(names) == math.prod(shape):
        return names[index]
    if len(shape) < 2:
        return f"feature {index}"
    rest, place = index, list[int]()
    for size in reversed(shape):
        place.insert(0, rest % size)
        rest //= size
    words = f"row {place[-2]}, column {place[-1]}"
    if len(place) == 2:
        feature = names[place[1]] if place[1] < len(names) else f"feature {place[1]}"
        return words if kernel else f"step {place[0]}, {feature}"
    channel = f"channel {place[0]}, " if len(place) == 3 and shape[0] > 1 else ""
    return f"{'kernel ' if kernel else ''}{channel}{words}" if len(place) == 3 else f"value {index}"


@dataclass(frozen=True, eq=False, kw_only=True)
class FeedingFeatures:
    """Feeding features of one layer's neurons: one pair of class and neuron after the other.

    Attributes:
        classes: Class of each pair: int64 [pairs].
        neurons: Neuron of each pair: int64 [pairs].
        features: The input features that feed it most, strongest first: int64 [pairs, top], indices into the
            flattened sample (into the flattened kernel for a convolution that reads the input).
        values: Signed: the weight, or the mean attribution of the neuron's activation over the class's probe samples,
            in units of the activation: [pairs, top].
        maps: For images: values of all places, channels added up, at most 64 a side: [pairs, height, width]; for
            sequences [pairs, steps, features] likewise; None for other data.
        shape: What `features` index: the shape of a sample, of a kernel, or [features] of one step where a linear layer
            is applied at every step.
        method: "weights" where the layer reads the input (through linear layers alone), else the name of the
            attribution method.
        kernel: Whether values are those of a convolution's kernel.
        n_active: Size of each class's active set, of which the pairs show the most telling: int64 [classes].
        errors: Stated L1 error of the values of all features, relative to their sum of sizes [pairs]; None for weights,
            which have none, and where the method states none.
    """

    classes: Tensor
    neurons: Tensor
    features: Tensor
    values: Tensor
    maps: Tensor | None
    shape: tuple[int, ...]
    method: str
    kernel: bool
    n_active: Tensor
    errors: Tensor | None = None

    def to_rows(self, class_names: Sequence[str] = (), feature_names: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Return a row for each class, neuron and feature; `pandas.DataFrame` takes them.

        Args:
            class_names: Name of each class; numbers where they end.
            feature_names: Name of each feature of tabular data.
        """
        return [
            {
                "class": class_names[c] if c < len(class_names) else str(c),
                "neuron": neuron,
                "rank": rank,
                "feature": feature_name(feature, self.shape, feature_names, kernel=self.kernel),
                "feature_index": feature,
                "value": value,
                "sign": "+" if value > 0 else "-" if value < 0 else "0",
                "method": self.method,
                "error": error,
            }
            for c, neuron, features, values, error in zip(
                self.classes.tolist(),
                self.neurons.tolist(),
                self.features.tolist(),
                self.values.tolist(),
                [None] * len(self.classes) if self.errors is None else self.errors.tolist(),
                strict=True,
            )
            for rank, (feature, value) in enumerate(zip(features, values, strict=True))
        ]

    def record(self, most: int = 5) -> dict[str, Any]:
        """Return the top features as plain lists, for a machine-readable record; 4 digits each."""
        return {
            "method": self.method,
            "shape": list(self.shape),
            "kernel": self.kernel,
            "classes": self.classes.tolist(),
            "neurons": self.neurons.tolist(),
            "features": self.features[:, :most].tolist(),
            "values": [[float(f"{value:.4g}") for value in row] for row in self.values[:, :most].tolist()],
            "errors": None if self.errors is None else [float(f"{error:.2g}") for error in self.errors.tolist()],
        }
