"""A newcomer's run in a process of its own: a small residual network on 4,000 digits, or a common one on 60,000.

    python benchmarks/newcomer.py bare|monitors|naive [--data digits|mnist] [--epochs 5]
    python benchmarks/newcomer.py import|import-monitors

Prints one line of JSON: seconds of processor time and bytes of the event file. `naive` is the callback of
`benchmarks/naive_callback.py`. `benchmarks/monitors.py` compares the runs.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

KINDS = ("bare", "monitors", "naive", "import", "import-monitors")


def import_seconds(kind: str) -> float:
    """Return the processor time of importing Lightning, alone or with the three monitors, which are constructed."""
    began = time.process_time()
    import lightning.pytorch  # noqa: F401, PLC0415 - what is measured

    if kind == "import-monitors":
        from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor  # noqa: PLC0415

        for monitor in (ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor):
            monitor()
    return time.process_time() - began


def residual_network() -> Any:
    """Three residual blocks of 16 to 64 channels."""
    from torch import nn  # noqa: PLC0415

    class Block(nn.Module):
        def __init__(self, n_in: int, n_out: int, stride: int) -> None:
            super().__init__()
            self.a = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
            self.norm_a, self.norm_b = nn.BatchNorm2d(n_out), nn.BatchNorm2d(n_out)
            self.b, self.relu = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), nn.ReLU(inplace=True)
            shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))
            self.shortcut = shortcut if n_in != n_out else nn.Identity()

        def forward(self, x: Any) -> Any:
            return self.relu(self.norm_b(self.b(self.relu(self.norm_a(self.a(x))))) + self.shortcut(x))

    first = [nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    blocks = [Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)]
    return nn.Sequential(*first, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def fit_once(kind: str, *, data: str, epochs: int) -> dict[str, float]:
    """Train once; return the processor time of the fit, and the bytes of its event file."""
    import lightning.pytorch as pl  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from lightning.pytorch.loggers import TensorBoardLogger  # noqa: PLC0415
    from monitors import common_mnist_network  # noqa: PLC0415
    from naive_callback import Naive  # noqa: PLC0415
    from networks import Classifier  # noqa: PLC0415
    from torch.utils.data import DataLoader, TensorDataset  # noqa: PLC0415

    from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor  # noqa: PLC0415
    from lightning_explain.demo import digits_data  # noqa: PLC0415

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    train, held_out = digits_data(0)
    if data == "mnist":
        train = TensorDataset(*(part.repeat(15, *(1,) * (part.ndim - 1)) for part in train.tensors))
    probe = [part[:40] for part in held_out.tensors]
    makes: dict[str, Any] = {
        "bare": list,
        "naive": lambda: [Naive(*probe)],
        "monitors": lambda: [ActiveNeuronMonitor(), AttributionMonitor(), DecisionPathMonitor()],
    }
    pl.seed_everything(0, verbose=False)
    with tempfile.TemporaryDirectory() as folder:
        quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False}
        callbacks = makes[kind]()
        trainer = pl.Trainer(
            accelerator="cpu", callbacks=callbacks, max_epochs=epochs, logger=TensorBoardLogger(folder), **quiet
        )
        module = Classifier(residual_network()) if data == "digits" else common_mnist_network()
        began = time.process_time()
        trainer.fit(module, DataLoader(train, 128, shuffle=True), DataLoader(held_out, 256))
        seconds = time.process_time() - began
        return {"seconds": seconds, "bytes": sum(path.stat().st_size for path in Path(folder).rglob("events.*"))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--data", choices=("digits", "mnist"), default="digits")
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.kind.startswith("import"):
        found: dict[str, float] = {"seconds": import_seconds(arguments.kind), "bytes": 0}
    else:
        found = fit_once(arguments.kind, data=arguments.data, epochs=arguments.epochs)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
