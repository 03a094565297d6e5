"""Weights of a checkpoint loaded into a module, as Lightning does."""

from typing import Any

import pytest
import torch
from torch import nn

from lightning_explain import AttributionMonitor, IntegratedGradients
from lightning_explain.replaying.trainer_hooks import Loading, load_weights
from lightning_explain.weights.checkpoint_file import UnusableCheckpointError


class Net(nn.Linear):
    """A module with a loading hook, which a LightningModule has."""

    strict_loading = True

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.heard: list[Any] = []

    def on_load_checkpoint(self, content: dict[str, Any]) -> None:
        self.heard.append(content)


def test_weights_are_loaded_into_the_modules_own_tensors_also_in_inference_mode() -> None:
    net, other = Net(), nn.Linear(2, 2)
    weight = net.weight
    with torch.inference_mode():
        load_weights(net, {"state_dict": other.state_dict()})
    assert net.weight is weight and torch.equal(weight, other.weight) and not weight.is_inference()
    assert net.heard == []  # a file without a Lightning version is none of its checkpoints


def test_the_modules_hook_sees_checkpoints_of_lightning_and_may_change_them() -> None:
    net = Net()
    net.on_load_checkpoint = lambda content: content["state_dict"].pop("old")
    content = {"pytorch-lightning_version": "2.5", "state_dict": {**nn.Linear(2, 2).state_dict(), "old": torch.ones(1)}}
    load_weights(net, content)
    assert torch.equal(net.bias, content["state_dict"]["bias"])


def test_weights_that_do_not_fit_are_named() -> None:
    with pytest.raises(UnusableCheckpointError, match="^it does not fit Net: .*weight.*bias") as refusal:
        load_weights(Net(), {"state_dict": {"elsewhere": torch.ones(1)}})
    assert "\n" not in str(refusal.value)
    net = Net()
    net.strict_loading = False
    load_weights(net, {"state_dict": {"bias": torch.ones(2)}})
    assert net.bias.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("baseline", "train_data", "needed"), [("zeros", False, False), ("train_mean", False, True), ("zeros", True, True)]
)
def test_training_data_are_set_up_only_for_what_asks_for_them(baseline: str, train_data: bool, needed: bool) -> None:
    monitor = AttributionMonitor(method=IntegratedGradients(n_steps=2, baseline=baseline))
    assert Loading([monitor], None, train_data=train_data)._needs_training_data is needed
