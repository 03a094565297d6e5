"""Contribution graphs of a model's decisions, one per sample."""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.attribution.lrp.choices import Choices
from lightning_explain.attribution.lrp.composites import ByLayer, Composite, Epsilon, LayerRules
from lightning_explain.attribution.result import Target, parts_of
from lightning_explain.attribution.scores import check_finite, target_tensor
from lightning_explain.batches import Inputs
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import explaining
from lightning_explain.paths.coarser import only_layers
from lightning_explain.paths.contribution_graph import ContributionGraph
from lightning_explain.paths.path_units import InputUnits, input_units
from lightning_explain.paths.propagation.cuts import run_in_cuts
from lightning_explain.paths.propagation.flow import Flow, of_sample
from lightning_explain.paths.propagation.messages import ClosedMessages, closed_messages
from lightning_explain.paths.propagation.samples import sample_rows
from lightning_explain.paths.propagation.unit_places import LayerUnits, input_places, unit_places
from lightning_explain.paths.propagation.way_back import WayBack

HELD = 1 << 20
"""Numbers of messages for which the graphs of several samples are computed at once: more do not stay in the cache."""

MOST_LAYERS = 6
"""Hidden layers kept where none are named: more columns than that cannot be read."""


def _evenly(names: Sequence[str], n_kept: int) -> list[str]:
    n_kept = min(n_kept, len(names))
    return [names[round(step * (len(names) - 1) / max(1, n_kept - 1))] for step in range(n_kept)]


def _by_default(units: Sequence[LayerUnits]) -> list[str]:
    """Keep all layers, or of many an even choice: of blocks, where most layers are in blocks of a few."""
    blocks = dict.fromkeys(each.block for each in units if each.block and each.kind != "steps")
    in_blocks = [each for each in units if each.block in blocks]
    per_block = round(len(in_blocks) / len(blocks)) if blocks else 0
    n_blocks = MOST_LAYERS // per_block if per_block else 0
    if len(units) <= MOST_LAYERS or n_blocks < 2 or n_blocks >= len(blocks) or 2 * len(in_blocks) < len(units):
        return _evenly([each.name for each in units], MOST_LAYERS)
    kept = set(_evenly(list(blocks), n_blocks))
    return _evenly([each.name for each in in_blocks if each.block in kept], MOST_LAYERS)


def _chosen(units: Sequence[LayerUnits], layers: str | Sequence[str] | None) -> list[str]:
    """Resolve names and globs; by default all layers, or of many an even choice."""
    names = [each.name for each in units]
    if layers is None:
        return _by_default(units)
    patterns = [layers] if isinstance(layers, str) else list(layers)
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise ConfigurationError(
                f"layers={pattern!r} matches no layer of units on the way to the output. Layers of units are: "
                f"{', '.join(names[:40])}. (An activation belongs to the layer before it; what only writes to a "
                "residual stream, queries, keys and values have no units.)"
            )
    return [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


@dataclass(frozen=True, eq=False)
class Contributions:
    """The contribution graphs of a batch, computed a few samples at a time: `contributions[3]`.

    A graph is computed on access, from the current weights: access it before training continues.

    Attributes:
        units: How each input falls into units.
        layers: Names of the hidden layers in the graphs, in the order in which they run.
        score: The explained output of each sample [batch].
    """

    units: tuple[InputUnits, ...]
    layers: tuple[str, ...]
    score: Tensor
    _flow: Flow
    _last: dict[int, ContributionGraph] = field(default_factory=dict[int, ContributionGraph])

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, sample: int) -> ContributionGraph:
        if not 0 <= sample < len(self):
            raise IndexError(f"sample {sample} of {len(self)}")
        n_rows = max(1, HELD // max(1, self._flow.n_numbers))
        first = sample - sample % n_rows
        if first not in self._last:
            self._last.clear()
            with torch.no_grad():
                stack = self._flow.graph(slice(first, first + n_rows))
            self._last[first] = only_layers(stack, self.layers)
        return of_sample(self._last[first], sample - first, float(self.score[sample]))


def contributions(
    model: nn.Module,
    inputs: Inputs,
    target: Target = None,
    *,
    rules: Composite | LayerRules | None = None,
    attention: str = "cp",
    gates: str = "signal",
    layers: str | Sequence[str] | None = None,
    feature_names: Sequence[str] = (),
    patch: int | None = None,
    keep_positions: bool = False,
    input_units_given: Sequence[InputUnits | None] = (),
    groups: Tensor | None = None,
    names_from: nn.Module | None = None,
) -> Contributions:
    """Compute the contribution of every unit to the explained output, and the edges along which it flows.

    An edge carries the message of layer-wise relevance propagation, the part of the output that reaches unit j from
    unit i without passing another unit of the graph: for layers that follow each other `c_ij / z_j R_j`, in general
    value times modified gradient of what unit j was given. Whatever `LRP` explains has paths. Units are features of
    tables, patches of images and tokens; channels of convolutions and neurons of linear layers; heads of attentions,
    before the output projection; states of recurrent layers, step by step. A BatchNorm belongs to the layer before
    it, an activation, pooling or dropout likewise. Residual streams carry messages through, so that links may skip
    layers: what is only added to a stream has no units, nor have queries, keys and values. Token ids are looked up by
    the model's own embeddings, and each token is a unit.

    What unit j got from its bias goes no further: the messages into a unit and what it absorbed add up to its
    relevance, and in every layer that nothing goes round, the units' contributions and what biases above absorbed add
    up to the output.

    Between linear layers and convolutions all messages have a closed form. Elsewhere the units of a layer that carry
    most (up to 12, on the mean over a group of samples) get their own, and all others one joint message for each sign:
    the graph has places for those, and its search says what paths through the others can carry at most.

    Conductance gives contributions of units, but not of edges.

    Source: Bach et al. (2015), On pixel-wise explanations, Eq. 49 and 56 to 58 (messages); Montavon et al. (2019);
    Ali et al. (2022) and Achtibat et al. (2024) for attention; Arras et al. (2019) for gates.

    Args:
        model: A module; run in eval mode and left as found.
        inputs: Tensor [batch, ...], or a tuple of them, of floating-point type, or token ids that an embedding reads.
        target: Class index, LongTensor [batch], or None where the output is one number per sample.
        rules: A composite, or a mapping from layer type, name or glob to zero, epsilon, gamma or z+ rule; by default
            epsilon (1e-6) everywhere, which on ReLU networks equals input times gradient.
        attention: As in `LRP`, but `"cp"` by default: weights of an attention are constants, so that nothing is lost on
            the way, and messages between tokens are those of the values.
        gates: As in `LRP`.
        layers: Names or globs of the layers kept; by default all, or six of more, of networks in blocks those of a few
            blocks.
        feature_names: Names of the features of tabular inputs.
        patch: Side of an image's patches in pixels; by default about seven patches along the longer side.
        keep_positions: Whether each position of a channel is a unit of its own.
        input_units_given: Units of inputs whose shape does not tell them (entities of a set), or None, by input.
        groups: A number for each sample [batch]: those of a group have places for the same units, so that their graphs
            have a mean. By default all samples are one group.
        names_from: The module after whose layers the graph's are named, if `model` only wraps it.

    Cost: one forward and one backward pass, and about as much again for messages in closed form; where there is none,
    one backward pass through what lies between for each unit with a place; one more where operations move samples.

    Raises:
        ConfigurationError: A layer or operation that `LRP` has no rule for, named; rules or layers that do not fit.
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
    composite: Any = Epsilon() if rules is None else ByLayer(rules) if isinstance(rules, Mapping) else rules
    units = input_units(given, feature_names=feature_names, patch=patch, given=input_units_given)
    with explaining(model):
        indices = target_tensor(target, len(given[0]), given[0].device)
        run = run_in_cuts(model, given, indices, composite, Choices(attention, gates), names_from=names_from or model)
        way = WayBack(run)
        gradients = way.from_score(torch.ones_like(run.score))
        leaves = [way.cuts[place].leaf.detach() * gradient for place, gradient in gradients.items()]
        check_finite(tuple(leaves), run.score.detach(), given)
        rows = sample_rows(way, gradients)
        names = ["input"] if len(units) == 1 else [f"input {place}" for place in range(len(units))]
        sources = input_places(way, units, names)
        hidden = unit_places(way, gradients, rows, keep_positions=keep_positions)
        kept = _chosen(hidden, layers) if hidden else []
        used, closed = _cut_at(way, sources, hidden, set(kept), gradients)
        numbers = (
            torch.zeros(len(run.score), dtype=torch.long) if groups is None else groups.unique(return_inverse=True)[1]
        )
        flow = Flow(way, used, len(sources), gradients, closed, numbers.to(run.score.device))
    return Contributions(units, tuple(kept), run.score.detach(), flow)


def _cut_at(
    way: WayBack,
    inputs: Sequence[LayerUnits],
    hidden: Sequence[LayerUnits],
    kept: set[str],
    gradients: Mapping[int, Tensor],
) -> tuple[list[LayerUnits], dict[str, ClosedMessages]]:
    """Choose the layers at which messages end: those kept, and all others whose messages have a closed form.

    The latter cost little, and the flow through them is exact for every unit; they are taken out of the graph later.
    """
    used, closed = list(inputs), dict[str, ClosedMessages]()
    sources = {place: units for units in inputs for place in units.places}
    for units in hidden:
        (place,) = units.places
        messages = closed_messages(way, place, units, gradients[place], sources)
        if messages is not None:
            closed[units.name] = messages
        if messages is not None or units.name in kept:
            used.append(units)
            sources[place] = units
    return used, closed
