"""Hooks inside compiled code round what it keeps in 32 bits: in 16-bit runs they stay outside unless asked for."""

from typing import Any

import pytest
import torch
from torch import nn

from lightning_explain import ActiveNeuronMonitor
from lightning_explain.capture import names_inside_compiled
from tests.models import DigitNet
from tests.training import explanation_warnings, fit


class Compiled(DigitNet):
    """A network of which the part inside runs compiled."""

    def __init__(self, *, wrapped: bool) -> None:
        super().__init__()
        inner = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        if wrapped:
            self.inner: Any = torch.compile(inner, backend="eager")
        else:
            inner.compile(backend="eager")
            self.inner = inner

    def forward(self, x: Any) -> Any:
        return super().forward(self.inner(x.flatten(1)).reshape(x.shape))


@pytest.fixture(autouse=True)
def nothing_compiled_before() -> None:
    # the compiler keeps code by function: that of another test's network would know nothing of this one's hooks
    torch._dynamo.reset()


def counted(module: DigitNet, precision: str, **options: Any) -> tuple[ActiveNeuronMonitor, list[str]]:
    monitor = ActiveNeuronMonitor(feeding=0, maps=0, on_error="raise", **options)
    with explanation_warnings() as told:
        fit(monitor, model=module, max_epochs=1, precision=precision)
    return monitor, told


def in_compiled(monitor: ActiveNeuronMonitor) -> list[str]:
    return [layer for layer in monitor.profiles["val"] if layer.startswith("inner")]


@pytest.mark.parametrize("wrapped", [True, False])
def test_in_16_bits_compiled_code_is_left_alone_and_that_is_said(wrapped: bool):
    module = Compiled(wrapped=wrapped)
    monitor, told = counted(module, "bf16-mixed")
    assert monitor.profiles["val"] and not in_compiled(monitor)
    assert any("inside code that torch.compile made" in words and "name them with layers=" in words for words in told)
    assert not any("never fired" in words for words in told)


def test_in_32_bits_it_is_watched():
    monitor, told = counted(Compiled(wrapped=True), "32-true")
    assert in_compiled(monitor)
    assert not any("torch.compile made" in words for words in told)


def test_what_is_named_is_watched_and_the_price_is_said():
    monitor, told = counted(Compiled(wrapped=True), "bf16-mixed", layers="inner.*")
    assert in_compiled(monitor)
    assert any("may differ in its last bits" in words for words in told)


def test_a_network_compiled_as_a_whole_leaves_nothing_and_goes_on():
    module = DigitNet()
    module.compile(backend="eager")
    monitor, told = counted(module, "bf16-mixed")
    assert monitor.profiles.get("val", {}) == {}
    assert any("so they are not watched" in words for words in told)
    assert names_inside_compiled(module) == {name for name, _ in module.named_modules()}
