"""A path graph as rows and as JSON."""

import json

from lightning_explain.paths import PathEdge, PathGraph, PathNode, Ranked, Search, contributions, path_graph
from tests.paths.nets import lenet


def test_a_graph_as_rows_and_as_json():
    net, x, target = lenet()
    found = contributions(net, x, target)
    graph = path_graph(found[0], input_names=[unit.names for unit in found.units], output_name="cat")
    rows = graph.to_rows()
    assert [row["share"] for row in rows] == sorted((row["share"] for row in rows), reverse=True)
    assert rows[0] == {
        "layer": "output", "unit": 0, "label": "cat", "contribution": graph.output, "share": 1.0, "rank": 0,
    }  # fmt: skip
    assert {row["source"] for row in graph.edge_rows()} <= {node.id for node in graph.nodes}
    plain = graph.to_json(title="class cat", class_name="cat")
    assert json.loads(json.dumps(plain)) == plain
    assert plain["nodes"][0]["layer"] == "input" and plain["nodes"][-1]["label"] == "cat"
    ids = [node["id"] for node in plain["nodes"]]
    assert len(set(ids)) == len(ids)
    order = {name: place for place, name in enumerate(graph.layers)}
    for edge in plain["edges"]:
        source, target_id = edge["source"].rsplit(":", 1)[0], edge["target"].rsplit(":", 1)[0]
        assert order[source] < order[target_id]
        assert set(edge) == {"source", "target", "share", "contribution"}
    assert 0 <= plain["shown_share"] <= 1


def test_units_are_told_apart_by_number_and_bundles_by_label():
    unit = PathNode("fc1", 12, "fc1 12", 0.5, 0.2)
    bundle = PathNode("fc1", None, "37 others for", 0.1, 0.1, 37)
    assert (unit.id, bundle.id) == ("fc1:12", "fc1:37 others for")
    edge = PathEdge(unit, bundle, 0.1, 0.1)
    assert edge.ends == ("fc1:12", "fc1:37 others for")
    assert (
        not edge.is_single and not PathEdge(bundle, unit, 0.1, 0.1).is_single and PathEdge(unit, unit, 0, 0).is_single
    )


def small(ranked=()):
    """A graph of two units and a bundle, its figures longer than anybody reads."""
    a, rest = PathNode("input", 0, "width", 0.123456, 0.6), PathNode("input", None, "3 others against", -1.0, 0.3, 3)
    out = PathNode("output", 0, "cat", 1e-9 / 3, 1.0)
    edges = (PathEdge(rest, out, -1.0, 0.3), PathEdge(a, out, 0.123456, 0.6))
    return PathGraph(
        output=1e-9 / 3, layers=("input", "output"), totals=(0.0, 0.0), n_units=(4, 1), nodes=(a, rest, out),
        edges=edges, paths=Search((), 0), ranked=ranked, shown_share=2 / 3, absorbed_share=0.1,
    )  # fmt: skip


def test_only_edges_between_single_units_are_compared_between_steps():
    assert small().single_edges == {("input:0", "output:0")}
    assert [row["source"] for row in small().edge_rows()] == ["input:0", "input:3 others against"]


def test_rows_hold_the_rank_of_units_that_were_ranked():
    ranked = (Ranked((1, 0), 0, 0.0, 1.0), Ranked((0, 3), 1, 0.0, 0.5))
    assert [(row["label"], row["rank"]) for row in small(ranked).to_rows()] == [
        ("cat", 0), ("width", None), ("3 others against", None)
    ]  # fmt: skip


def test_json_keeps_four_digits_of_small_figures_too():
    plain = small().to_json(title="t", sample=3)
    assert plain["nodes"][0]["contribution"] == 0.1235 and plain["output"] == 3.333e-10
    assert (plain["shown_share"], plain["sample"], plain["class"]) == (0.6667, 3, None)
