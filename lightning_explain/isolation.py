"""Isolation of explanations: everything they could disturb is saved before and restored after.

The cost is a shallow copy of every submodule's attributes and two copies of every buffer: a fraction of one
forward pass.
"""

import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from operator import is_
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy

from lightning_explain.activation_checkpointing import checkpointing_without_reentry
from lightning_explain.batch_norm_gradients import gradients_aligned
from lightning_explain.capture import recording_paused
from lightning_explain.randomness import rng_preserved, saved_streams
from lightning_explain.weights.sharded import weights_gathered, weights_spread

T = TypeVar("T")

UNMADE = (UninitializedParameter, UninitializedBuffer)

CONTAINERS = (dict, list, set, deque)


def _version(tensor: Tensor) -> int | None:
    # inference tensors count no versions; they are swapped for clones anyway
    return None if tensor.is_inference() else tensor._version


@dataclass(frozen=True)
class _SavedTensor:
    """A tensor, its storage, and a copy of its values to restore if something wrote into it."""

    tensor: Tensor
    storage: Tensor
    version: int | None
    values: Tensor

    @classmethod
    def of(cls, tensor: Tensor) -> "_SavedTensor":
        return cls(tensor, tensor.data, _version(tensor), tensor.detach().clone())

    def restore(self) -> None:
        if self.version is None:
            return
        _point_back(self.tensor, self.storage)
        if _version(self.tensor) != self.version:
            with torch.no_grad():
                self.tensor.copy_(self.values)
        else:
            # what was written through `.data` counts no version, and neither does this
            self.storage.copy_(self.values)


@dataclass(frozen=True)
class _SavedParameter:
    """A parameter, its storage, and its `requires_grad`. Its values are too large to copy."""

    parameter: nn.Parameter
    storage: Tensor
    requires_grad: bool

    @classmethod
    def of(cls, parameter: nn.Parameter) -> "_SavedParameter":
        return cls(parameter, parameter.data, parameter.requires_grad)

    def restore(self) -> None:
        if not self.parameter.is_inference():
            _point_back(self.parameter, self.storage)
        if self.parameter.requires_grad != self.requires_grad:
            self.parameter.requires_grad_(self.requires_grad)


def _point_back(tensor: Tensor, storage: Tensor) -> None:
    """Undo `tensor.data = other`; tensors without storage of their own (distributed ones) are left alone."""
    if type(storage) is not Tensor:
        return
    if tensor.data_ptr() != storage.data_ptr() or tensor.shape != storage.shape or tensor.dtype != storage.dtype:
        tensor.data = storage


def _usable(value: T) -> T:
    """Clone a tensor made under inference mode, which autograd refuses."""
    # most values are no tensors, and asking whether something is a parameter is slow
    if not isinstance(value, Tensor) or is_lazy(value) or not value.is_inference():
        return value
    if isinstance(value, nn.Parameter):
        return nn.Parameter(value.detach().clone(), requires_grad=value.requires_grad)  # type: ignore[return-value]
    return value.detach().clone()  # type: ignore[return-value]


def _made(named: Iterable[tuple[str, T | None]]) -> Iterator[tuple[str, T]]:
    """Exclude the parameters that lazy layers create in their first forward pass: there is nothing to restore yet."""
    return ((name, value) for name, value in named if value is not None and not isinstance(value, UNMADE))


def is_whole(module: nn.Module) -> bool:
    """Return True if no lazy layer waits for the run's first forward pass, which an explanation must not preempt.

    Example:
        >>> is_whole(nn.Linear(2, 3)), is_whole(nn.LazyLinear(3))
        (True, False)
    """
    return not any(isinstance(tensor, UNMADE) for tensor in (*module.parameters(), *module.buffers()))


def _overwrite(container: Any, content: Any) -> None:
    """Restore the saved content of a dict, list or set, keeping its identity."""
    container.clear()
    if isinstance(container, list | deque):
        container.extend(content)
    else:
        container.update(content)


def _make_usable(container: Any, content: Any) -> None:
    """Clone tensors made under inference mode in a cache: a dict or list of tensors."""
    for key, value in content.items() if isinstance(content, Mapping) else enumerate(content):
        usable = _usable(value)
        if usable is not value:
            container[key] = usable


def _same(container: Any, content: Any) -> bool:
    if len(container) != len(content):
        return False
    if isinstance(content, Mapping):
        return list(container) == list(content) and all(map(is_, container.values(), content.values()))
    if isinstance(content, list | deque):
        return all(map(is_, container, content))
    return container == content


class _SavedModule:
    """One submodule's attributes, containers and tensors, shallowly."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        # a lazy layer becomes another class in its first forward pass
        self.kind = type(module)
        self.attributes = dict(module.__dict__)
        # nn.Module keeps parameters, buffers, children and hooks in such containers too
        found = [value for value in self.attributes.values() if isinstance(value, CONTAINERS)]
        # nearly all of them hold nothing
        self.empty = [container for container in found if not container]
        self.containers = [(container, container.copy()) for container in found if container]
        self.streams = saved_streams(
            value
            for values in (self.attributes, *(content for _, content in self.containers))
            for value in (values.values() if isinstance(values, Mapping) else values)
        )
        loose = [(name, value) for name, value in self.attributes.items() if isinstance(value, Tensor)]
        # not `named_parameters(recurse=False)`, which takes five times as long
        held: Any = module
        named_buffers, named_parameters = [*_made(held._buffers.items())], [*_made(held._parameters.items())]
        self.named_tensors: list[tuple[str, Tensor]] = [*loose, *named_buffers, *named_parameters]
        copied = [tensor for _, tensor in (*loose, *named_buffers)]
        parameters = [parameter for _, parameter in named_parameters]
        # weights are copied only where torch itself writes into them: a copy of all would take as much memory again
        written = isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None
        self.tensors = [
            *(_SavedTensor.of(tensor) for tensor in (*copied, *(parameters if written else []))),
            *(_SavedParameter.of(parameter) for parameter in parameters),
        ]

    def make_usable(self) -> None:
        for name, value in self.named_tensors:
            usable = _usable(value)
            if usable is not value:
                setattr(self.module, name, usable)
        for container, content in self.containers:
            if isinstance(container, dict | list):
                _make_usable(container, content)

    def restore(self) -> None:
        if type(self.module) is not self.kind:
            self.module.__class__ = self.kind
        if not _same(self.module.__dict__, self.attributes):
            _overwrite(self.module.__dict__, self.attributes)
        for container in self.empty:
            if container:
                container.clear()
        for container, content in self.containers:
            if not _same(container, content):
                _overwrite(container, content)
        for put_back in (*(saved.restore for saved in self.tensors), *self.streams):
            put_back()


@contextmanager
def module_preserved(module: nn.Module) -> Generator[None, None, None]:
    """Run every submodule in eval mode; restore attributes, buffers, hooks and train modes at the end.

    Tensors that were made under inference mode are swapped for clones meanwhile, so that autograd works.
    """
    saved = [_SavedModule(submodule) for submodule in module.modules()]
    try:
        for entry in saved:
            # set one by one: module.eval() would call user overrides, and eval()/train() unfreezes submodules
            entry.module.training = False
            entry.make_usable()
        yield
    finally:
        for entry in reversed(saved):
            entry.restore()


@contextmanager
def differentiable() -> Generator[None, None, None]:
    """Switch autograd on and autocast off, also inside `no_grad`, `inference_mode` and reentrant checkpointing."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(checkpointing_without_reentry())
        devices = ["cpu", *(["cuda"] if torch.cuda.is_initialized() else [])]
        for device in devices:
            stack.enter_context(torch.autocast(device, enabled=False))
        yield


@contextmanager
def isolated(module: nn.Module) -> Generator[None, None, None]:
    """Isolate an explanation: the model, the RNG states and the recorders are left as found.

    Covers train modes per submodule; buffers and tensor attributes (values are written back where a forward changed
    them); parameters (which tensor they hold and whether it is trained; what a forward writes into a parameter in
    place stays, embeddings with `max_norm` excepted, because a copy of all would take as much memory again); module
    attributes, and the dicts, lists and sets among them (not what is nested deeper); hooks; RNG of python, numpy and
    torch, and generators of theirs that a module holds; autocast and grad mode. Also when the body raises. Compiled
    modules run eagerly, since a recompile would change the numbers of the run. `.grad` stays untouched as long as the
    body uses `torch.autograd.grad`.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
        >>> with isolated(model):
        ...     model.training
        False
        >>> model.training
        True
    """
    with ExitStack() as stack:
        stack.enter_context(rng_preserved())
        stack.enter_context(recording_paused())
        stack.enter_context(differentiable())
        if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):  # since torch 2.6
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        if any(isinstance(submodule, nn.RNNBase) for submodule in module.modules()):
            # cuDNN refuses the backward pass of a recurrent layer in eval mode
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        stack.enter_context(gradients_aligned(module))
        stack.enter_context(weights_spread(module))
        stack.enter_context(module_preserved(module))
        # they end before the snapshot is put back
        stack.enter_context(weights_spread(module))
        stack.enter_context(weights_gathered(module))
        yield


@contextmanager
def explaining(model: nn.Module | Callable[..., Any]) -> Generator[None, None, None]:
    """Isolate an `nn.Module`; for any other callable only enable autograd."""
    with isolated(model) if isinstance(model, nn.Module) else differentiable():
        yield
