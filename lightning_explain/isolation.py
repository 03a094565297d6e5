"""Leaving the model as found: everything an explanation could disturb is saved before and put back after.

The cost is a shallow copy of every submodule's attributes and a clone of every buffer: a fraction of one
forward pass.
"""

import sys
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lightning_explain.capture import recording_paused
from lightning_explain.randomness import rng_preserved

T = TypeVar("T")


def _version(tensor: Tensor) -> int | None:
    # inference tensors count no versions; they are swapped for clones anyway
    return None if tensor.is_inference() else tensor._version


@dataclass(frozen=True)
class _SavedTensor:
    """A tensor, and a copy of its values to write back if something wrote into it."""

    tensor: Tensor
    version: int | None
    values: Tensor

    @classmethod
    def of(cls, tensor: Tensor) -> "_SavedTensor":
        return cls(tensor, _version(tensor), tensor.detach().clone())

    def restore(self) -> None:
        # the values are compared too: writing through `.data` counts no version
        touched = self.version is not None and _version(self.tensor) != self.version
        if touched or (self.version is not None and not torch.equal(self.tensor, self.values)):
            with torch.no_grad():
                self.tensor.copy_(self.values)


def _usable(value: T) -> T:
    """Swap a tensor made under inference mode for a clone: autograd refuses the original."""
    if isinstance(value, nn.Parameter) and value.is_inference():
        return nn.Parameter(value.detach().clone(), requires_grad=value.requires_grad)  # type: ignore[return-value]
    if isinstance(value, Tensor) and value.is_inference():
        return value.detach().clone()  # type: ignore[return-value]
    return value


def _overwrite(container: Any, content: Any) -> None:
    """Give a dict, list or set its saved content back, keeping its identity."""
    container.clear()
    if isinstance(container, list | deque):
        container.extend(content)
    else:
        container.update(content)


def _same(container: Any, content: Any) -> bool:
    if len(container) != len(content):
        return False
    if isinstance(content, Mapping):
        return all(key in container and container[key] is value for key, value in content.items()) and list(
            container
        ) == list(content)
    if isinstance(content, list | deque):
        return all(now is then for now, then in zip(container, content, strict=True))
    return container == content


class _SavedModule:
    """One submodule's attributes, containers and tensors, shallowly."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.attributes = dict(module.__dict__)
        # nn.Module keeps parameters, buffers, children and hooks in such containers too
        self.containers = [
            (value, value.copy()) for value in self.attributes.values() if isinstance(value, dict | list | set | deque)
        ]
        loose = [value for value in self.attributes.values() if isinstance(value, Tensor)]
        buffers = [buffer for _, buffer in module.named_buffers(recurse=False)]
        # weights are copied only where torch itself writes into them: a copy of all would take as much memory again
        written = isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None
        weights = list(module.parameters(recurse=False)) if written else []
        self.tensors = [_SavedTensor.of(tensor) for tensor in (*loose, *buffers, *weights)]

    def make_usable(self) -> None:
        registered = (*self.module.named_buffers(recurse=False), *self.module.named_parameters(recurse=False))
        for name, value in (*self.attributes.items(), *registered):
            usable = _usable(value)
            if usable is not value:
                setattr(self.module, name, usable)

    def restore(self) -> None:
        if not _same(self.module.__dict__, self.attributes):
            _overwrite(self.module.__dict__, self.attributes)
        for container, content in self.containers:
            if not _same(container, content):
                _overwrite(container, content)
        for saved in self.tensors:
            saved.restore()


@contextmanager
def module_preserved(module: nn.Module) -> Generator[None, None, None]:
    """Run every submodule in eval mode; put attributes, buffers, hooks and train modes back at the end.

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
    """Switch autograd on and autocast off, also inside `no_grad` and `inference_mode`."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        devices = ["cpu", *(["cuda"] if torch.cuda.is_initialized() else [])]
        for device in devices:
            stack.enter_context(torch.autocast(device, enabled=False))
        yield


@contextmanager
def isolated(module: nn.Module) -> Generator[None, None, None]:
    """Explain inside this: the model, the RNG streams and the recorders are left as found.

    Covers train modes per submodule, buffers and tensor attributes (values are written back where a forward changed
    them), module attributes with the lists, dicts and sets in them (one level deep), hooks, RNG of python, numpy and
    torch, autocast and grad mode; also when the body raises. Weights are not copied, but for embeddings with
    `max_norm`: a forward that writes into its own parameters would leave a trace. Compiled modules run eagerly, since
    a recompile would change the numbers of the run. `.grad` stays untouched as long as the body uses
    `torch.autograd.grad`.

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
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        if any(isinstance(submodule, nn.RNNBase) for submodule in module.modules()):
            # cuDNN refuses the backward pass of a recurrent layer in eval mode
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        stack.enter_context(module_preserved(module))
        yield


@contextmanager
def explaining(model: nn.Module | Callable[..., Any]) -> Generator[None, None, None]:
    """Isolate an `nn.Module`; for any other callable only make autograd work."""
    with isolated(model) if isinstance(model, nn.Module) else differentiable():
        yield
