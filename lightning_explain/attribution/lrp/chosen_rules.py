"""Rules that are chosen by what a layer reads."""

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from lightning_explain.attribution.lrp.input_rules import AnyRule, FlatRule
from lightning_explain.attribution.lrp.maps import AffineMap, Convolution
from lightning_explain.attribution.lrp.rules import EpsilonRule, Rule


class ChosenRule(Rule):
    """A rule that stands for one of several."""

    @abstractmethod
    def choose(self, layer: AffineMap, a: Tensor) -> AnyRule:
        """Return the rule of a layer that reads `a`, which still has its graph."""

    def modified_gradient(self, layer: AffineMap, a: Tensor, z: Tensor, gradient: Tensor) -> Tensor:
        """Never asked for: the layer has the chosen rule."""
        raise NotImplementedError


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
