"""Relevance that the first-order Taylor expansion of a softmax loses, for each sample.

`R_i = x_i (R_i - s_i sum_j R_j)` sums to less or more than `sum_j R_j`. With `R_j = s_j g_j`, and since the gradient at
the input sums to 0 (so that `x` may be shifted to `log s`), the loss of a row is
`sum_j s_j g_j (1 - H) - sum_j s_j log(s_j) g_j` with the entropy `H`.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from lightning_explain.attribution.autograd_graph import Node
from lightning_explain.attribution.lrp.maps import Contraction
from lightning_explain.attribution.sample_places import FollowedSamples, Places, SamplePlaces, Shape, kept

Lost = Callable[[Tensor], Tensor]
"""From the gradient at a node's output to what is lost, of the same shape or with sizes of 1 where it was summed."""


def lost_by_softmax(weights: Tensor, gradient: Tensor, dim: int) -> Tensor:
    """Return the loss of each row, with size 1 along `dim`.

    Example:
        >>> lost_by_softmax(torch.tensor([1.0, 0.0]), torch.tensor([3.0, 5.0]), 0)
        tensor([3.])
    """
    surprise = torch.special.entr(weights)
    arriving = (weights * gradient).sum(dim, keepdim=True)
    return arriving * (1 - surprise.sum(dim, keepdim=True)) + (surprise * gradient).sum(dim, keepdim=True)


def lost_by_log_softmax(logarithms: Tensor, gradient: Tensor, dim: int) -> Tensor:
    """Return the loss of each row of a log-softmax, with size 1 along `dim`."""
    surprise = torch.special.entr(logarithms.exp())
    return -surprise.sum(dim, keepdim=True) * gradient.sum(dim, keepdim=True)


def lost_by_logsumexp(entropy: Tensor, gradient: Tensor) -> Tensor:
    """Return the loss of each logsumexp."""
    return entropy * gradient


@dataclass
class Expansion:
    """An operation that hands relevance on by its Taylor expansion.

    Attributes:
        node: Where the gradient is looked at.
        lost: What is lost, given that gradient.
        places: Where the samples lie in the node's output; None if that is unknown.
        losses: For each walk back what was lost, by sample [samples] where the places are known.
        sizes: For each walk back the size of the gradient, entry by entry as `losses`.
    """

    node: Node
    lost: Lost
    places: Places = None
    losses: list[Tensor] = field(default_factory=list[Tensor])
    sizes: list[Tensor] = field(default_factory=list[Tensor])

    def look(self, gradients: Sequence[Tensor | None]) -> None:
        """Note the loss for the gradient that arrives."""
        gradient = gradients[0]
        if gradient is None:
            return
        lost = self.lost(gradient)
        if self.places is not None:
            self.losses.append(self.places.sums(lost))
            return
        self.losses.append(lost.flatten())
        self.sizes.append(gradient.abs().sum_to_size(lost.shape).flatten())

    def by_sample(self, n_samples: int) -> Tensor:
        """Return the loss of each sample.

        Where places are unknown, the gradients of the second walk are `1 + sample` times those of the first.
        """
        if self.places is not None:
            return self.losses[0]
        first, second = self.sizes
        sample = (second / first).nan_to_num(1.0).round().long() - 1
        return first.new_zeros(n_samples).index_add(0, sample.clamp(0, n_samples - 1), self.losses[0])


def _ruled(node: Node, places: SamplePlaces, before: Shape, after: Shape) -> Places:
    """Follow a layer: only a contraction may move dimensions, as its function does on a tensor without data."""
    if not isinstance(node.layer, Contraction):
        return kept(node, places, before, after)
    read = torch.empty(before, device="meta").requires_grad_()
    with torch.enable_grad():
        out = node.layer.function(read, node.layer.weight.to("meta", read.dtype))
    return FollowedSamples({get_gradient_edge(read).node: places}, {}).of(out.grad_fn, out.output_nr)


OWN_RULES = {"Ruled": _ruled}

ALONE = SamplePlaces(0, 1, 1, -1)
"""Places of a single sample, to which everything belongs."""


class SoftmaxLosses:
    """The losses of all softmaxes, by sample.

    Args:
        expansions: The operations of one pass.
        inputs: The explained inputs.
        first: For layers with an input rule: what they read, and the leaf that they read instead.
    """

    def __init__(
        self, expansions: Sequence[Expansion], inputs: Sequence[Tensor], first: Sequence[tuple[Tensor, Tensor]]
    ) -> None:
        self._expansions, self.n_samples = expansions, len(inputs[0])
        if not expansions:
            return
        leaves = [part for part in inputs if part.requires_grad]
        known = {get_gradient_edge(part).node: SamplePlaces(0, 1, self.n_samples, 1) for part in leaves}
        samples = FollowedSamples(known, OWN_RULES)
        for read, leaf in first:
            samples.know(get_gradient_edge(leaf).node, samples.of(*get_gradient_edge(read)[:2]))
        for expansion in expansions:
            expansion.places = samples.of(expansion.node) if self.n_samples > 1 else ALONE

    @property
    def needs_labels(self) -> bool:
        """Return True if rows have to be told apart by a second walk back."""
        return any(expansion.places is None for expansion in self._expansions)

    def labels(self, score: Tensor) -> Tensor:
        """Return the gradient for the second walk."""
        return 1 + torch.arange(self.n_samples, device=score.device, dtype=score.dtype)

    @contextmanager
    def watched(self) -> Generator[None, None, None]:
        """Look at each gradient that arrives inside this context."""
        handles = [expansion.node.register_prehook(expansion.look) for expansion in self._expansions]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def total(self) -> Tensor | None:
        """Return the loss of each sample [samples]; None if no relevance came to any softmax."""
        lost = [expansion.by_sample(self.n_samples) for expansion in self._expansions if expansion.losses]
        return torch.stack(lost).sum(0) if lost else None
