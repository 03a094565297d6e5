"""The model as captum gets it: rows counted, the kind of numbers kept, the outputs of layers kept as they were."""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lightning_explain.attribution.result import Forward


class ModelAccess:
    """Stands between captum and a model: counts rows, keeps the kind of numbers, and puts inputs in order.

    Args:
        parts: The inputs; captum draws 32-bit numbers, which a model in 16 or 64 bits refuses.

    Attributes:
        rows: Rows that went through the model.
        explained: Places of the inputs with a gradient, which captum calls the model with first.
        carried: Places of the others (token ids, masks), which captum calls additional arguments.
    """

    def __init__(self, parts: tuple[Tensor, ...]) -> None:
        self.rows = 0
        self.explained = [place for place, part in enumerate(parts) if part.is_floating_point()]
        self.carried = [place for place, part in enumerate(parts) if not part.is_floating_point()]
        self._dtypes = {part.dtype for part in parts if part.is_floating_point()}

    def _in_order(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        places = [*self.explained, *self.carried]
        if not self.carried or len(args) < len(places):
            return args
        ordered = dict(zip(places, args, strict=False))
        return (*(ordered[place] for place in range(len(places))), *args[len(places) :])

    def _converted(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        args = self._in_order(args)
        if len(self._dtypes) != 1:
            return args
        (dtype,) = self._dtypes
        # `to` hands a tensor that has that kind already on as it is
        return tuple(a.to(dtype) if isinstance(a, Tensor) and a.is_floating_point() else a for a in args)

    def counting(self, model: Forward) -> Forward:
        """Count the rows that go through `model`: a module keeps its identity, since captum hooks into it."""
        if isinstance(model, nn.Module):
            # no handle is kept: the isolation puts the module's hooks back
            model.register_forward_pre_hook(lambda _module, args: self._converted(args))
            model.register_forward_hook(lambda _module, _args, output: self._count(output))
            return model

        def counted(*args: Any) -> Any:
            output = model(*self._converted(args))
            self._count(output)
            return output

        return counted

    def _count(self, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim > 0:
            self.rows += len(output)


def keep_outputs(layers: Any, *, at_input: bool) -> None:
    """Give operations that follow some layers a copy of the outputs to write into; the isolation removes the hooks.

    Args:
        layers: A module, several of them, or anything else, which is ignored.
        at_input: True if the layers' inputs are explained, which in-place layers write into.
    """
    for layer in layers if isinstance(layers, list | tuple) else (layers,):
        if not isinstance(layer, nn.Module):
            continue
        handle = layer.register_forward_hook(lambda _module, _args, output: _copied(output))

        def last(module: nn.Module, _args: Any, own: int = handle.id) -> None:
            # captum's hooks, which come later, see the output itself, and what follows the copy
            hooks = vars(module)["_forward_hooks"]
            hooks[own] = hooks.pop(own)

        layer.register_forward_pre_hook(last)
        if at_input and getattr(layer, "inplace", False):
            layer.inplace = False  # type: ignore[assignment]


def _copied(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.clone()
    return type(output)(map(_copied, output)) if type(output) in (tuple, list) else output


def seed_streams(seed: int) -> None:
    """Seed the random streams that captum's methods use: torch, and numpy and python for those that shuffle."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the legacy stream is the one that captum uses
    random.seed(seed)
