"""Hooks that hand on what modules gave, and mean nothing in a copy."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_explain.capture.hooks import CallHook, Hook


class Scaled(nn.Module):
    def forward(self, x: Tensor, *, factor: float = 1.0) -> Tensor:
        return x * factor


def test_a_hook_hands_on_outputs_and_a_call_hook_the_whole_call() -> None:
    outputs: list[Any] = []
    calls: list[Any] = []
    net, x = Scaled(), torch.ones(2)
    net.register_forward_hook(Hook(outputs.append))
    net.register_forward_hook(CallHook(lambda *call: calls.append(call)), with_kwargs=True)
    y = net(x, factor=3.0)
    assert outputs == [y]
    ((args, kwargs, output),) = calls
    assert args[0] is x and kwargs == {"factor": 3.0} and output is y


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
@pytest.mark.parametrize("with_kwargs", [True, False])
def test_a_copy_of_a_watched_module_runs_unwatched(twin_of: Any, with_kwargs: bool) -> None:
    seen: list[Any] = []
    net = nn.Linear(2, 2)
    hook = CallHook(lambda *call: seen.append(call)) if with_kwargs else Hook(seen.append)
    net.register_forward_hook(hook, with_kwargs=with_kwargs)
    twin, x = twin_of(net), torch.ones(1, 2)
    assert torch.equal(twin(x), net(x))
    assert len(seen) == 1
