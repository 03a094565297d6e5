"""Which classes a loss takes for the labels of a batch: the same, others by a rule, or other samples'."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from lightning_explain.callbacks.class_scores.label_use import LabelUse, Relabelling

LABELS = torch.tensor([1, 3, 2, 1, 1, -100])


def scores() -> Tensor:
    return torch.rand(6, 4, generator=torch.Generator().manual_seed(0)).requires_grad_() * 1


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([LABELS], None),
        ([LABELS, LABELS.clone()], None),
        ([(LABELS - 1).clamp_min(-100)], {1: 0, 2: 1, 3: 2}),
        ([torch.tensor([0, 3, 2, 0, 0, -100])], {1: 0, 2: 2, 3: 3}),
        ([LABELS.flip(0)], {}),
        ([LABELS, torch.tensor([3, 1, 2, 1, 1, -100])], {}),
        ([LABELS[:3]], None),
        ([], None),
    ],
)
def test_what_labels_were_taken_for(targets: list[Tensor], expected: dict[int, int] | None) -> None:
    nodes: set[Any] = {functional.cross_entropy(scores()[: len(target)], target).grad_fn for target in targets}
    found = LabelUse.of(LABELS, [nodes]).compared()
    assert (None if found is None else found.pairs) == expected


def test_what_a_loss_or_a_target_leaves_out_is_no_label() -> None:
    labels = LABELS.clamp_min(0)
    own = torch.where(labels == 2, 255, labels)
    node: Any = functional.cross_entropy(scores(), own, ignore_index=255).grad_fn
    for left_out in (2, 3):
        assert LabelUse.of(torch.where(labels == left_out, -1, labels), [{node}]).compared() is None


def test_signs_are_two_classes_whether_the_loss_tells_or_not() -> None:
    signs = torch.tensor([1, -1, -1, 1, 1, 1])
    node: Any = functional.cross_entropy(scores(), (signs > 0).long()).grad_fn
    found = LabelUse.of(signs, [{node}]).compared()
    assert found == Relabelling({-1: 0, 1: 1})
    found = LabelUse.of(signs, []).compared()
    assert found is not None
    assert "labels are -1 and 1" in found.in_words and found.remedy == "target=lambda batch: (batch[1] > 0).long()"
    assert LabelUse.of(signs.clamp_min(0), []).compared() is None


def test_a_second_view_with_classes_of_its_own_speaks_against_nothing() -> None:
    groups: list[Any] = [{functional.cross_entropy(scores(), y).grad_fn} for y in (LABELS, LABELS.flip(0))]
    assert LabelUse.of(LABELS, groups).compared() is None
    assert LabelUse.of(LABELS, groups[1:]).compared() == Relabelling({})


def test_margins_tell_labels_too_and_what_saves_none_tells_nothing() -> None:
    labels = LABELS.clamp_min(0)
    node: Any = functional.multi_margin_loss(scores(), labels - (labels > 0).long()).grad_fn
    found = LabelUse.of(labels, [{node}]).compared()
    assert found is not None
    assert found.pairs == {0: 0, 1: 0, 2: 1, 3: 2}
    other: Any = scores().sum().grad_fn
    assert LabelUse.of(labels, [{other}]).compared() is None
    assert LabelUse.of(None, [{node}]).compared() is None


def test_gradients_are_the_same_and_two_monitors_may_look() -> None:
    x = scores().detach().requires_grad_()
    (wanted,) = torch.autograd.grad(functional.cross_entropy(x, LABELS), x)
    loss = functional.cross_entropy(x, LABELS)
    node: Any = loss.grad_fn
    for _ in range(2):
        assert torch.equal(LabelUse.of(LABELS, [{node}]).taken[0][0], LABELS)
    assert torch.equal(torch.autograd.grad(loss, x)[0], wanted)


def test_nothing_that_was_checkpointed_runs_again() -> None:
    n_runs = 0

    def part(x: Tensor) -> Tensor:
        nonlocal n_runs
        n_runs += 1
        return functional.cross_entropy(x, LABELS)

    loss: Any = checkpoint(part, scores(), use_reentrant=False)
    assert LabelUse.of(LABELS, [{loss.grad_fn}]).compared() is None
    assert n_runs == 1


def test_other_rules_than_a_shift_name_no_formula() -> None:
    found = Relabelling({0: 2, 1: 0, 2: 1, 3: 3})
    assert found.remedy == "target=lambda batch: ... with the classes of the loss"
    assert found.in_words.endswith("label 2 for class 1, ...")
