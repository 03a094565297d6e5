"""Ablation of the units that a path graph shows: how much of the class score is lost without them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import torch
from torch import Tensor, nn

from lightning_explain.attribution.lrp.choices import Choices
from lightning_explain.attribution.lrp.composites import Epsilon
from lightning_explain.attribution.result import Target, parts_of
from lightning_explain.attribution.scores import target_tensor
from lightning_explain.batches import Inputs
from lightning_explain.isolation import explaining
from lightning_explain.paths.propagation.cuts import run_in_cuts
from lightning_explain.paths.propagation.samples import sample_rows
from lightning_explain.paths.propagation.unit_places import LayerUnits, unit_places
from lightning_explain.paths.propagation.way_back import WayBack

N_DRAWS = 8

Drawn = Mapping[str, Sequence[int]]
"""Numbers of units by the name of their layer."""


@dataclass(frozen=True)
class Ablation:
    """The share of a group's score that is lost when units are set to their mean over all samples.

    Attributes:
        drawn: Share of the score that is lost without the drawn units: the sum of what the samples lose, divided by
            the sum of the sizes of their scores. 1 is all of it; below 0 the score rises, and it may be above 1.
        random: The same without as many random units of the same layers, mean over the draws.
        random_spread: Standard deviation over the draws.
        n_units: How many units are set; with none the shares are NaN.
        n_draws: How many draws.
    """

    drawn: float
    random: float
    random_spread: float
    n_units: int
    n_draws: int

    @property
    def ratio(self) -> float:
        """Ratio of the loss without the drawn units to that without random ones; NaN where random ones lose nothing."""
        return self.drawn / self.random if self.random > 0 else math.nan

    def to_json(self) -> dict[str, float]:
        """Return plain values, rounded to four digits."""
        values = {name: getattr(self, name) for name in ("drawn", "random", "random_spread", "n_units", "n_draws")}
        return {name: value if isinstance(value, int) else float(f"{value:.4g}") for name, value in values.items()}


@dataclass(frozen=True, eq=False)
class _Runs:
    """Runs a model with some of its units set to their mean."""

    model: nn.Module
    inputs: tuple[Tensor, ...]
    target: Tensor | None
    names_from: nn.Module
    keep_positions: bool
    layers: dict[str, LayerUnits] = field(default_factory=dict[str, LayerUnits])
    means: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    def _run(self, changes: Mapping[int, Callable[[Tensor], Tensor]]) -> Any:
        # rules change no value
        rules, choices = Epsilon(), Choices("cp")
        return run_in_cuts(
            self.model, self.inputs, self.target, rules, choices, names_from=self.names_from, changes=changes
        )

    def look(self, names: set[str]) -> Tensor:
        """Find the layers of these names and the means of their units; return the score as it is [samples]."""
        way = WayBack(self._run({}))
        gradients = way.from_score(torch.ones_like(way.score))
        for units in unit_places(way, gradients, sample_rows(way, gradients), keep_positions=self.keep_positions):
            if units.name in names:
                self.layers[units.name] = units
                value = way.cuts[units.places[0]].leaf.detach()
                self.means[units.name] = value.mean(units.dims[0], keepdim=True)
        return way.score.detach()

    def without(self, members: Mapping[str, Tensor]) -> Tensor:
        """Return the score with some units set to their mean: of each layer [samples, units]."""

        def change(name: str) -> Callable[[Tensor], Tensor]:
            mask, mean = self.layers[name].mask(members[name]), self.means[name]
            return lambda value: torch.where(mask, mean.to(value), value)

        changes = {self.layers[name].places[0]: change(name) for name in members}
        return self._run(changes).score.detach()


def ablation(
    model: nn.Module,
    inputs: Inputs,
    target: Target,
    drawn: Sequence[Drawn],
    groups: Tensor,
    *,
    n_draws: int = N_DRAWS,
    seed: int = 0,
    keep_positions: bool = False,
    names_from: nn.Module | None = None,
) -> list[Ablation]:
    """Measure the loss of the score without the units that a graph shows, and without random ones.

    In one forward pass the units of each layer are set to their mean over all samples (of each position: a mean over
    the dimension of samples), those of later layers on top of what the earlier ones have changed. Random units are
    as many, of the same layers, from those that are not drawn. So a layer of which more than half is drawn (all heads
    of an attention) is left as it is in both: nothing was selected that could be compared with the rest.

    Source: mean ablation as in Wang et al. (2023), Interpretability in the wild; the comparison with random units as in
    Morcos et al. (2018), On the importance of single directions.

    Args:
        model: As in `contributions`.
        inputs: All samples, over which means are taken.
        target: As in `contributions`.
        drawn: The units of each group.
        groups: The group of each sample [batch]; -1 for samples that are in none.
        n_draws: How often random units are drawn.
        seed: Of the draws; no global random state is touched.
        keep_positions: As in `contributions`, to which the numbers of units belong.
        names_from: As in `contributions`.

    Returns:
        One for each group; its shares are NaN where no layer is left to compare (`n_units` is 0).

    Cost: one forward and one backward pass, and `n_draws + 1` forward passes.

    Raises:
        ConfigurationError: As `contributions`.
        ExplanationError: As `contributions`.
    """
    parts = parts_of(inputs)
    with explaining(model):
        indices = target_tensor(target, len(parts[0]), parts[0].device)
        runs = _Runs(model, parts, indices, names_from or model, keep_positions)
        score = runs.look({name for units in drawn for name in units})
        # the mean over one sample is that sample: nothing would change
        drawn = [_comparable(own, runs.layers) if len(score) > 1 else {} for own in drawn]
        lost = _lost(score, runs.without(_members(runs.layers, drawn, groups)), groups, len(drawn))
        draws = [
            _lost(score, runs.without(_members(runs.layers, units, groups)), groups, len(drawn))
            for units in (_at_random(runs.layers, drawn, f"{seed} {draw}") for draw in range(n_draws))
        ]
    random = torch.stack(draws)
    spread = random.std(0) if n_draws > 1 else torch.full_like(lost, torch.nan)
    n_units = [sum(map(len, own.values())) for own in drawn]
    return [
        Ablation(float(lost[g]), float(random[:, g].mean()), float(spread[g]), n, n_draws)
        if n
        else Ablation(math.nan, math.nan, math.nan, 0, n_draws)
        for g, n in enumerate(n_units)
    ]


def _comparable(drawn: Drawn, layers: Mapping[str, LayerUnits]) -> Drawn:
    """Leave out layers that have fewer other units than are drawn, and what is no layer of units."""
    known = {name: units for name, units in drawn.items() if name in layers}
    return {name: units for name, units in known.items() if 2 * len(units) <= layers[name].n_units}


def _members(layers: Mapping[str, LayerUnits], drawn: Sequence[Drawn], groups: Tensor) -> dict[str, Tensor]:
    """Mark the units of each sample's group, by layer [samples, units]."""
    found: dict[str, Tensor] = {}
    for name, units in layers.items():
        of_group = torch.zeros(len(drawn) + 1, units.n_units, dtype=torch.bool)
        for group, own in enumerate(drawn):
            of_group[group, list(own.get(name, ()))] = True
        found[name] = of_group[groups.cpu()]  # -1 is the last row, which is empty
    return found


def _at_random(layers: Mapping[str, LayerUnits], drawn: Sequence[Drawn], seed: str) -> list[Drawn]:
    """Draw as many other units of each layer for each group, whichever other groups there are."""

    def others(name: str, units: Sequence[int]) -> list[int]:
        # processes of a distributed run have some of the groups each, and must draw as one alone does
        generator = torch.Generator().manual_seed(crc32(f"{seed} {name} {sorted(units)}".encode()))
        in_order = torch.randperm(layers[name].n_units, generator=generator).tolist()
        return [unit for unit in in_order if unit not in units][: len(units)]

    return [{name: others(name, units) for name, units in own.items()} for own in drawn]


def _lost(score: Tensor, without: Tensor, groups: Tensor, n_groups: int) -> Tensor:
    """Divide the loss of each group's samples by the size of their scores: [groups]."""
    kept = groups >= 0
    change, size = ((values[kept]).double().cpu() for values in (score - without, score.abs()))
    sums = torch.zeros(2, n_groups, dtype=torch.double).index_add_(1, groups[kept].cpu(), torch.stack([change, size]))
    return sums[0] / sums[1]
