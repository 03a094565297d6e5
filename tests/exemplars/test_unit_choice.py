"""The units that matter come first, each with its reason."""

import torch

from lightning_explain.exemplars.unit_choice import choose_units
from lightning_explain.neurons.profile import LayerProfile


def profile(rates: list[list[float]], activation: list[list[float]] | None = None) -> LayerProfile:
    of = torch.tensor(rates)
    mean = of if activation is None else torch.tensor(activation)
    return LayerProfile(of, mean, torch.full((len(of),), 10), of.amax(0) > 0, 0.5, mean.abs().mean(0))


#                    exclusive to 0, shared, dead, exclusive to 1, exclusive to 0, shared
RATES = [[1.0, 0.9, 0.0, 0.1, 0.8, 0.6], [0.1, 0.9, 0.0, 0.9, 0.3, 0.9]]
ALL = torch.ones(6, dtype=torch.bool)


def test_changes_come_first_then_paths_then_each_class_in_turn() -> None:
    before = torch.tensor([False, True, False, False, False, False])
    found = choose_units(
        profile(RATES), most=6, excited=ALL, dead_before=before, on_path=[5, 99], class_names=["a", "b"]
    )
    assert list(found.items()) == [
        (2, "died"), (1, "came to life"), (5, "on a decision path"),
        (0, "exclusive to a"), (3, "exclusive to b"), (4, "exclusive to a"),
    ]  # fmt: skip


def test_the_rest_is_filled_with_the_most_selective() -> None:
    found = choose_units(profile(RATES), most=4, excited=ALL, class_names=["a", "b"])
    assert list(found)[:3] == [0, 3, 4] and found[5] == "selective for b"
    assert choose_units(profile(RATES), most=0, excited=ALL) == {}


def test_what_no_sample_excites_is_left_out_unless_it_died() -> None:
    none = torch.zeros(6, dtype=torch.bool)
    assert choose_units(profile(RATES), most=6, excited=none) == {}
    died = torch.tensor([False] * 6)
    assert choose_units(profile(RATES), most=6, excited=none, dead_before=died) == {2: "died"}


def test_without_classes_the_most_active_are_shown() -> None:
    one = profile([[0.2, 0.9]], [[0.1, 3.0]])
    assert choose_units(one, most=2, excited=ALL[:2]) == {1: "strongly active", 0: "strongly active"}
