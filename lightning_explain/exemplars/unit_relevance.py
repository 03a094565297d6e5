"""Relevance of a layer's units for the class of each sample: activation times the gradient of the class's score."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from lightning_explain.attribution.scores import explained_score
from lightning_explain.capture import Call, Layer, first_activations, watched
from lightning_explain.exemplars.peaks import Peaks, as_places, by_position, positions_of
from lightning_explain.exemplars.unit_outputs import Run
from lightning_explain.neurons.arrangement import arranged
from lightning_explain.neurons.views import AttentionHeads, HeadsBeforeProjection, HiddenUnits, Units


@dataclass(frozen=True)
class _Seen:
    """A call of a layer, with its tensors in their graph.

    Attributes:
        output: The output, or the whole call.
        tensors: Those whose gradients tell the relevance.
    """

    output: Tensor | Call
    tensors: tuple[Tensor, ...]


def _seen(output: Tensor | Call, layer: Layer, key: str) -> _Seen | None:
    """Keep the tensors of a call."""
    if not layer.use(key).counted:
        return None
    tensors = _tensors(output, layer)
    return _Seen(output, tensors) if tensors and all(tensor.requires_grad for tensor in tensors) else None


def _tensors(output: Tensor | Call, layer: Layer) -> tuple[Tensor, ...]:
    if not isinstance(output, Call):
        return (output,)
    if isinstance(layer.view, HeadsBeforeProjection):
        return output.args[:1]
    given: Any = output.output
    if isinstance(layer.view, HiddenUnits):
        sequence, state = given
        hidden = state[0] if isinstance(state, tuple) else state
        return (sequence.data if isinstance(sequence, PackedSequence) else sequence, hidden)
    first = first_activations(given)
    return () if first is None else (first,)


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
        layers: The layers. A head's relevance is that of what it passes to the output projection; a recurrent unit's
            that of its states, as they are read after the layer.

    Returns:
        By call, `values` [batch, units] and `places` [batch, units], and the sizes of the dimensions of positions.

    Cost: a forward and a backward pass of the batch.

    Source: Achtibat et al. (2023), relevance maximisation with the sum over positions.
    """
    with torch.enable_grad(), watched(layers, reduce=_seen, differentiable=True) as recorder:
        recorder.start()
        found = scores(*(part.clone().requires_grad_(part.is_floating_point()) for part in inputs))
        seen: dict[str, _Seen] = {key: each for key, each in recorder.stop().items() if each is not None}
        if not seen:
            return {}
        score = explained_score(found, _targets(found, labels))
        tensors = [tensor for each in seen.values() for tensor in each.tensors]
        gradients: list[Tensor | None] = list(torch.autograd.grad(score.sum(), tensors, allow_unused=True))
    by_name = {layer.name: layer for layer in layers}
    peaks: dict[str, tuple[Peaks, tuple[int, ...]] | None] = {}
    for key, each in seen.items():
        own, gradients = gradients[: len(each.tensors)], gradients[len(each.tensors) :]
        # a layer beside the way to the scores has no gradient
        if any(gradient is not None for gradient in own):
            with torch.no_grad():
                units = _relevance(each, own, by_name[key.split("#")[0]], key, len(inputs[0]))
            peaks[key] = None if units is None else _peaks(units)
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


def _relevance(seen: _Seen, gradients: Sequence[Tensor | None], layer: Layer, key: str, n_samples: int) -> Units | None:
    """Return value times gradient of each unit at each position, padding marked; None where units are unknown."""
    parts = [
        torch.zeros_like(value) if gradient is None else value.detach() * gradient
        for value, gradient in zip(seen.tensors, gradients, strict=True)
    ]
    output, view = seen.output, layer.view
    if isinstance(output, Call):
        if isinstance(view, AttentionHeads):
            return _of_attention(view, output, gradients[0])
        if isinstance(view, HeadsBeforeProjection):
            return Units(parts[0].unflatten(-1, (view.n_heads, -1)).sum(-1)) if parts[0].ndim == 3 else None
        if isinstance(view, HiddenUnits):
            return _of_states(view, output, parts)
        if view is not None:
            return view(output._replace(output=parts[0]))
    layout = layer.layout_of(parts[0], key)
    padding = output.padding if isinstance(output, Call) else None
    return None if layout is None else arranged(parts[0], layout, n_samples=n_samples, padding=padding)


def _of_attention(view: AttentionHeads, call: Call, gradient: Tensor | None) -> Units | None:
    """Return the relevance of heads [batch, tokens, heads]: of what each passes to the output projection."""
    found = view.vectors(call)
    if found is None or gradient is None:
        return None
    heads, valid = found
    gradient = gradient if view.module.batch_first else gradient.transpose(0, 1)
    at_heads = (gradient @ view.module.out_proj.weight).unflatten(-1, (heads.shape[2], -1))
    return Units((heads.detach() * at_heads).sum(-1), valid)


def _of_states(view: HiddenUnits, call: Call, parts: Sequence[Tensor]) -> Units | None:
    """Return the relevance of hidden units [batch, steps, units]: what is read of the sequence, and of the last state.

    The last state of the last layer is that of the last step; backwards, of the first one.
    """
    sequence, _ = call.output
    given = sequence._replace(data=parts[0]) if isinstance(sequence, PackedSequence) else parts[0]
    units = view(call._replace(output=(given, None)))
    if units is None:
        return None
    values, valid = units.values.clone(), units.valid
    n_steps = values.shape[1]
    last = values.new_full((len(values),), n_steps - 1).long() if valid is None else valid.sum(1) - 1
    rows, size = torch.arange(len(values), device=values.device), parts[1].shape[-1]
    values[rows, last, :size] += parts[1][-1 if values.shape[2] == size else -2]
    if values.shape[2] > size:
        values[:, 0, size:] += parts[1][-1]
    return Units(values, valid)


def _peaks(units: Units) -> tuple[Peaks, tuple[int, ...]]:
    values, shape = by_position(units).float(), positions_of(units)
    total = values.masked_fill(values.isneginf(), 0.0).sum(2)
    return Peaks(total, as_places(values.argmax(2), shape)), shape
