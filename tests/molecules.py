"""Small molecules as graphs, and a message-passing network that tells whether an oxygen is bound to a nitrogen."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tests.events import Events
from tests.models import quiet_trainer

ELEMENTS = "CNO"
N_ATOMS = 7


def molecule(seed: int) -> dict[str, Any]:
    """A random tree of 4 to 7 atoms; its class says whether an oxygen is bound to a nitrogen, which decides all."""
    generator = torch.Generator().manual_seed(seed)
    n = 4 + seed % 4
    bonds = [(int(torch.randint(0, i, (), generator=generator)), i) for i in range(1, n)]
    kinds = torch.randint(0, 3, (n,), generator=generator).tolist()
    if seed % 2:
        start, end = bonds[0]
        kinds[start], kinds[end] = 1, 2
    else:
        kinds = [0 if kind == 2 else kind for kind in kinds]  # no oxygen
    atoms, adjacency = torch.zeros(N_ATOMS, 3), torch.zeros(N_ATOMS, N_ATOMS)
    atoms[torch.arange(n), torch.tensor(kinds)] = 1.0
    for start, end in bonds:
        adjacency[start, end] = adjacency[end, start] = 1.0
    names = [ELEMENTS[kind] for kind in kinds] + [""] * (N_ATOMS - n)
    return {
        "x": atoms, "adjacency": adjacency, "mask": torch.arange(N_ATOMS) < n, "y": seed % 2, "atoms": names
    }  # fmt: skip


class Molecules(Dataset[dict[str, Any]]):
    """So many molecules, from a first seed on."""

    def __init__(self, n: int = 64, first: int = 0) -> None:
        self.n, self.first = n, first

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> dict[str, Any]:
        return molecule(self.first + index)


class MessagePassing(pl.LightningModule):
    """Atoms add up what their neighbours send, twice; the molecule is the sum of its atoms."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.pass_on, self.score = nn.Linear(3, 16), nn.Linear(16, 16), nn.Linear(16, 2)

    def forward(self, x: Tensor, adjacency: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        hidden = torch.relu(self.embed(x))
        if adjacency is not None:
            hidden = torch.relu(self.pass_on(hidden + adjacency.to(x.dtype) @ hidden))
        kept = hidden if mask is None else hidden * mask[..., None]
        return self.score(kept.sum(1))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch["x"], batch["adjacency"], batch["mask"]), batch["y"])

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None: ...

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-2)


def fit_molecules(monitor: Any, folder: Path, *, epochs: int = 4, **loader: Any) -> Events:
    """Train on molecules with the monitor, as a user would, and read the event file."""
    pl.seed_everything(0, verbose=False)
    logger = TensorBoardLogger(folder, "run", version=0)
    trainer = quiet_trainer(callbacks=[monitor], logger=logger, max_epochs=epochs)
    train, validation = DataLoader(Molecules(), 16, **loader), DataLoader(Molecules(32, 1000), 16, **loader)
    trainer.fit(MessagePassing(), train, validation)
    return Events(logger.log_dir)
