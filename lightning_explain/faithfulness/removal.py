"""Deletion and insertion curves: the score while features are removed, or added, in the order of their attribution."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_explain.attribution.baselines import Baseline, resolve_baseline
from lightning_explain.attribution.result import Attribution, Forward, Target
from lightning_explain.attribution.scores import check_counts, check_finite, explained_score, target_tensor
from lightning_explain.errors import ConfigurationError
from lightning_explain.faithfulness.masks import values_of
from lightning_explain.isolation import explaining

Scale = Literal["probability", "output"]


@dataclass(frozen=True)
class RemovalCurve:
    """Scores while features are replaced.

    Attributes:
        shares: Share of the features that have been deleted or inserted, rising from 0 to 1: [n_steps + 1].
        scores: Explained score at each of them: [batch, n_steps + 1].
        auc: Area under the scores by the trapezoid rule: [batch].
    """

    shares: Tensor
    scores: Tensor
    auc: Tensor


def deletion(
    model: Forward,
    inputs: Tensor,
    target: Target,
    attribution: Attribution | Tensor,
    *,
    baseline: Baseline = "zeros",
    n_steps: int = 20,
    scale: Scale = "probability",
    chunk_size: int | None = None,
) -> RemovalCurve:
    """Replace features by the baseline, the highest attribution first. Low `auc`: the explanation is faithful.

    The pixels of images [batch, channels, height, width] go with all their channels, ranked by the sum over them;
    other inputs go feature by feature. Equal attributions go in the order of their position.

    Source: Petsiuk, Das, Saenko (2018), RISE, the deletion metric and its algorithm.

    Args:
        model: A module (run in eval mode and left as found) or a callable from inputs to scores.
        inputs: What was explained [batch, ...].
        target: What was explained: class index, LongTensor [batch], or None.
        attribution: The explanation, or its values, of the shape of the inputs or broadcasting to it
            ([batch, 1, height, width] for images).
        baseline: What a deleted feature becomes; as for `IntegratedGradients`.
        n_steps: Equal portions in which features are exchanged.
        scale: "probability": softmax over the outputs, sigmoid of a single one (as in the source); "output": as the
            model gives it.
        chunk_size: Most samples in one pass; by default all.

    Cost: `n_steps + 1` forward passes.

    Raises:
        ConfigurationError: Shapes, target, baseline or scale do not fit.
        ExplanationError: A score is NaN or infinite.

    Example:
        >>> curve = deletion(lambda x: x, torch.tensor([[3.0, 1.0]]), 0, torch.tensor([[3.0, 0.0]]),
        ...                  n_steps=2, scale="output")
        >>> curve.scores, curve.auc
        (tensor([[3., 0., 0.]]), tensor([0.7500]))
    """
    walk = _Walk.of(inputs, attribution, n_steps=n_steps, scale=scale, chunk_size=chunk_size)
    return walk.curve(model, target, baseline, lambda explained, base, gone: torch.where(gone, base, explained))


def insertion(
    model: Forward,
    inputs: Tensor,
    target: Target,
    attribution: Attribution | Tensor,
    *,
    baseline: Baseline = "zeros",
    n_steps: int = 20,
    scale: Scale = "probability",
    chunk_size: int | None = None,
) -> RemovalCurve:
    """Start from the baseline and add features, the highest attribution first. High `auc`: the explanation is faithful.

    The source starts from a blurred image (`baseline="blur"`). Arguments, order, cost and errors are those of
    `deletion`.

    Source: Petsiuk, Das, Saenko (2018), RISE, the insertion metric.

    Example:
        >>> curve = insertion(lambda x: x, torch.tensor([[3.0, 1.0]]), 0, torch.tensor([[3.0, 0.0]]),
        ...                   n_steps=2, scale="output")
        >>> curve.scores
        tensor([[0., 3., 3.]])
    """
    walk = _Walk.of(inputs, attribution, n_steps=n_steps, scale=scale, chunk_size=chunk_size)
    return walk.curve(model, target, baseline, lambda explained, base, back: torch.where(back, explained, base))


@dataclass(frozen=True)
class _Walk:
    """The order in which features are replaced, and their replacements."""

    inputs: Tensor
    rank: Tensor
    n_steps: int
    scale: Scale
    rows: int

    @classmethod
    def of(
        cls,
        inputs: Tensor,
        attribution: Attribution | Tensor,
        *,
        n_steps: int,
        scale: Scale,
        chunk_size: int | None,
    ) -> "_Walk":
        check_counts(n_steps=n_steps, chunk_size=chunk_size)
        if scale not in ("probability", "output"):
            raise ConfigurationError(f"scale={scale!r}; expected 'probability' or 'output'.")
        explained = inputs.detach().clone()
        rank = _rank(values_of(attribution), explained)
        return cls(explained, rank, n_steps, scale, chunk_size or len(inputs))

    def curve(
        self,
        model: Forward,
        target: Target,
        baseline: Baseline,
        exchanged: Callable[[Tensor, Tensor, Tensor], Tensor],
    ) -> RemovalCurve:
        shares = torch.arange(self.n_steps + 1) / self.n_steps
        n_features = self.rank[0].numel()
        with explaining(model), torch.no_grad():
            indices = target_tensor(target, len(self.inputs), self.inputs.device)
            base = resolve_baseline(baseline, (self.inputs,))[0]
            steps = [
                self._scores(
                    model, exchanged(self.inputs, base, self.rank < round(k * n_features / self.n_steps)), indices
                )
                for k in range(self.n_steps + 1)
            ]
        scores = torch.stack(steps, dim=1)
        check_finite((), scores.sum(1))
        shares = shares.to(device=scores.device, dtype=scores.dtype)
        return RemovalCurve(shares, scores, torch.trapezoid(scores, shares, dim=1))

    def _scores(self, model: Any, points: Tensor, target: Tensor | None) -> Tensor:
        found: list[Tensor] = []
        for first in range(0, len(points), self.rows):
            chunk = slice(first, first + self.rows)
            here = None if target is None else target[chunk]
            output = model(points[chunk])
            found.append(explained_score(output, here) if self.scale == "output" else _probability(output, here))
        return torch.cat(found)


def _probability(output: Any, target: Tensor | None) -> Tensor:
    several = isinstance(output, Tensor) and output.ndim == 2 and output.shape[1] > 1
    return explained_score(output.softmax(1), target) if several else explained_score(output, target).sigmoid()


def _rank(values: Tensor, inputs: Tensor) -> Tensor:
    """Return the rank of every feature, 0 for the highest attribution: broadcasts to the inputs."""
    wide = inputs if inputs.ndim > 1 else inputs[:, None]
    fits = values.ndim == wide.ndim and all(v in (1, x) for v, x in zip(values.shape[1:], wide.shape[1:], strict=True))
    if not fits or len(values) != len(inputs):
        raise ConfigurationError(
            f"The attribution has shape {list(values.shape)}, the inputs {list(inputs.shape)}; expected the same, or "
            "an attribution that broadcasts to the inputs, such as [batch, 1, height, width]."
        )
    if inputs.ndim == 4:
        # pixels are exchanged whole: a single channel left over would still show the image
        values = values.sum(1, keepdim=True).expand(-1, -1, *inputs.shape[2:])
    else:
        values = values.expand_as(wide)
    order = values.flatten(1).argsort(dim=1, descending=True, stable=True)
    return order.argsort(dim=1).reshape(values.shape if inputs.ndim > 1 else inputs.shape)
