"""The record of an explanation's inputs: sums, and the top features by name."""

from collections.abc import Sequence

import pytest
import torch

from lightning_explain import Attribution, Probe
from lightning_explain.callbacks.attribution.top_features import MOST_SAMPLES, input_records
from lightning_explain.render.shown_inputs import shown_inputs


def records(values: torch.Tensor, names: Sequence[str] = ()) -> list[dict[str, object]]:
    n = len(values)
    probe = Probe(inputs=torch.ones_like(values), feature_names=names)
    found = Attribution(
        values=values,
        convergence_delta=torch.zeros(n),
        error=torch.zeros(n),
        target=None,
        baseline=None,
        n_evaluations=torch.ones(n, dtype=torch.long),
        coarse=None,
    )
    return input_records(found, shown_inputs(probe, explains_tokens=False))


def test_the_strongest_come_first_with_their_names_and_signs() -> None:
    values = torch.tensor([[0.5, -2.0, 0.25], [0.0, 0.125, 1.0]])
    (record,) = records(values, ["age", "dose", "sex"])
    assert record["total_attribution"] == [2.75, 1.125]
    assert record["sum"] == [-1.25, 1.125]
    strongest = record["strongest"]
    assert isinstance(strongest, list)
    assert strongest[0][:2] == [["dose", -2.0], ["age", 0.5]]
    assert strongest[1][0] == ["sex", 1.0]


def test_images_have_sums_alone() -> None:
    (record,) = records(torch.ones(2, 1, 4, 4))
    assert record["form"] == "image"
    assert record["sum"] == [16.0, 16.0]
    assert "strongest" not in record


def test_features_are_listed_of_as_many_samples_as_are_said() -> None:
    (record,) = records(torch.ones(MOST_SAMPLES + 5, 3))
    assert len(record["strongest"]) == MOST_SAMPLES  # type: ignore[arg-type]
    assert len(record["sum"]) == MOST_SAMPLES + 5  # type: ignore[arg-type]
    assert record["shape"] == [3]
    assert record["total_attribution"] == pytest.approx([3.0] * (MOST_SAMPLES + 5))
