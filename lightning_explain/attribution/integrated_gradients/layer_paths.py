"""Sums of gradient times step along the path, for the inputs and for layers, while the walk goes on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from lightning_explain.attribution.integrated_gradients.path import StraightPath, path_points
from lightning_explain.attribution.integrated_gradients.path_ends import hair
from lightning_explain.attribution.scores import attached_score
from lightning_explain.capture import Layer, Recorder
from lightning_explain.errors import ConfigurationError

Pair = tuple[Tensor, Tensor]
"""The same sum over all steps and over steps twice as long, each [batch, ...]."""


@dataclass(frozen=True)
class PathSums:
    """Sums over the whole walk: for each input, for each layer; and F(x) - F(baseline) [batch]."""

    inputs: tuple[Pair, ...]
    layers: dict[str, Pair]
    change: Tensor


@dataclass(frozen=True)
class LayerPath:
    """A layer's output in one pass: its values, and where in the graph its gradient is.

    Attributes:
        values: Detached [rows, ...].
        version: How often `values` had been written into when it was noted.
        edge: Its place in the graph; None where the output does not depend on anything that requires a gradient,
            so that it cannot change along the path either.
    """

    values: Tensor
    version: int
    edge: GradientEdge | None

    @property
    def is_overwritten(self) -> bool:
        """True if an in-place operation has changed the values since."""
        return self.values._version != self.version


class Taps:
    """Notes layers' outputs as they are, and copies only those that something writes into later in the pass.

    Which these are is found out when it happens; then the pass is run again with copies of them.
    """

    def __init__(self) -> None:
        self._copied: set[str] = set()

    def tap(self, output: Tensor, layer: Layer, key: str) -> LayerPath:
        """Note a layer's output; what a recorder calls."""
        del layer
        edge = get_gradient_edge(output) if output.requires_grad else None
        values = output.detach().clone() if key in self._copied else output.detach()
        return LayerPath(values, values._version, edge)

    def is_intact(self, seen: dict[str, LayerPath]) -> bool:
        """Return True if all values are as noted; those that are not are copied from now on."""
        overwritten = {key for key, tapped in seen.items() if tapped.is_overwritten}
        self._copied |= overwritten
        return not overwritten


class _StepSum:
    """Adds up (gradient here + gradient at the last node) / 2 * (value here - value at the last node)."""

    def __init__(self) -> None:
        self._last: Pair | None = None
        self._total: Tensor | None = None

    def add(self, gradients: Tensor, values: Tensor) -> None:
        """Go on to further nodes: both [nodes, batch, ...], in the order of the path."""
        if self._total is None:
            self._total = torch.zeros_like(values[0])
        for gradient, value in zip(gradients, values, strict=True):
            if self._last is not None:
                last_gradient, last_value = self._last
                self._total.addcmul_(gradient + last_gradient, value - last_value, value=0.5)
            self._last = gradient, value

    @property
    def total(self) -> Tensor:
        """The sum so far: [batch, ...]."""
        if self._total is None:
            raise RuntimeError("no node was added")
        return self._total


class _PairSum:
    """A sum over all nodes, and one over every second node and the last."""

    def __init__(self) -> None:
        self._fine, self._coarse = _StepSum(), _StepSum()

    def add(self, gradients: Tensor, values: Tensor, every_second: Tensor) -> None:
        self._fine.add(gradients, values)
        for index in every_second.tolist():
            self._coarse.add(gradients[index, None], values[index, None])

    @property
    def pair(self) -> Pair:
        return self._fine.total, self._coarse.total


class _InputSum:
    """The same sums for an input, which moves at a steady pace, so that only gradients need be added up."""

    def __init__(self, step: Tensor) -> None:
        self._step = step
        self._fine, self._coarse = torch.zeros_like(step), torch.zeros_like(step)

    def add(self, gradients: Tensor, fine: Tensor, coarse: Tensor) -> None:
        """Go on to further nodes: gradients [nodes, batch, ...], and the length of path each node stands for."""
        for gradient, weight, coarse_weight in zip(gradients, fine.tolist(), coarse.tolist(), strict=True):
            self._fine.add_(gradient, alpha=weight)
            if coarse_weight:
                self._coarse.add_(gradient, alpha=coarse_weight)

    @property
    def pair(self) -> Pair:
        return self._fine * self._step, self._coarse * self._step


@dataclass(frozen=True)
class _Block:
    """Everything seen in one pass, each [nodes, batch, ...]; scores [nodes, batch].

    Attributes:
        inputs: Gradient at each input.
        layers: Gradient at each layer's output, and its values.
        scores: What is explained.
    """

    inputs: tuple[Tensor, ...]
    layers: dict[str, Pair]
    scores: Tensor


def _forward(
    path: StraightPath, recorder: Recorder, taps: Taps, rows: tuple[Tensor, ...], target: Tensor | None
) -> tuple[Tensor, dict[str, LayerPath]]:
    """Run the model, a second time where something wrote into what was noted; it does so the first time only."""
    while True:
        recorder.start()
        score = attached_score(path.forward, rows, target)
        seen: dict[str, LayerPath] = recorder.stop()
        if taps.is_intact(seen):
            return score, seen


def _pass(path: StraightPath, recorder: Recorder, taps: Taps, nodes: Tensor) -> _Block:
    """Run the model at every node for every sample, and differentiate at inputs and layers at once."""
    rows, target = path_points(path, nodes)
    score, seen = _forward(path, recorder, taps, rows, target)
    leaves = [part for part in rows if part.requires_grad]
    places: list[Any] = [*leaves, *(tapped.edge for tapped in seen.values() if tapped.edge is not None)]
    # materialize_grads refuses edges, so that zeros are filled in below
    found = iter(torch.autograd.grad(score.sum(), places, allow_unused=True))
    split = (len(nodes), len(path))
    inputs = tuple(
        (next(found) if part.requires_grad else torch.zeros(part.shape, device=part.device)).unflatten(0, split)
        for part in rows
    )
    layers = {
        name: _pair(None if tapped.edge is None else next(found), _per_row(name, tapped.values, len(rows[0])), split)
        for name, tapped in seen.items()
    }
    return _Block(inputs, layers, score.detach().unflatten(0, split))


def _at_baseline(path: StraightPath, recorder: Recorder, taps: Taps) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the scores at the baselines [batch], and what every layer puts out there [batch, ...]."""
    rows, target = path_points(path, torch.zeros(1))
    score, seen = _forward(path, recorder, taps, rows, target)
    return score.detach(), {name: tapped.values.clone() for name, tapped in seen.items()}


def _per_row(name: str, values: Tensor, n_rows: int) -> Tensor:
    if len(values) != n_rows:
        raise ConfigurationError(
            f"Layer {name!r} gives shape {list(values.shape)} for {n_rows} inputs; its first dimension must be the "
            "sample. Choose another layer (or batch_first=True)."
        )
    return values


def _pair(gradient: Tensor | None, values: Tensor, split: tuple[int, int]) -> Pair:
    gradient = torch.zeros_like(values) if gradient is None else gradient
    return gradient.unflatten(0, split), values.unflatten(0, split)


def _lengths(nodes: Tensor) -> Tensor:
    """Return the length of path that each node stands for in the trapezoid rule: half of the way to each neighbour."""
    half = nodes.diff() / 2
    none = half.new_zeros(1)
    return torch.cat([half, none]) + torch.cat([none, half])


def _walk(path: StraightPath, recorder: Recorder, taps: Taps, n_steps: int) -> PathSums:
    """Go along the path with all samples of `path`, several nodes in one pass where they fit."""
    nodes = torch.arange(n_steps + 1, dtype=torch.float64) / n_steps
    # gradients a hair beside the baseline, where a kink at it has been passed; values at the baseline itself
    beside = torch.cat([torch.tensor([hair(path)], dtype=torch.float64), nodes[1:]])
    start, start_values = _at_baseline(path, recorder, taps)
    kept = (torch.arange(n_steps + 1) % 2 == 0) | (nodes == 1)
    fine, coarse = _lengths(nodes), torch.zeros_like(nodes)
    coarse[kept] = _lengths(nodes[kept])
    per_pass = max(1, path.limit.allowed // len(path))
    inputs = tuple(_InputSum(step) for step in path.displacement())
    layers: dict[str, _PairSum] = {}
    scores: list[Tensor] = []
    for first in range(0, n_steps + 1, per_pass):
        chunk = slice(first, first + per_pass)
        block = _pass(path, recorder, taps, beside[chunk])
        if first == 0:
            block.scores[0] = start
            for name, (_, values) in block.layers.items():
                values[0] = start_values[name]
        every_second = kept[chunk].nonzero().flatten()
        for total, gradients in zip(inputs, block.inputs, strict=True):
            total.add(gradients, fine[chunk], coarse[chunk])
        for name, pair in block.layers.items():
            layers.setdefault(name, _PairSum()).add(*pair, every_second)
        scores = [*scores[:1], *block.scores]
    return PathSums(
        tuple(total.pair for total in inputs),
        {name: total.pair for name, total in layers.items()},
        scores[-1] - scores[0],
    )


def _sample_blocks(path: StraightPath) -> Iterator[StraightPath]:
    for first in range(0, len(path), path.limit.allowed):
        samples = torch.arange(first, min(first + path.limit.allowed, len(path)), device=path.inputs[0].device)
        yield path if len(samples) == len(path) else path.of(samples)


def _joined(pairs: Sequence[Pair]) -> Pair:
    return torch.cat([fine for fine, _ in pairs]), torch.cat([coarse for _, coarse in pairs])


def accumulate(path: StraightPath, recorder: Recorder, taps: Taps, n_steps: int) -> PathSums:
    """Walk from baseline to input in `n_steps` equal steps and sum gradient times step on the way.

    Args:
        path: Inputs, baselines and model.
        recorder: Watches the layers, with `reduce=taps.tap` and `differentiable=True`.
        taps: What notes the layers' outputs.
        n_steps: Equal steps.

    Raises:
        ConfigurationError: A layer's output does not have the sample as first dimension.

    Cost: `n_steps + 1` forward and backward passes per sample, and one forward more where the model writes in place.
    """
    blocks = [_walk(block, recorder, taps, n_steps) for block in _sample_blocks(path)]
    if len(blocks) == 1:
        return blocks[0]
    return PathSums(
        tuple(_joined([block.inputs[i] for block in blocks]) for i in range(len(path.inputs))),
        {name: _joined([block.layers[name] for block in blocks]) for name in blocks[0].layers},
        torch.cat([block.change for block in blocks]),
    )
