"""The outputs of watched layers by unit and position, as functions of the model's input."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.capture import Call, Layer, watched
from lightning_explain.errors import ExplanationError
from lightning_explain.exemplars.peaks import by_position, positions_of
from lightning_explain.neurons.arrangement import units_of

Run = Callable[..., Any]
"""Calls the model with its inputs."""


class UnitValues(tuple[Tensor, tuple[int, ...]]):
    """A layer's output: values [batch, units, positions], and the sizes of the dimensions of positions."""

    __slots__ = ()

    @property
    def values(self) -> Tensor:
        """Values [batch, units, positions]."""
        return self[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions of positions."""
        return self[1]


def _reduced(output: Tensor | Call, layer: Layer, key: str, *, n_samples: int) -> UnitValues | None:
    if not layer.use(key).counted:
        return None
    # a clone: what follows may write into it
    given = output.clone() if isinstance(output, Tensor) else output
    units = units_of(given, layer, key, n_samples=n_samples)
    return None if units is None else UnitValues((by_position(units), positions_of(units)))


def layer_outputs(
    run: Run, inputs: Sequence[Tensor], layers: Sequence[Layer], *, differentiable: bool = False
) -> dict[str, UnitValues]:
    """Return the output of each call of some layers, by its key (`name`, `name#1`, ...); one forward pass.

    Args:
        run: Calls the model; isolate it.
        inputs: Each [batch, ...].
        layers: The layers, with what is known of their calls.
        differentiable: Keep the graph.
    """
    reduce = partial(_reduced, n_samples=len(inputs[0]))
    with watched(layers, reduce=reduce, differentiable=differentiable) as recorder:
        recorder.start()
        run(*inputs)
        seen = recorder.stop()
    return {key: found for key, found in seen.items() if found is not None}


def longest_first(values: Tensor) -> Tensor:
    """Return the numbers of samples, those with the fewest positions of padding first.

    Args:
        values: [samples, units, positions]; -inf at padding.

    Example:
        >>> longest_first(torch.tensor([[[1.0, -torch.inf]], [[2.0, 3.0]], [[0.0, 1.0]]]))
        tensor([1, 2, 0])
    """
    return (~values.isneginf()).any(1).sum(1).argsort(descending=True, stable=True)


class UnitOutputs(nn.Module):
    """A model whose scores are all units of one layer at all positions: [batch, units * positions].

    Args:
        model: The model.
        run: Calls it.
        layer: The layer.
        key: Which of its calls.
        n_positions: Positions of a unit. Transformer layers that run fused give fewer, where only padding follows.
    """

    def __init__(self, model: nn.Module, run: Run, layer: Layer, key: str, n_positions: int) -> None:
        super().__init__()
        self.model = model
        self.n_positions = n_positions
        self._run, self._layer, self._key = run, layer, key

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the outputs; unit by unit, positions within."""
        seen = layer_outputs(self._run, inputs, [self._layer], differentiable=torch.is_grad_enabled())
        if self._key not in seen:
            raise ExplanationError(f"Layer {self._key!r} does not run where the model is called with a batch's input.")
        values = seen[self._key].values
        return functional.pad(values, (0, self.n_positions - values.shape[2])).flatten(1)
