#!/bin/sh
# A module's forward hook that is removed while the module's hooks run is still called, without its keyword arguments.
#
# One would guess: a hook registered with `with_kwargs=True` is called with args and kwargs, or, once its handle's
#   `remove()` has returned, not at all. And a hook that is added by an earlier hook of the same call takes part in it.
# What is so: a call lists its hooks when they begin, but looks up afterwards, hook by hook, which of them want keywords.
#   So a hook that an earlier hook removes is still called in that call, with one argument less: a pre-hook with
#   (module, args), a hook with (module, args, output). A hook that uses its `kwargs` parameter ends the call with a
#   TypeError. A hook that is added amid the call is not called in it.
# Seen with: torch 2.13.0 on the CPU, numpy 2.4.6, Python 3.11.
# Source: torch's documentation of `nn.Module.register_forward_pre_hook` (what `with_kwargs` promises).
set -eu
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$room/venv/bin/python" - <<'PYTHON'
import sys

import torch
from torch import nn


class Scaled(nn.Module):
    def forward(self, x, *, by):
        return x * by


print("torch", torch.__version__)
seen = {}


def run(register, name):
    module, calls = Scaled(), []

    def later(*given):
        calls.append(("added", len(given)))

    def first(*given):
        watched.remove()
        getattr(module, register)(later, with_kwargs=True)

    def second(*given):
        calls.append(("removed", len(given)))

    getattr(module, register)(first, with_kwargs=True)
    watched = getattr(module, register)(second, with_kwargs=True)
    module(torch.ones(1), by=2)
    amid = list(calls)
    calls.clear()
    module(torch.ones(1), by=2)
    seen[name] = amid, sorted(set(calls))
    print(f"{name}: called amid the call, with so many arguments: {amid}; in the next call: {seen[name][1]}")


run("register_forward_pre_hook", "pre-hook")
run("register_forward_hook", "hook")
as_expected = seen == {
    "pre-hook": ([("removed", 2)], [("added", 3)]),
    "hook": ([("removed", 3)], [("added", 4)]),
}
sys.exit(0 if as_expected else 1)
PYTHON
