"""What is done about weights that are sharded over processes, and nothing where they are not."""

import pytest
import torch
from torch import nn

from lightning_explain.errors import ConfigurationError
from lightning_explain.weights import sharded


class Shard(nn.Linear):
    """Stands for a module to which `fully_shard` was applied: notes what is asked of it."""

    def __init__(self) -> None:
        super().__init__(4, 2, bias=False)
        self.calls: list[str] = []

    def reshard(self) -> None:
        self.calls.append("reshard")


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> nn.Sequential:
    monkeypatch.setattr(sharded, "sharded_modules", lambda model: [m for m in model.modules() if isinstance(m, Shard)])
    return nn.Sequential(Shard(), nn.ReLU())


def test_the_size_is_that_of_all_numbers_in_their_type() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1, bias=False).half())
    assert sharded.bytes_of(net) == (3 * 2 + 2) * 4 + 2 * 2


def test_weights_are_spread_before_and_after_also_when_it_fails(net: nn.Sequential) -> None:
    with pytest.raises(KeyError), sharded.weights_spread(net):
        assert net[0].calls == ["reshard"]
        raise KeyError
    assert net[0].calls == ["reshard"] * 2


def test_what_is_held_together_is_not_spread_meanwhile(net: nn.Sequential, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharded, "_held", {net[0]})
    with sharded.weights_spread(net):
        pass
    assert net[0].calls == []


def test_small_models_are_held_together_and_large_ones_refused_by_name(
    net: nn.Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sharded.is_held_together(net)
    sharded.check_not_sharded(net, "LRP")
    monkeypatch.setattr(sharded, "MOST_GATHERED", 31)
    assert not sharded.is_held_together(net) and sharded.is_held_together(nn.Linear(99, 99))
    with pytest.raises(ConfigurationError, match="^LRP reads a layer's weights again.*Use IntegratedGradients"):
        sharded.check_not_sharded(net, "LRP")
    # beyond the limit nothing is gathered: this stand-in could not be
    with sharded.weights_gathered(net):
        assert net[0].calls == []


def test_plain_tensors_are_whole_already() -> None:
    tensor = torch.ones(3)
    assert sharded.whole_tensor(tensor) is tensor
    assert sharded.sharded_modules(nn.Linear(2, 2)) == []
