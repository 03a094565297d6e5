"""Which modules run inside compiled code, without compiling any."""

from typing import Any

from torch import Tensor, nn

from lightning_explain.capture.compiled import is_compiled, names_inside_compiled, names_outside_compiled


class Own(nn.Module):
    """A module with a forward of its own, which a compiler takes in whole."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.act = nn.Linear(2, 2), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.fc(x))


class OptimizedModule(nn.Module):
    """Named as what `torch.compile(module)` returns."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._orig_mod = module


def in_place(module: nn.Module) -> nn.Module:
    """Marks a module as `module.compile()` does."""
    mark: Any = lambda *_: None  # noqa: E731
    module._compiled_call_impl = mark
    return module


def test_either_way_of_compiling_is_seen_and_none_is_not() -> None:
    assert is_compiled(in_place(nn.Linear(2, 2))) and is_compiled(OptimizedModule(nn.Linear(2, 2)))
    assert not is_compiled(nn.Linear(2, 2))


def test_all_that_is_in_a_compiled_module_is_inside_and_nothing_beside_it() -> None:
    net = nn.ModuleDict({"a": in_place(Own()), "ab": Own(), "c": OptimizedModule(nn.ReLU())})
    assert names_inside_compiled(net) == {"a", "a.fc", "a.act", "c", "c._orig_mod"}
    assert names_inside_compiled(in_place(net)) == {name for name, _ in net.named_modules()}
    assert names_inside_compiled(nn.Linear(2, 2)) == frozenset()


def test_torchs_own_modules_are_left_alone_and_forwards_of_ones_own_are_not() -> None:
    net = nn.Sequential(in_place(nn.Sequential(nn.Linear(2, 2), Own())), nn.ReLU())
    assert names_outside_compiled(net) == {"0", "0.0"}
    assert names_outside_compiled(nn.Sequential(in_place(Own()))) == frozenset()
    assert names_outside_compiled(nn.Sequential(OptimizedModule(nn.Linear(2, 2)))) == frozenset()
    assert names_outside_compiled(in_place(nn.Sequential(nn.ReLU()))) == {"", "0"}
