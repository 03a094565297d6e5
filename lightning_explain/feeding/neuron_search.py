"""Search for the features that feed neurons: by weight where the layer reads the input, otherwise by attribution."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from lightning_explain.attribution.result import Attribution, flat, parts_of
from lightning_explain.batches import Inputs
from lightning_explain.capture import Layer, watched
from lightning_explain.errors import ExplanationError
from lightning_explain.feeding.feeding_features import FeedingFeatures, Pairs
from lightning_explain.feeding.shared_passes import N_POINTS, ROWS, shared_attributions
from lightning_explain.feeding.unit_means import unit_means
from lightning_explain.feeding.weights import input_weights
from lightning_explain.isolation import explaining
from lightning_explain.neurons.functional import followed, functional_use
from lightning_explain.neurons.profile import LayerProfile
from lightning_explain.neurons.units import described
from lightning_explain.weights.sharded import check_not_sharded

Method = Callable[..., Attribution]

LARGEST_MAP = 64


def choose_neurons(profile: LayerProfile, most: int) -> list[tuple[int, int]]:
    """Choose the most class-selective neurons of each class's active set.

    They are those whose mean activation for the class exceeds the mean over the other classes most.

    Args:
        profile: Of the layer.
        most: Most neurons of each class.

    Returns:
        Pairs of class and neuron, the most telling first within a class.
    """
    seen = profile.seen.nonzero().flatten().tolist()
    activation = profile.activation.nan_to_num(0.0)
    total = activation[profile.seen].sum(0)
    pairs: list[tuple[int, int]] = []
    for c in seen:
        others = (total - activation[c]) / max(1, len(seen) - 1)
        excess = (activation[c] - others).masked_fill(~profile.active_sets[c], -torch.inf)
        n_shown = min(most, int(profile.active_sets[c].sum()))
        pairs += [(c, neuron) for neuron in excess.topk(n_shown).indices.tolist()]
    return pairs


class NeverRanError(ExplanationError):
    """A watched layer is not part of the explained forward: a decoder, if the encoder is explained."""


class _UnitScores(nn.Module):
    """A model whose scores are the activations of one layer's units: [batch, units]."""

    def __init__(self, model: nn.Module, forward: Callable[..., Any], layer: Layer, key: str) -> None:
        super().__init__()
        self.model = model
        self._run, self._layer, self._key = forward, layer, key

    def forward(self, *inputs: Tensor) -> Tensor:
        reduce = partial(unit_means, n_samples=len(inputs[0]))
        with watched([self._layer], reduce=reduce, differentiable=torch.is_grad_enabled()) as recorder:
            recorder.start()
            self._run(*inputs)
            seen = recorder.stop()
        if self._key not in seen:
            raise NeverRanError(self._key)
        return seen[self._key]


@dataclass(frozen=True)
class _Probed:
    """The probe, and the samples of each class."""

    parts: tuple[Tensor, ...]
    labels: Tensor
    single: bool

    def rows(self, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """Return pair, sample and neuron of each row: every pair with every probe sample of its class."""
        samples = {c: (self.labels == c).nonzero().flatten().tolist() for c in {c for c, _ in pairs}}
        rows = [(p, sample, neuron) for p, (c, neuron) in enumerate(pairs) for sample in samples[c]]
        pair, sample, neuron = torch.tensor(rows, dtype=torch.long).reshape(-1, 3).T
        return pair, sample, neuron

    def mean_attributions(self, method: Method, scores: nn.Module, pairs: Pairs) -> Tensor:
        """Return the mean attribution of each pair over the samples of its class: [pairs, features]."""
        pair, sample, neuron = self.rows(pairs)
        device = self.parts[0].device
        total = torch.zeros(len(pairs), sum(part[0].numel() for part in self.parts))
        for start in range(0, len(pair), ROWS):
            rows = slice(start, start + ROWS)
            inputs = tuple(part[sample[rows].to(device)] for part in self.parts)
            found = method(scores, inputs[0] if self.single else inputs, neuron[rows].to(device))
            total.index_add_(0, pair[rows], flat(found.values).float().cpu())
        return total / torch.bincount(pair, minlength=len(pairs))[:, None]


def _maps(values: Tensor, shape: Sequence[int]) -> Tensor | None:
    """Return values [pairs, features] of images and sequences as small maps [pairs, height, width]; else None."""
    if len(shape) not in (2, 3) or min(shape[-2:]) < 2:
        return None
    maps = values.reshape(len(values), -1, *shape[-2:]).sum(1)
    small = (min(LARGEST_MAP, shape[-2]), min(LARGEST_MAP, shape[-1]))
    return maps if small == tuple(shape[-2:]) else adaptive_avg_pool2d(maps[:, None], small)[:, 0]


def _result(values: Tensor, pairs: Pairs, **about: Any) -> FeedingFeatures:
    """Keep the top features of values [pairs, features]."""
    n_top, is_image = about.pop("n_top"), about.pop("is_image")
    features = values.abs().topk(min(n_top, values.shape[1])).indices
    chosen = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
    return FeedingFeatures(
        classes=chosen[:, 0],
        neurons=chosen[:, 1],
        features=features,
        values=values.gather(1, features),
        maps=_maps(values, about["shape"]) if is_image else None,
        **about,
    )


def _each_alone(
    probe: _Probed, method: Method, model: nn.Module, run: Callable[..., Any], deep: Mapping[str, tuple[Layer, Pairs]]
) -> Iterator[tuple[str, Tensor]]:
    """Attribute the neurons of one layer call after the other; those of calls that are never made are left out."""
    for key, (layer, pairs) in deep.items():
        with suppress(NeverRanError):
            yield key, probe.mean_attributions(method, _UnitScores(model, run, layer, key), pairs)


def feeding_features(
    model: nn.Module,
    inputs: Inputs,
    labels: Tensor | None,
    profiles: Mapping[str, LayerProfile],
    layers: Sequence[Layer],
    *,
    method: Method | None = None,
    most_neurons: int = 4,
    n_top: int = 5,
    as_maps: bool = True,
    forward: Callable[..., Any] | None = None,
) -> dict[str, FeedingFeatures]:
    """Find the input features that feed the active neurons of each class, with their signs.

    Where a layer reads the input, or the layer that feeds it does, a neuron's weights are taken: of a linear layer
    that is applied at every step of a sequence, those of a step's features. Deeper, the neuron's activation (its mean
    over positions) is attributed to the input, for the probe samples of the class, and averaged.

    Args:
        model: The model; run in eval mode and left as found.
        inputs: Probe samples [batch, ...], or a tuple of them.
        labels: Their classes: int64 [batch]; None for one class, 0.
        profiles: Layer -> profile, whose active sets select the neurons.
        layers: The same layers, from `unit_layers`.
        method: Attribution method: `method(model, inputs, target) -> Attribution`; None for integrated gradients at
            4 points, for which all neurons share their passes.
        most_neurons: Most neurons of each class and layer: the most telling ones of the active set.
        n_top: Features kept of each neuron.
        as_maps: Values of what looks like an image or a sequence may be drawn as maps; False for sets of entities.
        forward: Called as `forward(*inputs)` instead of the model.

    Returns:
        Layer -> features. Classes without a probe sample, and layers without active neurons or that do not run in
        the explained forward (the decoder, where that is the encoder), are left out.

    Cost: one forward pass of one sample; for each layer that does not read the input the method's cost for
    `most_neurons` times the probe; without a method that of `shared_attributions`.

    Raises:
        ExplanationError: No layer's units depend on the input; with a method of one's own, some layer's do not.
    """
    parts = parts_of(inputs)
    known = torch.zeros(len(parts[0]), dtype=torch.long) if labels is None else labels.cpu()
    probe = _Probed(parts, known, single=not isinstance(inputs, tuple))
    shape = tuple(parts[0].shape[1:])
    is_image = as_maps and len(parts) == 1 and len(shape) in (2, 3) and min(shape[-2:]) > 1
    run = forward or model
    with explaining(model):
        first = tuple(part[:1].detach().clone() for part in parts)
        weights = input_weights(model, lambda: run(*first), first[0], layers) if len(parts) == 1 else {}
        if not any(layer.calls for layer in layers):
            trace = followed(model, run, first)
            layers = described(layers, trace, functional_use(model, trace))
    by_name, present = {layer.name: layer for layer in layers}, set(known.tolist())
    chosen = {
        key: [pair for pair in choose_neurons(profile, most_neurons) if pair[0] in present]
        for key, profile in profiles.items()
    }
    chosen = {key: pairs for key, pairs in chosen.items() if pairs and key.split("#")[0] in by_name}
    deep = {key: (by_name[key.split("#")[0]], pairs) for key, pairs in chosen.items() if key not in weights}
    if deep:
        check_not_sharded(model, "What feeds a neuron deep in the network")
    name = "IntegratedGradients" if method is None else type(method).__name__
    if method is None:
        shared = shared_attributions(model, run, parts, known, deep, n_points=N_POINTS) if deep else {}
        attributed = {key: (each.values, each.errors) for key, each in shared.items()}
    else:
        attributed = {key: (values, None) for key, values in _each_alone(probe, method, model, run, deep)}
    found: dict[str, FeedingFeatures] = {}
    for key, pairs in chosen.items():
        about: dict[str, Any] = {"n_top": n_top, "n_active": profiles[key].active_sets.sum(1)}
        if key in weights:
            kernel = weights[key].ndim > 2
            values = weights[key][[neuron for _, neuron in pairs]].flatten(1)
            # a linear layer that is applied at every step reads one step at a time
            is_whole = not kernel and values.shape[1] == prod(shape)
            seen = shape if is_whole else tuple(weights[key].shape[1:])
            drawn = is_image or (kernel and weights[key].ndim == 4)
            about |= {"shape": seen, "method": "weights", "kernel": kernel, "is_image": drawn}
        elif key in attributed:
            values, errors = attributed[key]
            whole = shape if len(parts) == 1 else (values.shape[1],)
            about |= {"shape": whole, "method": name, "kernel": False, "is_image": is_image, "errors": errors}
        else:
            continue
        found[key] = _result(values, pairs, **about)
    return found
