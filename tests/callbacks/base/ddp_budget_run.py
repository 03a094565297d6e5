"""A run in two gloo processes, one of them slow by a clock of its own; started by test_ddp_budget."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor, Probe, Saliency
from lightning_explain import schedule as schedule_module
from lightning_explain.callbacks.neurons.counting import stage_counts as neuron_counts
from tests.models import digits


class Net(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))

    def forward(self, x: Any) -> Any:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]), sync_dist=True)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


class Clock(pl.Callback):
    """A second for each training batch; explanations take time on one process only."""

    def __init__(self, slow_rank: int) -> None:
        self.now, self.rank, self.slow_rank = 0.0, -1, slow_rank

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self.rank = trainer.global_rank

    def tick(self, seconds: float, *, anywhere: bool = False) -> None:
        self.now += seconds if anywhere or self.rank == self.slow_rank else 0.001

    def on_train_batch_start(self, *_: Any) -> None:
        self.tick(1.0, anywhere=True)

    def on_validation_batch_start(self, *_: Any) -> None:
        self.tick(0.25, anywhere=True)


def main(out: str, processes: int, slow_rank: int) -> None:
    torch.set_num_threads(1)
    pl.seed_everything(0, verbose=False)
    clock = Clock(slow_rank)
    for module in (schedule_module, neuron_counts):
        module.time = SimpleNamespace(perf_counter=lambda: clock.now)  # type: ignore[assignment]
    train, val = digits(128, 48)
    common: dict[str, Any] = {"probe": Probe.from_dataset(val, per_class=1), "max_overhead": 0.5, "on_error": "raise"}

    def labels(batch: Any) -> Any:
        clock.tick(0.2)
        return batch[1]

    def gradients(model: Any, inputs: Any, target: Any = None) -> Any:
        clock.tick(2.0)
        return Saliency()(model, inputs, target)

    monitors = [
        ActiveNeuronMonitor(target=labels, feeding=0, maps=0, **common),
        AttributionMonitor(method={"slow": gradients}, measures=["cosine"], **common),
        DecisionPathMonitor(forward_fn=lambda module, x: (clock.tick(0.4), module(x))[1], **common),
    ]
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        max_epochs=8,
        logger=False,
        callbacks=[*monitors, clock],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(Net(), DataLoader(train, batch_size=8), DataLoader(val, batch_size=8))
    result = {
        "epochs": [[record["epoch"] for record in monitor.records] for monitor in monitors],
        "counted": monitors[0].records[-1]["counted"],
        "n_samples": int(monitors[0].profiles["train"]["net.2"].n_samples.sum()),
        "spent": [monitor._schedule.stopwatch.spent for monitor in monitors],
    }
    Path(f"{out}.{trainer.global_rank}").write_text(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    if torch.distributed.is_initialized():
        # threads of the process group that still run at exit abort the process
        torch.distributed.destroy_process_group()
