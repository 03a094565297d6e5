"""Where samples are in a tensor: against what is known of the operations."""

import pytest
import torch
from torch import nn

from lightning_explain.errors import ConfigurationError
from lightning_explain.paths.propagation.samples import SampleRows, sample_rows
from tests.paths.propagation.cut_nets import Function, gradients_of, walked


def rows_of(function, x: torch.Tensor, *sizes: tuple[int, int]) -> SampleRows:
    torch.manual_seed(0)
    way = walked(Function(function, *sizes), x)
    place = next(place for place, cut in enumerate(way.cuts) if cut.name == "a")
    return sample_rows(way, gradients_of(way))[place]


CASES = {
    "first": (lambda n, x: n.b(torch.tanh(n.a(x))).mean(1), 0, [0, 1, 2]),
    "behind the steps": (lambda n, x: n.b(torch.tanh(n.a(x.transpose(0, 1)))).mean(0), 1, [0, 1, 2]),
    "merged": (
        lambda n, x: n.b(torch.tanh(n.a(x.flatten(0, 1)))).view(3, 3, 2).mean(1), 0, [0, 0, 0, 1, 1, 1, 2, 2, 2],
    ),
    "merged behind the steps": (
        lambda n, x: n.b(torch.tanh(n.a(x.transpose(0, 1).flatten(0, 1)))).view(3, 3, 2).mean(0),
        0, [0, 1, 2] * 3,
    ),
    "sorted": (lambda n, x: n.b(torch.tanh(n.a(x[[2, 0, 1]])))[[1, 2, 0]].mean(1), 0, [2, 0, 1]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_samples_are_found_where_as_many_steps_make_sizes_say_nothing(name):
    function, dim, owner = CASES[name]
    found = rows_of(function, torch.randn(3, 3, 4), (4, 5), (5, 2))
    assert found.dim == dim and found.owner.tolist() == owner


def test_shapes_are_enough_where_nothing_moves_samples(monkeypatch):
    monkeypatch.setattr("lightning_explain.paths.propagation.samples._by_gradient", None)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 2))
    way = walked(net, torch.rand(5, 1, 6, 6))
    assert all(rows.owner.tolist() == [0, 1, 2, 3, 4] for rows in sample_rows(way, gradients_of(way)).values())


def test_rows_without_relevance_belong_to_no_sample_unless_all_others_are_in_order():
    x = torch.randn(3, 3, 4)
    found = rows_of(lambda n, x: n.b(torch.tanh(n.a(x.flatten(0, 1)))).view(3, 3, 2)[:, 1], x, (4, 5), (5, 2))
    assert found.owner.tolist() == [-1, 0, -1, -1, 1, -1, -1, 2, -1]
    keep = torch.tensor([1.0, 0.0, 1.0])[:, None, None]
    found = rows_of(lambda n, x: (n.b(torch.tanh(n.a(x))) * keep).mean(1), x, (4, 5), (5, 2))
    assert found.owner.tolist() == [0, 1, 2]


def test_samples_that_depend_on_each_other_are_refused():
    with pytest.raises(ConfigurationError, match=r"cannot tell the samples apart in 'a' \(value \[3, 3, 5\]\)"):
        rows_of(lambda n, x: n.b(torch.tanh(n.a(x)).cumsum(0)).mean(1), torch.randn(3, 3, 4), (4, 5), (5, 2))


def test_samples_are_found_in_16_bits():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    net = nn.Sequential(layer, nn.Flatten(), nn.Linear(64, 2)).bfloat16().eval()
    way = walked(net, torch.randn(3, 4, 16).bfloat16())
    found = sample_rows(way, gradients_of(way))
    place = next(place for place, cut in enumerate(way.cuts) if cut.name == "0.linear1")
    assert found[place].dim == 0 and found[place].owner.tolist() == [0, 1, 2]
