"""A module after checkpoints were loaded into it is as it was before."""

from typing import Any

import pytest
import torch
from torch import nn

from lightning_explain.replaying.restoring import module_restored


class Net(nn.Module):
    """Keeps things in every way that a module may."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm = nn.Linear(2, 2), nn.BatchNorm1d(2)
        self.loose, self.cache, self.sizes, self.seen = torch.zeros(2), {"a": 1}, [1, 2], {3}


@pytest.mark.parametrize("fails", [False, True])
def test_weights_buffers_modes_attributes_and_containers_are_put_back(fails: bool) -> None:
    net = Net().eval()
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    weight, memory, cache, sizes, seen = net.fc.weight, net.fc.weight.data_ptr(), net.cache, net.sizes, net.seen
    extra: Any = "added"
    with pytest.raises(KeyError) if fails else torch.enable_grad(), module_restored(net):
        net.train()
        net.norm(torch.rand(4, 2))
        net.load_state_dict({name: tensor + 1 for name, tensor in net.state_dict().items()})
        net.fc.weight.data = torch.ones(2, 2)
        net.loose += 5
        net.cache["b"] = 2
        net.sizes.append(3)
        net.seen.clear()
        net.extra, net.cache = extra, {}
        net.fc = nn.Linear(2, 2)
        if fails:
            raise KeyError
    assert net.fc.weight is weight and net.fc.weight.data_ptr() == memory
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    assert not any(module.training for module in net.modules()) and not hasattr(net, "extra")
    assert net.loose.tolist() == [0, 0]
    assert net.cache is cache and net.sizes is sizes and net.seen is seen
    assert (cache, sizes, seen) == ({"a": 1}, [1, 2], {3})


def test_a_lazy_layer_that_has_no_values_yet_is_no_obstacle() -> None:
    net = nn.Sequential(nn.LazyLinear(2), nn.Linear(2, 2))
    before = net[1].weight.detach().clone()
    with module_restored(net):
        net[1].weight.data.zero_()
    assert torch.equal(net[1].weight, before)
