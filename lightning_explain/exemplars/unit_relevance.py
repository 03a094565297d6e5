"""Relevance of a layer's units for the class of each sample: activation times the gradient of the class's score."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_explain.attribution.scores import explained_score
from lightning_explain.capture import Call, Layer, first_activations, watched
from lightning_explain.exemplars.peaks import Peaks, as_places, by_position, positions_of
from lightning_explain.exemplars.unit_outputs import Run
from lightning_explain.neurons.arrangement import arranged
from lightning_explain.neurons.views import Units


def _kept(output: Tensor | Call, layer: Layer, key: str) -> Tensor | None:
    """Return a layer's own output in its graph; None where units are not simply that."""
    if isinstance(output, Call) or layer.view is not None or not layer.use(key).counted:
        return None
    return first_activations(output)


def unit_relevance(
    scores: Run, inputs: Sequence[Tensor], labels: Tensor | None, layers: Sequence[Layer]
) -> dict[str, tuple[Peaks, tuple[int, ...]]]:
    """Return the relevance of each unit, summed over positions, and the position of the largest part.

    On a network of rectifiers without biases this is LRP-0: the relevances of a layer that carries everything add up to
    the score.

    Args:
        scores: Inputs to scores [batch, classes], or [batch] for a single output; isolate it.
        inputs: Each [batch, ...].
        labels: Class of each sample: int64 [batch]; a negative one stands for the class of the largest score, as None
            does for all.
        layers: The layers; those whose units are not simply their output (heads, recurrent layers) are left out.

    Returns:
        By call, `values` [batch, units] and `places` [batch, units], and the sizes of the dimensions of positions.

    Cost: a forward and a backward pass of the batch.

    Source: Achtibat et al. (2023), relevance maximisation with the sum over positions.
    """
    with torch.enable_grad(), watched(layers, reduce=_kept, differentiable=True) as recorder:
        recorder.start()
        found = scores(*(part.clone().requires_grad_(part.is_floating_point()) for part in inputs))
        seen = {key: output for key, output in recorder.stop().items() if output is not None and output.requires_grad}
        if not seen:
            return {}
        score = explained_score(found, _targets(found, labels))
        gradients = torch.autograd.grad(score.sum(), list(seen.values()), allow_unused=True)
    by_name = {layer.name: layer for layer in layers}
    # a layer beside the way to the scores has no gradient
    found_at: list[Tensor | None] = list(gradients)
    pairs = zip(seen.items(), found_at, strict=True)
    relevance = {key: output.detach() * gradient for (key, output), gradient in pairs if gradient is not None}
    peaks = {key: _peaks(values, by_name[key.split("#")[0]], key, len(inputs[0])) for key, values in relevance.items()}
    return {key: each for key, each in peaks.items() if each is not None}


def _targets(scores: Tensor, labels: Tensor | None) -> Tensor | None:
    if scores.ndim < 2 or scores.shape[1] == 1:
        return None
    largest = scores.detach().argmax(1)
    if labels is None:
        return largest
    # samples without a class are ranked nowhere; a class without an output is refused where the score is taken
    labels = labels.to(scores.device)
    return torch.where(labels >= 0, labels, largest)


def _peaks(relevance: Tensor, layer: Layer, key: str, n_samples: int) -> tuple[Peaks, tuple[int, ...]] | None:
    layout = layer.layout_of(relevance, key)
    units: Units | None = None if layout is None else arranged(relevance, layout, n_samples=n_samples)
    if units is None:
        return None
    values = by_position(units).float()
    shape = positions_of(units)
    return Peaks(values.sum(2), as_places(values.argmax(2), shape)), shape
