"""What a report says of a class."""

import math

import torch

from lightning_explain.callbacks.attribution.strategies.strategy_report import ClassReport
from lightning_explain.strategies import find_strategies, unit_rows


def report_of(rows: torch.Tensor, places: list[int]) -> ClassReport:
    found = find_strategies(rows)
    n = len(found.strategies)
    unknown = [math.nan] * n
    return ClassReport(
        index=2, name="two", rows=places, strategies=found, where=[""] * n, inside=unknown, outside=unknown,
        followed=[None] * n,
    )  # fmt: skip


def test_members_are_places_in_the_sample() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(40, 20, generator=generator, dtype=torch.double)
    maps[30:, 0] += 8
    one = report_of(unit_rows(maps), [2 * row for row in range(40)])
    assert one.n_strategies == 2
    assert one.share_of_smaller == 0.25
    assert sorted(one.members(1)) == [2 * row for row in range(30, 40)]


def test_of_too_few_samples_nothing_is_said() -> None:
    one = report_of(unit_rows(torch.rand(5, 20, dtype=torch.double)), list(range(5)))
    assert math.isnan(one.n_strategies)
    assert math.isnan(one.share_of_smaller)
