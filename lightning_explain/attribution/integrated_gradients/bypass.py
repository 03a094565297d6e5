"""Check that everything that a score depends on flows through a layer."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.attribution.integrated_gradients.path import StraightPath
from lightning_explain.attribution.scores import explained_score

N_SAMPLES = 2
"""So many samples are tried: what goes past a layer does so by the network's structure."""

MOVED = 1e-5
"""By which share of the change of the score it may move while the layer is held: rounding moves less."""


def carries_everything(path: StraightPath, model: nn.Module, name: str) -> bool:
    """Return True if nothing goes past a layer: with its output held, the input does not move the score.

    Args:
        path: Inputs and baselines; call it inside `explaining`.
        model: The module that holds the layer.
        name: Name of the layer in it, empty for `model` itself; with `#1` for its second call.

    Returns:
        True where the score stays as it is at the baseline; False where something goes past the layer, or where that
        cannot be tried (its output is no tensor, the model fails on two samples).

    Cost: two forward passes of two samples.
    """
    few = path.block(range(min(N_SAMPLES, len(path))))
    module, _, call = name.partition("#")
    held = _Held(int(call or 0))
    handle = model.get_submodule(module).register_forward_hook(held)
    try:
        with torch.no_grad():
            start = _scores(few, tuple(b.expand_as(x) for x, b in zip(few.inputs, few.baselines, strict=True)))
            held.begin()
            moved = _scores(few, few.inputs) - start
    except Exception:  # noqa: BLE001 - what only looks on must not be what fails
        return False
    finally:
        handle.remove()
    scale = torch.maximum(start.abs(), (moved + start).abs()).max()
    return held.was_replaced and bool((moved.abs() <= MOVED * scale).all())


def _scores(path: StraightPath, points: tuple[Tensor, ...]) -> Tensor:
    return explained_score(path.forward(*(x.clone() for x in points)), path.target)


class _Held:
    """A hook that keeps what one call of a module puts out, and later gives it again in place of what it puts out."""

    def __init__(self, call: int) -> None:
        self._call, self._n_calls = call, 0
        self._kept: Tensor | None = None
        self.was_replaced = False

    def begin(self) -> None:
        """Give again from now on."""
        self._n_calls = 0

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """Keep or replace the output."""
        del module, args
        self._n_calls += 1
        if self._n_calls != self._call + 1 or not isinstance(output, Tensor):
            return None
        if self._kept is None:
            self._kept = output.clone()
            return None
        self.was_replaced = True
        return self._kept.clone()
