"""Backward walk of a traced pass from the score: relevance of every layer, and the terms of its messages."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_explain.attribution.scores import check_finite
from lightning_explain.errors import ConfigurationError
from lightning_explain.paths.feeds import Feed, FeedSource, feeds_of
from lightning_explain.paths.messages import Messages, messages_from, mixed_messages
from lightning_explain.paths.model_pieces import CutLayer, PiecewisePass, sources_of
from lightning_explain.paths.path_units import InputUnits, neuron_labels
from lightning_explain.paths.terms import Term, terms_of

MOST_UNITS = 8192
"""Most units of one layer with positions kept: their messages are computed one by one."""


@dataclass(frozen=True, eq=False)
class Step:
    """A layer with all that its messages need for one sample."""

    place: int
    read: Tensor
    terms: tuple[Term, ...]
    messages: tuple[Messages, ...]


@dataclass(frozen=True, eq=False)
class Walked:
    """All layers of one pass, walked back from the score.

    Attributes:
        sources: Inputs, then layers.
        n_inputs: How many of them are inputs.
        relevance: Of every element of each source.
        steps: The layers that the score depends on.
        at_output: What came to the score straight from which source: relevance of each of its elements.
        score_layer: The layer whose explained unit is the score; None where the score is computed from several.
        score: The explained score [batch].
    """

    sources: tuple[FeedSource, ...]
    n_inputs: int
    relevance: tuple[Tensor, ...]
    steps: tuple[Step, ...]
    at_output: dict[int, Tensor]
    score_layer: int | None
    score: Tensor


def all_sources(trace: PiecewisePass, units: Sequence[InputUnits], keep_positions: bool) -> tuple[FeedSource, ...]:
    """List the inputs and the layers of a trace with their units.

    Raises:
        ConfigurationError: With positions kept, a layer has too many units.
    """
    names = ["input"] if len(units) == 1 else [f"input {place}" for place in range(len(units))]
    found = [
        FeedSource(name, values, unit.labels.to(values.device), len(unit.names))
        for name, values, unit in zip(names, trace.inputs, units, strict=True)
    ]
    for layer in trace.layers:
        shape = layer.output.shape[1:]
        labels = neuron_labels(shape, layer.unit_dim, keep_positions=keep_positions).to(layer.output.device)
        n_units = int(labels.max()) + 1
        if keep_positions and n_units > MOST_UNITS:
            raise ConfigurationError(
                f"Layer {layer.name!r} has {n_units:,} units with positions kept; at most {MOST_UNITS:,} are "
                "possible. Give keep_positions=False, so that each channel is one unit."
            )
        found.append(FeedSource(layer.name, layer.output, labels, n_units))
    return tuple(found)


class _Gradients:
    """Modified gradients at the sources, summed while relevance is propagated."""

    def __init__(self, leaves: Sequence[Tensor]) -> None:
        self._leaves = leaves
        self.at: list[Tensor | None] = [None] * len(leaves)

    def hand_down(self, tensor: Tensor, gradient: Tensor) -> None:
        """Propagate from a tensor to the sources that it was computed from."""
        places = sources_of(tensor, self._leaves)
        leaves = [self._leaves[place] for place in places]
        is_leaf = any(tensor is leaf for leaf in leaves)
        found = (gradient,) if is_leaf else torch.autograd.grad(tensor, leaves, gradient, retain_graph=True)
        for place, more in zip(places, found, strict=True):
            known = self.at[place]
            self.at[place] = more if known is None else known + more

    def relevance(self) -> tuple[Tensor, ...]:
        """Return the relevance of every element of every source."""
        return tuple(
            # what is only carried along may be of integer type
            torch.zeros_like(leaf, dtype=leaf.dtype if leaf.is_floating_point() else torch.get_default_dtype())
            if gradient is None
            else leaf.detach() * gradient
            for leaf, gradient in zip(self._leaves, self.at, strict=True)
        )


def _score_layer(sources: Sequence[FeedSource], gradients: _Gradients, n_inputs: int) -> int | None:
    """Find the layer whose unit is the score, right after the score was propagated."""
    places = [place for place, gradient in enumerate(gradients.at) if gradient is not None]
    if len(places) != 1 or places[0] < n_inputs:
        return None
    gradient = gradients.at[places[0]]
    assert gradient is not None
    labels = sources[places[0]].labels.flatten()
    open_ = (gradient != 0).flatten(1)
    first = labels[open_.int().argmax(1)]
    return places[0] if bool((~open_ | (labels[None] == first[:, None])).all()) else None


def walk_back(trace: PiecewisePass, sources: tuple[FeedSource, ...], keep_positions: bool) -> Walked:
    """Propagate relevance from the score to the inputs, layer by layer, and record every layer's terms."""
    gradients, n_inputs = _Gradients([source.values for source in sources]), len(trace.inputs)
    gradients.hand_down(trace.score, torch.ones_like(trace.score))
    score_layer = _score_layer(sources, gradients, n_inputs)
    at_output = {place: sources[place].values.detach() * g for place, g in enumerate(gradients.at) if g is not None}
    steps: list[Step] = []
    for place in reversed(range(n_inputs, len(sources))):
        layer, gradient = trace.layers[place - n_inputs], gradients.at[place]
        assert gradient is not None  # the trace holds only layers that the score was computed from
        read, z = layer.read.detach(), layer.output.detach()
        gradients.hand_down(layer.read, layer.rule.modified_gradient(layer.layer, read, z, gradient))
        steps.append(_step(place, layer, gradient, sources, keep_positions))
    relevance, score = gradients.relevance(), trace.score.detach()
    check_finite(relevance[:n_inputs], score)
    return Walked(sources, n_inputs, relevance, tuple(reversed(steps)), at_output, score_layer, score)


def _step(place: int, layer: CutLayer, gradient: Tensor, sources: tuple[FeedSource, ...], keep_positions: bool) -> Step:
    read, own = layer.read.detach(), sources[place]
    terms = terms_of(layer.rule, layer.layer, read, layer.output.detach(), gradient)

    def from_source(feed: Feed) -> Messages:
        if feed.labels is None:
            source = sources[feed.source]
            return mixed_messages(layer.read, layer.layer, terms, feed, source, own.labels, own.n_units)
        return messages_from(layer.layer, feed, feed.labels, own.labels, own.n_units, keep_positions=keep_positions)

    return Step(place, read, terms, tuple(from_source(feed) for feed in feeds_of(layer.read, sources)))
