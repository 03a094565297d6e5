"""A newcomer's first run, in whatever environment this is started: fit with all monitors, the tab, a report.

    python benchmarks/first_run.py FOLDER

Prints what it did and, in the last line, versions and seconds as JSON. Only needs what `pip install lightning-explain`
brings. `versions.py` runs it in each of its virtualenvs.
"""

import json
import pkgutil
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - Lightning's own name for it
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lightning_explain
import tensorboard_explain
from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor
from lightning_explain.cli import main as command

NAMES = ("torch", "lightning", "torchmetrics", "tensorboard", "numpy", "matplotlib", "pillow")


class Net(L.LightningModule):
    """A small convnet for three kinds of stripes."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(8 * 64, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores [batch, 3]."""
        return self.head(self.body(images))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, labels = batch
        return nn.functional.cross_entropy(self(images), labels)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        images, labels = batch
        self.log("val_acc", (self(images).argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def stripes(n_samples: int) -> TensorDataset:
    """Make noisy images [n, 1, 16, 16] with horizontal, vertical or diagonal stripes."""
    generator = torch.Generator().manual_seed(n_samples)
    down, across = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    kinds = torch.stack([(place // 2 % 2).float() for place in (down, across, down + across)])
    labels = torch.arange(n_samples) % 3
    noise = torch.rand(n_samples, 16, 16, generator=generator)
    return TensorDataset((kinds[labels] + 0.3 * noise)[:, None], labels)


def tab_answers(logdir: Path) -> dict[str, Any]:
    """Start TensorBoard, and return what it says of the Explain tab and of its runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serving = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--port", str(port), "--host"]
    server = subprocess.Popen([*serving, "127.0.0.1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                plugins = _json(f"http://127.0.0.1:{port}/data/plugins_listing")
                runs = _json(f"http://127.0.0.1:{port}/data/plugin/explain/runs")
                if plugins["explain"]["enabled"] and runs:
                    page = urllib.request.urlopen(f"http://127.0.0.1:{port}/data/plugin/explain/index.js", timeout=5)
                    return {"plugin": plugins["explain"], "runs": runs, "script": len(page.read())}
            except OSError:  # it is not up yet
                pass
            time.sleep(0.5)
        raise TimeoutError("TensorBoard did not show the tab Explain within five minutes")
    finally:
        server.terminate()
        server.wait()


def _json(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=5) as answer:
        return json.load(answer)


def main(folder: Path) -> None:
    """Run all of it."""
    began = time.perf_counter()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    L.seed_everything(0)
    monitors = [
        ActiveNeuronMonitor(on_error="raise"),
        AttributionMonitor(on_error="raise"),
        DecisionPathMonitor(on_error="raise"),
    ]
    trainer = L.Trainer(
        max_epochs=2, accelerator="cpu", devices=1, callbacks=monitors, default_root_dir=folder, log_every_n_steps=1
    )
    trainer.fit(Net(), DataLoader(stripes(240), 32, shuffle=True), DataLoader(stripes(90), 45))
    for package in (lightning_explain, tensorboard_explain):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(".demo"):  # it needs the extra `demo`
                import_module(module.name)
    metrics = trainer.callback_metrics
    assert 0 <= metrics["explain/attribution/drift/previous"] <= 2
    assert 0 <= metrics["explain/neurons/all_layers/dead"] <= 1
    assert metrics["explain/neurons/macro_f1"] > 0.5
    assert 0 <= metrics["explain/path/turnover"] <= 1
    logdir = Path(str(trainer.logger and trainer.logger.log_dir))
    told = tab_answers(logdir)
    assert command(["report", str(logdir), "-o", str(folder / "report.html")]) == 0
    assert (folder / "report.html").stat().st_size > 20_000
    found = {name: version(name) for name in NAMES}
    python = ".".join(str(part) for part in sys.version_info[:3])
    print(json.dumps({"python": python, "versions": found, "tab": told, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
