"""Pictures of paths, and the words and inputs around them."""

from typing import Any

import pytest
import torch
from torch import nn

from lightning_explain.callbacks.paths import images
from lightning_explain.callbacks.paths.explanation import MOST_CLASSES
from lightning_explain.callbacks.paths.images import path_pictures, picture_of
from lightning_explain.callbacks.paths.path_history import PathHistory
from tests.callbacks.paths.small_explanations import X, explained, net, options, small_probe


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What pictures are drawn of."""
    found: list[dict[str, Any]] = []
    draw = images.path_picture
    monkeypatch.setattr(images, "path_picture", lambda graph, **words: found.append(words) or draw(graph, **words))
    return found


def draw(explanation: Any, probe: Any = None, *, place: int = 0, **changes: Any) -> Any:
    history = PathHistory(caveat="It restarts.")
    history.add(explanation, show="class")
    chosen = options(**changes)
    return picture_of(explanation, probe or small_probe(), history, place=place, options=chosen)


def test_a_class_has_its_score_probability_and_mean_features(drawn: list[dict[str, Any]]) -> None:
    found = explained(epoch=2, step=1234)
    draw(found, place=1)
    (words,) = drawn
    rows = [1, 3, 4, 5]
    scores = net()(X[rows]).detach()
    name, score, probability = words["output_lines"]
    assert (name, score) == ("dog", f"score {float(scores[:, 1].mean()):.3g}")
    share = float(scores.softmax(1)[:, 1].mean())
    assert abs(float(probability.removeprefix("p ").rstrip(" %")) - 100 * share) < 0.6
    assert words["shown"].values == [f"{value:.3g}" for value in X[rows].mean(0).tolist()]
    assert words["title"].startswith("What makes it dog, in epoch 2, at step 1,234 (mean of 4 samples; LRP-epsilon)")
    assert words["title"].endswith("It restarts.")


def test_of_a_sample_its_own_features_are_told(drawn: list[dict[str, Any]]) -> None:
    draw(explained(chosen=options(show="sample")), place=1, show="sample")
    (words,) = drawn
    assert words["shown"].values == [f"{value:.3g}" for value in X[1].tolist()]
    assert "it dog, before training (sample 1 of the probe; " in words["title"]


def test_a_single_output_is_raised_or_lowered(drawn: list[dict[str, Any]]) -> None:
    found = explained(net(n_outputs=1), small_probe())
    draw(found)
    title, lines = drawn[0]["title"], drawn[0]["output_lines"]
    assert "What makes the output for samples of class cat" in title
    assert "Red raises the output, blue lowers it" in title
    assert lines == ["output", f"{float(net(n_outputs=1)(X[[0, 2]]).detach().mean()):.3g}"]


def test_images_are_shown_as_images(drawn: list[dict[str, Any]]) -> None:
    pixels = torch.rand(6, 1, 8, 8)
    probe = small_probe(inputs=pixels, feature_names=())
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    draw(explained(model, probe), probe)
    shown = drawn[0]["shown"]
    assert shown.image is not None and not shown.values
    assert len(shown.boxes) > 1


def test_the_first_classes_are_drawn() -> None:
    n = MOST_CLASSES + 2
    x = torch.rand(n, 3)
    probe = small_probe(inputs=x, targets=torch.arange(n), class_names=())
    history, found = PathHistory(), explained(net(n_outputs=n), probe)
    history.add(found, show="class")
    pictures = path_pictures(found, probe, history, options())
    assert list(pictures) == [str(c) for c in range(MOST_CLASSES)]
    assert not (pictures["0"].shape == pictures["1"].shape and (pictures["0"] == pictures["1"]).all())


def test_what_the_score_loses_without_the_units_is_reported(drawn: list[dict[str, Any]]) -> None:
    found = explained(chosen=options(ablation=True))
    draw(found)
    lost = found.classes[0].ablation
    assert lost is not None
    words = drawn[0]["title"]
    assert "Without the units drawn the score loses" in words and f"{100 * abs(lost.drawn):.0f} %" in words
