"""Metrics that other callbacks monitor: handing them over, and refusing callbacks that would miss them."""

from collections.abc import Mapping
from typing import Any

import torch

from lightning_explain.errors import ConfigurationError
from lightning_explain.log import defined, tag
from lightning_explain.schedule import Schedule


def update_callback_metrics(trainer: Any, scalars: Mapping[str, float]) -> None:
    """Make metrics available to callbacks such as `EarlyStopping` and `ModelCheckpoint`; undefined ones are left out.

    All at once, as Lightning's `LearningRateMonitor` does it: `pl_module.log` makes a torchmetric of each, which takes
    about 0.3 ms.
    """
    trainer.callback_metrics.update({key: torch.tensor(value) for key, value in defined(scalars).items()})


def check_listeners(trainer: Any, name: str, *, schedule: Schedule, may_skip: bool) -> None:
    """Refuse callbacks that would end the run at the first epoch without an explanation.

    Args:
        trainer: Whose callbacks.
        name: The monitor's name.
        schedule: The monitor's schedule.
        may_skip: True if it has a budget, and so may skip explanations.

    Raises:
        ConfigurationError: A strict `EarlyStopping`, or a `ModelCheckpoint`, monitors what not every epoch has.
    """
    every = schedule.every_n_epochs or 1
    if not may_skip and (every == 1 or schedule.every_n_train_steps is not None):
        return
    why = "max_overhead lets some be skipped" if may_skip else f"every_n_epochs={every}"
    for callback in vars(trainer)["callbacks"]:
        # by name: Lightning has two packages, and one need not be installed
        kinds, options = {kind.__name__ for kind in type(callback).__mro__}, vars(callback)
        if not str(options.get("monitor")).startswith(f"{tag(name)}/"):
            continue
        cure = ""
        if "EarlyStopping" in kinds and options["strict"]:
            cure = "EarlyStopping(strict=False)"
        elif "ModelCheckpoint" in kinds and may_skip:
            cure = f"up max_overhead of {name!r}, or monitor something else"
        elif "ModelCheckpoint" in kinds and options["_every_n_epochs"] % every != 0:
            cure = f"ModelCheckpoint(every_n_epochs={every})"
        if cure:
            raise ConfigurationError(
                f"{type(callback).__name__} monitors {options['monitor']}, which is logged only when there is an "
                f"explanation ({why}); at any other epoch it would end the run. Give {cure}."
            )
