"""Forward hooks that record the outputs of layers, and are paused while explanations run."""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lightning_explain.capture.encoders import EncoderWatch, Padding, no_padding
from lightning_explain.capture.hooks import CallHook, Hook
from lightning_explain.capture.outside import OutsideHook
from lightning_explain.capture.padding_masks import PaddingMasks
from lightning_explain.capture.watched_layers import Call, Layer, first_activations


class _Pause:
    """The pause of all recorders while explanations run."""

    depth = 0


@contextmanager
def recording_paused() -> Generator[None, None, None]:
    """Pause all recorders for the forward passes made inside."""
    _Pause.depth += 1
    try:
        yield
    finally:
        _Pause.depth -= 1


def is_recording_paused() -> bool:
    """Return True while an explanation runs the model."""
    return _Pause.depth > 0


Reduce = Callable[[Any, Layer, str], Any]
"""Takes a layer's output (the whole `Call` where the layer has a `view`), the layer, and the key of the record."""


def _kept(output: Tensor, layer: Layer, key: str) -> Tensor:
    del layer, key
    # a copy, unless it is part of a graph: a functional in-place activation may follow
    return output if output.requires_grad else output.clone()


class Recorder:
    """Keeps the result of `reduce` for each watched layer's output while it is `recording`.

    A module that runs several times in one step (one ReLU object shared by several layers) is kept once per
    call: `relu`, `relu#1`, `relu#2`. The reduction runs in the hook, so an in-place operation that follows
    cannot change what was seen, and no activation is kept alive. It runs detached and without autograd. Inside a
    compiled region the hook keeps a copy instead, which is reduced at the end of the recording.

    Args:
        layers: What to watch.
        reduce: Called with (output, layer, key), its result is kept; by default the output itself is.
        differentiable: Keep the output in the graph instead (to take gradients at it).
        explaining: See the forward passes made inside `recording_paused` (an explanation's own recorder) instead
            of those made outside (a recorder of the training run).
        protected: Context for passes of its own, inside transformer layers that run fused.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        reduce: Reduce = _kept,
        differentiable: bool = False,
        explaining: bool = False,
        protected: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.layers = tuple(layers)
        self._layers = {layer.name: layer for layer in layers}
        self._explaining = explaining
        self._protected = protected
        self.recording = False
        self.seen: dict[str, Any] = {}
        self._reduce = reduce
        self._differentiable = differentiable
        self._calls: dict[str, int] = {}
        self._raw: dict[str, tuple[Tensor, str]] = {}
        self._aside: tuple[dict[str, tuple[Tensor, str]], dict[str, int]] | None = None
        self._attached = False
        self._handles: dict[str, RemovableHandle] = {}
        self._outside = OutsideHook[Layer]({}, self._record_outside)
        self._encoders: EncoderWatch | None = None
        self._masks = PaddingMasks()

    def attach(self) -> None:
        """Attach the hooks; does nothing if they are attached."""
        if self._attached:
            return
        self._attached = True
        self._masks.attach(use.mask for layer in self.layers for use in layer.calls if use.mask is not None)
        alone = [layer for layer in self.layers if layer.left_alone and layer.host is None]
        hooked = [layer for layer in self.layers if layer.host is None and not layer.left_alone]
        self._handles = {layer.name: self._hook_on(layer) for layer in hooked}
        self._outside = OutsideHook({layer.module: layer for layer in alone}, self._record_outside)
        self._outside.attach()
        hosted = [layer for layer in self.layers if layer.host is not None]
        if hosted:
            self._encoders = EncoderWatch(
                hosted,
                hook_on=self._hook_on,
                record=self._record_call,
                listening=self._listening,
                protected=self._protected,
            )
            self._encoders.attach()

    def update(self, layers: Sequence[Layer]) -> None:
        """Watch these layers from now on, also during a recording; what was recorded is kept.

        Where only what is known of layers has changed, hooks stay as they are, so that a compiler need not look again.
        """
        by_name = {layer.name: layer for layer in layers}
        same = list(by_name) == list(self._layers) and not any(use.mask for layer in layers for use in layer.calls)
        self.layers, self._layers = tuple(layers), by_name
        if self._attached and not same:
            self._remove()
            self.attach()

    def enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Take note of a module call that has begun already when hooks were attached, for its padding masks."""
        self._masks.enter(module, args, kwargs)

    def _hook_on(self, layer: Layer, padding: Padding = no_padding) -> RemovableHandle:
        masked = any(use.mask is not None for use in layer.calls)
        if layer.view is None and not masked:
            hook = Hook(partial(self.record, layer), in_explanations=self._explaining)
            return layer.module.register_forward_hook(hook)
        receive = CallHook(partial(self._record_call, layer, padding), in_explanations=self._explaining)
        return layer.module.register_forward_hook(receive, with_kwargs=True)

    def _record_outside(self, layer: Layer, args: Any, kwargs: Any, output: Any) -> None:
        if layer.view is None and not any(use.mask is not None for use in layer.calls):
            self.record(layer, output)
        else:
            self._record_call(layer, no_padding, args, kwargs, output)

    def _wanted(self) -> bool:
        return self.recording and (_Pause.depth > 0) == self._explaining

    def _listening(self) -> bool:
        return self._aside is None and self._wanted()

    def detach(self) -> None:
        """Detach the hooks; does nothing if they are detached."""
        self._remove()
        self._masks.detach()
        self.recording = False

    def _remove(self) -> None:
        for handle in self._handles.values():
            handle.remove()
        self._handles = {}
        self._outside.detach()
        if self._encoders is not None:
            self._encoders.detach()
            self._encoders = None
        self._attached = False

    def start(self) -> None:
        """Start a recording; an earlier one is discarded."""
        self.seen = {}
        self._raw = {}
        self._calls = {}
        self._aside = None
        self._masks.forget()
        self.recording = True

    def pause(self) -> None:
        """Pause for a backward pass in which activation checkpointing runs layers again.

        A compiled region is not paused: run again it must do just what it did before, or checkpointing refuses it. What
        it keeps meanwhile is forgotten.
        """
        if self.recording and self._aside is None:
            self._aside = self._raw, self._calls
            self._raw, self._calls = {}, {}

    def resume(self) -> None:
        """Resume after `pause`."""
        if self._aside is not None:
            (self._raw, self._calls), self._aside = self._aside, None

    def stop(self) -> dict[str, Any]:
        """Stop recording and return the result: layer name (`#n` for its n-th further call) -> reduction."""
        self.resume()
        self.recording = False
        seen, self.seen = self.seen, {}
        raw, self._raw = self._raw, {}
        if not raw:
            return seen
        with torch.no_grad():
            seen |= {key: self._reduce(tensor, self._layers[name], key) for key, (tensor, name) in raw.items()}
        return seen

    @property
    def n_calls(self) -> dict[str, int]:
        """Number of calls of each layer in the last recording."""
        return dict(self._calls)

    def record(self, layer: Layer, output: Any) -> None:
        """Record a layer's output, if this recorder is active; called by the hook."""
        compiling = torch.compiler.is_compiling()
        if not (self._wanted() if compiling else self._listening()):
            return
        tensor = first_activations(output)
        if tensor is None:
            return
        key = self._next_key(layer)
        if compiling:
            # a compiler traces this: it must not meet the reduction, which may time itself or warn
            self._raw[key] = (tensor if self._differentiable else tensor.detach().clone(), layer.name)
        elif self._differentiable:
            self.seen[key] = self._reduce(tensor, self._layers[layer.name], key)
        else:
            with torch.no_grad():
                self.seen[key] = self._reduce(tensor.detach(), self._layers[layer.name], key)

    def _record_call(self, layer: Layer, padding: Padding, args: Any, kwargs: Any, output: Any) -> None:
        """Record a whole call of a layer whose units are not simply its output."""
        # a compiler cannot trace what a view does: such layers stay silent there, and are named as such
        if not self._listening() or torch.compiler.is_compiling():
            return
        if layer.view is None and first_activations(output) is None:
            return
        key, layer = self._next_key(layer), self._layers[layer.name]
        found = padding()
        found = self._masks.padding(layer.use(key).mask) if found is None else found
        with torch.set_grad_enabled(self._differentiable):
            self.seen[key] = self._reduce(Call(args, kwargs, output, found), layer, key)

    def _next_key(self, layer: Layer) -> str:
        call = self._calls.get(layer.name, 0)
        self._calls[layer.name] = call + 1
        return f"{layer.name}#{call}" if call else layer.name


@contextmanager
def watched(
    layers: Sequence[Layer], *, reduce: Reduce = _kept, differentiable: bool = False
) -> Generator[Recorder, None, None]:
    """Record the given layers during an explanation, and detach the hooks at the end, also on an error.

    Recorders of the training run look away meanwhile.

    Example:
        >>> from torch import nn
        >>> from lightning_explain.capture import select_layers
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> with watched(select_layers(net)) as recorder:
        ...     recorder.start()
        ...     _ = net(torch.ones(4, 2))
        ...     list(recorder.stop())
        ['1']
    """
    recorder = Recorder(layers, reduce=reduce, differentiable=differentiable, explaining=True)
    with recording_paused():
        recorder.attach()
        try:
            yield recorder
        finally:
            recorder.detach()
