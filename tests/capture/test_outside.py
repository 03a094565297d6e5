"""Modules seen by a hook of all modules: nothing sits on them, and nothing is left behind."""

from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as module_hooks

from lightning_explain.capture.outside import OutsideHook, hook_output

X = torch.ones(1, 2)


def test_calls_of_watched_modules_are_handed_on_with_what_stands_for_them() -> None:
    seen: list[Any] = []
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    hook = OutsideHook({one: "one"}, lambda name, args, kwargs, output: seen.append((name, args, kwargs, output)))
    hook.attach()
    try:
        y = one(input=X)
        other(X)
        assert not one._forward_hooks
    finally:
        hook.detach()
    one(X)
    ((name, args, kwargs, output),) = seen
    assert (name, args) == ("one", ()) and kwargs["input"] is X and output is y


def test_taken_off_it_leaves_no_trace_in_torch() -> None:
    before = dict(module_hooks._global_forward_hooks_with_kwargs)
    hook = OutsideHook({nn.ReLU(): 1}, lambda *_: None)
    hook.attach()
    assert module_hooks._has_any_global_hook()
    hook.remove()
    hook.remove()  # once more is no harm
    assert not module_hooks._has_any_global_hook()
    assert module_hooks._global_forward_hooks_with_kwargs == before


def test_with_nothing_to_see_no_hook_is_put_on() -> None:
    hook = OutsideHook({}, lambda *_: None)
    hook.attach()
    assert not module_hooks._has_any_global_hook()
    hook.detach()


def test_an_output_is_hooked_on_the_module_unless_that_would_change_how_it_runs() -> None:
    seen: list[Any] = []
    plain = nn.Sequential(nn.Linear(2, 2))
    handle = hook_output(plain, plain[0], seen.append)
    assert len(plain[0]._forward_hooks) == 1 and not module_hooks._has_any_global_hook()
    y = plain(X)
    handle.remove()
    layer = nn.TransformerEncoderLayer(2, 1, 4, batch_first=True).eval()
    handle = hook_output(layer, layer, seen.append)
    assert not layer._forward_hooks
    with torch.no_grad():
        z = layer(X[None])
    handle.remove()
    plain(X)
    assert len(seen) == 2 and seen[0] is y and seen[1] is z
