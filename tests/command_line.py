"""A fit by LightningCLI, from a configuration file that names an AttributionMonitor."""

from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.cli import LightningCLI

from lightning_explain import AttributionMonitor
from tests.models import DigitData, DigitNet


def fitted_from_yaml(options: dict[str, Any], folder: Path, *, train_batches: int) -> AttributionMonitor:
    """Write the file, fit for one epoch, and return the monitor that the file asked for."""
    config = {
        "seed_everything": 0,
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 1,
            "limit_train_batches": train_batches,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "callbacks": [{"class_path": "lightning_explain.AttributionMonitor", "init_args": options}],
        },
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    cli = LightningCLI(
        DigitNet, DigitData, args=["fit", "--config", str(path)], save_config_kwargs={"overwrite": True},
        auto_configure_optimizers=False, trainer_defaults={"default_root_dir": str(folder)},
    )  # fmt: skip
    (monitor,) = [c for c in vars(cli.trainer)["callbacks"] if isinstance(c, AttributionMonitor)]
    return monitor
