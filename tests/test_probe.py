"""The probe: frozen samples, checked on the way in, the same after a checkpoint."""

from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_explain.errors import ConfigurationError
from lightning_explain.probe import Probe


def images(n_samples: int = 4, channels: int = 3) -> Tensor:
    return torch.rand(n_samples, channels, 5, 6, generator=torch.Generator().manual_seed(0))


def full(**options: Any) -> Probe:
    parts = {
        "inputs": (images(), torch.rand(4, 2)),
        "targets": torch.tensor([0, 1, 0, 1]),
        "class_names": ["cat", "dog"],
        "masks": torch.ones(5, 6),
        "indices": (3, 1, 4, 0),
    }
    return Probe(**(parts | options))


def test_a_probe_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        full().targets = None  # type: ignore[misc]


def test_changing_the_given_tensors_later_changes_nothing() -> None:
    given = {"inputs": images(), "targets": torch.tensor([0, 1, 1, 0]), "masks": torch.ones(5, 6)}
    probe = Probe(**given)
    before = probe.fingerprint
    for tensor in given.values():
        tensor.zero_()
    assert probe.fingerprint == before
    assert probe.masks is not None and bool((probe.masks == 1).all())


def test_the_probe_is_detached_from_any_graph() -> None:
    probe = Probe(inputs=images().requires_grad_() * 2)
    assert not probe.parts[0].requires_grad


def test_labels_of_every_form_become_class_indices() -> None:
    one_hot = Probe(inputs=images(2), targets=torch.tensor([[0, 1], [1, 0]]))
    column = Probe(inputs=images(2), targets=torch.tensor([[1.0], [0.0]]))
    for probe in (one_hot, column):
        assert probe.labels is not None and probe.labels.tolist() == [1, 0]
        assert probe.targets is not None and probe.targets.dtype == torch.int64


def test_regression_keeps_its_values_and_has_no_labels() -> None:
    probe = Probe(inputs=images(2), targets=torch.tensor([0.5, -2.0]))
    assert probe.labels is None
    assert probe.targets is not None and probe.targets.tolist() == [0.5, -2.0]


def test_classes_without_a_name_are_called_by_number() -> None:
    assert [full().class_name(index) for index in (0, 1, 2)] == ["cat", "dog", "2"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": torch.zeros(0, 3)}, "The probe is empty"),
        ({"inputs": ()}, "The probe is empty"),
        ({"inputs": torch.tensor(1.0)}, "The probe is empty"),
        ({"inputs": (images(4), torch.rand(3, 2))}, r"different numbers of samples: \[3, 4\]"),
        ({"targets": torch.tensor([0, 1])}, "4 inputs but 2 targets"),
        ({"targets": torch.tensor(1)}, "4 inputs but"),
        ({"targets": torch.tensor([0, 1, 2, -100])}, "class index -100; expected 0 or more"),
        ({"targets": torch.tensor([0, 1, 2, 1])}, "class index 2, but class_names has only 2 names: cat, dog"),
        ({"feature_names": ["a", "b", "c"]}, "feature_names has 3 names, but a probe sample has 90 and 2 features"),
    ],
)
def test_parts_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        full(**{"masks": None} | options)


@pytest.mark.parametrize(
    ("shape", "becomes"),
    [
        ((5, 6), (1, 1, 5, 6)),
        ((3, 5, 6), (1, 3, 5, 6)),
        ((4, 5, 6), (4, 1, 5, 6)),
        ((1, 5, 6), (1, 1, 5, 6)),
        ((4, 3, 5, 6), (4, 3, 5, 6)),
        ((4, 1, 5, 6), (4, 1, 5, 6)),
        ((1, 1, 5, 6), (1, 1, 5, 6)),
    ],
)
def test_a_mask_is_for_all_samples_or_one_each(shape: tuple[int, ...], becomes: tuple[int, ...]) -> None:
    masks = torch.rand(shape) > 0.5
    probe = Probe(inputs=images(), masks=masks)
    assert probe.masks is not None and probe.masks.dtype == torch.float32
    assert probe.masks.shape == becomes
    torch.testing.assert_close(probe.masks.flatten(), masks.float().flatten())


@pytest.mark.parametrize(("shape", "becomes"), [((5,), (1, 5)), ((4, 5), (4, 5)), ((1, 5), (1, 5))])
def test_a_mask_of_features(shape: tuple[int, ...], becomes: tuple[int, ...]) -> None:
    masks = torch.rand(shape) > 0.5
    probe = Probe(inputs=torch.rand(4, 5), masks=masks)
    assert probe.masks is not None and torch.equal(probe.masks, masks.float().reshape(becomes))


@pytest.mark.parametrize(
    "shape", [(6, 5), (2, 5, 6), (5, 5, 6), (4, 2, 5, 6), (3, 3, 5, 6), (4, 3, 5, 5), (1, 1, 1, 5, 6)]
)
def test_a_mask_that_does_not_fit_is_refused_with_what_would(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Probe(inputs=images(), masks=torch.ones(shape))
    message = str(refusal.value)
    assert str(list(shape)) in message and "[4, 3, 5, 6]" in message and "[5, 6]" in message


def test_a_mask_that_could_be_by_sample_or_by_channel_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"\[3, 5, 6\].*\[3, 1, 5, 6\].*\[1, 3, 5, 6\]"):
        Probe(inputs=images(3), masks=torch.ones(3, 5, 6))


def test_a_probe_survives_a_checkpoint(tmp_path: Path) -> None:
    probe = full()
    torch.save(probe.state_dict(), tmp_path / "probe.pt")
    again = Probe.from_state_dict(torch.load(tmp_path / "probe.pt", weights_only=True))
    assert again.fingerprint == probe.fingerprint
    assert (again.class_names, again.feature_names, again.indices) == (("cat", "dog"), (), (3, 1, 4, 0))
    assert isinstance(again.inputs, tuple) and len(again.inputs) == 2
    for mine, theirs in zip(
        (*probe.parts, probe.targets, probe.masks), (*again.parts, again.targets, again.masks), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_a_probe_of_one_tensor_survives_as_one_tensor() -> None:
    probe = Probe(inputs=torch.rand(2, 3), feature_names=["a", "b", "c"])
    again = Probe.from_state_dict(probe.state_dict())
    assert isinstance(again.inputs, Tensor)
    assert again.feature_names == ("a", "b", "c")
    assert again.targets is None and again.masks is None


def test_the_fingerprint_is_that_of_the_samples() -> None:
    one = Probe(inputs=images(), targets=torch.tensor([0, 1, 0, 1]))
    same = Probe(inputs=images(), targets=torch.tensor([0, 1, 0, 1]), class_names=["a", "b"], indices=(1, 2, 3, 4))
    assert one.fingerprint == same.fingerprint
    others = [
        Probe(inputs=images(), targets=torch.tensor([1, 1, 0, 1])),
        Probe(inputs=images()),
        Probe(inputs=images().flip(0), targets=torch.tensor([0, 1, 0, 1])),
        Probe(inputs=images().reshape(4, 3, 6, 5), targets=torch.tensor([0, 1, 0, 1])),
        Probe(inputs=images().double(), targets=torch.tensor([0, 1, 0, 1])),
    ]
    assert len({probe.fingerprint for probe in (one, *others)}) == len(others) + 1


def test_the_fingerprint_does_not_mind_memory_layout_or_type() -> None:
    plain = Probe(inputs=images())
    assert Probe(inputs=images().to(memory_format=torch.channels_last)).fingerprint == plain.fingerprint
    for dtype in (torch.bfloat16, torch.float16, torch.uint8, torch.bool):
        assert len(Probe(inputs=images().to(dtype)).fingerprint) == 16
