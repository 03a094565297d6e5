"""How samples are shown, told by their form or by what the user says."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_explain import Display, Probe
from lightning_explain.display import is_mask
from lightning_explain.errors import ConfigurationError
from lightning_explain.render.modalities import form_of, recognised
from lightning_explain.render.modality import spread_rows
from lightning_explain.render.shown_inputs import shown_inputs


@pytest.mark.parametrize(
    ("shape", "form"),
    [
        ((2, 4, 96), "signal"), ((2, 96, 4), "signal"), ((2, 1, 8000), "signal"), ((2, 1, 31), "table"),
        ((2, 16, 64), "signal"), ((2, 17, 80), "image"), ((2, 28, 28), "image"), ((2, 9, 31), "image"),
        ((2, 8000), "table"), ((2, 3, 1, 1), "table"), ((2, 5, 8, 8), "image"), ((2, 1, 4, 4, 4), None), ((2,), None),
    ],
)  # fmt: skip
def test_the_form_follows_from_the_shape(shape: tuple[int, ...], form: str | None) -> None:
    assert recognised(torch.zeros(shape)) == form


def test_integers_are_tokens_and_a_choice_is_obeyed() -> None:
    ids = torch.tensor([[1, 2], [3, 0]])
    assert recognised(ids) == "tokens"
    assert form_of(Display(form="table"), ids) == "table"
    assert form_of(Display(form="signal"), torch.zeros(2, 8000)) == "signal"
    several = Display(form=[None, "table"])
    assert form_of(several, ids, 0) == "tokens" and form_of(several, torch.zeros(2, 4, 64), 1) == "table"
    assert form_of(several, torch.zeros(2, 4, 64), 2) == "signal"


def test_masks_are_booleans_and_zeros_and_ones() -> None:
    assert is_mask(torch.tensor([[True, False]])) and is_mask(torch.tensor([[1, 0]]))
    assert not is_mask(torch.tensor([[1, 2]])) and not is_mask(torch.tensor([[1.0, 0.0]]))


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_normalisation_is_undone_as_it_was_done(channels: int) -> None:
    raw = torch.rand(4, channels, 6, 6)
    mean, std = torch.rand(channels) + 0.1, torch.rand(channels) + 0.2
    ready = (raw - mean.reshape(-1, 1, 1)) / std.reshape(-1, 1, 1)
    display = Display(mean=mean.tolist(), std=std.tolist())
    torch.testing.assert_close(display.as_seen(ready), raw)
    torch.testing.assert_close(Display(mean=0.25, std=2.0).as_seen(ready[:, 0]), ready[:, 0] * 2 + 0.25)
    assert Display().as_seen(ready) is ready
    torch.testing.assert_close(Display(mean=0.5).as_seen(ready), ready + 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "video"}, "form='video'; expected .*image, signal, table, tokens"),
        ({"form": ["image", "text"]}, "expected .*image, signal"),
        ({"tokens": "abc"}, "a single string"),
        ({"std": 0.0}, "std=0.0; expected positive"),
        ({"std": (0.2, -1.0, 0.2)}, "expected positive"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Display(**options)


def test_a_probe_is_refused_whose_images_have_other_channels() -> None:
    with pytest.raises(ConfigurationError, match="has 3 numbers, but the images have 1 channels"):
        Probe(inputs=torch.zeros(2, 1, 8, 8), display=Display(mean=(0.1, 0.2, 0.3)))


def test_words_come_from_a_list_or_a_callable_else_ids_stand_for_themselves() -> None:
    assert [Display(tokens=["a", "b"]).word(i) for i in (0, 1, 2, -1)] == ["a", "b", "2", "-1"]
    assert Display(tokens={7: "seven"}.__getitem__).word(7) == "seven"
    assert Display().word(7) == "7"


def test_padding_is_left_out_by_id_or_by_mask_but_never_a_whole_text() -> None:
    ids = torch.tensor([[5, 6, 0, 0], [0, 0, 0, 0], [7, 0, 8, 9]])
    (by_id,) = shown_inputs(Probe(inputs=ids, display=Display(padding=0)))
    assert [by_id.places(row) for row in range(3)] == [[0, 1], [0, 1, 2, 3], [0, 2, 3]]
    mask = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]])
    (by_mask,) = shown_inputs(Probe(inputs=(ids, mask)))
    assert [by_mask.places(row) for row in range(3)] == [[0, 1], [0], [0, 1, 2]]
    assert by_mask.index == 0 and by_mask.name == ""


def test_explained_inputs_are_those_that_are_not_carried_along() -> None:
    image, ids, mask = torch.rand(2, 1, 8, 8), torch.tensor([[3, 4], [5, 6]]), torch.ones(2, 2, dtype=torch.bool)
    probe = Probe(inputs=(mask, image, ids), display=Display(input_names=["m", "photo", "words"]))
    assert [(s.index, s.name, s.form) for s in shown_inputs(probe)] == [(1, "photo", "image"), (2, "words", "tokens")]
    assert [(s.index, s.name) for s in shown_inputs(probe, explains_tokens=False)] == [(1, "")]


def test_names_of_features_go_to_the_input_that_has_as_many() -> None:
    probe = Probe(inputs=(torch.rand(2, 1, 8, 8), torch.rand(2, 3)), feature_names=["a", "b", "c"])
    image, table = shown_inputs(probe)
    assert image.feature_names == () and table.feature_names == ("a", "b", "c")
    # a row whose features have names is read as a table, however long
    named = Probe(inputs=torch.rand(2, 1, 40), feature_names=[f"f{i}" for i in range(40)])
    assert shown_inputs(named)[0].form == "table"


def test_how_it_is_shown_is_no_part_of_the_question() -> None:
    inputs = torch.rand(2, 1, 8, 8)
    plain, shown = Probe(inputs=inputs), Probe(inputs=inputs, display=Display(mean=0.5, std=0.5))
    assert plain.fingerprint == shown.fingerprint
    assert "display" not in shown.state_dict()


@pytest.mark.parametrize(
    ("labels", "most", "rows"),
    [
        (None, 3, [0, 1, 2]),
        (torch.tensor([0, 0, 0, 1, 1, 1]), 2, [0, 3]),
        (torch.arange(6), 4, [0, 1, 2, 3]),
        (torch.tensor([1, 0, 1, 0, 1, 0]), 4, [0, 1, 2, 3]),
        (torch.zeros(6, dtype=torch.long), 9, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_shown_samples_are_spread_over_the_classes(labels: Tensor | None, most: int, rows: list[int]) -> None:
    assert spread_rows(labels, 6, most) == rows
