"""Weights that are spread over two processes are explained as whole ones are, and trained as without explaining."""

from typing import Any

import numpy as np
import pytest

from tests.callbacks.base.fsdp_run import N_VAL, of_two
from tests.callbacks.base.test_sharding import assert_same
from tests.processes import together


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    return together(2, of_two)


@pytest.mark.parametrize("way", ["gathered", "spread"])
def test_spread_weights_are_explained_like_whole_ones_and_trained_undisturbed(
    found: list[dict[str, Any]], way: str
) -> None:
    first, second = (of_rank[way] for of_rank in found)
    assert first["n_weights"] == 6
    assert first["alike"]
    assert first["talks"] is second["talks"] is (way == "spread")
    assert first["n_explanations"] == second["n_explanations"] == 3
    assert_same(first["one"], first["together"])
    assert_same(first["one"], second["together"])
    assert len(first["one"]) > 30
    rates, by_hand, n_samples = first["rates"]
    assert sum(n_samples) == N_VAL
    np.testing.assert_allclose(rates, by_hand, atol=1e-6)
    assert len(first["exemplars"]) == 4 + 16
    for (values, samples, labels), (expected, best, of_best) in first["exemplars"]:
        np.testing.assert_allclose(values, expected, atol=1e-6)
        assert samples == best and labels == of_best
    assert first["n_paths"] > 50 or way == "spread"
    # deep in the network something inside a layer's pass is explained
    assert first["fed"] == ({"body.1", "head.1"} if way == "gathered" else set())


def test_what_needs_whole_weights_is_refused_before_training_where_they_are_too_large(
    found: list[dict[str, Any]],
) -> None:
    for of_rank in found:
        by_lrp, by_paths = of_rank["refused"]
        assert "LRP" in by_lrp and "fully_shard" in by_lrp and "IntegratedGradients" in by_lrp
        assert "DecisionPathMonitor" in by_paths and "fully_shard" in by_paths
        assert "ModelParallelStrategy" in of_rank["flat"]
