"""Metrics, record and table of an explanation by paths, against its graphs."""

import dataclasses
import json
import math

import pytest
import torch

from lightning_explain.callbacks.paths.explanation import ALL
from lightning_explain.callbacks.paths.path_history import PathHistory
from lightning_explain.callbacks.paths.record import (
    TABLE_ROWS,
    class_graphs,
    parts_of_classes,
    path_record,
    path_scalars,
    ranking_table,
    undecided_classes,
)
from lightning_explain.paths import PathChange
from tests.callbacks.paths.small_explanations import X, explained, net, options, small_probe


def test_metrics_are_means_over_the_classes() -> None:
    history = PathHistory()
    history.add(explained(net(1)), show="class")
    found = explained(net(2), history=history)
    scalars = path_scalars("path", found)
    cat, dog = found.classes
    assert scalars["explain/path/shown_share"] == pytest.approx((cat.graph.shown_share + dog.graph.shown_share) / 2)
    effective = (cat.effective["input"] + dog.effective["input"]) / 2
    assert scalars["explain/path/effective_units/input"] == pytest.approx(effective)
    assert cat.change is not None and dog.change is not None
    assert scalars["explain/path/class_turnover/cat"] == cat.change.turnover
    assert scalars["explain/path/turnover"] == pytest.approx((cat.change.turnover + dog.change.turnover) / 2)
    assert not any("turnover" in key for key in path_scalars("path", explained()))


def test_a_class_without_a_decision_is_named_and_left_out_of_the_means() -> None:
    found = explained()
    cat, dog = found.classes
    silent = dataclasses.replace(cat, effective=dict.fromkeys(cat.effective, math.nan))
    half = dataclasses.replace(found, classes=(silent, dog))
    assert undecided_classes(found) == [] and undecided_classes(half) == ["cat"]
    assert path_scalars("p", half)["explain/p/absorbed_share"] == dog.graph.absorbed_share
    assert path_scalars("p", half)["explain/p/effective_units/0"] == dog.effective["0"]
    carried = dataclasses.replace(found, classes=(dataclasses.replace(dog, effective={"0": 2.0, "ids": math.nan}),))
    assert "explain/p/effective_units/ids" not in path_scalars("p", carried)


def test_names_of_classes_that_stand_for_something_else_get_a_number() -> None:
    found = explained(probe=small_probe(class_names=["turnover", "a/b"]))
    first, second = parts_of_classes(found)
    assert first.startswith("turnover_") and second == "a_b"


def test_the_record_is_json_and_holds_graphs_rankings_and_changes() -> None:
    found, probe = explained(chosen=options(show="sample")), small_probe()
    entry = path_record(found, probe, options=options(show="sample"))
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry
    assert entry["probe"] == probe.fingerprint and entry["rules"] == "LRP-epsilon"
    assert [(graph["title"], graph["class"]) for graph in entry["graphs"]] == [
        ("class cat", "cat"), ("sample 0", "cat"), ("class dog", "dog"), ("sample 1", "dog"),
    ]  # fmt: skip
    strongest = found.classes[0].graph.paths.paths[0]
    assert entry["paths"]["cat"][0]["share"] == pytest.approx(strongest.share, rel=1e-3)
    assert entry["paths"]["cat"][0]["units"][0] == "output:0" or entry["paths"]["cat"][0]["units"][-1] == "output:0"
    assert entry["ranked"]["dog"][0][:2] == ["output", 0]
    assert entry["turnover"] == {"cat": None, "dog": None} and entry["won"] == {"cat": [], "dog": []}


def test_samples_without_classes_make_one_graph() -> None:
    found = explained(net(n_outputs=1), small_probe(targets=torch.linspace(0, 1, 6)))
    (graph,) = class_graphs(found, "class")
    assert (graph["title"], graph["class"]) == (ALL, None)
    assert found.classes[0].graph.output == pytest.approx(float(net(n_outputs=1)(X).detach().mean()), abs=1e-6)


def test_the_table_ranks_units_by_name_and_counts_the_changes() -> None:
    found = explained(probe=small_probe(class_names=["c|t", "dog"]))
    change = PathChange(won=(("a", "b"), ("a", "c")), lost=(("b", "c"),), n_kept=1)
    changed = dataclasses.replace(
        found, classes=tuple(dataclasses.replace(path, change=change) for path in found.classes)
    )
    lines = ranking_table(changed).splitlines()
    assert lines[0].startswith("| rank | ") and lines[0].endswith(" | dog |") and " c|t " not in lines[0]
    dog = found.classes[1].graph
    second = dog.ranked[1]
    assert f"({second.contribution:+.2g})" in lines[2].split(" | ")[-1]
    assert lines[2].startswith("| 1 | ") and lines[1 + TABLE_ROWS].startswith(f"| {TABLE_ROWS} | ")
    assert lines[-1] == "| dog | 2 | 1 | 1 | 0.75 |"
    assert "edges won" not in ranking_table(found)


def test_classes_of_one_name_have_entries_of_their_own() -> None:
    found = explained()
    cat, dog = found.classes
    twins = tuple(dataclasses.replace(each, group=dataclasses.replace(each.group, name="cat")) for each in (cat, dog))
    record = path_record(dataclasses.replace(found, classes=twins), small_probe(), options=options())
    assert list(record["turnover"]) == list(record["ranked"]) == ["cat (class 0)", "cat (class 1)"]
    assert record["paths"]["cat (class 1)"] == path_record(found, small_probe(), options=options())["paths"]["dog"]
