"""Loggers and a Trainer that the tests of logging share."""

from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers.logger import Logger

from lightning_explain.render.colour import Picture

PICTURE: Picture = np.random.default_rng(0).integers(0, 255, (6, 9, 3), dtype=np.uint8)


HOSTILE = ["../../x", "/", "/etc/x", "..", "", "a/../../../b", "x" * 10_000, "𠀀" * 300, "\0", "~/x", "a\\..\\b"]


class Unknown(Logger):
    """A logger of a kind that this package knows nothing of."""

    def __init__(self, save_dir: str | None = None) -> None:
        super().__init__()
        self._save_dir = save_dir
        self.metrics: list[tuple[dict[str, float], int | None]] = []

    @property
    def name(self) -> str:
        return "unknown"

    @property
    def version(self) -> int:
        return 0

    @property
    def save_dir(self) -> str | None:
        return self._save_dir

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.metrics.append((metrics, step))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        pass


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class FakeTrainer:
    """What a journal asks of a Trainer."""

    def __init__(self, loggers: list[Any], *, is_global_zero: bool = True) -> None:
        self.loggers, self.is_global_zero = loggers, is_global_zero
