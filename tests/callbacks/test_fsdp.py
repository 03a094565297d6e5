"""Weights that are spread over two processes are explained as whole ones are, and trained as without explaining."""

import numpy as np

from tests.callbacks.fsdp_run import N_VAL, of_two
from tests.callbacks.test_sharing import assert_same
from tests.processes import together


def test_spread_weights_are_explained_like_whole_ones_and_trained_undisturbed() -> None:
    first, second = together(2, of_two)
    assert first["alike"]
    assert first["n_explanations"] == second["n_explanations"] == 3
    assert_same(first["one"], first["together"])
    assert_same(first["one"], second["together"])
    assert len(first["one"]) > 30
    rates, by_hand, n_samples = first["rates"]
    assert sum(n_samples) == N_VAL
    np.testing.assert_allclose(rates, by_hand, atol=1e-6)
    for found in (first, second):
        by_lrp, by_paths = found["refused"]
        assert "LRP" in by_lrp and "fully_shard" in by_lrp and "IntegratedGradients" in by_lrp
        assert "DecisionPathMonitor" in by_paths and "fully_shard" in by_paths
        assert "ModelParallelStrategy" in found["flat"]
