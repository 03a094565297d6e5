"""Contribution graphs of a model's decisions, one per sample."""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.attribution.lrp.composites import ByLayer, Composite, Epsilon, LayerRules
from lightning_explain.attribution.result import Target, parts_of
from lightning_explain.attribution.scores import check_differentiable, target_tensor
from lightning_explain.batches import Inputs
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import explaining
from lightning_explain.paths.contribution_graph import OUTPUT, ContributionGraph, Numbers, flowing, only_layers
from lightning_explain.paths.feeds import FeedSource
from lightning_explain.paths.messages import message_matrix
from lightning_explain.paths.model_pieces import run_in_pieces
from lightning_explain.paths.path_units import InputUnits, input_units
from lightning_explain.paths.walk import Walked, all_sources, walk_back

MOST_LAYERS = 6
"""Hidden layers kept where none are named: more columns than that cannot be read."""


def _matrices(walked: Walked, sample: int) -> dict[tuple[int, int], Tensor]:
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


def _by_unit(values: Tensor, source: FeedSource) -> Tensor:
    """Sum one sample's relevance by unit."""
    return values.new_zeros(source.n_units).index_add_(0, source.labels.flatten(), values.flatten())


def _figures(values: Tensor) -> Numbers:
    # numpy has no bfloat16; half precision is added up in 32 bits from here on
    values = values.cpu()
    return (values.float() if values.dtype in (torch.float16, torch.bfloat16) else values).numpy()


def _graph_of(walked: Walked, sample: int) -> ContributionGraph:
    """Build one sample's graph; layers without influence on the score are left out."""
    hidden = [step.place for step in walked.steps if step.place != walked.score_layer]
    used = [*range(walked.n_inputs), *hidden, len(walked.sources)]
    number = {place: index for index, place in enumerate(used)}
    contributions = [_by_unit(walked.relevance[place][sample], walked.sources[place]) for place in used[:-1]]
    score = walked.score[sample]
    return flowing(
        [*(walked.sources[place].name for place in used[:-1]), OUTPUT],
        [_figures(values) for values in (*contributions, score[None])],
        {
            (number[source], number[target]): _figures(matrix)
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
    """The contribution graphs of a batch, computed one sample at a time: `contributions[3]`.

    A graph is computed on access, from the current weights: access it before training continues.

    Attributes:
        units: How each input falls into units.
        layers: Names of the hidden layers in the graphs, in the order in which they run.
        score: The explained output of each sample [batch].
    """

    units: tuple[InputUnits, ...]
    layers: tuple[str, ...]
    score: Tensor
    _walked: Walked

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
    input_units_given: Sequence[InputUnits | None] = (),
    names_from: nn.Module | None = None,
) -> Contributions:
    """Compute the contribution of every unit to the explained output, and the edges along which it flows.

    An edge carries the message of layer-wise relevance propagation, `c_ij / z_j R_j`, the part of the
    output that reaches unit j from unit i. Units are neurons of linear layers, channels of
    convolutions, features of tables and patches of images. A BatchNorm belongs to the layer before it, an activation,
    pooling or dropout likewise; the statistics of other normalisations count as constants, and of a product with a gate
    the signal gets everything. What unit j got from its bias goes no further: in every layer, the units' contributions
    and what biases above absorbed add up to the output. With residual connections that holds of a cut through all
    branches, not of one layer.

    Conductance gives contributions of units, but not of edges.

    Source: Bach et al. (2015), On pixel-wise explanations, Eq. 49 and 56 to 58 (messages); Montavon et al. (2019).

    Args:
        model: A module; run in eval mode and left as found.
        inputs: Tensor [batch, ...], or a tuple of them, of floating-point type.
        target: Class index, LongTensor [batch], or None where the output is one number per sample.
        rules: A composite, or a mapping from layer type, name or glob to zero, epsilon, gamma or z+ rule; by default
            epsilon (1e-6) everywhere, which on ReLU networks equals input times gradient.
        layers: Names or globs of the linear layers and convolutions kept; by default all, or six of more.
        feature_names: Names of the features of tabular inputs.
        patch: Side of an image's patches in pixels; by default about seven patches along the longer side.
        keep_positions: Whether each position of a channel is a unit of its own.
        input_units_given: Units of inputs whose shape does not tell them (entities of a set), or None, by input.
        names_from: The module after whose layers the graph's are named, if `model` only wraps it.

    Cost: one forward and one backward pass, about four more through what lies between the layers, and for each sample
    one gradient of every layer's weights.

    Raises:
        ConfigurationError: A layer or operation that contributions cannot pass (softmax, attention, recurrent layers,
            ...), named; rules or layers that do not fit.
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
    units = input_units(given, feature_names=feature_names, patch=patch, given=input_units_given)
    with explaining(model):
        indices = target_tensor(target, len(given[0]), given[0].device)
        trace = run_in_pieces(model, given, indices, composite, names_from=names_from or model)
        walked = walk_back(trace, all_sources(trace, units, keep_positions), keep_positions)
    names = [walked.sources[step.place].name for step in walked.steps if step.place != walked.score_layer]
    return Contributions(units, tuple(_chosen(names, layers)) if names else (), walked.score, walked)
