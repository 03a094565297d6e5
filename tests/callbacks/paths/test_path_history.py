"""What a path monitor remembers: edges to compare with, places in pictures, and both through a checkpoint."""

from pathlib import Path

import pytest
import torch

from lightning_explain.callbacks.paths.path_history import PathHistory
from lightning_explain.errors import ExplanationError
from tests.callbacks.paths.small_explanations import explained, net


def test_edges_are_compared_with_those_of_the_explanation_before() -> None:
    history, first, second = PathHistory(), explained(net(1)), explained(net(2))
    assert history.change(0, first.classes[0].graph) is None
    history.add(first, show="class")
    for place, found in enumerate(second.classes):
        now, then = set(found.graph.single_edges), set(first.classes[place].graph.single_edges)
        change = history.change(place, found.graph)
        assert change is not None and now != then
        assert change.turnover == pytest.approx(1 - len(now & then) / len(now | then))
    same = history.change(0, first.classes[0].graph)
    assert same is not None and same.turnover == 0 and history.count == 1
    history.add(second, show="class")
    assert history.edges[0] == sorted(second.classes[0].graph.single_edges) and history.count == 2


def test_units_keep_their_places_in_pictures() -> None:
    history = PathHistory()
    history.add(explained(net(1)), show="class")
    slots = history.slots[1]
    history.add(explained(net(2)), show="class")
    for layer, units in history.slots[1].items():
        both = {unit for unit in units if unit is not None} & {unit for unit in slots[layer] if unit is not None}
        assert all(units.index(unit) == slots[layer].index(unit) for unit in both)


def test_a_checkpoint_loads_without_pickle_and_goes_on(tmp_path: Path) -> None:
    history = PathHistory(target=torch.tensor([0, 1]), caveat="It restarts.", probe="abc")
    history.add(explained(), show="class")
    torch.save(history.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    again = PathHistory.from_state_dict(state)
    assert again.target is not None and again.target.tolist() == [0, 1]
    assert (again.count, again.edges, again.slots) == (1, history.edges, history.slots)
    assert (again.caveat, again.probe) == ("It restarts.", "abc")
    # those of earlier versions have neither
    older = {key: value for key, value in state.items() if key not in ("caveat", "probe", "blocks")}
    # and drew other edges, which are not compared
    assert PathHistory.from_state_dict(older).change(0, explained().classes[0].graph) is None
    assert again.change(0, explained().classes[0].graph) is not None
    assert (PathHistory.from_state_dict(older).caveat, PathHistory.from_state_dict(older).probe) == ("", "")


def test_another_number_of_samples_is_refused() -> None:
    history = PathHistory(target=torch.zeros(7, dtype=torch.long))
    history.check(7)
    PathHistory().check(3)
    with pytest.raises(ExplanationError, match="paths of 7 samples, its probe has 6"):
        history.check(6)
