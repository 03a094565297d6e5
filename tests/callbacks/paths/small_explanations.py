"""Explanations by paths of a small net and six samples of two classes."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain import Probe
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.paths.explanation import PathExplanation, explain_paths
from lightning_explain.callbacks.paths.path_history import PathHistory
from lightning_explain.callbacks.paths.path_options import PathOptions

X = torch.rand(6, 3, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 0, 1, 1, 1])


def net(seed: int = 1, n_outputs: int = 2) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, n_outputs))


def small_probe(**changes: Any) -> Probe:
    given: dict[str, Any] = {"inputs": X, "targets": Y, "class_names": ["cat", "dog"], "feature_names": list("abc")}
    return Probe(**given | changes)


def options(**changes: Any) -> PathOptions:
    given: dict[str, Any] = {
        "rules": None,
        "layers": None,
        "patch": None,
        "keep_positions": False,
        "show": "class",
        "every_sample": False,
        "drawn": 0.5,
        "n_units": 12,
        "n_paths": 10,
    }
    return PathOptions(**given | changes)


def explained(
    model: nn.Module | None = None,
    probe: Probe | None = None,
    chosen: PathOptions | None = None,
    *,
    history: PathHistory | None = None,
    step: int = 0,
    epoch: int | None = None,
) -> PathExplanation:
    probe = probe or small_probe()

    def targets(scores: Tensor) -> Tensor | None:
        return probe.labels if scores.ndim == 2 and scores.shape[1] > 1 else None

    return explain_paths(
        model or net(),
        probe.parts,
        probe,
        question=Question(),
        options=chosen or options(),
        targets=targets,
        change=(history or PathHistory()).change,
        step=step,
        epoch=epoch,
        ranks=Ranks(),
    )
