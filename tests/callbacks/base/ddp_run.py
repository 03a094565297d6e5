"""A run in one or several gloo processes that writes down what the monitors saw; called by test_ddp."""

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import LRP, ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor, IntegratedGradients


class Net(pl.LightningModule):
    def __init__(self, learning_rate: float) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(216, 16), nn.ReLU(), nn.Linear(16, 10))
        self.learning_rate = learning_rate

    def forward(self, x: Any) -> Any:
        return self.head(self.body(x))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]), sync_dist=True)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), self.learning_rate)


def _paths(monitor: DecisionPathMonitor) -> dict[str, Any]:
    assert monitor.latest is not None
    return {
        "turnover": [record["turnover"] for record in monitor.records],
        "edges": [sorted(map(list, found.graph.single_edges)) for found in monitor.latest.classes],
        "contributions": [node.contribution for found in monitor.latest.classes for node in found.graph.nodes],
        "shares": [path.share for found in monitor.latest.classes for path in found.graph.paths.paths],
    }


def save_other_weights(path: Path) -> None:
    """Write a checkpoint to compare with."""
    torch.manual_seed(11)
    torch.save(Net(0.0).state_dict(), path)


def main(out: str, processes: int, learning_rate: float, n_train: int, n_val: int) -> None:
    torch.set_num_threads(1)
    pl.seed_everything(0, verbose=False)
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16, torch.tensor(labels)
    train = TensorDataset(x[:n_train], y[:n_train])
    val = TensorDataset(x[n_train : n_train + n_val], y[n_train : n_train + n_val])
    neurons = ActiveNeuronMonitor(on_error="raise")
    attribution = AttributionMonitor(
        method=[IntegratedGradients(), LRP()],
        faithfulness=["deletion", "randomisation"],
        compare_with={"before": Path(out).parent / "before.ckpt", "start": 0},
        on_error="raise",
    )
    paths = DecisionPathMonitor(on_error="raise")
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        max_epochs=2,
        logger=TensorBoardLogger(Path(out).parent, f"run{processes}"),
        callbacks=[neurons, attribution, paths],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    # while learning, all samples in one step: Lightning shuffles the processes' shares
    size = (n_train if learning_rate else 16) // processes
    trainer.fit(Net(learning_rate), DataLoader(train, batch_size=size), DataLoader(val, batch_size=size))
    if trainer.is_global_zero:
        assert attribution.latest is not None
        seen = {
            stage: {
                layer: {
                    "rates": profile.rates.nan_to_num(-1).tolist(),
                    "activation": profile.activation.nan_to_num(-1).tolist(),
                    "n_samples": profile.n_samples.tolist(),
                }
                for layer, profile in profiles.items()
            }
            for stage, profiles in neurons.profiles.items()
        }
        assert neurons.latest is not None
        result = {
            "seen": seen,
            "histories": {
                layer: {key: value.nan_to_num(-9).tolist() for key, value in found.history.state_dict().items()}
                for layer, found in neurons.latest.layers.items()
            },
            "dormancy": {layer: found.profile.dormancy.tolist() for layer, found in neurons.latest.layers.items()},
            "exemplars": {
                layer: [part.tolist() for part in (of.samples, of.labels, of.positions, of.values, of.settled)]
                for layer, found in neurons.latest.layers.items()
                if (of := found.exemplars) is not None
            },
            "gaps": [row["gap"] for row in neurons.latest.to_rows()],
            "overlaps": [row["jaccard"] for row in neurons.latest.overlap_rows()],
            "feeding": neurons.latest.feature_rows(),
            "figures": neurons.class_metrics,
            "scalars": [record["scalars"] for record in attribution.records],
            "values": attribution.latest.attribution.parts[0].flatten().tolist(),
            "lrp": attribution.latest.attributions["LRP"].parts[0].flatten().tolist(),
            "targets": attribution.records[-1]["target"],
            "paths": _paths(paths),
            "monitored": sorted(key for key in trainer.callback_metrics if key.startswith("explain/")),
        }
        Path(out).write_text(json.dumps(result))
