"""Walks back between places, against plain gradients."""

import torch
from torch import nn

from tests.paths.nets import Residual, mlp, seeded
from tests.paths.propagation.cut_nets import gradients_of, walked


def test_without_epsilon_modified_gradients_of_a_relu_net_are_its_gradients():
    seeded()
    net, x = mlp(3, 5, 4, 2), torch.randn(6, 3, dtype=torch.double)
    found = gradients_of(walked(net, x))
    kept = [x.clone().requires_grad_()]
    for layer in net:
        kept.append(layer(kept[-1]))
    leaves = [kept[0], kept[1], kept[3], kept[5]]
    for place, gradient in enumerate(torch.autograd.grad(kept[-1][:, 0].sum(), leaves)):
        torch.testing.assert_close(found[place], gradient)


def test_a_walk_ends_at_its_stops():
    seeded()
    net, x = Residual().double(), torch.randn(2, 4, dtype=torch.double)
    way = walked(net, x)
    names = {cut.name: place for place, cut in enumerate(way.cuts)}
    assert way.reads[names["head"]] == (names["stem"], names["outer"])
    gradients = gradients_of(way)
    whole = way.to(names["head"], gradients[names["head"]], {0})
    assert set(whole) == {0}
    torch.testing.assert_close(whole[0], gradients[0])
    parts = way.to(names["head"], gradients[names["head"]], {names["stem"], names["outer"]})
    assert set(parts) == {names["stem"], names["outer"]}
    # straight to the stem, without what goes through the branch
    through = way.to(names["outer"], gradients[names["outer"]], {names["stem"]})
    torch.testing.assert_close(parts[names["stem"]] + through[names["stem"]], gradients[names["stem"]])


def test_places_without_influence_are_not_used():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            self.b(x)
            return self.c(self.a(x).relu())

    way = walked(Net(), torch.rand(2, 2))
    assert [way.cuts[place].name for place in sorted(way.used)] == ["", "a", "c"]
