"""Counts where labels cannot be looked at in a step: the same, for as many classes as room was made for."""

from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from lightning_explain import ActiveNeuronMonitor
from lightning_explain.callbacks.neurons.counting import class_room, stage_counts
from lightning_explain.callbacks.neurons.counting.class_room import LEAST_ROOM, HighestLabel, expected_classes
from lightning_explain.errors import ExplanationWarning
from tests.training import fit

X, LABELS = torch.randn(48, 6, generator=torch.Generator().manual_seed(0)), torch.arange(48) % 7


class Net(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 7))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1], ignore_index=-1)

    def validation_step(self, batch: Any) -> None:
        self(batch[0])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat labels as if they were on an accelerator."""
    monkeypatch.setattr(stage_counts, "without_wait", lambda _: None)


def counted(labels: Tensor, **options: Any) -> ActiveNeuronMonitor:
    monitor = ActiveNeuronMonitor(feeding=0, maps=0, on_error="raise", **options)
    loader = DataLoader(TensorDataset(X, labels), batch_size=5)
    fit(monitor, model=Net, data=(loader, loader), max_epochs=2, num_sanity_val_steps=0)
    return monitor


@pytest.mark.parametrize("labels", [LABELS, LABELS.roll(3) - 1, LABELS.clamp(max=3)])
@pytest.mark.parametrize("options", [{}, {"class_names": list("abcdefg")}, {"by": "prediction"}], ids=str)
def test_counts_are_the_same_without_a_look_at_labels(
    labels: Tensor, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = counted(labels, **options)
    unseen(monkeypatch)
    blind = counted(labels, **options)
    for stage, layers in seen.profiles.items():
        for layer, profile in layers.items():
            other = blind.profiles[stage][layer]
            for name in ("rates", "activation", "n_samples", "alive"):
                np.testing.assert_array_equal(getattr(other, name), getattr(profile, name), err_msg=f"{stage} {name}")
    assert blind.class_names == seen.class_names
    for layer, metric in blind.state_dict()["train_counts"].items():
        assert torch.equal(metric["active"], seen.state_dict()["train_counts"][layer]["active"])


def test_classes_beyond_the_room_are_named_and_counted_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    unseen(monkeypatch)
    for name in ("LEAST_ROOM", "WIDEST_HEAD"):
        monkeypatch.setattr(class_room, name, 4)
    monkeypatch.setattr(stage_counts, "LEAST_ROOM", 4)
    monkeypatch.setattr(class_room, "_of_data", lambda _: [])
    monkeypatch.setattr(class_room, "n_classes_of", lambda _: 0, raising=False)
    with pytest.warns(ExplanationWarning, match=r"label 6 was met, while room was made for 4 classes"):
        monitor = counted(LABELS)
    (profile,) = monitor.profiles["train"].values()
    assert profile.n_samples.tolist() == LABELS.bincount().tolist()  # of the second epoch


def test_the_highest_label_is_that_of_all_batches() -> None:
    highest = HighestLabel()
    assert highest.take() is None
    for labels in ([3, 9, -100], [2], [7, 8]):
        highest.add(torch.tensor(labels))
    assert highest.take() == 9 and highest.take() is None


class Named(nn.Module):
    num_classes = 300


def trainer_of(*data: Any) -> Any:
    loaders = [DataLoader(each, batch_size=2) for each in data]
    return type("Trainer", (), {"train_dataloader": loaders[0], "val_dataloaders": loaders[1:]})()


def with_attributes(**attributes: Any) -> TensorDataset:
    dataset = TensorDataset(torch.rand(4, 2))
    vars(dataset).update(attributes)
    return dataset


EVIDENCE: dict[str, tuple[Any, nn.Module, int]] = {
    "nothing": (with_attributes(), nn.ReLU(), LEAST_ROOM),
    "an attribute of the module": (with_attributes(), Named(), 300),
    "its last layer": (with_attributes(), nn.Sequential(nn.Linear(2, 900), nn.Linear(900, 200)), 200),
    "an embedding": (with_attributes(), nn.Linear(2, 4000), LEAST_ROOM),
    "tensors": (TensorDataset(torch.rand(4, 2), torch.tensor([0, 99, 3, 4])), nn.ReLU(), 100),
    "targets": (with_attributes(targets=[0, 700, 1]), nn.ReLU(), 701),
    "targets of a subset": (Subset(with_attributes(targets=torch.tensor([5, 80])), [0]), nn.ReLU(), 81),
    "classes": (with_attributes(classes=[str(i) for i in range(120)]), nn.ReLU(), 120),
    "real targets": (with_attributes(targets=[0.5, 900.0]), nn.ReLU(), LEAST_ROOM),
    "targets that are no classes": (with_attributes(targets=[10**9]), nn.ReLU(), class_room.MOST_CLASSES),
}


@pytest.mark.parametrize(("data", "module", "expected"), EVIDENCE.values(), ids=EVIDENCE.keys())
def test_room_is_made_for_what_data_and_module_speak_of(data: Any, module: nn.Module, expected: int) -> None:
    assert expected_classes(module, trainer_of(with_attributes(), data), 0) == expected
    assert expected_classes(module, trainer_of(data), 5000) == max(5000, expected)
