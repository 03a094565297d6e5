"""Forward hooks that note what layers gave, and that look away while explanations run."""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from lightning_explain.capture.encoders import EncoderWatch, Padding, no_padding
from lightning_explain.capture.hooks import CallHook, Hook
from lightning_explain.capture.layers import Call, Layer


def _first_tensor(output: Any) -> Tensor | None:
    """Take the tensor of a layer's output; recurrent layers return it first in a tuple."""
    if isinstance(output, tuple | list):
        output = next((part for part in output if isinstance(part, Tensor)), None)
    if isinstance(output, Tensor) and not output.is_nested and output.is_floating_point() and output.ndim >= 2:
        return output
    return None


class _Pause:
    """Whether explanations are running, so that recorders must look away from their forward passes."""

    depth = 0


@contextmanager
def recording_paused() -> Generator[None, None, None]:
    """Keep every recorder from seeing the forward passes made inside."""
    _Pause.depth += 1
    try:
        yield
    finally:
        _Pause.depth -= 1


Reduce = Callable[[Any, Layer, str], Any]
"""Takes a layer's output (the whole `Call` where the layer has a `view`), the layer, and the key of the record."""


def _kept(output: Tensor, layer: Layer, key: str) -> Tensor:
    del layer, key
    # a copy, unless it is part of a graph: a functional in-place activation may follow
    return output if output.requires_grad else output.clone()


class Recorder:
    """Keeps what `reduce` makes of each watched layer's output while it is `recording`.

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
        self._explaining = explaining
        self._protected = protected
        self.recording = False
        self.seen: dict[str, Any] = {}
        self._reduce = reduce
        self._differentiable = differentiable
        self._calls: dict[str, int] = {}
        self._raw: dict[str, tuple[Tensor, Layer]] = {}
        self._aside: tuple[dict[str, tuple[Tensor, Layer]], dict[str, int]] | None = None
        self._handles: list[RemovableHandle] = []
        self._encoders: EncoderWatch | None = None

    def attach(self) -> None:
        """Put the hooks on; does nothing when they are on."""
        if self._handles or self._encoders is not None:
            return
        self._handles = [self._hook_on(layer) for layer in self.layers if layer.host is None]
        hosted = [layer for layer in self.layers if layer.host is not None]
        if hosted:
            self._encoders = EncoderWatch(
                hosted, hook_on=self._hook_on, listening=self._listening, protected=self._protected
            )
            self._encoders.attach()

    def _hook_on(self, layer: Layer, padding: Padding = no_padding) -> RemovableHandle:
        if layer.view is None:
            return layer.module.register_forward_hook(Hook(partial(self.record, layer)))
        receive = partial(self._record_call, layer, padding)
        return layer.module.register_forward_hook(CallHook(receive), with_kwargs=True)

    def _wanted(self) -> bool:
        return self.recording and (_Pause.depth > 0) == self._explaining

    def _listening(self) -> bool:
        return self._aside is None and self._wanted()

    def detach(self) -> None:
        """Take the hooks off; does nothing when they are off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._encoders is not None:
            self._encoders.detach()
            self._encoders = None
        self.recording = False

    def start(self) -> None:
        """Forget what was seen and record from here on."""
        self.seen = {}
        self._raw = {}
        self._calls = {}
        self._aside = None
        self.recording = True

    def look_away(self) -> None:
        """Leave out what follows, a backward pass in which activation checkpointing runs layers again.

        A compiled region is not told: run again it must do just what it did before, or checkpointing refuses it. What
        it keeps meanwhile is forgotten.
        """
        if self.recording and self._aside is None:
            self._aside = self._raw, self._calls
            self._raw, self._calls = {}, {}

    def look_again(self) -> None:
        """Go on after `look_away`."""
        if self._aside is not None:
            (self._raw, self._calls), self._aside = self._aside, None

    def stop(self) -> dict[str, Any]:
        """End recording and hand over what was seen: layer name (`#n` for its n-th further call) -> reduction."""
        self.look_again()
        self.recording = False
        seen, self.seen = self.seen, {}
        raw, self._raw = self._raw, {}
        if not raw:
            return seen
        with torch.no_grad():
            seen |= {key: self._reduce(tensor, layer, key) for key, (tensor, layer) in raw.items()}
        return seen

    def record(self, layer: Layer, output: Any) -> None:
        """Take a layer's output, if this is the time for it; called by the hook."""
        compiling = torch.compiler.is_compiling()
        if not (self._wanted() if compiling else self._listening()):
            return
        tensor = _first_tensor(output)
        if tensor is None:
            return
        key = self._next_key(layer)
        if compiling:
            # a compiler traces this: it must not meet the reduction, which may time itself or warn
            self._raw[key] = (tensor if self._differentiable else tensor.detach().clone(), layer)
        elif self._differentiable:
            self.seen[key] = self._reduce(tensor, layer, key)
        else:
            with torch.no_grad():
                self.seen[key] = self._reduce(tensor.detach(), layer, key)

    def _record_call(self, layer: Layer, padding: Padding, args: Any, kwargs: Any, output: Any) -> None:
        """Take a whole call of a layer whose units are not simply its output."""
        # a compiler cannot trace what a view does: such layers stay silent there, and are named as such
        if not self._listening() or torch.compiler.is_compiling():
            return
        key = self._next_key(layer)
        with torch.set_grad_enabled(self._differentiable):
            self.seen[key] = self._reduce(Call(args, kwargs, output, padding()), layer, key)

    def _next_key(self, layer: Layer) -> str:
        call = self._calls.get(layer.name, 0)
        self._calls[layer.name] = call + 1
        return f"{layer.name}#{call}" if call else layer.name


@contextmanager
def watched(
    layers: Sequence[Layer], *, reduce: Reduce = _kept, differentiable: bool = False
) -> Generator[Recorder, None, None]:
    """Record the given layers for an explanation, and take the hooks off at the end, also when it raises.

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
