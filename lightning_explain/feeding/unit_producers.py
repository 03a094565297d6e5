"""Layers whose units are those of a watched layer, one by one: the convolution before a ReLU."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.capture import ACTIVATIONS, Layer
from lightning_explain.capture.watched_layers import CHANNEL_LAYERS, PRODUCERS

NORMS = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.LayerNorm,
)  # fmt: skip
PASSING = (
    *ACTIVATIONS, *NORMS, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)  # fmt: skip
"""Modules whose units are those of what they are given; in eval mode dropout hands them on."""


class _Origins:
    """Records, in a forward pass, which modules made the units of each tensor that is handed on as it is."""

    def __init__(self, watched: dict[nn.Module, str]) -> None:
        self._watched = watched
        self._made: dict[int, tuple[Tensor, int, tuple[str, ...]]] = {}
        self._taken: dict[nn.Module, tuple[str, ...]] = {}
        self._calls: Counter[nn.Module] = Counter()
        self.found: dict[str, tuple[str, ...]] = {}

    def _of(self, args: Any) -> tuple[str, ...]:
        given = args[0] if args else None
        # tensors are kept alive, so that no two have one id; one that was written into since is another
        tensor, version, names = self._made.get(id(given), (None, 0, ()))
        return names if tensor is not None and isinstance(given, Tensor) and given._version == version else ()

    def begins(self, module: nn.Module, args: Any) -> None:
        """Look up what a module is given before the call, which may overwrite it."""
        self._taken[module] = self._of(args) if isinstance(module, PASSING) else ()

    def ends(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        """Record a module's output."""
        del args
        names = (*self._taken.pop(module, ()), name)
        if isinstance(output, Tensor):
            self._made[id(output)] = (output, output._version, names)
        watched = self._watched.get(module)
        if watched is not None:
            number = self._calls[module]
            self._calls[module] += 1
            self.found[f"{watched}#{number}" if number else watched] = names[:-1]


def unit_producers(model: nn.Module, forward: Callable[[], Any], layers: Sequence[Layer]) -> dict[str, tuple[str, ...]]:
    """Find, for each call of a watched layer, the modules whose units are the same, one by one.

    A module counts if its very output is what the next one takes: convolution, norm, activation. What a residual sum
    gives belongs to no single module. Call it inside `isolated`.

    Args:
        model: The model.
        forward: Runs it on a sample.
        layers: Watched layers; those with a view (attention, recurrent layers) have no such modules.

    Returns:
        Layer (`name#1` for the second call) -> names of modules, nearest to the input first.

    Cost: one forward pass.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2)).eval()
        >>> unit_producers(net, lambda: net(torch.ones(1, 2)), [Layer("2", net[2], None)])
        {'2': ('0', '1')}
    """
    origins = _Origins({layer.module: layer.name for layer in layers if layer.view is None})
    handles: list[Any] = []
    for name, module in model.named_modules():
        if isinstance(module, (*PRODUCERS, *PASSING, *CHANNEL_LAYERS)):
            handles.append(module.register_forward_pre_hook(origins.begins))
            handles.append(module.register_forward_hook(partial(origins.ends, name)))
    try:
        with torch.no_grad():
            forward()
    finally:
        for handle in handles:
            handle.remove()
    return {key: names for key, names in origins.found.items() if names}
