"""The monitor from a LightningCLI configuration file: one method, several, and named ones."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch.cli import LightningCLI

from lightning_explain import LRP, AttributionMonitor, InputXGradient, IntegratedGradients
from tests.models import DigitData, DigitNet

IG = {"class_path": "lightning_explain.IntegratedGradients", "init_args": {"n_steps": 6, "baseline": "mean"}}


@pytest.mark.filterwarnings("ignore")  # what jsonargparse and LightningCLI say is not ours
@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (IG, {"IntegratedGradients": IntegratedGradients(n_steps=6, baseline="mean")}),
        (
            [IG, {"class_path": "lightning_explain.LRP"}, {"class_path": "lightning_explain.InputXGradient"}],
            {
                "IntegratedGradients": IntegratedGradients(n_steps=6, baseline="mean"),
                "LRP": LRP(),
                "InputXGradient": InputXGradient(),
            },
        ),
        (
            {"ours": IG, "theirs": {"class_path": "lightning_explain.LRP"}},
            {"ours": IntegratedGradients(n_steps=6, baseline="mean"), "theirs": LRP()},
        ),
        (None, {"IntegratedGradients": IntegratedGradients()}),
    ],
    ids=["one", "list", "mapping", "none"],
)
def test_methods_from_yaml(method: Any, expected: dict[str, Any], tmp_path: Path) -> None:
    options = {"method": method, "faithfulness": ["deletion"], "on_error": "raise", "every_n_epochs": 1}
    config = {
        "seed_everything": 0,
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 1,
            "limit_train_batches": 2,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "callbacks": [{"class_path": "lightning_explain.AttributionMonitor", "init_args": options}],
        },
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    cli = LightningCLI(
        DigitNet, DigitData, args=["fit", "--config", str(path)], save_config_kwargs={"overwrite": True},
        auto_configure_optimizers=False, trainer_defaults={"default_root_dir": str(tmp_path)},
    )  # fmt: skip
    (monitor,) = [c for c in vars(cli.trainer)["callbacks"] if isinstance(c, AttributionMonitor)]
    assert monitor.methods == expected
    assert len(monitor.records) == 2
    assert "explain/attribution/deletion_auc" in monitor.records[-1]["scalars"]
