"""Everything of a run that a monitor could disturb, noted bit by bit at every hook."""

import hashlib
import random
from collections import deque
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks

ADDRESS = 1 << 40

Facets = dict[str, dict[str, Any]]
"""What is compared -> name -> digest."""


def digest(value: Any) -> Any:
    """Turn a value into something that is equal only for equal bits; of foreign objects only the type counts."""
    if isinstance(value, nn.UninitializedParameter):
        return "uninitialised"
    if isinstance(value, Tensor):
        raw = value.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
        kind = (str(value.dtype), tuple(value.shape), value.requires_grad, value.is_inference())
        return (*kind, hashlib.sha1(raw).hexdigest())
    if isinstance(value, np.ndarray):
        return (str(value.dtype), value.shape, hashlib.sha1(value.tobytes()).hexdigest())
    if isinstance(value, Mapping):
        return [(digest(key), digest(part)) for key, part in value.items()]
    if isinstance(value, list | tuple | deque):
        return [digest(part) for part in value]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, int) and value > ADDRESS:
        return "an address"  # torchmetrics and dynamo keep id() of objects
    plain = value is None or isinstance(value, bool | int | float | complex | str | bytes)
    return repr(value) if plain else type(value).__qualname__


def own(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what the monitors log."""
    return {key: digest(value) for key, value in metrics.items() if not key.startswith("explain/")}


def _is_hooks(name: str) -> bool:
    return "_hooks" in name


def _attributes(model: nn.Module, *, hooks: bool) -> dict[str, Any]:
    """Every attribute of every submodule; its hooks only where asked, for the monitors' own are on in a run."""
    return {
        # hooks are numbered through the life of the process
        f"{name}.{key}": digest(list(value.values()) if hooks else value)
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if _is_hooks(key) == hooks and key not in ("_parameters", "_buffers")
    }


def _streams() -> dict[str, Any]:
    return {
        "python": digest(random.getstate()),
        "numpy": digest(np.random.get_state()),
        "torch": digest(torch.get_rng_state()),
    }


def _switches() -> dict[str, Any]:
    """Read the global states of torch that isolation changes for a while."""
    return {
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "dtype": str(torch.get_default_dtype()),
        "cudnn": torch.backends.cudnn.enabled,
        "mkldnn": torch.backends.mkldnn.enabled,
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def _of_model(model: nn.Module) -> Facets:
    return {
        "weights": {name: digest(tensor) for name, tensor in model.named_parameters()},
        "buffers": {name: digest(tensor) for name, tensor in model.named_buffers()},
        "grads": {name: digest(parameter.grad) for name, parameter in model.named_parameters()},
        "train modes": {name: module.training for name, module in model.named_modules()},
        "attributes": _attributes(model, hooks=False),
        "random streams": _streams(),
        "switches": _switches(),
    }


def hooks_on(model: nn.Module) -> dict[str, Any]:
    """Every hook on the model, and on all modules."""
    tables = {name: value for name, value in vars(module_hooks).items() if name.startswith("_global_")}
    everywhere = {name: digest(list(table.values())) for name, table in tables.items() if isinstance(table, dict)}
    return _attributes(model, hooks=True) | everywhere


class Spy(pl.Callback):
    """Notes at every hook that follows the monitors' own how the run stands."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, Facets]] = []

    def _note(self, where: str, trainer: Any, pl_module: Any, batch: Any = None) -> None:
        facets = _of_model(pl_module) | {
            "optimizers": {str(i): digest(o.state_dict()) for i, o in enumerate(trainer.optimizers)},
            "metrics": own(trainer.callback_metrics),
            "logged metrics": own(trainer.logged_metrics),
            "progress bar metrics": own(trainer.progress_bar_metrics),
            "batch": {"": digest(batch)},
        }
        self.notes.append((f"{where}, step {trainer.global_step}", facets))

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._note("start of training", trainer, pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._note("end of a training batch", trainer, pl_module, batch)

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *_: Any) -> None:
        self._note("start of a validation batch", trainer, pl_module, batch)

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        self._note("end of a validation batch", trainer, pl_module, batch)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self._note("end of a validation", trainer, pl_module)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._note("end of an epoch", trainer, pl_module)

    def after(self, trainer: Any, pl_module: Any) -> None:
        """Note how all stands when the run is over: the hooks too, for all must be gone."""
        self._note("after the run", trainer, pl_module)
        self.notes[-1][1]["hooks"] = hooks_on(pl_module)
        for logger in trainer.loggers:
            if isinstance(logger, RememberingLogger):
                self.notes[-1][1]["logged values"] = {str(i): value for i, value in enumerate(logger.values)}


class RememberingLogger(TensorBoardLogger):
    """A TensorBoard logger that also keeps the figures that the run itself logs."""

    def __init__(self, folder: Any) -> None:
        super().__init__(folder, "run")
        self.values: list[Any] = []

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Log them, and keep those that are not the monitors'."""
        if found := own(metrics):
            self.values.append((step, sorted(found.items())))
        super().log_metrics(metrics, step)


def _first_difference(bare: dict[str, Any], watched: dict[str, Any]) -> str | None:
    for name in [*bare, *(name for name in watched if name not in bare)]:
        if name not in bare or name not in watched or bare[name] != watched[name]:
            return name
    return None if list(bare) == list(watched) else "the order"


def differences(bare: Spy, watched: Spy) -> list[str]:
    """Say for each facet where two runs first differ; empty if they are the same to the last bit."""
    places = [where for where, _ in bare.notes], [where for where, _ in watched.notes]
    if places[0] != places[1]:
        return [f"the course of the run: {len(places[0])} and {len(places[1])} moments"]
    found: dict[str, str] = {}
    for (where, one), (_, other) in zip(bare.notes, watched.notes, strict=True):
        for facet in one.keys() | other.keys():
            name = _first_difference(one.get(facet, {}), other.get(facet, {}))
            if name is not None:
                found.setdefault(facet, f"{facet}: {name or facet} ({where})")
    return [found[facet] for facet in sorted(found)]
