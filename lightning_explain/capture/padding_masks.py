"""Padding masks that are passed to a model, recorded when the module that takes one is called."""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lightning_explain.capture.outside import OutsideHook

KEEPING = ("attention_mask", "decoder_attention_mask", "encoder_attention_mask")
"""Arguments that are not 0 where there is a token, as in transformers."""

LEAVING_OUT = (
    "src_key_padding_mask", "tgt_key_padding_mask", "memory_key_padding_mask", "key_padding_mask",
    "encoder_padding_mask", "padding_mask", "pad_mask",
)  # fmt: skip
"""Arguments that are True (or -inf) where there is none, as in torch."""


@dataclass(frozen=True)
class MaskSource:
    """The argument in which a padding mask [batch, tokens] is passed.

    Attributes:
        module: The module whose forward takes it.
        parameter: The name of the argument.
    """

    module: nn.Module
    parameter: str

    def padding_of(self, mask: Tensor) -> Tensor:
        """Return the mask as boolean [batch, tokens], True for padding."""
        if self.parameter in KEEPING:
            return mask == 0
        return mask if mask.dtype == torch.bool else mask != 0


def arguments_of(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a module call by name."""
    named = dict(kwargs)
    if args:
        names = [name for name, p in inspect.signature(module.forward).parameters.items() if p.kind in _POSITIONAL]
        named |= dict(zip(names, args, strict=False))
    return named


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class PaddingMasks:
    """The masks of the current calls."""

    def __init__(self) -> None:
        self._masks: dict[MaskSource, Tensor] = {}
        self._handles: dict[MaskSource, RemovableHandle] = {}
        self._fused: frozenset[MaskSource] = frozenset()
        self._after = OutsideHook[MaskSource]({}, self.note)

    def attach(self, sources: Iterable[MaskSource]) -> None:
        """Attach the hooks where they are not attached: never to a transformer layer, which would no longer run fused.

        Those attached before stay, since a module whose hooks are being called would call one that is gone.

        Args:
            sources: Where masks are seen.
        """
        wanted = frozenset(sources)
        fused = frozenset(source for source in wanted if isinstance(source.module, nn.TransformerEncoderLayer))
        if not fused <= self._fused:
            self._fused |= fused
            self._after.detach()
            self._after = OutsideHook({source.module: source for source in self._fused}, self.note)
            self._after.attach()
        for source in wanted - fused - self._handles.keys():
            self._handles[source] = source.module.register_forward_pre_hook(MaskHook(self, source), with_kwargs=True)

    def detach(self) -> None:
        """Detach the hooks."""
        for handle in self._handles.values():
            handle.remove()
        self._handles, self._fused = {}, frozenset()
        self._after.detach()
        self.forget()

    def enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Record the masks of a call that has begun already: hooks attached meanwhile are not called any more."""
        for source in self._handles:
            if source.module is module:
                self.note(source, args, kwargs)

    def forget(self) -> None:
        """Forget the masks of earlier calls."""
        self._masks = {}

    def note(self, source: MaskSource, args: Any, kwargs: Any, output: Any = None) -> None:
        """Record the mask of a call; called by the hook."""
        del output
        mask = arguments_of(source.module, args, kwargs).get(source.parameter)
        if isinstance(mask, Tensor) and mask.ndim == 2:
            self._masks[source] = mask
        else:
            self._masks.pop(source, None)

    def padding(self, source: MaskSource | None) -> Tensor | None:
        """Return the padding of the current call: boolean [batch, tokens]; None without a mask."""
        mask = None if source is None else self._masks.get(source)
        return None if mask is None or source is None else source.padding_of(mask)


def _ignore(*_: Any) -> None:
    """Do nothing: the hook left in a copy of a module."""


class MaskHook:
    """A forward pre-hook that records a mask; inert in a copy or a pickle of the module."""

    def __init__(self, masks: PaddingMasks, source: MaskSource) -> None:
        self._masks, self._source = masks, source

    def __call__(self, _module: nn.Module, args: Any, kwargs: Any) -> None:
        """Record the mask, unless a compiler traces the call."""
        if not torch.compiler.is_compiling():
            self._masks.note(self._source, args, kwargs)

    def __reduce__(self) -> Any:
        return partial, (_ignore,)
