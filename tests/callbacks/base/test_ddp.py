"""Several processes see what one sees."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.callbacks.base.ddp_run import main, save_other_weights
from tests.events import Events
from tests.processes import together


def run(folder: Path, processes: int, learning_rate: float, n_train: int, n_val: int) -> dict[str, Any]:
    out = folder / f"{processes}.json"
    save_other_weights(folder / "before.ckpt")
    together(processes, main, str(out), processes, learning_rate, n_train, n_val)
    return json.loads(out.read_text())


def same(a: Any, b: Any) -> bool:
    return (math.isnan(a) and math.isnan(b)) or a == pytest.approx(b, rel=1e-5, abs=1e-6)


def same_exemplars(one: list[Any], other: list[Any]) -> bool:
    samples, labels, positions, values, settled = one
    alike = [pytest.approx(row, rel=1e-5) for row in values] == other[3]
    return alike and [samples, labels, positions] == other[:3] and settled == other[4]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(tmp_path_factory.mktemp("alone"), 1, 0.0, 101, 53)


@pytest.mark.parametrize("processes", [2, 4])
def test_counts_and_attributions_equal_one_process_on_data_that_do_not_divide(
    tmp_path: Path, alone: dict[str, Any], processes: int
) -> None:
    # learning rate 0: the padding of uneven data would otherwise train two processes on other samples than one
    one, two = alone, run(tmp_path, processes, 0.0, 101, 53)
    for stage, n_samples in (("train", 101), ("val", 53)):
        for layer, profile in one["seen"][stage].items():
            assert two["seen"][stage][layer]["n_samples"] == profile["n_samples"]
            assert sum(profile["n_samples"]) == n_samples
            assert two["seen"][stage][layer]["rates"] == profile["rates"]
            for row, other in zip(profile["activation"], two["seen"][stage][layer]["activation"], strict=True):
                assert row == pytest.approx(other, rel=1e-5, abs=1e-6)
    for name, values in one["figures"].items():
        assert all(same(a, b) for a, b in zip(values, two["figures"][name], strict=True))
    assert one["histories"] == two["histories"]
    for layer, scores in one["dormancy"].items():
        assert scores == pytest.approx(two["dormancy"][layer], rel=1e-5, abs=1e-6)
    assert all(same(a, b) for name in ("gaps", "overlaps") for a, b in zip(one[name], two[name], strict=True))
    assert set(one["exemplars"]) == {"body.1", "head.1"}
    assert all(same_exemplars(found, two["exemplars"][layer]) for layer, found in one["exemplars"].items())
    assert len(one["feeding"]) > 100
    for row, other in zip(one["feeding"], two["feeding"], strict=True):
        assert row["value"] == pytest.approx(other["value"], rel=1e-4, abs=1e-6)
        assert [row[key] for key in ("layer", "class", "neuron")] == [
            other[key] for key in ("layer", "class", "neuron")
        ]
    assert one["targets"] == two["targets"]
    assert one["values"] == pytest.approx(two["values"], rel=1e-5, abs=1e-7)
    assert one["lrp"] == pytest.approx(two["lrp"], rel=1e-5, abs=1e-7)
    assert one["paths"]["edges"] == two["paths"]["edges"]
    assert one["paths"]["turnover"] == two["paths"]["turnover"]
    assert sum(map(len, one["paths"]["edges"])) > 100
    assert one["paths"]["contributions"] == pytest.approx(two["paths"]["contributions"], rel=1e-5, abs=1e-7)
    assert one["paths"]["shares"] == pytest.approx(two["paths"]["shares"], rel=1e-5, abs=1e-7)
    assert one["monitored"] == two["monitored"]
    for tag in (
        "agreement/IntegratedGradients_vs_LRP", "LRP/drift/first", "deletion_auc", "LRP/randomisation", "drift/before",
        "LRP/drift/before", "drift/start",
    ):  # fmt: skip
        curves = [[s[f"explain/attribution/{tag}"] for s in ran["scalars"][1:]] for ran in (one, two)]
        assert curves[0] == pytest.approx(curves[1], rel=1e-4, abs=1e-6)
    events = Events(tmp_path / f"run{processes}" / "version_0")
    assert {"explain/attribution/heatmaps", "explain/neurons/head.1/rates"} <= set(events.images)
    assert events.steps("explain/attribution/heatmaps") == [0, 6, 13]  # written once, by the first process
    assert events.steps("explain/path/3") == [0]  # nothing is learnt at a rate of 0, so the first picture stays true


def test_drift_equals_one_process_while_learning(tmp_path: Path) -> None:
    one, two = (run(tmp_path, processes, 0.5, 96, 48) for processes in (1, 2))
    tag = "explain/attribution/drift/previous"
    assert [s[tag] for s in one["scalars"] if tag in s] == pytest.approx(
        [s[tag] for s in two["scalars"] if tag in s], rel=1e-3
    )
    assert one["values"] == pytest.approx(two["values"], rel=1e-2, abs=1e-5)
