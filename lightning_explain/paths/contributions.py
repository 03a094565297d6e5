"""From a model and inputs to the contribution graph of every sample."""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.attribution.lrp_composites import ByLayer, Composite, Epsilon, LayerRules
from lightning_explain.attribution.result import Target, parts_of
from lightning_explain.attribution.scores import check_differentiable, check_finite, target_tensor
from lightning_explain.batches import Inputs
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import explaining
from lightning_explain.paths.feeds import Feed, Source, feeds_of
from lightning_explain.paths.graph import OUTPUT, ContributionGraph, flowing, only_layers
from lightning_explain.paths.messages import Messages, Term, message_matrix, messages_from, mixed_messages, terms_of
from lightning_explain.paths.trace import CutLayer, Trace, run_in_pieces, sources_of
from lightning_explain.paths.units import InputUnits, input_units, neuron_labels

MOST_LAYERS = 6
"""Hidden layers kept where none are named: more columns than that cannot be read."""

MOST_UNITS = 8192
"""Most units of one layer with positions kept: their messages are worked out one by one."""


@dataclass(frozen=True, eq=False)
class _Step:
    """A layer with everything needed to say, for one sample, what came from where."""

    place: int
    read: Tensor
    terms: tuple[Term, ...]
    messages: tuple[Messages, ...]


@dataclass(frozen=True, eq=False)
class _Walked:
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

    sources: tuple[Source, ...]
    n_inputs: int
    relevance: tuple[Tensor, ...]
    steps: tuple[_Step, ...]
    at_output: dict[int, Tensor]
    score_layer: int | None
    score: Tensor


def _sources(trace: Trace, units: Sequence[InputUnits], keep_positions: bool) -> tuple[Source, ...]:
    names = ["input"] if len(units) == 1 else [f"input {place}" for place in range(len(units))]
    found = [
        Source(name, values, unit.labels.to(values.device), len(unit.names))
        for name, values, unit in zip(names, trace.inputs, units, strict=True)
    ]
    for layer in trace.layers:
        shape = layer.output.shape[1:]
        labels = neuron_labels(shape, layer.unit_dim, keep_positions=keep_positions).to(layer.output.device)
        n_units = int(labels.max()) + 1
        if keep_positions and n_units > MOST_UNITS:
            raise ConfigurationError(
                f"Layer {layer.name!r} has {n_units:,} units with positions kept; at most {MOST_UNITS:,} can be worked "
                "out. Give keep_positions=False, so that each channel is one unit."
            )
        found.append(Source(layer.name, layer.output, labels, n_units))
    return tuple(found)


class _Gradients:
    """Modified gradients at the sources, added up while relevance is handed down."""

    def __init__(self, leaves: Sequence[Tensor]) -> None:
        self._leaves = leaves
        self.at: list[Tensor | None] = [None] * len(leaves)

    def hand_down(self, tensor: Tensor, gradient: Tensor) -> None:
        """Go back from a tensor to the sources that it was computed from."""
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
            torch.zeros_like(leaf) if gradient is None else leaf.detach() * gradient
            for leaf, gradient in zip(self._leaves, self.at, strict=True)
        )


def _score_layer(sources: Sequence[Source], gradients: _Gradients, n_inputs: int) -> int | None:
    """Find the layer of which one unit is the score, right after the score was handed down."""
    places = [place for place, gradient in enumerate(gradients.at) if gradient is not None]
    if len(places) != 1 or places[0] < n_inputs:
        return None
    gradient = gradients.at[places[0]]
    assert gradient is not None
    labels = sources[places[0]].labels.flatten()
    open_ = (gradient != 0).flatten(1)
    first = labels[open_.int().argmax(1)]
    return places[0] if bool((~open_ | (labels[None] == first[:, None])).all()) else None


def _walk_back(trace: Trace, sources: tuple[Source, ...], keep_positions: bool) -> _Walked:
    """Propagate relevance from the score to the inputs, layer by layer, and note every layer's terms."""
    gradients, n_inputs = _Gradients([source.values for source in sources]), len(trace.inputs)
    gradients.hand_down(trace.score, torch.ones_like(trace.score))
    score_layer = _score_layer(sources, gradients, n_inputs)
    at_output = {place: sources[place].values.detach() * g for place, g in enumerate(gradients.at) if g is not None}
    steps: list[_Step] = []
    for place in reversed(range(n_inputs, len(sources))):
        layer, gradient = trace.layers[place - n_inputs], gradients.at[place]
        assert gradient is not None  # the trace holds only layers that the score was computed from
        read, z = layer.read.detach(), layer.output.detach()
        gradients.hand_down(layer.read, layer.rule.modified_gradient(layer.layer, read, z, gradient))
        steps.append(_step(place, layer, gradient, sources, keep_positions))
    relevance, score = gradients.relevance(), trace.score.detach()
    check_finite(relevance[:n_inputs], score)
    return _Walked(sources, n_inputs, relevance, tuple(reversed(steps)), at_output, score_layer, score)


def _step(place: int, layer: CutLayer, gradient: Tensor, sources: tuple[Source, ...], keep_positions: bool) -> _Step:
    read, own = layer.read.detach(), sources[place]
    terms = terms_of(layer.rule, layer.layer, read, layer.output.detach(), gradient)

    def from_source(feed: Feed) -> Messages:
        if feed.labels is None:
            source = sources[feed.source]
            return mixed_messages(layer.read, layer.layer, terms, feed, source, own.labels, own.n_units)
        return messages_from(layer.layer, feed, feed.labels, own.labels, own.n_units, keep_positions=keep_positions)

    return _Step(place, read, terms, tuple(from_source(feed) for feed in feeds_of(layer.read, sources)))


def _matrices(walked: _Walked, sample: int) -> dict[tuple[int, int], Tensor]:
    """Return one sample's messages by (source, layer); the output has the place after the last layer."""
    output = len(walked.sources)
    found: dict[tuple[int, int], Tensor] = {}
    for step in walked.steps:
        for messages in step.messages:
            matrix = message_matrix(messages, step.terms, step.read, sample)
            if step.place == walked.score_layer:
                # only the explained unit sends anything: it is the output itself
                found[messages.feed.source, output] = matrix.sum(0, keepdim=True)
            else:
                found[messages.feed.source, step.place] = matrix
    if walked.score_layer is None:
        for place, values in walked.at_output.items():
            found[place, output] = _by_unit(values[sample], walked.sources[place])[None]
    return found


def _by_unit(values: Tensor, source: Source) -> Tensor:
    """Add up one sample's relevance by unit."""
    return values.new_zeros(source.n_units).index_add_(0, source.labels.flatten(), values.flatten())


def _graph_of(walked: _Walked, sample: int) -> ContributionGraph:
    """Put together one sample's graph; layers without influence on the score are left out."""
    hidden = [step.place for step in walked.steps if step.place != walked.score_layer]
    used = [*range(walked.n_inputs), *hidden, len(walked.sources)]
    number = {place: index for index, place in enumerate(used)}
    contributions = [_by_unit(walked.relevance[place][sample], walked.sources[place]) for place in used[:-1]]
    score = walked.score[sample]
    return flowing(
        [*(walked.sources[place].name for place in used[:-1]), OUTPUT],
        [values.cpu().numpy() for values in (*contributions, score[None])],
        {
            (number[source], number[target]): matrix.cpu().numpy()
            for (source, target), matrix in _matrices(walked, sample).items()
        },
        float(score),
    )


def _chosen(names: Sequence[str], layers: str | Sequence[str] | None) -> list[str]:
    """Resolve names and globs; by default all layers, or of many an even choice."""
    if layers is None:
        n_kept = min(MOST_LAYERS, len(names))
        return [names[round(step * (len(names) - 1) / max(1, n_kept - 1))] for step in range(n_kept)]
    patterns = [layers] if isinstance(layers, str) else list(layers)
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise ConfigurationError(
                f"layers={pattern!r} matches no layer on the way to the output. Linear layers and convolutions are: "
                f"{', '.join(names[:40])}. (An activation belongs to the layer before it.)"
            )
    return [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


@dataclass(frozen=True, eq=False)
class Contributions:
    """The contribution graphs of a batch, worked out one sample at a time: `contributions[3]`.

    A graph is worked out when it is asked for, from the weights as they are then: ask before training goes on.

    Attributes:
        units: How each input falls into units.
        layers: Names of the hidden layers in the graphs, in the order in which they run.
        score: The explained output of each sample [batch].
    """

    units: tuple[InputUnits, ...]
    layers: tuple[str, ...]
    score: Tensor
    _walked: _Walked

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, sample: int) -> ContributionGraph:
        if not 0 <= sample < len(self):
            raise IndexError(f"sample {sample} of {len(self)}")
        with torch.no_grad():
            return only_layers(_graph_of(self._walked, sample), self.layers)


def contributions(
    model: nn.Module,
    inputs: Inputs,
    target: Target = None,
    *,
    rules: Composite | LayerRules | None = None,
    layers: str | Sequence[str] | None = None,
    feature_names: Sequence[str] = (),
    patch: int | None = None,
    keep_positions: bool = False,
    names_from: nn.Module | None = None,
) -> Contributions:
    """Work out how much every unit contributes to the explained output, and along which edges.

    An edge carries the message of layer-wise relevance propagation, `c_ij / z_j R_j`, which says how much of the
    output that unit j is responsible for came to it from unit i. Units are neurons of linear layers, channels of
    convolutions, features of tables and patches of images. A BatchNorm belongs to the layer before it, an activation,
    pooling or dropout likewise. What unit j got from its bias goes no further: in every layer, the units' contributions
    and what biases above absorbed add up to the output. With residual connections that holds of a cut through all
    branches, not of one layer.

    Conductance says what a unit contributes, but not which part of it went where, so it makes no edges.

    Source: Bach et al. (2015), On pixel-wise explanations, Eq. 49 and 56 to 58 (messages); Montavon et al. (2019).

    Args:
        model: A module; run in eval mode and left as found.
        inputs: Tensor [batch, ...], or a tuple of them, of floating-point type.
        target: Class index, LongTensor [batch], or None where the output is one number per sample.
        rules: A composite, or a mapping from layer type, name or glob to zero, epsilon, gamma or z+ rule; by default
            epsilon (1e-6) everywhere, with which contributions are those of input times gradient.
        layers: Names or globs of the linear layers and convolutions kept; by default all, or six of more.
        feature_names: Names of the features of tabular inputs.
        patch: Side of an image's patches in pixels; by default about seven patches along the longer side.
        keep_positions: Whether each position of a channel is a unit of its own.
        names_from: The module after whose layers the graph's are named, if `model` only wraps it.

    Cost: one forward and one backward pass, about four more through what lies between the layers, and for each sample
    one gradient of every layer's weights.

    Raises:
        ConfigurationError: A layer or operation that contributions cannot pass (softmax, attention, recurrent layers,
            products of activations, ...), named; rules or layers that do not fit.
        ExplanationError: NaN or infinite scores, or an output that does not depend on the inputs.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
        >>> for parameter in net.parameters():
        ...     _ = parameter.data.fill_(2.0)
        >>> graph = contributions(net, torch.tensor([[1.0, 3.0]]))[0]
        >>> graph.output, [layer.contribution.round().tolist() for layer in graph.layers]
        (32.0, [[8.0, 24.0], [16.0, 16.0], [32.0]])
    """
    given = parts_of(inputs)
    check_differentiable(given)
    composite: Any = Epsilon() if rules is None else ByLayer(rules) if isinstance(rules, Mapping) else rules
    units = input_units(given, feature_names=feature_names, patch=patch)
    with explaining(model):
        indices = target_tensor(target, len(given[0]), given[0].device)
        trace = run_in_pieces(model, given, indices, composite, names_from=names_from or model)
        walked = _walk_back(trace, _sources(trace, units, keep_positions), keep_positions)
    names = [walked.sources[step.place].name for step in walked.steps if step.place != walked.score_layer]
    return Contributions(units, tuple(_chosen(names, layers)) if names else (), walked.score, walked)
