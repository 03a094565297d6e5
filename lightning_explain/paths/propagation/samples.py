"""The sample that each row of a tensor inside a network belongs to: proven by shapes, or found from gradients."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_explain.attribution.autograd_graph import Node, inputs_of, operation_of
from lightning_explain.attribution.lrp.steps import OWN
from lightning_explain.errors import ConfigurationError
from lightning_explain.paths.propagation.cuts import Begin
from lightning_explain.paths.propagation.way_back import LEAF, SCORE, WayBack

IN_PLACE = frozenset({
    LEAF, "Add", "Sub", "Mul", "Div", "Neg", "Abs", "Clone", "Relu", "LeakyRelu", "MaxPool2DWithIndices", "AvgPool2D",
    "AdaptiveAvgPool2D", "MaxPool3DWithIndices", "AvgPool3D", "NativeDropout", "View", "UnsafeView", "Squeeze",
    "Unsqueeze", "ReshapeAlias", "Mean", "Alias",
})  # fmt: skip
"""Operations that keep the order of the samples."""

PURE, SLACK = 0.999, 0.1
"""Share of the gradient that must come from one sample's score in each row, and most that a ratio may be off."""

PURE_16_BITS, SLACK_16_BITS = 0.8, 0.45
"""The same where a value has 16 bits: gradients that nearly cancel are coarse then."""


@dataclass(frozen=True, eq=False)
class SampleRows:
    """The place of the samples in a tensor.

    Attributes:
        dim: The dimension that counts samples, alone or merged with windows, steps, heads.
        owner: The sample of each of its rows; -1 for rows without relevance.
    """

    dim: int
    owner: Tensor


def sample_rows(way: WayBack, gradients: Mapping[int, Tensor]) -> dict[int, SampleRows]:
    """Find the dimension of the samples in the value of each place.

    If all operations keep the order of the samples, they are in the first dimension, as long as no other could hold
    them. Otherwise a second walk begins with a number of its own for each sample, and the ratio of both gradients says
    whose score an element has to do with.

    Args:
        way: The way back.
        gradients: At each place, from a gradient of 1 for every score.

    Raises:
        ConfigurationError: Samples depend on each other, or are in no dimension.

    Cost: nothing, or one backward pass.
    """
    n_samples = len(way.score)
    first = torch.arange(n_samples, device=way.score.device)
    if n_samples == 1:
        return {place: SampleRows(0, first.new_zeros(way.cuts[place].leaf.shape[0])) for place in gradients}
    in_order = _keep_order(way)
    unclear = [
        place
        for place in gradients
        if way.cuts[place].kind != "input" and not (in_order and _is_first(way.cuts[place].leaf.shape, n_samples))
    ]
    found = {place: SampleRows(0, first) for place in gradients}
    if unclear:
        numbered = way.from_score((first + 1).to(way.score))
        found |= {place: _by_gradient(way, place, gradients[place], numbered[place], n_samples) for place in unclear}
    return found


def _is_first(shape: torch.Size, n_samples: int) -> bool:
    return shape[0] == n_samples and not any(size % n_samples == 0 for size in shape[1:])


def _keep_order(way: WayBack) -> bool:
    """Return True if every operation keeps the order of the samples; those that pick the score do."""
    began = way.began_score
    return all(
        operation_of(node) in IN_PLACE
        or _is_global_pooling(node)
        or getattr(node, "_forward_cls", None) in {*OWN, Begin}
        or (place == SCORE and node._sequence_nr() >= began)
        for place, nodes in way.pieces.items()
        for node in nodes
    )


def _is_global_pooling(node: Node) -> bool:
    """Return True for the second step of a global pooling of images laid out channels last, which is a mean."""
    return operation_of(node) == "AsStrided" and [operation_of(parent) for parent in inputs_of(node)] == ["Mean"]


def _by_gradient(way: WayBack, place: int, gradient: Tensor, numbered: Tensor, n_samples: int) -> SampleRows:
    """Assign each row to the sample whose score it has to do with.

    Raises:
        ConfigurationError: In no dimension each row has to do with one sample.
    """
    gradient, numbered = gradient.float(), numbered.float()
    size = gradient.abs()
    ratio = torch.where(size > 0, numbered / gradient, 0.0)
    owner = ratio.round().long() - 1
    is_coarse = any(cut.leaf.dtype in (torch.float16, torch.bfloat16) for cut in way.cuts)
    pure, slack = (PURE_16_BITS, SLACK_16_BITS) if is_coarse else (PURE, SLACK)
    is_one = (size > 0) & ((ratio - ratio.round()).abs() < slack) & (owner >= 0) & (owner < n_samples)
    key = torch.where(is_one, owner, n_samples)
    for dim in range(gradient.ndim):
        n_rows = gradient.shape[dim]
        votes = size.new_zeros(n_rows * (n_samples + 1)).index_add_(
            0,
            (torch.arange(n_rows, device=key.device)[:, None] * (n_samples + 1) + key.movedim(dim, 0).flatten(1))
            .flatten(),
            size.movedim(dim, 0).flatten(),
        ).reshape(n_rows, n_samples + 1)  # fmt: skip
        strongest, whose = votes[:, :-1].max(1)
        if float(strongest.sum()) >= pure * float(votes.sum()):
            owner = torch.where(strongest > 0, whose, -1)
            first = torch.arange(n_rows, device=owner.device)
            # samples without relevance are where all others say that they are
            is_in_order = n_rows == n_samples and bool(((owner == first) | (owner < 0)).all())
            return SampleRows(dim, first if is_in_order else owner)
    cut = way.cuts[place]
    raise ConfigurationError(
        f"Decision paths cannot tell the samples apart in {cut.name!r} (value {list(cut.leaf.shape)}): the scores of "
        f"several of the {n_samples} samples depend on the same rows of it. Each sample must be computed for itself."
    )
