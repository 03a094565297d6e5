"""The pictures of a monitor and their words: titles, captions, films, scales, descriptions."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_explain import Display, InputXGradient, Probe
from lightning_explain.attribution import Attribution
from lightning_explain.callbacks.attribution import images
from lightning_explain.callbacks.attribution.explainer import Explanation
from lightning_explain.callbacks.attribution.history import History, Kept
from lightning_explain.callbacks.attribution.images import ONE_OUTPUT, Gallery
from lightning_explain.callbacks.attribution.methods import full_names
from lightning_explain.drift import ComparableExplanation
from lightning_explain.render.modality import Annotations
from lightning_explain.render.page_layout import Panel
from tests.callbacks.attribution.small_comparisons import (
    METHODS,
    VALUES,
    NotingJournal,
    attribution,
    comparison,
    explanation,
    moved,
    small_probe,
)

ONE = {"IG": METHODS["IG"]}
BLANK = np.zeros((1, 1, 3), dtype=np.uint8)


class Drawn:
    """What is asked to be drawn, in order."""

    def __init__(self) -> None:
        self.pictures: list[tuple[list[Panel], Annotations]] = []
        self.films: list[tuple[list[Tensor], Annotations]] = []

    @property
    def title(self) -> str:
        return self.pictures[-1][1].title


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    found = Drawn()

    def listening(into: list[Any]) -> Callable[..., Any]:
        def draw(shown: Any, parts: Any, words: Any) -> Any:
            into.append((list(parts), words))
            return BLANK

        return draw

    monkeypatch.setattr(images, "explanation_picture", listening(found.pictures))
    monkeypatch.setattr(images, "film_picture", listening(found.films))
    return found


def gallery(probe: Probe | None = None, methods: Any = None, history: History | None = None) -> Gallery:
    history = history or History(count=1, target=torch.tensor([0, 0, 1, 1]))
    return Gallery(name="m", probe=probe or small_probe(), methods=methods or ONE, history=history)


def remembered(found: Explanation, into: Gallery) -> None:
    """Add an explanation to films and memories, as a report does."""
    into.remember(found)
    for name, each in found.attributions.items():
        into.history.of(full_names(into.methods)[name]).add(ComparableExplanation.of(each))


def show(into: Gallery, found: Explanation | None = None, **changes: Any) -> NotingJournal:
    found, journal = found or explanation(), NotingJournal()
    remembered(found, into)
    into.show(journal, comparison(found, **changes), epoch=3)
    return journal


def test_the_heatmaps_and_the_first_films_are_logged_under_their_tags(drawn: Drawn) -> None:
    journal = show(gallery())
    assert list(journal.images) == ["explain/m/heatmaps", "explain/m/filmstrip"]
    description = journal.images["explain/m/heatmaps"][1]
    assert "by IG: IntegratedGradients (baseline: zeros)" in description and "Red: speaks for it" in description
    ((panels, words),) = drawn.pictures
    assert [panel.name for panel in panels] == ["IG"] and torch.equal(panels[0].values, VALUES)
    assert words.captions == ["cat (88 %)", "cat (as dog, 73 %)", "dog (88 %)", "dog (95 %)"]
    assert (words.group_names, words.unit) == (["cat", "dog"], "logits")


def test_nothing_is_drawn_where_no_logger_takes_pictures(drawn: Drawn) -> None:
    found, journal = gallery(), NotingJournal(draws=False)
    remembered(explanation(), found)
    found.show(journal, comparison(), epoch=0)
    found.show_all_filmstrips(journal)
    assert journal.images == {} and drawn.pictures == []
    assert len(found.history.memories["IG: IntegratedGradients (baseline: zeros)"].films[0].columns) == 1


def test_the_title_tells_when_by_what_and_how_sure(drawn: Drawn) -> None:
    show(gallery(history=History(count=1)), explanation(step=0))
    assert drawn.title.startswith(
        "What the network looks at before training. IG: IntegratedGradients (baseline: zeros)."
    )
    found = attribution(error=torch.tensor([0.01, 0.02, 0.03, 0.02]))
    drifts = {"IG": {"previous": moved(found, attribution(VALUES.flip(0)))}}
    show(gallery(history=History(count=2, caveat="It restarts.")), explanation(1234, IG=found), drifts=drifts)
    assert drawn.title.startswith("What the network looks at in epoch 3, at step 1,234. IG")
    assert "Estimated error 2.0 % of the attribution (worst 3.0 %). Drift to previous: " in drawn.title
    assert drawn.title.endswith("Drift: It restarts.")


def test_samples_that_miss_the_tolerance_are_marked(drawn: Drawn) -> None:
    missing = attribution(convergence_delta=torch.tensor([0.0, 1.0, 0.0, 0.0]))
    show(gallery(), explanation(IG=missing))
    captions = drawn.pictures[0][1].captions
    assert [caption.startswith("? ") for caption in captions] == [False, True, False, False]
    assert "1 of 4 samples miss the tolerance" in drawn.title


def test_several_methods_have_scales_of_their_own_and_their_agreement(drawn: Drawn) -> None:
    both = explanation(IG=attribution(), IxG=attribution(1000 * VALUES))
    found = gallery(methods=METHODS)
    journal = show(found, both, agreement={("IG", "IxG"): torch.tensor([0.5, 0.5])})
    panels = drawn.pictures[0][0]
    assert [panel.name for panel in panels] == ["IG", "IxG"] and panels[1].scale == 1000 * panels[0].scale == 4000
    assert ", by 2 methods: IG: IntegratedGradients (baseline: zeros); IxG: InputXGradient." in drawn.title
    assert "Agreement (rank correlation): IG and IxG 0.50." in drawn.title
    assert set(journal.images) == {"explain/m/heatmaps", "explain/m/filmstrip", "explain/m/IxG/filmstrip"}


def test_a_first_method_that_failed_leaves_the_others(drawn: Drawn) -> None:
    journal = show(gallery(methods=METHODS), explanation(IxG=attribution()))
    assert [panel.name for panel in drawn.pictures[0][0]] == ["IxG"]
    assert "by IxG: InputXGradient" in journal.images["explain/m/heatmaps"][1]
    assert set(journal.images) == {"explain/m/heatmaps", "explain/m/IxG/filmstrip"}


def kept(values: Tensor) -> Kept:
    found = ComparableExplanation.of(attribution(values))
    return Kept(description="step 3", words="the explanation at step 3", explanation=found)


@pytest.mark.parametrize("methods", [ONE, METHODS])
def test_explanations_to_compare_with_stand_beside_in_the_same_scale(drawn: Drawn, methods: Any) -> None:
    found, now = gallery(methods=methods), attribution()
    memory = found.history.of("IG: IntegratedGradients (baseline: zeros)")
    memory.named["then"] = kept(3 * VALUES)
    show(found, explanation(**dict.fromkeys(methods, now)))
    panels = drawn.pictures[0][0]
    expected = ["now", "then"] if len(methods) == 1 else ["IG", "IG: then", "IxG"]
    assert [panel.name for panel in panels] == expected
    assert panels[0].scale == panels[1].scale == 12  # wide enough for both
    assert torch.equal(panels[1].values, 3 * VALUES)
    assert "(then is the explanation at step 3)" in drawn.title


def test_an_explanation_is_not_set_beside_itself(drawn: Drawn) -> None:
    found, now = gallery(), attribution()
    memory = found.history.of("IG: IntegratedGradients (baseline: zeros)")
    memory.named["then"] = replace(kept(VALUES), explanation=ComparableExplanation.of(now))
    show(found, explanation(IG=now))
    assert [panel.name for panel in drawn.pictures[0][0]] == ["IG"] and "then is" not in drawn.title


def test_films_grow_with_explanations_and_are_drawn_less_and_less_often(drawn: Drawn) -> None:
    found = gallery(history=History(target=torch.tensor([0, 0, 1, 1])))
    drawn_at: list[int] = []
    for count, step in enumerate([0, 629, 1_234, 20_000, 3_000_000]):
        journal = show(found, explanation(step))
        drawn_at += [count] if "explain/m/filmstrip" in journal.images else []
    assert drawn_at == [0, 1, 2, 3]
    journal = NotingJournal()
    found.show_all_filmstrips(journal)  # the fifth has not been drawn yet
    assert list(journal.images) == ["explain/m/filmstrip"]
    frames, words = drawn.films[-1]
    assert words.column_names == ["start", "629", "1.2k", "20k", "3.0M"] and len(frames) == 5
    torch.testing.assert_close(frames[0].float(), torch.stack([VALUES[:2].mean(0), VALUES[2:].mean(0)]))
    assert words.captions == ["cat", "cat", "dog", "dog"] and words.unit == "logits"
    assert "IG: IntegratedGradients (baseline: zeros)" in words.title and "One colour scale for all" in words.title
    show(found, explanation(4_000_000))
    again = NotingJournal()
    found.show_all_filmstrips(again)
    assert again.images == {}  # the sixth was drawn when it came


def test_a_single_output_is_said_to_be_the_same_for_all_classes(drawn: Drawn) -> None:
    found = explanation(scores=torch.tensor([0.5, -0.5, 1.0, 2.0]), IG=attribution(target=None))
    show(gallery(history=History(count=2)), found)
    words = drawn.pictures[0][1]
    assert ONE_OUTPUT in words.title and words.unit == "output" and words.captions[0] == "cat: 0.5"
    assert drawn.films[0][1].unit == "output"
    regression = small_probe(targets=torch.tensor([0.1, 0.2, 0.3, 0.4]))
    show(gallery(regression, history=History(count=2)), found)
    assert ONE_OUTPUT not in drawn.title and drawn.pictures[-1][1].captions[0] == "output 0.5"


def test_inputs_have_pictures_of_their_own_under_their_names(drawn: Drawn) -> None:
    probe = Probe(
        inputs=(torch.rand(4, 3), torch.rand(4, 1, 4, 4)),
        targets=torch.tensor([0, 0, 1, 1]),
        display=Display(input_names=["blood", "scan"]),
    )
    parts = (VALUES, torch.ones(4, 1, 4, 4))
    journal = show(gallery(probe), explanation(IG=attribution(parts)))
    assert set(journal.images) == {
        f"explain/m/{kind}/{name}" for kind in ("heatmaps", "filmstrip") for name in ("blood", "scan")
    }
    assert torch.equal(drawn.pictures[0][0][0].values, VALUES) and torch.equal(drawn.pictures[1][0][0].values, parts[1])
    assert drawn.title.startswith("What the network looks at in scan ")
    assert "probe in scan beside" in journal.images["explain/m/heatmaps/scan"][1]


def test_words_are_written_out_as_a_text(drawn: Drawn) -> None:
    ids = torch.tensor([[1, 2, 3]] * 4)
    probe = Probe(inputs=ids, targets=torch.tensor([0, 0, 1, 1]), display=Display(tokens=["-", "the", "cat", "sat"]))
    methods = {"own": _reads_tokens}
    found = Explanation(
        step=20, scores=torch.rand(4, 2), attributions={"own": attribution()}, faithfulness={}, primary="own"
    )
    journal = show(gallery(probe, methods), found)
    (text,) = journal.texts.values()
    assert list(journal.texts) == ["explain/m/tokens"]
    assert text.startswith("own") and "**bold** supports the explained output" in text
    assert "sat" in text and "**" in text.split("\n\n", 1)[1]


def _reads_tokens(model: Any, inputs: Any, target: Any = None) -> Attribution:
    return InputXGradient()(model, inputs, target)


def test_inputs_that_cannot_be_drawn_are_left_out(drawn: Drawn) -> None:
    probe = small_probe(inputs=torch.rand(4, 3, 4, 4, 4), feature_names=())
    journal = show(gallery(probe), explanation(IG=attribution(torch.rand(4, 3, 4, 4, 4))))
    assert journal.images == {} and drawn.pictures == []
