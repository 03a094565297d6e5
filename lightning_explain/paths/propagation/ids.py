"""Integer inputs on their way to an embedding: which element of an input each id is."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from lightning_explain.attribution.lrp.operations.handler import Operation, tensors_in

MOVES = frozenset({
    "reshape", "view", "view_as", "reshape_as", "transpose", "swapaxes", "swapdims", "permute", "movedim", "moveaxis",
    "t", "adjoint", "unsqueeze", "squeeze", "expand", "expand_as", "flatten", "unflatten", "contiguous", "clone",
    "chunk", "split", "tensor_split", "unbind", "getitem", "narrow", "select", "index_select", "roll", "flip", "get",
    "detach", "alias", "ravel",
})  # fmt: skip
"""Operations that move ids about, or pick some."""

CHANGES = frozenset({
    "add", "sub", "mul", "clamp", "clamp_min", "clamp_max", "remainder", "fmod", "masked_fill", "long", "int", "short",
    "to", "type", "type_as",
})  # fmt: skip
"""Operations that change ids one by one (an offset of a column, another type)."""


class Ids:
    """Follows the elements of integer inputs.

    Args:
        inputs: By place among the inputs.
    """

    def __init__(self, inputs: dict[int, Tensor]) -> None:
        self._origins = WeakTensorKeyDictionary()
        for place, part in inputs.items():
            self._origins[part] = place, torch.arange(part.numel(), device=part.device).reshape(part.shape)

    def origin(self, ids: Any) -> tuple[int, Tensor] | None:
        """Return the input that the ids are from, and the place of each in it [...]; None for others."""
        found: tuple[int, Tensor] | None = self._origins.get(ids) if isinstance(ids, Tensor) else None
        return found

    def follow(self, operation: Operation, tensors: Sequence[Tensor], result: Any) -> None:
        """Take note of what an operation made of ids."""
        known = [tensor for tensor in tensors if tensor in self._origins]
        if len(known) != 1 or operation.name not in MOVES | CHANGES:
            return
        (ids,) = known
        place, index = self._origins[ids]
        if operation.name in CHANGES:
            moved: Any = index
        elif operation.args and operation.args[0] is ids:
            moved = operation.function(index, *operation.args[1:], **operation.kwargs)
        else:
            return
        for made, source in zip(tensors_in(result), tensors_in(moved), strict=False):
            if made.shape == source.shape and made is not ids and not made.is_floating_point():
                self._origins[made] = place, source
