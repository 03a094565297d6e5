"""Accuracy of each class without a unit: its output is set to its mean over the probe."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.attribution.result import parts_of
from lightning_explain.batches import Inputs
from lightning_explain.capture import Call, Layer, watched
from lightning_explain.errors import ConfigurationError
from lightning_explain.faithfulness.clamping import Clamp, clamped, is_part_of_output
from lightning_explain.faithfulness.inner_clamping import can_clamp, held_inside, shares_a_pass
from lightning_explain.faithfulness.unit_effects import AblationResult, UnitEffects
from lightning_explain.isolation import explaining
from lightning_explain.neurons.arrangement import units_of
from lightning_explain.neurons.views import AttentionHeads, HeadsBeforeProjection

ROWS = 256
"""Most rows (samples times units) of one pass."""

SAME = 1e-3
"""Relative difference up to which scores in a larger batch are the same: other sizes are summed in another order."""


def _values_of(given: Any, layer: Layer, key: str, n_samples: int) -> tuple[Tensor, Tensor | None] | None:
    """Return values [batch, positions, units], of heads [batch, positions, heads, features], and valid positions."""
    if isinstance(layer.view, AttentionHeads | HeadsBeforeProjection):
        return layer.view.vectors(given)
    units = units_of(given, layer, key, n_samples=n_samples)
    if units is None:
        return None
    values = units.values.movedim(units.unit_dim, -1)
    return values.flatten(1, -2) if values.ndim > 2 else values[:, None], units.valid


@dataclass
class _Sums:
    """Sum of each unit over samples and valid positions, and how many those are."""

    total: Tensor
    n_values: float

    @classmethod
    def of(cls, given: Tensor | Call, layer: Layer, key: str, *, n_samples: int) -> "_Sums | None":
        found = _values_of(given, layer, key, n_samples)
        if found is None:
            return None
        values, valid = found[0].double(), found[1]
        if valid is None:
            return cls(values.sum((0, 1)), values.shape[0] * values.shape[1])
        kept = values.masked_fill(~valid.reshape(*valid.shape, *(1 for _ in values.shape[2:])), 0.0)
        return cls(kept.sum((0, 1)), float(valid.sum()))

    def plus(self, other: "_Sums | None") -> "_Sums":
        return self if other is None else _Sums(self.total + other.total, self.n_values + other.n_values)


@dataclass
class _Runner:
    """Forward passes over the probe, counted."""

    run: Callable[..., Any]
    parts: tuple[Tensor, ...]
    n_passes: int = 0
    n_rows: int = 0
    sums: dict[str, _Sums] = field(default_factory=dict[str, _Sums])

    def scores(self, rows: slice, times: int = 1) -> Tensor:
        """Return the scores of some samples, repeated block by block: [times * samples, columns]."""
        inputs = [part[rows].repeat(times, *(1 for _ in part.shape[1:])) for part in self.parts]
        self.n_passes += 1
        self.n_rows += len(inputs[0])
        found: Any = self.run(*inputs)
        return found.detach().float().reshape(len(inputs[0]), -1)

    def pieces(self) -> list[slice]:
        n = len(self.parts[0])
        return [slice(start, min(n, start + ROWS)) for start in range(0, n, ROWS)]

    def with_all_units(self, layers: Sequence[Layer]) -> Tensor:
        """Return the scores of the whole probe, and sum up the units of layers."""
        found: list[Tensor] = []
        for rows in self.pieces():
            reduce = partial(_Sums.of, n_samples=rows.stop - rows.start)
            with watched(layers, reduce=reduce) as recorder:
                recorder.start()
                found.append(self.scores(rows))
                for key, sums in recorder.stop().items():
                    if sums is not None:
                        self.sums[key] = sums.plus(self.sums.get(key))
        return torch.cat(found)

    def without(self, layer: Layer, key: str, units: Sequence[int]) -> Tensor | None:
        """Return the scores without each of some units: [units, samples, columns]; None if they could not be set."""
        means = self.sums[key].total / max(1.0, self.sums[key].n_values)
        held = [float(means[unit]) if means.ndim == 1 else means[unit] for unit in units]
        found: list[Tensor] = []
        for rows in self.pieces():
            n = rows.stop - rows.start
            clamps = [Clamp(slice(i * n, (i + 1) * n), unit, held[i]) for i, unit in enumerate(units)]
            with ExitStack() as stack:
                clamper = stack.enter_context(
                    clamped(layer, key, clamps, n_samples=n * len(units))
                    if is_part_of_output(layer)
                    else held_inside(layer, key, clamps)
                )
                scores = self.scores(rows, len(units))
            if not clamper.happened:
                return None
            found.append(scores.unflatten(0, (len(units), n)))
        return torch.cat(found, 1)

    def is_samplewise(self, scores: Tensor) -> bool:
        """Return True if samples have the scores in a larger batch that they have in the probe's own."""
        again = self.scores(slice(None), 2)
        scale = scores.abs().amax().clamp_min(torch.finfo(scores.dtype).tiny)
        return bool(((again - scores.repeat(2, 1)).abs() <= SAME * scale).all())


@dataclass(frozen=True)
class _Measured:
    """The labelled samples of the probe, and what the scores say of them."""

    labels: Tensor
    n_classes: int
    are_probabilities: bool

    @classmethod
    def of(cls, labels: Tensor, scores: Tensor) -> "_Measured":
        n_columns = scores.shape[1]
        n_classes = max(2, n_columns)
        if len(labels) != len(scores) or (labels.numel() and int(labels.max()) >= n_classes):
            raise ConfigurationError(
                f"There are {len(labels)} labels up to {int(labels.max())} for scores of shape {list(scores.shape)}; "
                f"expected one label from 0 to {n_classes - 1} for each row. Say where the class scores are with "
                "output=."
            )
        inside = bool(((scores >= 0) & (scores <= 1)).all())
        sums_to_one = n_columns == 1 or bool(((scores.sum(1) - 1).abs() < 1e-3).all())
        return cls(labels.to(scores.device), n_classes, inside and sums_to_one)

    def right(self, scores: Tensor) -> Tensor:
        """Return 1 for each sample that is classified correctly: [..., samples]."""
        if scores.shape[-1] > 1:
            return (scores.argmax(-1) == self.labels).double()
        return ((scores[..., 0] > (0.5 if self.are_probabilities else 0.0)).long() == self.labels).double()

    def probability(self, scores: Tensor) -> Tensor:
        """Return the probability of each sample's own class: [..., samples]."""
        own = self.labels.clamp_min(0)
        if scores.shape[-1] > 1:
            shares = scores if self.are_probabilities else scores.softmax(-1)
            return shares.gather(-1, own.expand(scores.shape[:-1]).unsqueeze(-1)).squeeze(-1).double()
        of_one = (scores if self.are_probabilities else scores.sigmoid())[..., 0].double()
        return torch.where(own == 1, of_one, 1 - of_one)

    def by_class(self, values: Tensor) -> Tensor:
        """Sum values [..., samples] over the samples of each class: [..., classes]; labels below 0 are of none."""
        known = self.labels >= 0
        members = nn.functional.one_hot(self.labels.clamp_min(0), self.n_classes).double() * known[:, None]
        return values @ members


def _effects(measured: _Measured, before: Tensor, after: Tensor, units: Sequence[int]) -> UnitEffects:
    """Compare scores [samples, columns] with those without each unit [units, samples, columns]."""
    right, still = measured.right(before), measured.right(after)
    n_samples = measured.by_class(torch.ones_like(right))
    moved = measured.probability(after) - measured.probability(before)
    mean = measured.by_class(moved) / n_samples
    squares = measured.by_class(moved.square()) - n_samples * mean.square()
    error = (squares.clamp_min(0) / (n_samples - 1) / n_samples).sqrt()
    return UnitEffects(
        units=torch.tensor(units, dtype=torch.long),
        n_samples=n_samples.long().cpu(),
        n_correct=measured.by_class(right).long().cpu(),
        lost=measured.by_class(right * (1 - still)).long().cpu(),
        gained=measured.by_class((1 - right) * still).long().cpu(),
        probability=mean.float().cpu(),
        probability_error=torch.where(n_samples > 1, error, torch.nan).float().cpu(),
    )


def ablated_effects(
    model: nn.Module,
    inputs: Inputs,
    labels: Tensor,
    layers: Sequence[Layer],
    units: Mapping[str, Sequence[int]],
    *,
    forward: Callable[..., Any] | None = None,
) -> AblationResult:
    """Measure the accuracy of each class without single units: mean ablation.

    A unit's output (a channel at all positions) is set to its mean over samples and positions of the probe, so that it
    no longer tells samples apart, while what follows meets a value that it knows. Of an attention head that is its part
    of what the output projection is given, a vector; a unit of a recurrent layer is held in the state of every step.

    Source: Morcos, Barrett, Rabinowitz, Botvinick (2018), On the importance of single directions for generalization,
    Sec. 2 and 3: units that are selective for a class matter no more than others, so that it must be measured.

    Args:
        model: The model; run in eval mode and left as found.
        inputs: Probe samples [batch, ...], or a tuple of them.
        labels: Their classes: int64 [batch]; those below 0 are left out.
        layers: Watched layers, from `unit_layers` and `described`.
        units: Layer (`name#1` for the second call of a layer that runs several times) -> its units.
        forward: Called as `forward(*inputs)` instead of the model; returns scores [batch, classes] or [batch].

    Returns:
        Effects by layer. Those whose units cannot be set alone are in `not_measured`.

    Cost: a pass over the probe, one of it twice, and for each layer one pass of up to 256 rows for every
        `256 / batch` units; of recurrent layers a pass for each unit.

    Raises:
        ConfigurationError: The labels do not fit the scores.
    """
    by_name = {layer.name: layer for layer in layers}
    runner = _Runner(forward or model, parts_of(inputs))
    places = {key: by_name.get(key.split("#")[0]) for key in units}
    wanted = [layer for layer in layers if layer in places.values() and can_clamp(layer)]
    effects: dict[str, UnitEffects] = {}
    if wanted:
        with explaining(model), torch.no_grad():
            scores = runner.with_all_units(wanted)
            measured = _Measured.of(labels, scores)
            together = max(1, ROWS // len(labels))
            together = together if together > 1 and runner.is_samplewise(scores) else 1
            for key, layer in places.items():
                if layer is None or key not in runner.sums:
                    continue
                step = together if shares_a_pass(layer) else 1
                starts = range(0, len(units[key]), step)
                groups = [runner.without(layer, key, units[key][start : start + step]) for start in starts]
                after = [group for group in groups if group is not None]
                if after and len(after) == len(groups):
                    effects[key] = _effects(measured, scores, torch.cat(after), units[key])
    not_measured = tuple(key for key in units if key not in effects and units[key])
    return AblationResult(effects=effects, n_passes=runner.n_passes, n_rows=runner.n_rows, not_measured=not_measured)
