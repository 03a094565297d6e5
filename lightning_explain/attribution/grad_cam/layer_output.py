"""A layer's output as it is when the layer is done, whatever is written into it afterwards."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from lightning_explain.attribution.grad_cam.tensor_axes import Axes, axes_of


@dataclass(frozen=True)
class _Base:
    """The tensor that an output is a view of, and where the output lies in it."""

    edge: GradientEdge
    size: torch.Size
    stride: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, output: Tensor) -> "_Base | None":
        base = output._base if output._is_view() else None
        if base is None or not base.requires_grad:
            return None
        offset = int(output.storage_offset()) - int(base.storage_offset())
        return cls(get_gradient_edge(base), base.shape, base.stride(), offset)


@dataclass(frozen=True)
class LayerOutput:
    """A layer's output: its values, and its place in the graph.

    Attributes:
        values: Detached [batch, ...]; overwritten with the output unless it was copied.
        edge: Its place in the graph; None where it does not depend on anything that requires a gradient.
        is_norm: Whether a norm over features gave it.
    """

    values: Tensor
    edge: GradientEdge | None
    is_norm: bool
    _watched: Tensor
    _version: int
    _base: _Base | None

    @classmethod
    def of(cls, output: Tensor, module: nn.Module, *, copied: bool = False) -> "LayerOutput":
        """Note an output when its layer is done.

        Args:
            output: What the layer gave.
            module: The layer.
            copied: Whether the values are copied, so that they stay as they are.
        """
        watched = output.detach()
        edge = get_gradient_edge(output) if output.requires_grad else None
        is_norm = isinstance(module, nn.LayerNorm | nn.RMSNorm)
        values = watched.clone() if copied else watched
        return cls(values, edge, is_norm, watched, watched._version, _Base.of(output))

    @property
    def is_overwritten(self) -> bool:
        """True if something has written into the output since."""
        return self._watched._version != self._version

    def may_be_map(self, n_samples: int) -> bool:
        """Return True if it has places and channels for each sample, and a gradient."""
        return self.edge is not None and self.values.ndim in (3, 4) and len(self.values) == n_samples

    def axes(self, image: Tensor) -> Axes | None:
        """Return the kinds of its dimensions, `image` being the explained input."""
        return None if self.edge is None else axes_of(self.edge.node, image, self.edge.output_nr)

    def gradient(self, score: Tensor) -> Tensor | None:
        """Differentiate the score at it; None where the score does not depend on it.

        A view that something wrote into is on no way to the score any more: there the gradient is that of what it is a
        view of, at the same place.
        """
        assert self.edge is not None
        base = self._base if self.is_overwritten else None
        # autograd takes places in the graph and tensors alike, torch's annotations only one or the other
        edge: Any = self.edge if base is None else base.edge
        found: list[Tensor | None] = list(torch.autograd.grad(score.sum(), edge, retain_graph=True, allow_unused=True))
        if base is None or found[0] is None:
            return found[0]
        whole = found[0].new_empty_strided(base.size, base.stride).copy_(found[0])
        return whole.as_strided(self._watched.shape, self._watched.stride(), base.offset)
