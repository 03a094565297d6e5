"""Relevance of units: activation times the gradient of the score of each sample's class, taken sample by sample."""

import pytest
import torch
from torch import Tensor, nn

from lightning_explain.errors import ConfigurationError
from lightning_explain.exemplars.peaks import positions_at
from lightning_explain.exemplars.unit_relevance import unit_relevance
from tests.exemplars.followed_layers import followed_layers


def rectifiers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 2, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5, bias=False), nn.ReLU(),
        nn.Linear(5, 3, bias=False),
    )  # fmt: skip


def test_equal_to_the_gradient_of_each_sample_alone_and_adds_up_to_the_score() -> None:
    net, x, labels = rectifiers(), torch.randn(6, 1, 4, 5), torch.tensor([0, 1, 2, 2, 1, 0])
    found = unit_relevance(net, [x], labels, followed_layers(net, x))
    assert {key: shape for key, (_, shape) in found.items()} == {"1": (3, 4), "4": ()}
    scores = net(x).detach()
    for row, label in enumerate(labels.tolist()):
        maps = net[:2](x[row : row + 1]).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(net[2:](maps)[0, label], maps)
        parts = (maps * gradient)[0].detach()
        peaks, shape = found["1"]
        torch.testing.assert_close(peaks.values[row], parts.sum((1, 2)))
        for unit, place in enumerate(positions_at(peaks.places, 2)[row].tolist()):
            assert place == [int(part) for part in torch.unravel_index(parts[unit].argmax(), shape)]
        for peaks, _ in found.values():
            torch.testing.assert_close(peaks.values[row].sum(), scores[row, label])


def test_samples_without_a_class_are_taken_by_their_largest_score() -> None:
    net, x = rectifiers(), torch.randn(5, 1, 4, 5)
    largest = net(x).argmax(1)
    wanted = unit_relevance(net, [x], largest, followed_layers(net, x))["4"][0].values
    for labels in (None, torch.full((5,), -1)):
        assert torch.equal(unit_relevance(net, [x], labels, followed_layers(net, x))["4"][0].values, wanted)
    with pytest.raises(ConfigurationError, match="class index 3, but the model's output has 3 columns"):
        unit_relevance(net, [x], torch.full((5,), 3), followed_layers(net, x))
    # class 0 is a class
    zero = unit_relevance(net, [x], torch.zeros(5, dtype=torch.long), followed_layers(net, x))["4"][0].values
    torch.testing.assert_close(zero.sum(1), net(x)[:, 0].detach())


class Beside(nn.Module):
    """One layer leads to the score, another does not; a single output."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.beside, self.out = nn.Sequential(nn.Linear(3, 4), nn.ReLU()), nn.Tanh(), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.beside(x)
        return self.out(self.used(x))[:, 0]


def test_layers_beside_the_way_are_left_out() -> None:
    net, x = Beside(), torch.randn(4, 3)
    assert [layer.name for layer in followed_layers(net, x)] == ["used.1", "beside"]
    with torch.no_grad():
        found = unit_relevance(net, [x], torch.zeros(4, dtype=torch.long), followed_layers(net, x))
        assert list(found) == ["used.1"]
        torch.testing.assert_close(found["used.1"][0].values, net.used(x) * net.out.weight[0])
    assert x.grad is None and not x.requires_grad and net.out.weight.grad is None
