"""One part of the isolation after another switched off: the matrix must see each."""

import contextlib
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from lightning_explain import capture, isolation
from lightning_explain.callbacks.attribution import explainer as explanation
from lightning_explain.callbacks.base import default_probe as probe_source
from lightning_explain.callbacks.paths import explanation as path_explanation
from lightning_explain.neurons import units
from tests.reliability.matrix import Case

Switch = Callable[[], Any]
"""Makes a context in which a part is off."""


def _restored(self: Any, *, attributes: bool = True, containers: bool = True, tensors: bool = True) -> None:
    """Put a submodule back as `isolation` does, but for some of it."""
    if attributes:
        isolation._overwrite(vars(self.module), self.attributes)
    if containers:
        for container, content in self.containers:
            isolation._overwrite(container, content)
    if tensors:
        for saved in self.tensors:
            saved.restore()


def _without(**parts: bool) -> Switch:
    return lambda: patch.object(isolation._SavedModule, "restore", lambda self: _restored(self, **parts))


def _train_modes_stay_off() -> Any:
    def restore(self: Any) -> None:
        _restored(self)
        self.module.training = False

    return patch.object(isolation._SavedModule, "restore", restore)


def _train_modes_by_train() -> Any:
    @contextmanager
    def preserved(module: nn.Module) -> Generator[None, None, None]:
        with original(module):
            yield
        module.train()

    original = isolation.module_preserved
    return patch.object(isolation, "module_preserved", preserved)


def _hooks_stay() -> Any:
    def restore(self: Any) -> None:
        kept = {key: dict(value) for key, value in vars(self.module).items() if "_hooks" in key}
        _restored(self)
        for key, hooks in kept.items():
            vars(self.module)[key].update(hooks)

    return patch.object(isolation._SavedModule, "restore", restore)


def _gradients_into_grad() -> Any:
    original = torch.autograd.grad

    def leaking(outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        first = outputs if isinstance(outputs, Tensor) else outputs[0]
        first.sum().backward(retain_graph=True)
        return original(outputs, inputs, *args, **kwargs)

    return patch.object(torch.autograd, "grad", leaking)


@contextmanager
def _logs_go_on() -> Generator[None, None, None]:
    with contextlib.ExitStack() as stack:
        for user in (explanation, path_explanation):
            stack.enter_context(patch.object(user, "undisturbed", isolation.isolated))
        yield


def _streams_move_on() -> Any:
    return patch.object(isolation, "rng_preserved", nullcontext)


def _eval_mode_left_to_the_user() -> Any:
    @contextmanager
    def preserved(module: nn.Module) -> Generator[None, None, None]:
        saved = [isolation._SavedModule(part) for part in module.modules()]
        yield
        for entry in saved:
            entry.restore()

    return patch.object(isolation, "module_preserved", preserved)


def _by_version_only(self: Any) -> None:
    if self.version is not None and isolation._version(self.tensor) != self.version:
        with torch.no_grad():
            self.tensor.copy_(self.values)


QUICK = Case(watching="saliency", epochs=1)

MUTATIONS: Mapping[str, tuple[Switch, Case]] = {
    "random streams are not put back": (_streams_move_on, QUICK),
    "drawing the probe moves the streams": (
        lambda: patch.object(probe_source, "rng_preserved", nullcontext), QUICK,
    ),
    "train modes are not put back": (_train_modes_stay_off, QUICK),
    "train modes are put back by train()": (_train_modes_by_train, replace(QUICK, frozen="in eval mode")),
    "attributes are not put back": (_without(attributes=False), QUICK),
    "dicts and lists are not put back": (_without(containers=False), QUICK),
    "buffers are not written back": (
        lambda: patch.object(isolation._SavedTensor, "restore", lambda self: None), QUICK,
    ),
    "only buffers whose version moved are written back": (
        lambda: patch.object(isolation._SavedTensor, "restore", _by_version_only), QUICK,
    ),
    "what is trained is not put back": (
        lambda: patch.object(isolation._SavedParameter, "restore", lambda self: None), QUICK,
    ),
    "hooks of an explanation stay": (_hooks_stay, Case(watching="captum's DeepLift", epochs=1)),
    "hooks of the run stay": (
        lambda: patch.object(capture.Recorder, "detach", lambda self: None), QUICK,
    ),
    "gradients go into .grad": (_gradients_into_grad, QUICK),
    "forward may log": (_logs_go_on, QUICK),
    "tensors of inference mode stay": (
        lambda: patch.object(isolation._SavedModule, "make_usable", lambda self: None),
        replace(QUICK, lazy="inference tensors"),
    ),
    "compiled regions are told to look away": (
        lambda: patch.object(capture.Recorder, "pause", lambda self: vars(self).update(recording=False)),
        replace(QUICK, compiled="aot_eager", checkpointing="body"),
    ),
    "hooks sit on what a compiler leaves alone": (
        lambda: patch.object(capture.watched_layers, "names_outside_compiled", lambda model: frozenset()),
        replace(QUICK, compiled="in place"),
    ),
    "a hook sits on a transformer layer": (
        lambda: patch.object(units, "_with_view", lambda layer, modules: layer),
        replace(QUICK, block="padded, norm first", layers="by name"),
    ),
    "explanations run in the run's own mode": (_eval_mode_left_to_the_user, replace(QUICK, cadence="steps")),
}  # fmt: skip


@contextmanager
def switched_off(name: str) -> Generator[Case, None, None]:
    """Switch a part off; gives the case that must show it."""
    switch, case = MUTATIONS[name]
    with contextlib.ExitStack() as stack:
        stack.enter_context(switch())
        yield case
