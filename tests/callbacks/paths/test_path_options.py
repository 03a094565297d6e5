"""Options of a path monitor: their words, and that each reaches the graph."""

from typing import Any

import pytest
from torch import nn

from lightning_explain.attribution.lrp.composites import EpsilonPlusFlat
from lightning_explain.attribution.lrp.rules import ZeroRule, ZPlusRule
from lightning_explain.callbacks.paths.path_options import PathOptions
from lightning_explain.errors import ConfigurationError
from tests.callbacks.paths.small_explanations import X, Y, explained, net, options, small_probe


@pytest.mark.parametrize(
    ("rules", "name"),
    [(None, "LRP-epsilon"), ({nn.Linear: ZeroRule()}, "LRP by own rules"), (EpsilonPlusFlat(), "LRP EpsilonPlusFlat")],
    ids=["default", "own", "composite"],
)
def test_rules_have_a_name(rules: Any, name: str) -> None:
    assert options(rules=rules).rules_name == name
    assert options(rules=rules).description["rules"] == name


def test_only_what_decides_which_edges_there_are_is_described() -> None:
    assert options().description == options(show="sample", n_units=3, n_paths=1, every_sample=True).description
    for change in ({"layers": ["0"]}, {"patch": 3}, {"keep_positions": True}):
        assert options(**change).description != options().description


def shown(chosen: PathOptions) -> Any:
    model = net()
    found = chosen.contributions(model, (X,), Y, small_probe(), model)
    return chosen.shown(found[0], found.units, "cat")


def test_numbers_of_units_and_paths_are_those_asked_for() -> None:
    whole, few = shown(options(drawn=1.0)), shown(options(drawn=1.0, n_units=2, n_paths=2))
    assert {node.label for node in whole.of_layer("input")} == {"a", "b", "c"}
    assert [node.label for node in whole.of_layer("output")] == ["cat"]
    singles, fewer = ([n for n in graph.of_layer("0") if n.unit is not None] for graph in (whole, few))
    assert len(singles) > 2 >= len(fewer)
    assert shown(options(drawn=0.3)).shown_share < whole.shown_share
    assert len(few.paths.paths) == 2
    assert [path.share for path in few.paths.paths] == [path.share for path in whole.paths.paths[:2]]
    with pytest.raises(ConfigurationError, match="n_units=0; expected at least 1"):
        shown(options(n_units=0))


def test_rules_and_layers_decide_the_graph() -> None:
    assert shown(options(rules={nn.Linear: ZeroRule()})).totals == pytest.approx(shown(options()).totals, rel=1e-3)
    plus = shown(options(rules={nn.Linear: ZPlusRule()})).nodes
    assert [n.contribution for n in plus] != pytest.approx([n.contribution for n in shown(options()).nodes], rel=1e-3)
    assert shown(options(layers="0")).layers == ("input", "0", "output")
    with pytest.raises(ConfigurationError, match="nowhere"):
        explained(chosen=options(layers="nowhere"))
