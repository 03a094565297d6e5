"""The straight path from baseline to input, and sums of gradients along it."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lightning_explain.attribution.integrated_gradients.first_layer import Ends, FirstLayer
from lightning_explain.attribution.integrated_gradients.passes import Block, RowLimit, in_passes
from lightning_explain.attribution.result import flat
from lightning_explain.attribution.scores import Scores, attached_score, score_gradients

Parts = tuple[Tensor, ...]


@dataclass(frozen=True)
class StraightPath:
    """Inputs, baselines and the function between them.

    Attributes:
        forward: Inputs to scores.
        inputs: Each [batch, ...]. Integer and boolean ones (token ids, masks) are carried along as they are.
        baselines: Each [batch, ...], or [1, ...] where all samples share it.
        target: Explained output per sample [batch], or None.
        limit: How many rows (points times samples) go through the model in one pass.
        first_layer: A linear layer that alone reads the input: what it puts out need not be computed at every point.
        ends: What it puts out at both ends of the path, where that is known.
        of_vectors: Whether the first input holds vectors whose attributions are summed over their last dimension:
            what is said of values and errors is then said of the sums.
    """

    forward: Scores
    inputs: Parts
    baselines: Parts
    target: Tensor | None
    limit: RowLimit = field(default_factory=RowLimit)
    first_layer: FirstLayer | None = None
    ends: Ends | None = None
    of_vectors: bool = False

    def __len__(self) -> int:
        return len(self.inputs[0])

    @property
    def device(self) -> torch.device:
        """Position on the path."""
        return self.inputs[0].device

    @property
    def shares_baseline(self) -> bool:
        """True if every sample starts at the same point."""
        pairs = zip(self.inputs, self.baselines, strict=True)
        return all(x.is_floating_point() and len(b) == 1 for x, b in pairs)

    def displacement(self) -> Parts:
        """Return `input - baseline` of each part; zeros for what is carried along."""
        pairs = zip(self.inputs, self.baselines, strict=True)
        return tuple(x - b if x.is_floating_point() else torch.zeros(x.shape, device=x.device) for x, b in pairs)

    def attributed(self, products: Parts) -> Parts:
        """Return attributions [..., batch, ...] from gradients times way: sums where an input holds vectors."""
        return (products[0].sum(-1), *products[1:]) if self.of_vectors else products

    def shapes(self) -> list[torch.Size]:
        """Return the shape of the attributions of each input."""
        shapes = [x.shape for x in self.inputs]
        return [shapes[0][:-1], *shapes[1:]] if self.of_vectors else shapes

    def of(self, samples: Tensor) -> "StraightPath":
        """Keep only the given samples (LongTensor of indices)."""
        return replace(
            self,
            inputs=tuple(part[samples] for part in self.inputs),
            baselines=tuple(part if len(part) == 1 else part[samples] for part in self.baselines),
            target=None if self.target is None else self.target[samples],
            ends=None if self.ends is None else self.ends.of(samples),
        )

    def block(self, samples: range) -> "StraightPath":
        """Keep only consecutive samples; the path itself for all of them."""
        if len(samples) == len(self):
            return self
        return self.of(torch.arange(samples.start, samples.stop, device=self.device))

    def with_ends(self) -> "StraightPath":
        """Run the first layer, if there is one, at both ends of the path."""
        if self.first_layer is None or self.ends is not None:
            return self
        ((x, b),) = ((x, b) for x, b in zip(self.inputs, self.baselines, strict=True) if x.is_floating_point())
        return replace(self, ends=self.first_layer.ends(x, b))


def path_points(path: StraightPath, nodes: Tensor, *, leaves: bool = True) -> tuple[Parts, Tensor | None]:
    """Return the points at every node for every sample [nodes * batch, ...], and their targets.

    Floating-point parts are leaves that require grad, unless none are wanted. The nodes are [nodes], or [nodes, batch]
    where every sample has its own.
    """
    rows: list[Tensor] = []
    for x, b in zip(path.inputs, path.baselines, strict=True):
        if not x.is_floating_point():
            rows.append(x.repeat(len(nodes), *(1,) * (x.ndim - 1)))
            continue
        alpha = nodes.to(device=x.device, dtype=x.dtype).reshape(len(nodes), -1, *(1,) * (x.ndim - 1))
        rows.append(torch.addcmul(b, alpha, x - b).flatten(0, 1).requires_grad_(leaves))
    return tuple(rows), None if path.target is None else path.target.repeat(len(nodes))


def _at_first_layer(path: StraightPath, layer: FirstLayer, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """Differentiate at what the first layer puts out [nodes * batch, ...]; and the scores [nodes * batch]."""
    ends = path.with_ends().ends
    assert ends is not None
    with layer.giving([ends.at(nodes)]) as edge:
        score = attached_score(path.forward, *path_points(path, nodes, leaves=False))
        (gradients,) = torch.autograd.grad(score.sum(), [edge])
    return gradients, score.detach()


def _gradients(path: StraightPath, nodes: Tensor) -> tuple[Parts, Tensor]:
    """Differentiate at every node of every sample: each part [nodes * batch, ...], and the scores [nodes * batch]."""
    if path.first_layer is None:
        return score_gradients(path.forward, *path_points(path, nodes))
    at_output, scores = _at_first_layer(path, path.first_layer, nodes)
    return _pulled_back(path, path.first_layer, at_output), scores


def _sums(path: StraightPath, nodes: Tensor, weights: Tensor) -> tuple[Parts, Tensor]:
    """Sum gradients over nodes by every rule: each part [rules, batch, ...], and the scores [nodes * batch]."""
    layer = path.first_layer
    if layer is None:
        gradients, scores = _gradients(path, nodes)
        shape = (len(nodes), len(path))
        return _combined(weights, tuple(g.unflatten(0, shape) for g in gradients)), scores
    at_output, scores = _at_first_layer(path, layer, nodes)
    # linear, so that the sums can go back instead of every gradient, where they are fewer
    sums_first = len(weights) <= len(nodes)
    if sums_first:
        by_node = at_output.unflatten(0, (len(nodes), -1))
        at_output = torch.tensordot(weights.to(at_output), by_node, dims=1).flatten(0, 1)
    found = tuple(part.unflatten(0, (-1, len(path))) for part in _pulled_back(path, layer, at_output))
    return found if sums_first else _combined(weights, found), scores


def _combined(weights: Tensor, gradients: Parts) -> Parts:
    """Sum gradients [nodes, batch, ...] by every rule [rules, nodes]: each [rules, batch, ...]."""
    return tuple(torch.tensordot(weights.to(g), g, dims=1) for g in gradients)


def _pulled_back(path: StraightPath, layer: FirstLayer, gradients: Tensor) -> Parts:
    return tuple(
        layer.pulled_back(gradients, x) if x.is_floating_point() else _zeros(x, len(gradients))[:, 0]
        for x in path.inputs
    )


def _zeros(x: Tensor, n_rules: int) -> Tensor:
    dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
    return torch.zeros((n_rules, *x.shape), dtype=dtype, device=x.device)


def weighted_gradients(path: StraightPath, nodes: Tensor, weights: Tensor) -> tuple[Parts, Tensor]:
    """Sum gradients over nodes, for several sets of weights at once, in passes that fit into memory.

    Args:
        path: Where to differentiate.
        nodes: Positions on the path in [0, 1]: [nodes].
        weights: Each row is one rule: [rules, nodes].

    Returns:
        For each part the sums [rules, batch, ...]; and the scores at every node [nodes, batch].

    Cost: `nodes * batch` gradient evaluations.
    """
    sums = tuple(_zeros(x, len(weights)) for x in path.inputs)
    scores: dict[tuple[int, int], Tensor] = {}

    def run(block: Block) -> None:
        chosen, samples = slice(block.nodes.start, block.nodes.stop), slice(block.samples.start, block.samples.stop)
        added, seen = _sums(path.block(block.samples), nodes[chosen], weights[:, chosen])
        # nothing is changed before every part has succeeded: a pass without memory is run again
        for total, more in zip(sums, added, strict=True):
            total[:, samples] += more
        scores[block.nodes.start, block.samples.start] = seen.unflatten(0, (len(block.nodes), -1))

    in_passes(len(nodes), len(path), limit=path.limit, device=path.device, run=run)
    return sums, assembled(scores, (len(nodes), len(path)))


def contributions_at(path: StraightPath, samples: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Differentiate somewhere on the path of each given sample, in passes that fit into memory.

    Args:
        path: Inputs, baselines and model.
        samples: Whose path: LongTensor [rows], any sample as often as needed.
        positions: Where on it, in [0, 1]: [rows].

    Returns:
        Gradient times way, floating-point parts side by side [rows, features]; and the scores [rows].

    Cost: a gradient evaluation per row.
    """
    found: dict[int, tuple[Tensor, Tensor]] = {}
    path = path.with_ends()

    def run(block: Block) -> None:
        chosen = slice(block.samples.start, block.samples.stop)
        of_rows = path.of(samples[chosen])
        gradients, scores = _gradients(of_rows, positions[None, chosen])
        found[chosen.start] = times_way(of_rows, gradients), scores

    in_passes(1, len(samples), limit=path.limit, device=path.device, run=run)
    contributions, scores = zip(*(found[start] for start in sorted(found)), strict=True)
    return torch.cat(contributions), torch.cat(scores)


def times_way(path: StraightPath, gradients: Parts) -> Tensor:
    """Multiply gradients by the way from baseline to input, floating-point parts side by side: [batch, features]."""
    products = path.attributed(tuple(g * step for g, step in zip(gradients, path.displacement(), strict=True)))
    return flat(tuple(part for x, part in zip(path.inputs, products, strict=True) if x.is_floating_point()))


def assembled(pieces: dict[tuple[int, int], Tensor], shape: tuple[int, int]) -> Tensor:
    """Put together what passes found, by their first node and first sample."""
    first = next(iter(pieces.values()))
    whole = first.new_empty(shape)
    for (node, sample), piece in pieces.items():
        whole[node : node + piece.shape[0], sample : sample + piece.shape[1]] = piece
    return whole
