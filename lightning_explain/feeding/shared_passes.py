"""Integrated gradients of many neurons of many layers, whose passes forward are shared."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from lightning_explain.attribution.integrated_gradients.conv_fusion import fast_convolutions
from lightning_explain.attribution.integrated_gradients.quadrature import gauss_legendre
from lightning_explain.attribution.result import flat
from lightning_explain.capture import Layer, watched
from lightning_explain.errors import ExplanationError
from lightning_explain.feeding.feeding_features import Pairs
from lightning_explain.feeding.unit_means import unit_means
from lightning_explain.isolation import explaining

ROWS = 256
"""Most samples in a pass."""

PER_SPLIT = 0.45
"""Stated error over the distance between the means by the even points and by the odd ones, for 4 points.

Against 64 points the true error of neurons of ReLU networks was 0.25 (a small ResNet) and 0.27 (MLPs) of that distance
in the median, 0.38 and 0.45 at the 95th percentile. Of smooth networks it is far smaller than stated.
"""


N_POINTS = 4
"""Points of the path by which a neuron's activation is shared out by default.

Against 64 points all signs of a small ResNet's five strongest features are right, and 73 % of these features are found
(58 % by 2 points, 85 % by 8); of MLPs and of smooth networks 97 to 100 %.
"""


def passes_of_features(n_samples: int, n_layers: int, n_neurons: int) -> float:
    """Return about how many passes of samples the features of some layers take; a forward pass counts 1.

    Args:
        n_samples: Samples of the probe.
        n_layers: Layers, evenly spread over the depth of the network.
        n_neurons: Neurons of each class and layer.

    Example:
        >>> passes_of_features(40, 7, 4)
        2720.0
    """
    return N_POINTS * n_samples * (1 + n_neurons * (n_layers + 1) / 2)


class NeuronAttributions(NamedTuple):
    """Mean attributions of neurons.

    Attributes:
        values: [pairs, features].
        errors: L1 error of each pair's values relative to their sum of sizes [pairs], at most this in 95 of 100 cases;
            NaN for a single point.
    """

    values: Tensor
    errors: Tensor


class _UnitMeans(nn.Module):
    """The mean activation of the units of several layers, as scores: [batch, units of all of them]."""

    def __init__(self, model: nn.Module, run: Callable[..., Any], layers: Sequence[Layer]) -> None:
        super().__init__()
        self.model = model
        self._run, self._layers = run, layers

    def of(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Return them by layer call, differentiable."""
        reduce = partial(unit_means, n_samples=len(inputs[0]))
        with watched(self._layers, reduce=reduce, differentiable=True) as recorder:
            recorder.start()
            self._run(*inputs)
            return recorder.stop()

    def forward(self, *inputs: Tensor) -> Tensor:
        found = self.of(*inputs)
        return torch.cat(list(found.values()), 1) if found else inputs[0].new_zeros(len(inputs[0]), 0)


def _turns(pairs: Pairs, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return pairs by turns, one of each class in each: pair and neuron of each sample [batch]; -1 for none."""
    by_class: dict[int, list[int]] = {}
    for place, (c, _) in enumerate(pairs):
        by_class.setdefault(c, []).append(place)
    neurons = torch.tensor([neuron for _, neuron in pairs] + [-1])
    found: list[tuple[Tensor, Tensor]] = []
    for turn in range(max(map(len, by_class.values()), default=0)):
        place = torch.full_like(labels, -1)
        for c, places in by_class.items():
            place[labels == c] = places[turn] if turn < len(places) else -1
        found.append((place, neurons[place]))
    return found


def explained_parts(inputs: Sequence[Tensor]) -> list[bool]:
    """Return for each input whether it is explained: masks, lengths and ids beside real numbers stay as they are.

    Example:
        >>> explained_parts([torch.ones(2, 3), torch.ones(2, dtype=torch.bool)])
        [True, False]
    """
    real = [part.is_floating_point() for part in inputs]
    return real if any(real) else [True] * len(inputs)


def shared_attributions(
    model: nn.Module,
    run: Callable[..., Any],
    parts: tuple[Tensor, ...],
    labels: Tensor,
    wanted: Mapping[str, tuple[Layer, Pairs]],
    *,
    n_points: int,
) -> dict[str, NeuronAttributions]:
    """Return the mean integrated gradients of neurons over the samples of their classes, from a baseline of zeros.

    All neurons of all layers share the passes forward. The neurons of a layer that stand for different classes share a
    pass backward too, since each is attributed to the samples of its own class alone.

    Args:
        model: The model; run in eval mode and left as found.
        run: Called as `run(*inputs)`.
        parts: The probe's inputs [batch, ...]; masks, lengths and ids beside real numbers go in as they are.
        labels: Their classes: int64 [batch], on the CPU.
        wanted: Layer call -> the layer, and pairs of class and neuron.
        n_points: Points of the path, those of the Gauss-Legendre rule.

    Returns:
        Layer call -> attributions; layers that do not run in the explained forward, or whose units do not depend on
        the inputs, are left out.

    Cost: `n_points` forward passes of the probe, and as many backward passes for each layer as it has neurons of a
    class, each from that layer down.

    Raises:
        ExplanationError: No layer's units depend on the inputs.
    """
    n_features = sum(part[0].numel() for part in parts)
    totals = {key: torch.zeros(2, len(pairs), n_features) for key, (_, pairs) in wanted.items()}
    ran, beside = set[str](), set[str]()
    layers = list({id(layer): layer for layer, _ in wanted.values()}.values())
    rule = gauss_legendre(n_points)
    points = list(zip(rule.nodes.tolist(), rule.weights.tolist(), strict=True))
    explained = torch.tensor(sorted({c for _, pairs in wanted.values() for c, _ in pairs}), dtype=labels.dtype)
    chosen = torch.isin(labels, explained).nonzero().flatten()
    means = _UnitMeans(model, run, layers)
    with explaining(model), torch.enable_grad(), fast_convolutions(means, parts):
        for rows in chosen.split(ROWS):
            inputs = tuple(part[rows.to(part.device)].detach() for part in parts)
            explains = explained_parts(inputs)
            turns = {key: _turns(pairs, labels[rows]) for key, (_, pairs) in wanted.items()}
            for number, (node, weight) in enumerate(points):
                at = [(node * part).requires_grad_() if explains[i] else part.clone() for i, part in enumerate(inputs)]
                seen = means.of(*at)
                for key in (wanted.keys() & seen.keys()) - beside:
                    for place, neuron in turns[key]:
                        gradients = _gradients(seen[key], neuron, at)
                        if not gradients:
                            beside.add(key)
                            break
                        ran.add(key)
                        products = [part * gradient for part, gradient in zip(inputs, gradients, strict=True)]
                        values = weight * flat(products[0] if len(products) == 1 else tuple(products)).float().cpu()
                        known = place >= 0
                        totals[key][number % 2].index_add_(0, place[known], values[known])
    if beside and not ran:
        raise ExplanationError(f"The units of layer {min(beside)!r} do not depend on the input.")
    counts = {
        key: torch.tensor([int((labels == c).sum()) for c, _ in pairs])[:, None] for key, (_, pairs) in wanted.items()
    }
    shares = [float(rule.weights[first::2].sum()) for first in (0, 1)]
    return {key: _with_errors(totals[key] / counts[key], shares) for key in wanted if key in ran}


def _with_errors(halves: Tensor, shares: Sequence[float]) -> NeuronAttributions:
    """Add up what even and odd points contribute [2, pairs, features], given the weight of each half."""
    values = halves.sum(0)
    if shares[1] == 0:
        return NeuronAttributions(values, torch.full((len(values),), torch.nan))
    split = (halves[0] / shares[0] - halves[1] / shares[1]).abs().sum(1)
    return NeuronAttributions(values, PER_SPLIT * split / values.abs().sum(1).clamp_min(torch.finfo(values.dtype).tiny))


def _gradients(means: Tensor, neuron: Tensor, at: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the gradients of one neuron for each sample, at the inputs; zeros for samples without one.

    Nothing is returned for units that do not depend on any input, as those that work on learned queries.
    """
    if not means.requires_grad:
        return ()
    neuron = neuron.to(means.device)
    score = torch.where(neuron >= 0, means.gather(1, neuron.clamp_min(0)[:, None])[:, 0], 0.0).sum()
    explained = [part for part in at if part.requires_grad]
    found = cast("Sequence[Tensor | None]", torch.autograd.grad(score, explained, retain_graph=True, allow_unused=True))
    if all(gradient is None for gradient in found):
        return ()
    waiting = iter(found)
    each = [next(waiting) if part.requires_grad else None for part in at]
    return tuple(
        torch.zeros_like(part) if gradient is None else gradient for part, gradient in zip(at, each, strict=True)
    )
