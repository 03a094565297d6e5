"""The monitors from a LightningCLI configuration file: one method, several, and named ones."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch.cli import LightningCLI

from lightning_explain import LRP, InputXGradient, IntegratedGradients
from tests.command_line import fitted_from_yaml
from tests.events import Events
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
    monitor = fitted_from_yaml(options, tmp_path, train_batches=2)
    assert monitor.methods == expected
    assert len(monitor.records) == 2
    assert "explain/attribution/deletion_auc" in monitor.records[-1]["scalars"]


THREE = [
    {
        "class_path": "lightning_explain.ActiveNeuronMonitor",
        "init_args": {
            "layers": ["body.*", "head.1"],
            "by": "prediction",
            "feeding": 2,
            "maps": [0, 3],
            "method": {"class_path": "lightning_explain.InputXGradient"},
            "on_error": "raise",
        },
    },
    {
        "class_path": "lightning_explain.AttributionMonitor",
        "init_args": {
            "method": [IG, {"class_path": "lightning_explain.LRP"}],
            "measures": ["cosine", "ssim"],
            "detail": "full",
            "class_names": [f"digit {c}" for c in range(10)],
            "every_n_epochs": None,
            "every_n_train_steps": 2,
            "on_error": "raise",
        },
    },
    {
        "class_path": "lightning_explain.DecisionPathMonitor",
        "init_args": {
            "layers": "head.*",
            "rules": {"class_path": "lightning_explain.attribution.Epsilon"},
            "show": "sample",
            "n_units": 4,
            "n_paths": 3,
            "name": "route",
            "on_error": "raise",
        },
    },
]


@pytest.mark.filterwarnings("ignore")  # what jsonargparse and LightningCLI say is not ours
def test_all_three_monitors_with_nested_options_from_yaml(tmp_path: Path) -> None:
    config = {
        "seed_everything": 0,
        "data": {"n_train": 64, "n_val": 32, "batch_size": 16},
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 1,
            "logger": {
                "class_path": "lightning.pytorch.loggers.TensorBoardLogger",
                "init_args": {"save_dir": str(tmp_path), "name": "run"},
            },
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "callbacks": THREE,
        },
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    cli = LightningCLI(DigitNet, DigitData, args=["fit", "--config", str(path)], auto_configure_optimizers=False)
    neurons, attribution, route = (c for c in vars(cli.trainer)["callbacks"] if hasattr(c, "records"))
    assert [record["step"] for record in neurons.records] == [3]
    assert set(neurons.profiles["val"]) == {"body.0", "body.1", "body.2", "body.3", "body.4", "head.1"}
    assert [record["step"] for record in attribution.records] == [0, 1, 3]
    assert set(attribution.latest.attributions) == {"IntegratedGradients", "LRP"}
    assert attribution.probe.class_name(3) == "digit 3"
    assert [record["step"] for record in route.records] == [0, 3]
    events = Events(tmp_path / "run" / "version_0")
    assert {"explain/neurons/head.1/features", "explain/attribution/heatmaps", "explain/route/3"} <= set(events.images)
    assert "explain/attribution/drift_ssim/first" in events.scalars
