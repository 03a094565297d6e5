"""Feeding features by name and as rows."""

from typing import Any

import pytest

from lightning_explain.feeding import feature_name, feeding_features
from lightning_explain.neurons import unit_layers
from tests.feeding.nets import METHOD, counted, mlp


@pytest.mark.parametrize(
    ("index", "shape", "names", "kernel", "name"),
    [
        (2, (4,), ["a", "b", "c", "d"], False, "c"),
        (2, (4,), [], False, "feature 2"),
        (7, (3, 4), ["p", "q", "r", "s"], False, "step 1, s"),
        (7, (3, 4), [], False, "step 1, feature 3"),
        (13, (1, 8, 8), [], False, "row 1, column 5"),
        (64 + 13, (3, 8, 8), [], False, "channel 1, row 1, column 5"),
        (9 + 5, (3, 3, 3), [], True, "kernel channel 1, row 1, column 2"),
        (30, (2, 2, 3, 4), [], False, "value 30"),
    ],
)
def test_features_have_names(index: int, shape: Any, names: Any, kernel: bool, name: str) -> None:
    assert feature_name(index, shape, names, kernel=kernel) == name


def test_rows_say_it_all() -> None:
    net, x, y = mlp()
    found = feeding_features(net, x, y, {"1": counted(net, "1", x, y)}, unit_layers(net, "1"), method=METHOD, n_top=2)
    rows = found["1"].to_rows(["a", "b", "c"], list("uvwxyz"))
    assert len(rows) == 2 * len(found["1"].classes)
    first = rows[0]
    weight = net[0].weight[first["neuron"], first["feature_index"]].item()
    assert first["value"] == weight and first["sign"] == ("+" if weight > 0 else "-")
    assert first["class"] == "a" and first["feature"] == "uvwxyz"[first["feature_index"]] and first["rank"] == 0
