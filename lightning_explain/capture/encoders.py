"""Watching inside `nn.TransformerEncoderLayer` without changing how it computes.

In eval mode without gradients such a layer runs as one fused operation: its submodules are never called, and a hook on
any of them, or on the layer itself, switches the fusion off, which may move the result in its last bits. So no hook
ever sits there while the layer may run fused. Its calls are seen from outside, by a hook of all modules, and what
happened inside is found by a second pass of the layer.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

from lightning_explain.capture.hooks import CallHook
from lightning_explain.capture.outside import forget_keyword_hook, register_keyword_hook
from lightning_explain.capture.watched_layers import Layer

Padding = Callable[[], Tensor | None]
"""Gives the key padding mask of the call that is going on."""


def no_padding() -> None:
    """Return None: padding is unknown."""


def _runs_fused(host: nn.Module, args: tuple[Any, ...]) -> bool:
    """Return True if a call may take the fused path, which excludes hooks inside."""
    if host.training:
        return False
    tensors = [*(part for part in args if isinstance(part, Tensor)), *host.parameters()]
    return not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))


def _unnested(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Convert a nested source, made of a padded one, back to a padded one and its mask."""
    source = args[0] if args else kwargs.get("src")
    if not (isinstance(source, Tensor) and source.is_nested):
        return args, kwargs
    lengths = torch.tensor([len(row) for row in source.unbind()], device=source.device)
    padded = source.to_padded_tensor(0.0)
    mask = torch.arange(padded.shape[1], device=source.device)[None] >= lengths[:, None]
    return (padded,), {"src_key_padding_mask": mask}


class EncoderWatch:
    """Puts hooks inside transformer layers for the length of a call, or runs a fused call a second time.

    Args:
        layers: Watched modules, each with the transformer layer that is its `host`.
        hook_on: Puts the hook on one of them; gets a function that tells the padding of the call.
        record: Takes a call of a watched transformer layer itself: the layer, the padding, and what was given and
            returned.
        listening: Says whether anybody wants to know.
        protected: Context for what may fail; a failure inside must not reach the run.

    Cost: nothing but the hooks where gradients are taken. A fused call is followed by one more forward pass of the
    layer; every other module call costs a dictionary look-up.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        hook_on: Callable[[Layer, Padding], RemovableHandle],
        record: Callable[[Layer, Padding, Any, Any, Any], None],
        listening: Callable[[], bool],
        protected: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._by_host: dict[int, list[Layer]] = {}
        self._themselves: dict[int, list[Layer]] = {}
        self._hosts = list({id(layer.host): layer.host for layer in layers if layer.host is not None}.values())
        for layer in layers:
            self._by_host.setdefault(id(layer.host), [])
            group = self._themselves if layer.module is layer.host else self._by_host
            group.setdefault(id(layer.host), []).append(layer)
        self._hook_on = hook_on
        self._record = record
        self._listening = listening
        self._protected = protected
        self._inside: list[RemovableHandle] = []
        self._padding: Tensor | None = None
        self._handles: list[RemovableHandle] = []

    def attach(self) -> None:
        """Attach the hooks of all modules."""
        after = register_keyword_hook(self._after, self._hosts, always_call=True)
        self._handles = [register_module_forward_pre_hook(self._before), after]

    def detach(self) -> None:
        """Detach them."""
        for handle in self._handles:
            handle.remove()
            forget_keyword_hook(handle, self._hosts)
        self._handles = []

    def _layers_of(self, module: nn.Module) -> list[Layer]:
        """Return the watched layers inside a module, while recording."""
        inside = self._by_host.get(id(module))
        return inside if inside and not torch.compiler.is_compiling() and self._listening() else []

    def _before(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        layers = self._layers_of(module)
        if layers and not _runs_fused(module, args):
            self._enter(module, layers)

    def _after(self, module: nn.Module, args: tuple[Any, ...], *rest: Any) -> None:
        """Leave the layer, and run it again if its call was fused.

        After a call that raised, torch passes no keyword arguments, only the output.
        """
        if id(module) not in self._by_host:
            return
        entered = bool(self._inside)
        self._leave()
        if len(rest) == 2:
            self._note_itself(module, args, *rest)
        layers = self._layers_of(module)
        if len(rest) == 2 and layers and not entered:
            with self._protected(), torch.no_grad():
                self._again(module, layers, args, rest[0])

    def _note_itself(self, host: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """Record a call of a layer that is watched itself: its output is here on either path."""
        if id(host) not in self._themselves or torch.compiler.is_compiling() or not self._listening():
            return
        args, kwargs = _unnested(args, kwargs)
        padding = kwargs.get("src_key_padding_mask", args[2] if len(args) > 2 else None)
        if isinstance(output, Tensor) and output.is_nested:
            output = output.to_padded_tensor(0.0)
        for layer in self._themselves[id(host)]:
            self._record(layer, lambda: padding, args, kwargs, output)

    def _again(self, host: nn.Module, layers: list[Layer], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        args, kwargs = _unnested(args, kwargs)
        self._enter(host, layers)
        try:
            host.forward(*args, **kwargs)
        finally:
            self._leave()

    def _enter(self, host: nn.Module, layers: list[Layer]) -> None:
        self._padding = None
        attention = host.get_submodule("self_attn")
        # it is called first, with the mask in the form that the layer made of it
        self._inside = [attention.register_forward_hook(CallHook(self._note_padding), with_kwargs=True)]
        self._inside += [self._hook_on(layer, lambda: self._padding) for layer in layers]

    def _leave(self) -> None:
        for handle in self._inside:
            handle.remove()
        self._inside = []
        self._padding = None

    def _note_padding(self, args: Any, kwargs: Any, output: Any) -> None:
        del args, output
        self._padding = kwargs.get("key_padding_mask")
