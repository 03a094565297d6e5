"""Replay without a configuration file: model and data by the names of their classes, arguments from the checkpoint."""

import inspect
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from torch.utils.data import DataLoader

from lightning_explain.errors import ConfigurationError
from lightning_explain.replaying.config import SCRIPT, Run, default_monitors, import_script, project_importable
from lightning_explain.replaying.saved import checkpoint_files, read_checkpoints

MODEL_ARGUMENTS, DATA_ARGUMENTS = "hyper_parameters", "datamodule_hyper_parameters"
"""Keys under which Lightning keeps in a checkpoint what `save_hyperparameters()` saved."""


def run_of_classes(
    model: str, data: str | None, checkpoints: str | Path, *, script: Path | None = None, monitors: Sequence[str] = ()
) -> Run:
    """Instantiate a model and its data.

    Args:
        model: `module:Class`, or `train.py:Class`.
        data: Likewise; a LightningDataModule, or what is or returns one, a DataLoader of validation batches, or two of
            them, of training and of validation. None where the model brings its own.
        checkpoints: Where the arguments are looked up, in the newest file that has any.
        script: A script whose classes are meant by names without a module.
        monitors: Names out of `MONITORS`; by default all.

    Raises:
        ConfigurationError: There is no such class, an argument is missing that the checkpoint does not hold, or the
            data are of another kind.
    """
    project_importable()
    if script is not None:
        import_script(script)
    saved = _arguments_in(checkpoints)
    made = _made("--model", _named("--model", model, script=script), saved.get(MODEL_ARGUMENTS, {}))
    given: Any = None
    if data is not None:
        given = _made("--data", _named("--data", data, script=script), saved.get(DATA_ARGUMENTS, {}))
    kinds = [base.__name__ for base in type(made).__mro__]
    if "LightningModule" not in kinds:
        raise ConfigurationError(f"--model {model} is a {type(made).__name__}; expected a LightningModule.")
    return Run(model=made, monitors=default_monitors(monitors), seed=None, **_as_data(f"--data {data}", given))


def _arguments_in(checkpoints: str | Path) -> dict[str, Any]:
    """Return the arguments that the newest checkpoint saved, by where it keeps them; empty if none did."""
    found, _ = read_checkpoints(checkpoint_files(checkpoints))
    for checkpoint in reversed(found):
        content = checkpoint.content()
        if MODEL_ARGUMENTS in content or DATA_ARGUMENTS in content:
            return {key: content[key] for key in (MODEL_ARGUMENTS, DATA_ARGUMENTS) if key in content}
    return {}


def _named(option: str, name: str, *, script: Path | None) -> Any:
    """Find what an option names: `module:Class`, `train.py:Class`, `module.Class`, or with a script `Class`."""
    place, _, attribute = name.rpartition(":" if ":" in name else ".")
    if place.endswith(".py"):
        import_script(Path(place))
        place = SCRIPT
    if not place and script is not None:
        place = SCRIPT
    if not place:
        raise ConfigurationError(f"{option} {name}: expected module:Class, e.g. train:Net or train.py:Net.")
    try:
        found: Any = sys.modules[place] if place == SCRIPT else import_module(place)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"{option} {name}: {error}. Expected module:Class, importable from the folder that the command is called "
            f"in ({Path.cwd()})."
        ) from error
    return found


def _made(option: str, found: Any, saved: Mapping[str, Any]) -> Any:
    """Call a class or a function with the saved arguments that it takes; anything else is taken as it is.

    Raises:
        ConfigurationError: It needs an argument that was not saved.
    """
    if not (inspect.isclass(found) or inspect.isroutine(found)):
        return found
    parameters = inspect.signature(found).parameters.values()
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    missing = [name for name, p in named.items() if p.default is p.empty and name not in saved]
    if missing:
        raise ConfigurationError(
            f"{option} {found.__qualname__} needs {', '.join(missing)}, which the checkpoint does not hold: "
            "self.save_hyperparameters() in __init__ saves the arguments with every checkpoint. Here, name a function "
            "that takes none and returns the object, or call lightning_explain.replay(model, checkpoints, callbacks, "
            "datamodule) from Python."
        )
    # what LightningCLI adds begins with an underscore
    return found(**{key: value for key, value in saved.items() if key in named or (takes_all and key[:1] != "_")})


def _as_data(what: str, given: Any) -> dict[str, Any]:
    """Return the data as arguments of `Run`: a datamodule, or loaders.

    Raises:
        ConfigurationError: They are something else.
    """
    if given is None or "LightningDataModule" in [base.__name__ for base in type(given).__mro__]:
        return {"data": given}
    loaders = list(cast(Sequence[Any], given)) if isinstance(given, list | tuple) else [given]
    if len(loaders) > 2 or not all(isinstance(loader, DataLoader) for loader in loaders):
        raise ConfigurationError(
            f"{what} is {type(given).__name__}; expected a LightningDataModule, a DataLoader of validation batches, "
            "two of training and of validation, or a function that takes nothing and returns one of these."
        )
    return {
        "data": None,
        "val_dataloaders": loaders[-1],
        "train_dataloaders": loaders[0] if len(loaders) == 2 else None,
    }
