"""Which edges were won and lost between two explanations."""

import pytest

from lightning_explain.paths import path_change


def test_change_of_edges():
    now, then = [("a", "b"), ("b", "c"), ("d", "c")], [("a", "b"), ("x", "c")]
    change = path_change(now, then)
    assert change.won == (("b", "c"), ("d", "c")) and change.lost == (("x", "c"),) and change.n_kept == 1
    assert change.turnover == pytest.approx(1 - 1 / 4)
    assert path_change(now, now).turnover == 0
    assert path_change([], []).turnover == 0
    assert path_change(now, []).turnover == 1


def test_the_order_of_edges_and_repeats_change_nothing():
    edges = [("b", "c"), ("a", "b"), ("a", "b")]
    change = path_change(edges, edges[::-1])
    assert (change.won, change.lost, change.n_kept, change.turnover) == ((), (), 2, 0)
    assert path_change([("c", "d"), ("a", "b")], []).won == (("a", "b"), ("c", "d"))
