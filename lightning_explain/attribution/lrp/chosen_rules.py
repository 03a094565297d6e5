"""Rules that are chosen by what a layer reads."""

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from lightning_explain.attribution.lrp.graph import MOVES, Node, inputs_of, operation_of
from lightning_explain.attribution.lrp.input_rules import AnyRule, FlatRule
from lightning_explain.attribution.lrp.maps import AffineMap, Convolution
from lightning_explain.attribution.lrp.rules import EpsilonRule, Rule, ZPlusRule

KEEPS_SIGN = MOVES | {
    "Add", "Sum", "Mean", "Cumsum", "AdaptiveAvgPool2D", "AdaptiveAvgPool3D", "AdaptiveMaxPool2D", "AdaptiveMaxPool3D",
    "AvgPool2D", "AvgPool3D", "MaxPool2DWithIndices", "MaxPool3DWithIndices", "Max", "Amax", "UpsampleBilinear2D",
    "UpsampleLinear1D", "UpsampleNearest1D", "UpsampleNearest2D", "UpsampleNearest3D", "UpsampleTrilinear3D",
}  # fmt: skip
"""Operations of nonnegative numbers that give nonnegative numbers."""


def is_rectified(a: Tensor) -> bool:
    """Return True if a tensor can have no negative entry, judging by how it was computed and not by its values.

    Example:
        >>> x = Tensor([1.0, 2.0]).requires_grad_()
        >>> is_rectified(x.relu().reshape(1, 2)), is_rectified(x)
        (True, False)
    """
    seen: set[Node] = set()
    stack: list[Node] = [a.grad_fn]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node is None:
            return False
        operation = operation_of(node)
        if operation == "Relu" or getattr(node, "is_rectified", False):
            continue
        if operation not in KEEPS_SIGN or not inputs_of(node):
            return False
        stack.extend(inputs_of(node))
    return True


class ChosenRule(Rule):
    """A rule that stands for one of several."""

    @abstractmethod
    def choose(self, layer: AffineMap, a: Tensor) -> AnyRule:
        """Return the rule of a layer that reads `a`, which still has its graph."""

    def modified_gradient(self, layer: AffineMap, a: Tensor, z: Tensor, gradient: Tensor) -> Tensor:
        """Never asked for: the layer has the chosen rule."""
        raise NotImplementedError


@dataclass(frozen=True)
class PlusOrEpsilonRule(ChosenRule):
    """z+ where the input cannot be negative, for which it is derived, and epsilon elsewhere."""

    epsilon: float = 1e-6

    def choose(self, layer: AffineMap, a: Tensor) -> AnyRule:
        """Judge by how the input was computed."""
        del layer
        return ZPlusRule() if is_rectified(a) else EpsilonRule(self.epsilon)


@dataclass(frozen=True)
class FlatOrEpsilonRule(ChosenRule):
    """Flat for convolutions whose fields overlap, and epsilon for those that cut their input into patches."""

    epsilon: float = 1e-6

    def choose(self, layer: AffineMap, a: Tensor) -> AnyRule:
        """Judge by the layer's stride."""
        del a
        if isinstance(layer, Convolution) and not layer.transposed:
            sizes = layer.weight.shape[2:]
            is_patches = all(step >= size > 1 for step, size in zip(layer.stride, sizes, strict=True))
            return EpsilonRule(self.epsilon) if is_patches else FlatRule()
        return FlatRule()
