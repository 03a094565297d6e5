"""Both ends of a path: the gradient at the baseline, and the scores at baseline and input."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from lightning_explain.attribution.integrated_gradients.passes import Block, in_passes, ran_out_of_memory
from lightning_explain.attribution.integrated_gradients.path import (
    Parts,
    StraightPath,
    assembled,
    path_points,
    times_way,
    weighted_gradients,
)
from lightning_explain.attribution.scores import explained_score

WIDEST_HAIR = 2**-8
"""Longest share of a path that is taken for a hair, however coarse the numbers are."""

LEAST_ROUNDING = 2**-15
"""What rounding may be, as a share of what a hair changes. Values that are all but equal beside the baseline (the
windows of max pooling over a blank picture) are told apart by rounding alone where a hair is shorter: of 960
explanations of convnets whose weights were changed by their last bit, 30 changed with a hair of 2**-11.5, 8 with 2**-9,
5 with 2**-8, and as many with longer ones, as some kinks lie at other points."""

SAME_GRADIENT = 0.01
"""Gradients on opposite sides of a baseline that differ by no more than this share are one: what a kink as small as
that takes away is far below any tolerance, as the first node stands for an eighth of the path."""


def at_baseline(path: StraightPath) -> tuple[Tensor, Tensor]:
    """Differentiate at the start of the path, in the direction of the path, and score the baselines themselves.

    Where a kink lies at the baseline (ReLU without bias at zero, max pooling over equal pixels), the gradient there is
    none of those on the path. So it is taken a hair beside it on each sample's own path; or, where all samples share
    the baseline, so that it costs less, and gradients on opposite sides of it agree, their mean, once per target.

    Returns:
        Gradient times way, floating-point parts side by side [batch, features]; and the scores at the baselines
        [batch].

    Cost: a gradient evaluation and a forward pass per sample; with a shared baseline one forward pass, and for two
    samples or more of each target two gradient evaluations per target, and one per sample only where there is a kink.
    """
    gradients = _smooth_start(path) if path.shares_baseline else None
    if gradients is None:
        sums, _ = weighted_gradients(path, torch.tensor([hair(path)], dtype=torch.float64), torch.ones(1, 1))
        gradients = tuple(total[0] for total in sums)
    with torch.no_grad():
        return times_way(path, gradients), start_scores(path)


def hair(path: StraightPath) -> float:
    """Return a share of the path that no kink is expected within, and that rounding leaves visible.

    Example:
        >>> one = torch.ones(1, 1)
        >>> [hair(StraightPath(torch.sum, (x,), (0 * x,), None)) for x in (one.double(), one)] == [2**-26, 2**-8]
        True
    """
    rounding = _rounding(path)
    return min(max(rounding**0.5, rounding / LEAST_ROUNDING), WIDEST_HAIR)


def _rounding(path: StraightPath) -> float:
    return max(torch.finfo(x.dtype).eps for x in path.inputs if x.is_floating_point())


def _smooth_start(path: StraightPath) -> Parts | None:
    """Differentiate on two opposite sides of a baseline that all samples share; None where the gradients differ.

    None also where this would take more gradients than one for each sample.
    The direction is a mixture of all paths, so that whatever changes along any of them changes along it.
    """
    representatives, member = _by_target(path)
    if 2 * len(representatives) > len(path):
        return None
    n, beside = len(representatives), min(_rounding(path) ** 0.5, WIDEST_HAIR)
    sides = torch.tensor([1.0, -1.0], device=path.device).repeat_interleave(n)
    mixture = torch.randn(len(path), generator=torch.Generator().manual_seed(0)).to(path.device)
    directions = tuple(torch.tensordot(mixture.to(step), step, dims=1) for step in path.displacement())
    around = replace(
        path.of(representatives.repeat(2)),
        inputs=tuple(
            b + sides.to(b).reshape(-1, *(1,) * (b.ndim - 1)) * step / len(path) ** 0.5
            for b, step in zip(path.baselines, directions, strict=True)
        ),
        ends=None,
    )
    try:
        sums, _ = weighted_gradients(around, torch.tensor([beside], dtype=torch.float64), torch.ones(1, 1))
    except Exception as problem:  # a model may refuse what no path leads to
        if ran_out_of_memory(problem):
            raise
        return None
    reach = tuple(step.abs().amax(0) for step in path.displacement())
    pairs = [total[0].unflatten(0, (2, n)) for total in sums]
    apart, size = (
        sum((way * part).flatten(1).abs().sum(1) for way, part in zip(reach, parts, strict=True))
        for parts in ([one - other for one, other in pairs], [one.abs() + other.abs() for one, other in pairs])
    )
    # NaN counts as different
    agree = apart <= SAME_GRADIENT * size
    return tuple(pair.mean(0)[member] for pair in pairs) if bool(torch.as_tensor(agree).all()) else None


def _by_target(path: StraightPath) -> tuple[Tensor, Tensor]:
    """Return one sample of each target, and which of them every sample belongs to [batch]."""
    if path.target is None:
        return torch.zeros(1, dtype=torch.long), torch.zeros(len(path), dtype=torch.long)
    targets, member = path.target.unique(return_inverse=True)
    return torch.stack([(path.target == t).nonzero()[0, 0] for t in targets]), member


def end_scores(path: StraightPath) -> Tensor:
    """Return F(x) - F(baseline) per sample [batch], without gradients; a shared baseline is run once."""
    with torch.no_grad():
        return _forward(path, lambda part: path.block(part).inputs) - start_scores(path)


def start_scores(path: StraightPath) -> Tensor:
    """Return F(baseline) per sample [batch]; a shared baseline is run once. Call it under `no_grad`."""
    if path.shares_baseline:
        output = path.forward(*path.baselines)
        return explained_score(output.expand(len(path), *output.shape[1:]), path.target)
    return _forward(path, lambda part: path_points(path.block(part), torch.zeros(1), leaves=False)[0])


def _forward(path: StraightPath, points: Callable[[range], Parts]) -> Tensor:
    """Return the explained score of every sample at its point."""
    scores: dict[tuple[int, int], Tensor] = {}

    def run(block: Block) -> None:
        target = path.block(block.samples).target
        scores[0, block.samples.start] = explained_score(path.forward(*points(block.samples)), target)[None]

    in_passes(1, len(path), limit=path.limit, device=path.device, run=run)
    return assembled(scores, (1, len(path)))[0]
