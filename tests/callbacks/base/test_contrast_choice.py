import pytest
import torch

from lightning_explain import Probe
from lightning_explain.callbacks.base.contrast_choice import check_contrasts, chosen_contrast, named_class
from lightning_explain.errors import ConfigurationError

NAMES = ("cat", "dog", "5")
SCORES = torch.tensor([[0.0, 1.0, 2.0], [9.0, 1.0, 3.0]])
TARGET = torch.tensor([0, 1])


def probe(**options):
    return Probe(inputs=torch.zeros(2, 4), targets=TARGET, **options)


def test_a_name_goes_before_an_index():
    assert named_class("5", probe(class_names=NAMES)) == 2
    assert named_class("1", probe()) == 1
    assert named_class(1, probe(class_names=NAMES)) == 1
    assert named_class("strongest", probe()) == "strongest"


def test_samples_of_the_named_class_get_their_strongest_other_and_that_is_said():
    classes, note = chosen_contrast("dog", probe(class_names=NAMES), TARGET, SCORES)
    assert classes.tolist() == [1, 0]
    assert "1 of 2 probe samples" in note
    classes, note = chosen_contrast("5", probe(class_names=NAMES), TARGET, SCORES)
    assert (classes.tolist(), note) == ([2, 2], "")


def test_the_strongest_and_a_class_for_each_sample():
    assert chosen_contrast("strongest", probe(), TARGET, SCORES)[0].tolist() == [2, 0]
    assert chosen_contrast(torch.tensor([2, 2]), probe(), TARGET, SCORES)[0].tolist() == [2, 2]


REFUSED = {
    "unknown name": ("bird", TARGET, "contrast='bird' names no class: the classes are cat, dog, 5"),
    "single output": ("strongest", None, "single output"),
    "one sample short": (torch.tensor([2]), TARGET, r"LongTensor \[2\]"),
    "itself": (torch.tensor([0, 2]), TARGET, r"samples \[0\]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_explanation_can_have_is_refused_before_training(case):
    contrast, target, words = REFUSED[case]
    with pytest.raises(ConfigurationError, match=words):
        check_contrasts([None, contrast], probe(class_names=NAMES), target, SCORES)


@pytest.mark.parametrize("contrast", [3, "7", torch.tensor([2, 3])])
def test_a_class_beyond_the_outputs_is_refused(contrast):
    with pytest.raises(ConfigurationError, match="beyond the model's 3 outputs"):
        check_contrasts([contrast], probe(), TARGET, SCORES)
