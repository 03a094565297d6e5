"""Sums of gradient times step at the inputs and at layers, against sums over explicit nodes."""

import pytest
import torch
from torch import Tensor, nn

from lightning_explain.attribution.integrated_gradients.layer_paths import PathSums, Taps, accumulate
from lightning_explain.attribution.integrated_gradients.passes import RowLimit
from lightning_explain.attribution.integrated_gradients.path import StraightPath
from lightning_explain.capture import select_layers, watched
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import explaining
from tests.attribution.nets import drawn, mlp

X = drawn(3, 4)
BASELINE = drawn(1, 4, seed=2)


def summed(net: nn.Module, layers: list[str], *, n_steps: int, rows: int = 100, x: Tensor = X) -> PathSums:
    path = StraightPath(net, (x,), (BASELINE.expand_as(x[:1]),), torch.tensor([0, 1, 0]), RowLimit(rows=rows))
    taps = Taps()
    with explaining(net), watched(select_layers(net, layers), reduce=taps.tap, differentiable=True) as recorder:
        return accumulate(path, recorder, taps, n_steps)


def trapezoids(net: nn.Sequential, start: int, n_steps: int) -> Tensor:
    """Sum over steps of the mean gradient at both ends times the step, at what the modules from `start` on read."""
    total, last = torch.zeros(()), None
    for k in range(n_steps + 1):
        values = net[:start](BASELINE + k / n_steps * (X - BASELINE)).detach().requires_grad_()
        scores = net[start:](values).gather(1, torch.tensor([[0], [1], [0]]))
        (gradient,) = torch.autograd.grad(scores.sum(), values)
        if last is not None:
            total = total + (gradient + last[0]) / 2 * (values.detach() - last[1])
        last = gradient, values.detach()
    return total


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
def test_sums_are_trapezoids_at_inputs_and_layers(rows: int) -> None:
    net = mlp(smooth=True)
    found = summed(net, ["1", "3"], n_steps=4, rows=rows)
    for pair, start in ((found.inputs[0], 0), (found.layers["1"], 2), (found.layers["3"], 4)):
        for total, n_steps in zip(pair, (4, 2), strict=True):
            torch.testing.assert_close(total, trapezoids(net, start, n_steps), atol=1e-6, rtol=1e-6)
    with torch.no_grad():
        change = (net(X) - net(BASELINE)).gather(1, torch.tensor([[0], [1], [0]])).flatten()
    torch.testing.assert_close(found.change, change)


def test_a_layer_that_something_writes_into_counts_as_it_was() -> None:
    plain, written = mlp(), mlp()
    written[1] = nn.ReLU(inplace=True)
    one, two = (summed(net, ["0"], n_steps=3).layers["0"] for net in (plain, written))
    torch.testing.assert_close(one[0], two[0])
    torch.testing.assert_close(one[1], two[1])


def test_a_tap_notices_what_is_written_into_its_output_and_copies_it_next_time() -> None:
    taps, (layer,) = Taps(), select_layers(mlp(), ["0"])
    output = torch.ones(2, 3)
    seen = {"0": taps.tap(output, layer, "0")}
    assert taps.is_intact(seen) and seen["0"].edge is None
    output.mul_(2)
    assert not taps.is_intact(seen)
    again = taps.tap(output, layer, "0")
    output.mul_(2)
    assert taps.is_intact({"0": again}) and again.values.tolist() == [[2.0] * 3] * 2


def test_a_layer_without_samples_first_is_refused() -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.T[:, :3].contiguous()).sum() + x

    with pytest.raises(ConfigurationError, match=r"'layer' gives shape \[4, 3\] for"):
        summed(Turned(), ["layer"], n_steps=2)
