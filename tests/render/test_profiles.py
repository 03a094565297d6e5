import pytest
import torch

from lightning_explain.display import Display
from lightning_explain.probe import Probe
from lightning_explain.render import profiles
from lightning_explain.render.profiles import Profile, by_name, profile_of
from lightning_explain.render.shown_inputs import shown_inputs


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        ((12, 16), (0, 4), "the lower left corner"),
        ((0, 3), (13, 16), "the upper right corner"),
        ((0, 3), (6, 10), "the upper edge"),
        ((7, 9), (0, 2), "the left edge"),
        ((6, 10), (6, 10), "the middle"),
        ((0, 16), (0, 16), "no single place"),
        ((0, 16), (0, 2), "the left edge"),
    ],
)
def test_places_of_an_image_have_names(rows: tuple[int, int], columns: tuple[int, int], words: str) -> None:
    difference = torch.full((16, 16), -0.1)
    difference[slice(*rows), slice(*columns)] = 1.0
    assert Profile(values=torch.zeros(1, 16, 16), size=(28, 28)).where(difference) == words


def test_steps_of_a_signal_are_counted_in_the_signal() -> None:
    difference = torch.zeros(64)
    difference[16:32] = 1.0
    assert Profile(values=torch.zeros(1, 64), size=(640,)).where(difference) == "steps 160 to 320"


def test_features_are_named() -> None:
    profile = Profile(values=torch.zeros(1, 3), names=["age", "height", "sex"], input_name="table")
    assert profile.where(torch.tensor([0.1, 1.0, 0.9])) == "“height” and “sex” of table"


def test_words_are_added_up_wherever_they_stand() -> None:
    ids = torch.tensor([[5, 6, 5, 0], [6, 5, 0, 0], [6, 5, 7, 5], [5, 6, 7, 0]])
    probe = Probe(inputs=ids, display=Display(tokens={0: "<pad>", 5: "five", 6: "six", 7: "seven"}, padding=0))
    (shown,) = shown_inputs(probe)
    heat = torch.arange(16.0).reshape(4, 4)
    profile = profile_of(shown, heat[:1], heat)
    assert list(profile.names) == ["five", "six"]  # seven is in two texts only
    assert profile.values.tolist() == [[2.0, 1.0], [5.0, 4.0], [20.0, 8.0], [12.0, 13.0]]


def test_images_are_pooled_and_tables_are_not() -> None:
    (image,) = shown_inputs(Probe(inputs=torch.rand(2, 1, 64, 64)))
    heat = torch.rand(2, 64, 64)
    assert profile_of(image, torch.rand(1, 1, 64, 64), heat).values.shape == (2, 32, 32)
    (table,) = shown_inputs(Probe(inputs=torch.rand(2, 100), feature_names=[f"f{i}" for i in range(100)]))
    profile = profile_of(table, torch.rand(1, 100), torch.rand(2, 100))
    assert profile.values.shape == (2, 100)
    assert profile.names[7] == "f7"


def test_rare_names_are_left_out() -> None:
    table, names = by_name(
        [
            ["a"],
            ["a"],
            ["a"],
            [
                "a",
            ][:1],
            ["b"],
        ],
        torch.ones(5, 1),
        [[0]] * 5,
    )
    assert names == ["a"]
    assert table.shape == (5, 1)


def test_names_of_most_relevance_are_kept_whatever_its_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "MOST_NAMES", 1)
    heat = torch.tensor([[9.0, -9.0, 1.0]] * 4 + [[-9.0, 9.0, 1.0]] * 4)
    assert by_name([["a", "a", "b"]] * 8, heat * torch.tensor([1.0, 0.0, 1.0]), [[0, 1, 2]] * 8)[1] == ["a"]
