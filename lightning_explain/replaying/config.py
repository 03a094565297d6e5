"""Replay configured by a file of LightningCLI: model, data and monitors."""

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl

from lightning_explain.callbacks import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor
from lightning_explain.errors import ConfigurationError

MONITORS: dict[str, type[pl.Callback]] = {
    "neurons": ActiveNeuronMonitor,
    "attribution": AttributionMonitor,
    "path": DecisionPathMonitor,
}
"""The monitors of a run whose configuration names none, by the name they log under."""

OF_VALIDATION = ("accelerator", "precision", "limit_val_batches", "limit_train_batches", "inference_mode")
"""Options of the Trainer that say how a validation runs; the others have nothing to say in a replay."""

SCRIPT = "replayed_script"
"""The name under which a script is imported whose classes the file calls `__main__.Net`."""

Section = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Run:
    """Model, data and monitors of a run.

    Attributes:
        model: The LightningModule, with its first weights.
        data: The LightningDataModule; None if there is none.
        monitors: Who explains.
        seed: What random streams begin with; None if the file does not say.
        trainer: Options of the Trainer that matter for a validation.
        train_dataloaders: Training data, where there is no datamodule.
        val_dataloaders: Validation data, likewise.
    """

    model: Any
    data: Any
    monitors: list[Any]
    seed: int | None
    trainer: Section = field(default_factory=dict[str, Any])
    train_dataloaders: Any = None
    val_dataloaders: Any = None


def run_of(
    config: Path,
    *,
    model: str | None = None,
    data: str | None = None,
    script: Path | None = None,
    monitors: Sequence[str] = (),
) -> Run:
    """Instantiate the objects of a configuration file.

    Args:
        config: YAML, as LightningCLI saves it beside its run (`config.yaml`).
        model: Import path of the model's class, where the file holds its arguments only.
        data: Import path of the data's class, likewise.
        script: The script that defines the classes which the file calls `__main__.Net`.
        monitors: Names out of `MONITORS`, instead of the monitors in the file.

    Raises:
        ConfigurationError: jsonargparse is not installed, or the file cannot be read or does not describe a run.
    """
    _need_jsonargparse()
    sections = _sections(config)
    project_importable()
    if script is not None:
        import_script(script)
    chosen = {
        "model": _with_class(sections.get("model"), "model", model),
        "data": _with_class(sections.get("data"), "data", data),
        "callbacks": [] if monitors else _named_monitors(sections),
    }
    seed = sections.get("seed_everything")
    seed = seed if isinstance(seed, int) and not isinstance(seed, bool) else None
    if seed is not None:
        pl.seed_everything(seed, workers=True, verbose=False)
    built = _instantiated(config, _in_script(chosen, known=script is not None))
    own = [] if built["callbacks"] and not monitors else default_monitors(monitors)
    trainer = cast(Section, sections.get("trainer") or {})
    return Run(
        model=built["model"],
        data=built["data"],
        monitors=[*own, *built["callbacks"]],
        seed=seed,
        trainer={key: trainer[key] for key in OF_VALIDATION if trainer.get(key) is not None},
    )


def default_monitors(names: Sequence[str]) -> list[Any]:
    """Return the monitors of these names, by default all, with their default options."""
    return [MONITORS[name]() for name in names or MONITORS]


def project_importable() -> None:
    """Make the modules of the folder that the command is called in importable, as `python -m` would."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def _need_jsonargparse() -> None:
    if importlib.util.find_spec("jsonargparse") is None:
        raise ConfigurationError(
            "A configuration file is read by the package jsonargparse, which is not installed. Install it with\n\n"
            '    pip install "lightning-explain[cli]"\n\n'
            "or call lightning_explain.replay(model, checkpoints, callbacks, datamodule) from Python."
        )


def _sections(config: Path) -> Section:
    yaml: Any = import_module("yaml")  # comes with jsonargparse
    try:
        found = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{config} cannot be read as YAML: {error}") from error
    if not isinstance(found, dict) or "model" not in found:
        raise ConfigurationError(
            f"{config} has no section `model`; expected what LightningCLI saves as config.yaml, e.g.\n\n"
            "    model:\n      class_path: my_project.Net\n      init_args: {width: 64}\n"
            "    data:\n      class_path: my_project.Data\n"
        )
    return cast(Section, found)


def _with_class(section: Any, name: str, class_path: str | None) -> Section | None:
    """Return a section with `class_path` and `init_args`; None if it is missing."""
    if isinstance(section, str):
        return {"class_path": section}
    if isinstance(section, Mapping) and "class_path" in section:
        return dict(cast(Section, section))
    if class_path is not None:
        return {"class_path": class_path.replace(":", "."), "init_args": dict(cast(Section, section or {}))}
    if section is None:
        return None
    raise ConfigurationError(
        f"The section `{name}` holds arguments but no class_path, as for a LightningCLI that was given one class. "
        f"Name it: --{name} my_project.MyClass"
    )


def _named_monitors(sections: Section) -> list[Section]:
    """Find the monitors in a section of their own, or among the Trainer's callbacks."""
    given: Any = sections.get("callbacks") or (sections.get("trainer") or {}).get("callbacks") or []
    entries = cast(list[Any], given if isinstance(given, list) else [given])
    named = [{"class_path": entry} if isinstance(entry, str) else entry for entry in entries]
    ours = {kind.__name__ for kind in MONITORS.values()}
    return [entry for entry in named if str(entry.get("class_path")).rpartition(".")[2] in ours]


def import_script(script: Path) -> None:
    """Import a script, as the module `SCRIPT`.

    Raises:
        ConfigurationError: There is no such file.
    """
    spec = importlib.util.spec_from_file_location(SCRIPT, script)
    if spec is None or spec.loader is None or not script.exists():
        raise ConfigurationError(f"--script {script}: expected the Python file that trained the model.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[SCRIPT] = module
    sys.path.insert(0, str(script.parent.resolve()))
    spec.loader.exec_module(module)


def _in_script(value: Any, *, known: bool) -> Any:
    """Replace `__main__` in class paths by the module of the script.

    Raises:
        ConfigurationError: There are such classes, and nobody said which script that was.
    """
    if isinstance(value, Mapping):
        return {key: _in_script(part, known=known) for key, part in cast(Section, value).items()}
    if isinstance(value, list):
        return [_in_script(part, known=known) for part in cast(list[Any], value)]
    if not (isinstance(value, str) and value.startswith("__main__.")):
        return value
    if not known:
        raise ConfigurationError(
            f"The file names {value}: a class of the script that was run. Say which one: --script train.py (it is "
            'imported, so training must stand under `if __name__ == "__main__":`).'
        )
    return SCRIPT + value.removeprefix("__main__")


def _instantiated(config: Path, chosen: Section) -> Any:
    jsonargparse: Any = import_module("jsonargparse")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    homes: list[Any] = [pl]
    if importlib.util.find_spec("pytorch_lightning") is not None:
        homes.append(import_module("pytorch_lightning"))
    parser.add_subclass_arguments(tuple(home.LightningModule for home in homes), "model", required=True)
    parser.add_subclass_arguments(tuple(home.LightningDataModule for home in homes), "data", required=False)
    parser.add_argument("--callbacks", type=list[pl.Callback])
    said = StringIO()
    try:
        with redirect_stderr(said):
            parsed = parser.parse_object({key: part for key, part in chosen.items() if part is not None})
            instantiate = getattr(parser, "instantiate", None)  # since jsonargparse 4.49
            return instantiate(parsed) if instantiate is not None else parser.instantiate_classes(parsed)
    except ConfigurationError:
        raise
    except (jsonargparse.ArgumentError, ImportError, TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"{config} does not describe a model and data that can be built: {error}") from error
