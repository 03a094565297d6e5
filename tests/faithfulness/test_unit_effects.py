"""The error of a change of accuracy on few samples, and effects as rows and records."""

import json
import math

import pytest
import torch

from lightning_explain.faithfulness.unit_effects import UnitEffects, paired_standard_error


def effects() -> UnitEffects:
    """Two units; 4 samples of class 0, none of class 1, 8 of class 2."""
    nan = math.nan
    return UnitEffects(
        units=torch.tensor([7, 2]),
        n_samples=torch.tensor([4, 0, 8]),
        n_correct=torch.tensor([4, 0, 5]),
        lost=torch.tensor([[1, 0, 0], [0, 0, 2]]),
        gained=torch.tensor([[0, 0, 2], [0, 0, 2]]),
        probability=torch.tensor([[-0.25, nan, 0.125], [0.0, nan, 0.0]]),
        probability_error=torch.tensor([[0.1, nan, 0.2], [0.0, nan, 0.0]]),
    )


def test_rows_and_records_hold_the_classes_of_the_probe() -> None:
    found = effects()
    assert found.accuracy.tolist()[::2] == [1.0, 0.625] and found.change[0].tolist()[::2] == [-0.25, 0.25]
    rows = found.to_rows(["cat"])
    assert [(row["class"], row["neuron"], row["n_lost"], row["n_gained"]) for row in rows] == [
        ("cat", 7, 1, 0),
        ("2", 7, 0, 2),
        ("cat", 2, 0, 0),
        ("2", 2, 2, 2),
    ]
    assert rows[1]["accuracy_change"] == 0.25 and rows[1]["accuracy"] == 0.625 and rows[1]["n_samples"] == 8
    entry = found.record()
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry
    assert dict(zip(entry["columns"], entry["rows"][1], strict=True)) == {
        "unit": 7,
        "class": 2,
        "accuracy_change": 0.25,
        "standard_error": pytest.approx(math.sqrt(3 - 4 / 10) / 10, abs=1e-4),
        "n_lost": 0,
        "n_gained": 2,
        "probability_change": 0.125,
    }
    assert entry["n_samples"] == {"0": 4, "2": 8} and entry["n_correct"] == {"0": 4, "2": 5}
    assert found.place_of(2) == 1 and found.place_of(0) is None
    assert found.overall_error[0].item() == pytest.approx(math.sqrt(4 - 1 / 14) / 14)


def test_no_changed_sample_is_no_proof_of_no_effect() -> None:
    nothing = torch.zeros(3, dtype=torch.long)
    errors = paired_standard_error(nothing, nothing, torch.tensor([4, 40, 0]))
    # Agresti and Min: sqrt((b + c + 1) - (c - b)^2 / (n + 2)) / (n + 2)
    assert errors[:2].tolist() == pytest.approx([1 / 6, 1 / 42]) and errors[2].isnan()
    b, c, n = 3, 5, 20
    expected = math.sqrt((b + c + 1) - (c - b) ** 2 / (n + 2)) / (n + 2)
    assert paired_standard_error(torch.tensor(b), torch.tensor(c), torch.tensor(n)).item() == pytest.approx(expected)


def test_the_interval_of_two_errors_holds_the_true_change() -> None:
    """Draws of 8 samples whose outcomes are known: in at least 93 % the true change is within 1.96 errors."""
    generator = torch.Generator().manual_seed(0)
    for p_lost, p_gained in ((0.0, 0.0), (0.05, 0.0), (0.3, 0.05), (0.6, 0.1)):
        drawn = torch.rand(20_000, 8, generator=generator)
        lost, gained = (drawn < p_lost).sum(1), (drawn > 1 - p_gained).sum(1)
        error = paired_standard_error(lost, gained, torch.full_like(lost, 8))
        # the interval is centred as the source has it, on the changes over n + 2
        away = ((gained - lost) / 10 - (p_gained - p_lost)).abs()
        assert (away <= 1.96 * error).float().mean() > 0.93
