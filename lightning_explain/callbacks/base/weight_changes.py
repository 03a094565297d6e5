"""Weights that are exchanged when training has ended, such as the average of stochastic weight averaging."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.isolation import is_whole


def digest(module: nn.Module) -> Tensor | None:
    """Return sum and norm of every floating-point parameter and buffer, [2 * tensors]; None while some are lazy.

    Nothing waits for the device. Of a parameter that is sharded over processes it is this process's part.
    """
    if not is_whole(module):
        return None
    with torch.no_grad():
        tensors: list[Any] = [getattr(part, "to_local", lambda part=part: part)() for part in _floating(module)]
        if not tensors:
            return None
        values = [value.float() for part in tensors for value in (part.sum(), part.norm())]
        return torch.stack([value.to(values[0].device) for value in values])


def _floating(module: nn.Module) -> list[Tensor]:
    parts = [*module.parameters(), *module.buffers()]
    return [part.detach() for part in parts if part.is_floating_point() and part.device.type != "meta"]


class WeightChanges:
    """Finds out whether the weights that a fit returns are neither those it trained nor those explained last."""

    def __init__(self) -> None:
        self._explained: Tensor | None = None
        self._trained: Tensor | None = None

    def begin(self) -> None:
        """Begin a fit: nothing is known of its weights."""
        self._explained = self._trained = None

    def explained(self, module: nn.Module) -> None:
        """Note the weights that were explained just now."""
        self._explained = digest(module)

    def epoch_ended(self, module: nn.Module) -> None:
        """Note the weights at the end of a training epoch."""
        self._trained = digest(module)

    def are_new(self, trainer: Any, module: nn.Module) -> bool:
        """Return True if the weights have been exchanged since the last epoch ended; a collective call."""
        now = digest(module)
        known = [earlier for earlier in (self._explained, self._trained) if earlier is not None]
        changed = self._trained is not None and now is not None and not any(_same(now, earlier) for earlier in known)
        return any(Ranks.of(trainer).exchanged(changed))


def _same(one: Tensor, other: Tensor) -> bool:
    other = other.to(one.device)
    return one.shape == other.shape and bool(((one == other) | (one.isnan() & other.isnan())).all())
