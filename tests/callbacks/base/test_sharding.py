"""Processes that share a probe find what one finds, with less work each."""

import math
from typing import Any

import pytest
import torch

from tests.callbacks.base.sharing_run import of_four, of_two
from tests.processes import together


@pytest.fixture(scope="module")
def two() -> list[dict[str, Any]]:
    return together(2, of_two)


@pytest.fixture(scope="module")
def four() -> list[dict[str, Any]]:
    return together(4, of_four)


def assert_same(one: dict[str, Any], several: dict[str, Any]) -> None:
    assert one.keys() == several.keys()
    for name, numbers in one.items():
        if numbers is None:
            assert several[name] is None, name
            continue
        scale = max((abs(number) for number in numbers if not math.isnan(number)), default=0)
        # stated errors come from scores that nearly cancel
        rel = 3e-5 if "error" in name else 1e-6
        assert several[name] == pytest.approx(numbers, rel=rel, abs=1e-6 * max(scale, 0.1), nan_ok=True), name


@pytest.mark.parametrize("rank", [0, 1])
def test_two_find_what_one_finds(two: list[dict[str, Any]], rank: int) -> None:
    found = two[rank]["everything"]
    assert_same(found["one"], found["together"])
    assert len(found["one"]) > 150
    # the processes' own random streams differ
    assert_same(two[0]["everything"]["together"], found["together"])
    assert_same(two[rank]["inputs"]["one"], two[rank]["inputs"]["together"])
    assert_same(two[rank]["communicating"]["one"], two[rank]["communicating"]["together"])


def test_processes_of_a_model_that_communicates_run_equally_many_rows(two: list[dict[str, Any]]) -> None:
    assert two[0]["communicating"]["rows"] == two[1]["communicating"]["rows"]


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_fewer_samples_than_processes(four: list[dict[str, Any]], rank: int) -> None:
    for part in ("few", "inputs"):
        assert_same(four[rank][part]["one"], four[rank][part]["together"])


def test_each_does_its_share(two: list[dict[str, Any]]) -> None:
    for found in two:
        alone, (first, later) = found["everything"]["rows"]
        assert first > later  # the first time all run the whole probe for its scores
        # 4 of 7 samples, but for two methods that are not split, and gradients at the baseline once per class
        assert later < 0.75 * alone[1]


def test_what_cannot_be_split_is_said_once_by_the_first(two: list[dict[str, Any]]) -> None:
    said = [found["everything"]["words"] for found in two]
    whole = [words for words in said[0] if "whole probe" in words]
    assert sum("with tunnel," in words for words in whole) == 1
    assert sum("own function" in words for words in whole) == 1
    assert len(whole) == 2 and "one_by_one=True" in whole[0]
    assert not [words for words in said[0] if "tunnel by sample" in words]
    assert not [words for words in said[1] if "whole probe" in words]


def test_all_leave_what_one_cannot_explain(two: list[dict[str, Any]]) -> None:
    first, second = (found["failure"] for found in two)
    assert first["found"] == second["found"] == ["fixed"]
    assert first["after"] == second["after"] == ["saliency", "fixed"]
    told = [words for words in first["words"] if "skipped" in words]
    assert len(told) == 1
    assert "process 1 of 2" in told[0] and "this sample is disliked" in told[0]
    assert not [words for words in second["words"] if "skipped" in words]
    assert "process 1 of 2" in first["refused"] and "not like this" in second["refused"]


def test_in_a_run_the_probe_is_shared_only_where_a_method_declares_that_it_can_be(two: list[dict[str, Any]]) -> None:
    first, second = (found["run"] for found in two)
    for found in (first, second):
        assert found["seen"] == [found["n_samples"] // 2]
        for name, values in found["alone"].items():
            torch.testing.assert_close(
                torch.tensor(found["together"][name]), torch.tensor(values), atol=1e-5, rtol=1e-4, msg=name
            )
    assert len(first["notes"]) == 1
    assert "with undeclared" in first["notes"][0] and "is_samplewise" in first["notes"][0]
    assert not second["notes"]
