"""Input, target, output and class labels in batches of every form."""

from collections import OrderedDict, UserDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from lightning_explain.batches import (
    INPUT_KEYS,
    OUTPUT_KEYS,
    TARGET_KEYS,
    class_labels,
    describe,
    fields_of,
    input_of,
    label_form,
    label_oddities,
    labels_as,
    output_of,
    score_candidates,
    select,
    target_of,
    two_dimensional,
)
from lightning_explain.errors import ConfigurationError

X, Y = torch.rand(3, 2), torch.tensor([0, 1, 2])


class ReadOnly(Mapping[str, Any]):
    """A mapping that is no dict."""

    def __init__(self, **parts: Any) -> None:
        self._parts = parts

    def __getitem__(self, key: str) -> Any:
        return self._parts[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


class ModelOutput(OrderedDict[str, Any]):
    """As in transformers: a dict whose keys are attributes too, indexed by number as well."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(name)


@dataclass
class Sample:
    image: Tensor
    label: Tensor


class Pair(NamedTuple):
    image: Any
    label: Any


class Plain:
    """An object with attributes and nothing else."""

    def __init__(self) -> None:
        self.image, self.label = X, Y


BATCHES = {
    "tuple": (X, Y),
    "list": [X, Y],
    "dict": {"image": X, "label": Y},
    "capitals": {"Image": X, "LABEL": Y},
    "with more": {"id": torch.zeros(3), "pixel_values": X, "labels": Y},
    "OrderedDict": ModelOutput(pixel_values=X, labels=Y),
    "Mapping": ReadOnly(x=X, y=Y),
    "UserDict": UserDict(input=X, target=Y),
    "dataclass": Sample(X, Y),
    "named tuple": Pair(X, Y),
    "named tuple in another order": NamedTuple("Turned", [("label", Any), ("image", Any)])(Y, X),
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
def test_input_and_target_are_found_by_name_or_place(batch: Any) -> None:
    assert input_of(batch) is X
    assert target_of(batch) is Y


def test_a_bare_tensor_is_input_without_target() -> None:
    assert input_of(X) is X
    assert target_of(X) is None
    assert input_of([X]) is X
    assert target_of((X,)) is None


@pytest.mark.parametrize("key", INPUT_KEYS)
def test_every_input_key_works(key: str) -> None:
    assert input_of({"other": Y, key: X}) is X


@pytest.mark.parametrize("key", TARGET_KEYS)
def test_every_target_key_works(key: str) -> None:
    assert target_of({"other": X, key: Y}) is Y


def test_a_key_that_holds_none_is_passed_over() -> None:
    assert input_of({"image": None, "x": X}) is X
    assert target_of({"label": None, "targets": Y}) is Y


def test_several_inputs_are_explained_together() -> None:
    assert input_of(((X, Y), Y)) == (X, Y)
    assert input_of([[X, X], Y]) == (X, X)
    assert input_of({"x": [X, X]}) == (X, X)


@pytest.mark.parametrize(
    "batch",
    [
        (X, X, Y),
        {"a": X, "b": Y},
        ((), Y),
        ([X, "name"], Y),
        ({"x": X}, Y),
        "words",
        None,
        {},
        (),
        torch.utils.data.TensorDataset(X),
    ],
)
def test_a_batch_of_unknown_form_is_refused_with_its_form_and_the_way_out(batch: Any) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        input_of(batch)
    message = str(refusal.value)
    assert describe(batch) in message
    assert "pixel_values" in message and "input=0" in message and "lambda batch" in message


def test_a_target_of_unknown_place_is_none_and_not_a_guess() -> None:
    assert target_of((X, X, Y)) is None
    assert target_of({"a": X, "b": Y}) is None
    assert target_of((X, ["cat", "dog"])) is None


@pytest.mark.parametrize(
    ("batch", "selector"),
    [
        ((Y, X, Y), 1),
        ((Y, Y, X), -1),
        ([Y, X], 1),
        ({"mine": X}, "mine"),
        ({1: X}, 1),
        ({1: X}, "1"),
        (ReadOnly(mine=X), "mine"),
        (Sample(X, Y), "image"),
        (Pair(X, Y), 0),
        (Pair(X, Y), "image"),
        (Plain(), "image"),
        (ModelOutput(mine=X), "mine"),
        ({"deep": {"er": (X,)}}, lambda batch: batch["deep"]["er"][0]),
    ],
)
def test_a_selector_of_any_kind_finds_its_part(batch: Any, selector: int | str | Callable[..., Any]) -> None:
    assert select(batch, selector, option="input") is X
    assert input_of(batch, selector) is X
    assert target_of(batch, selector) is X
    assert output_of(batch, selector) is X


@pytest.mark.parametrize(
    ("batch", "selector"),
    [
        ((X, Y), 2),
        ((X, Y), "image"),
        ({"x": X}, 0),
        ({"x": X}, "y"),
        (Sample(X, Y), 0),
        (Sample(X, Y), "mask"),
        (Plain(), "mask"),
        (Plain(), 0),
        (3, 0),
    ],
)
@pytest.mark.parametrize(("find", "option"), [(input_of, "input"), (target_of, "target"), (output_of, "output")])
def test_a_selector_that_finds_nothing_is_refused_by_name(
    batch: Any, selector: int | str, find: Callable[..., Any], option: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        find(batch, selector)
    assert f"{option}={selector!r} names nothing in {describe(batch)}" in str(refusal.value)
    assert f"Give {option}=" in str(refusal.value)


def test_a_selector_that_leads_to_no_tensor_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"target='name' leads to str in dict\(name=str\), not to a tensor"):
        target_of({"name": "cat"}, "name")
    with pytest.raises(ConfigurationError, match="No input found"):
        input_of({"name": "cat"}, "name")
    with pytest.raises(ConfigurationError, match="no score tensor"):
        output_of({"name": Y}, "name")


@pytest.mark.parametrize(
    "output",
    [
        X,
        (X, Y),
        [None, X],
        (torch.tensor(0.5), X),
        (Y, X),
        {"loss": torch.tensor(0.5), "logits": X},
        ModelOutput(loss=torch.tensor(1.0), logits=X, hidden_states=(X + 1,)),
        ReadOnly(preds=X),
        Pair(torch.tensor(0.5), X),
        NamedTuple("Inception", [("logits", Any), ("aux_logits", Any)])(X, X + 1),
    ],
)
def test_scores_are_found_in_an_output_of_any_form(output: Any) -> None:
    assert output_of(output) is X


@pytest.mark.parametrize("key", OUTPUT_KEYS)
def test_every_output_key_works(key: str) -> None:
    assert output_of({"hidden": X + 1, key: X}) is X


@pytest.mark.parametrize(
    "output", [Y, torch.tensor(0.5), None, "words", {"a": X}, (Y,), (torch.tensor(0.5),), {"logits": Y}, 3.0]
)
def test_an_output_without_scores_is_refused(output: Any) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        output_of(output)
    assert describe(output) in str(refusal.value) and "output='logits'" in str(refusal.value)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool])
def test_integers_are_classes(dtype: torch.dtype) -> None:
    found = class_labels(torch.tensor([0, 1, 1]).to(dtype))
    assert found is not None and found.dtype == torch.int64
    assert found.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("target", "labels"),
    [
        (torch.tensor([[0], [3]]), [0, 3]),
        (torch.tensor([[0.0], [1.0]]), [0, 1]),
        (torch.tensor([0.0, 1.0, 1.0]), [0, 1, 1]),
        (torch.tensor([[0, 1, 0], [1, 0, 0]]), [1, 0]),
        (torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]), [2, 1]),
        (torch.tensor([1, -100, 0]), [1, -100, 0]),
    ],
)
def test_targets_that_mean_classes(target: Tensor, labels: list[int]) -> None:
    found = class_labels(target)
    assert found is not None
    assert found.tolist() == labels


@pytest.mark.parametrize(
    "target",
    [
        None,
        torch.tensor(1),
        torch.tensor([0.0, 2.0]),
        torch.tensor([0.2, 1.0]),
        torch.tensor([[0.5], [1.0]]),
        torch.tensor([[0.5, 0.5], [0.1, 0.9]]),
        torch.tensor([[1, 1, 0], [1, 0, 0]]),
        torch.tensor([[0, 0], [1, 0]]),
        torch.tensor([[2, -1], [1, 0]]),
        torch.zeros(2, 4, 4, dtype=torch.long),
        torch.tensor([]),
        torch.tensor([torch.nan, 1.0]),
    ],
)
def test_targets_that_mean_no_classes(target: Tensor | None) -> None:
    assert class_labels(target) is None


@pytest.mark.parametrize(
    ("target", "form", "labels", "oddities"),
    [
        (torch.tensor([3, 0]), "index", [3, 0], (False, False)),
        (torch.tensor([[3], [0]]), "index", [3, 0], (False, False)),
        (torch.tensor([0.0, 1.0]), "binary", [0, 1], (False, False)),
        (torch.tensor([0.2, 1.0]), "binary", [0, 1], (True, False)),
        (torch.tensor([0.2, 1.5]), "binary", [0, 0], (True, True)),
        (torch.tensor([torch.nan, 1.0]), "binary", [0, 1], (True, True)),
        (torch.tensor([[0, 1], [1, 0]]), "one-hot", [1, 0], (False, False)),
        (torch.tensor([[False, True], [True, False]]), "one-hot", [1, 0], (False, False)),
        (torch.tensor([[0.3, 0.7], [1.0, 0.0]]), "one-hot", [1, 0], (True, False)),
        (torch.tensor([[1.0, 1.0], [1.0, 0.0]]), "one-hot", [0, 0], (True, True)),
        (torch.tensor([[0.0, 0.0], [1.0, 0.0]]), "one-hot", [0, 0], (True, True)),
        (torch.tensor([[2.0, -1.0], [1.0, 0.0]]), "one-hot", [0, 0], (True, True)),
    ],
)
def test_labels_are_read_by_their_form_and_what_speaks_against_them_is_noted(
    target: Tensor, form: Any, labels: list[int], oddities: tuple[bool, bool]
) -> None:
    assert label_form(target) == form
    assert labels_as(form, target).tolist() == labels
    assert tuple(label_oddities(form, target).tolist()) == oddities


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((3, 1, 4), (3, 4)), ((3, 4, 1), (3, 4)), ((3, 4, 1, 1), (3, 4)), ((3, 1, 1), (3, 1)), ((1, 1, 4), (1, 4))]
    + [(same, same) for same in ((3,), (3, 4), (3, 2, 4), (3, 1, 4, 4), (0, 1, 4))],
)
def test_dimensions_of_one_element_are_no_maps(shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    values = torch.rand(shape)
    assert torch.equal(two_dimensional(values), values.reshape(wanted))
    if len(shape) > 0 and 0 not in shape:
        assert torch.equal(output_of(values), values.reshape(wanted))


def test_of_several_tensors_none_is_guessed() -> None:
    with pytest.raises(ConfigurationError, match=r"nothing indicates which .* output="):
        output_of((X, X + 1))
    assert output_of((X, X + 1), 1).equal(X + 1)
    assert score_candidates((X, Y, X + 1)).keys() == {0, 2}
    assert score_candidates({"hidden": X, "logits": X + 1}).keys() == {"logits"}


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (X, "Tensor[3, 2]"),
        ((X, Y), "tuple(Tensor[3, 2], Tensor[3])"),
        ([X, "a", 3], "list(Tensor[3, 2], str, int)"),
        (Sample(X, Y), "Sample(image=Tensor[3, 2], label=Tensor[3])"),
        (Pair(X, None), "Pair(image=Tensor[3, 2], label=NoneType)"),
        ({"a": {"b": X}}, "dict(a=dict(b=Tensor[3, 2]))"),
        (ModelOutput(logits=X), "ModelOutput(logits=Tensor[3, 2])"),
        ((), "tuple()"),
        (torch.tensor(1), "Tensor[]"),
    ],
)
def test_a_batch_is_described_in_one_line(batch: Any, words: str) -> None:
    assert describe(batch) == words


def test_only_parts_with_names_are_fields() -> None:
    assert fields_of((X, Y)) is None
    assert fields_of([X]) is None
    assert fields_of(Sample) is None
    assert fields_of(torch.Size([2])) is None
    assert fields_of({1: X}) == {"1": X}
