"""Content of path pictures: equal where they look the same, different where anything in them is."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lightning_explain.paths import PathEdge, PathGraph, path_graph
from lightning_explain.render.paths import path_picture, picture_content, sticky_slots
from tests.paths.graphs import random_graph
from tests.render.paths.drawing import graph

Change = Callable[[PathGraph], PathGraph]


def spread() -> PathGraph:
    found = path_graph(random_graph(2, 20, 60, 60, zeros=0.0), input_names=[[f"x{unit}" for unit in range(20)]])
    assert found.is_spread
    return found


def content(found: PathGraph, **changes: Any) -> str:
    return picture_content(found, **{"title": "What", "output_lines": ["cat", "score 1"]} | changes)


def drawn(found: PathGraph) -> Any:
    return path_picture(found, title="What", output_lines=["cat", "score 1"]).astype(int)


def scaled(found: PathGraph, by: float) -> PathGraph:
    """Change all numbers a little."""
    nodes = {n.id: replace(n, contribution=by * n.contribution, share=by * n.share) for n in found.nodes}

    def edge(each: PathEdge) -> PathEdge:
        return PathEdge(nodes[each.source.id], nodes[each.target.id], by * each.contribution, by * each.share)

    return replace(found, nodes=tuple(nodes.values()), edges=tuple(map(edge, found.edges)))


@pytest.mark.parametrize("found", [graph(), spread()], ids=["ways", "ranked"])
def test_what_looks_the_same_has_the_same_content(found: PathGraph) -> None:
    other = scaled(found, 1 + 1e-6)
    assert other != found and content(other) == content(found)
    assert np.abs(drawn(other) - drawn(found)).mean() < 0.1


def flipped(found: PathGraph) -> PathGraph:
    node = max((node for node in found.nodes[:-1] if node.unit is not None), key=lambda each: each.share)
    return replace(
        found, nodes=tuple(replace(n, contribution=-n.contribution) if n is node else n for n in found.nodes)
    )


def relabelled(found: PathGraph) -> PathGraph:
    node = next(node for node in found.nodes if node.unit is not None)
    return replace(found, nodes=tuple(replace(n, label="another") if n is node else n for n in found.nodes))


def other_total(found: PathGraph) -> PathGraph:
    return replace(found, totals=tuple(total + 1 for total in found.totals))


def fewer_edges(found: PathGraph) -> PathGraph:
    return replace(found, edges=tuple(edge for edge in found.edges if edge.is_single)[1:])


def thinner_edge(found: PathGraph) -> PathGraph:
    edge = max((edge for edge in found.edges if edge.is_single), key=lambda each: each.share)
    return replace(found, edges=tuple(replace(e, share=e.share / 2) if e is edge else e for e in found.edges))


def other_sign(found: PathGraph) -> PathGraph:
    edge = next(edge for edge in found.edges if edge.is_single)
    return replace(
        found, edges=tuple(replace(e, contribution=-e.contribution) if e is edge else e for e in found.edges)
    )


def shorter_bar(found: PathGraph) -> PathGraph:
    node = max((n for n in found.nodes[:-1] if n.unit is not None), key=lambda each: each.share)
    return replace(found, nodes=tuple(replace(n, share=0.7 * n.share) if n is node else n for n in found.nodes))


@pytest.mark.parametrize("change", [flipped, relabelled, other_total, fewer_edges, thinner_edge, other_sign])
def test_whatever_is_seen_makes_another_content(change: Change) -> None:
    found = graph()
    assert content(change(found)) != content(found)


@pytest.mark.parametrize("change", [flipped, other_total, shorter_bar])
def test_of_ranked_units_bars_and_numbers_count(change: Change) -> None:
    found = spread()
    assert content(change(found)) != content(found)
    assert (drawn(change(found)) != drawn(found)).any()


def test_words_and_places_count() -> None:
    found = graph()
    slots = sticky_slots(found, {})
    turned = {layer: units[::-1] for layer, units in slots.items()}
    assert len({content(found), content(found, title="Who"), content(found, output_lines=["dog"])}) == 3
    assert content(found, slots=turned) != content(found, slots=slots)


def test_edges_of_bundles_are_not_seen() -> None:
    found = graph()
    single = replace(found, edges=tuple(edge for edge in found.edges if edge.is_single))
    assert content(single) == content(found) and (drawn(single) == drawn(found)).all()
