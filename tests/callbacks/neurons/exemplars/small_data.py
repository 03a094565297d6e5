"""The parts of a Trainer that fetching samples asks for, around some loaders."""

from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn


def same(batch: Any, **options: Any) -> Any:
    del options
    return batch


def trainer_of(*loaders: Any, module: nn.Module | None = None, convert: Any = same) -> Any:
    """Return what stands for a Trainer that validates some loaders, and converts batches in some way."""
    module = nn.Identity() if module is None else module
    module._on_before_batch_transfer = same  # type: ignore[assignment]
    return SimpleNamespace(
        val_dataloaders=list(loaders),
        state=SimpleNamespace(stage="train"),
        validating=False,
        lightning_module=module,
        precision_plugin=SimpleNamespace(convert_input=convert),
        strategy=SimpleNamespace(batch_to_device=same, root_device=Tensor().device, model=module),
    )
