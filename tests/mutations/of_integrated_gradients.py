"""Errors made on purpose in the code of integrated gradients and baselines: each is noticed by its check."""

import math
import warnings
from contextlib import suppress
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor, nn

import tests.attribution.integrated_gradients.test_adaptive as adaptive
import tests.attribution.integrated_gradients.test_first_layer as first_layer
import tests.attribution.integrated_gradients.test_input_gradients as input_gradients
import tests.attribution.integrated_gradients.test_method as integrated
import tests.attribution.integrated_gradients.test_pieces as pieces_of_paths
import tests.attribution.test_conductance as layer_conductance
from lightning_explain.attribution import (
    AtEmbedding,
    InputXGradient,
    IntegratedGradients,
    LayerConductance,
    blurred,
    data_mean,
    uniform_noise,
)
from lightning_explain.attribution.integrated_gradients.conv_fusion import fast_convolutions
from lightning_explain.attribution.integrated_gradients.quadrature import (
    gauss_legendre,
    midpoint,
    second_differences,
    spline_correction,
)
from lightning_explain.isolation import explaining
from tests.attribution.integrated_gradients.plain_bisection import bisected
from tests.attribution.lrp.nets import with_statistics
from tests.mutations.checking import AT, FROM, PRODUCT, close
from tests.mutations.mutation import Mutation


def forget(function: Any) -> None:
    """Empty the cache of a function, which beartype may have wrapped."""
    while not isinstance(function, FunctionType) or "__wrapped__" in vars(function):
        with suppress(AttributeError):
            function.cache_clear()
        function = function.__wrapped__


def product(x: Tensor) -> Tensor:
    return x[:, 0] * x[:, 1]


def interleaved_differences() -> None:
    weights, nodes = second_differences(midpoint(7)), midpoint(7).nodes
    close(weights @ (3 * nodes + 2), [0.0, 0.0, 0.0])
    # of a jump of 1 between two nodes every set sees the second differences beside it, a seventh each
    jump = (nodes > 0.5).double()
    close((weights @ jump).abs().sort().values, [0.0, 1 / 7, 1 / 7])


def fixed_rule() -> None:
    forget(gauss_legendre)
    close(IntegratedGradients(FROM, n_steps=3)(product, AT).values, PRODUCT)
    x = torch.tensor([[2.0]]).double()
    # of degree 5, which three points integrate exactly
    close(IntegratedGradients(n_steps=3)(lambda z: z[:, 0] ** 6, x).values, [64.0])
    # two points (1 -+ 1/sqrt 3) / 2, each of which alone is a rule
    found = IntegratedGradients(n_steps=2)(lambda z: z[:, 0] ** 2, x)
    # exact, and the gap with it: a small part of what kinks would make of the distance
    close(found.error, [0.067 * 2 / math.sqrt(3)])
    # one kink in the middle: exact too, by chance, and said to be no better than a smooth function would be
    found = IntegratedGradients(n_steps=2)(lambda z: (z[:, 0] - 0.5).clamp_min(0), x / 2)
    close(found.error, [0.067 * 2])
    # three middles of a cube: 1/36, 9/36 and 25/36 of its slope 3; one second difference
    third = IntegratedGradients(n_steps=3, rule="midpoint")(lambda z: z[:, 0] ** 3, x / 2)
    value, split, bend, gap = 35 / 36, abs(13 / 12 - 3 / 4), 1 / 3 * 3 * 8 / 36, 1 / 36
    jumps = gap**2 / (gap**2 + (0.037 * split) ** 2)
    close(third.error, [(0.3 + 0.2 * jumps) * math.sqrt(split * bend) / value])


def fixed_rule_with_jumps() -> None:
    forget(gauss_legendre)
    rule = gauss_legendre(5)
    g = (rule.nodes > 0.3).double()  # between the second node and the third
    bends = [0.5 * abs(float(rule.nodes[i + 1] - rule.nodes[i - 1])) for i in (1, 2)]
    found = IntegratedGradients(n_steps=5)(lambda z: (z[:, 0] - 0.3).clamp_min(0), torch.ones(1, 1).double())
    value, even = float(g @ rule.weights), rule.weights[::2].sum()
    split = abs(float((g * rule.weights)[::2].sum() / even - (g * rule.weights)[1::2].sum() / (1 - even)))
    gap = abs(value - 0.7)
    jumps = gap**2 / (gap**2 + (0.0042 * split) ** 2)
    stated = (0.067 + 0.44 * jumps) * math.sqrt(split * sum(bends) / 3)
    close(found.error, [max(stated, gap) / value])


def adaptive_rule() -> None:
    close(IntegratedGradients(FROM)(product, AT).values, PRODUCT)
    found = IntegratedGradients(tolerance=10.0)(lambda z: z[:, 0] ** 3, torch.tensor([[2.0]]).double())
    trapezoid, before = (8 * (1 + 1 / (2 * m**2)) for m in (4, 2))
    nodes = np.linspace(0, 1, 5)
    spline = float(CubicSpline(nodes, 24 * nodes**2, bc_type="natural").integrate(0, 1))
    close(found.values, [spline])
    # on a smooth function the distance of the two rules shrinks fast, and less than half of it is error
    close(found.error, [0.36 * (before - trapezoid) / trapezoid])
    close(found.convergence_delta, [spline - 8])


def kink_at_baseline() -> None:
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU()).double()
    net[0].weight.data.fill_(2.0)
    x = torch.tensor([[1.0], [3.0]]).double()
    for baseline in ("zeros", torch.zeros_like(x)):
        close(IntegratedGradients(baseline)(net, x).values, 2 * x)
    close(LayerConductance("0", n_steps=4)(net, x).values, 2 * x)


def of_tokens() -> None:
    net, ids = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 1)).double(), torch.tensor([[1, 4]])
    wanted = (net[0](ids).detach() * net[2].weight.detach().reshape(1, 2, 3)).sum(-1)
    for method in (IntegratedGradients(), IntegratedGradients(n_steps=2), InputXGradient()):
        close(AtEmbedding(method)(net, ids, 0).values, wanted)


def outputs_of_first_layer() -> None:
    first_layer.test_outputs_go_straight_from_end_to_end(3, "channels last")


def from_first_layer() -> None:
    for kind in ("linear", "convolution", "folded", "called twice", "another way", "changed before", "turned"):
        net, x = ({**first_layer.FOUND, **first_layer.LEFT})[kind]
        for options in ({"n_steps": 5}, {"tolerance": 0.05}):
            found, expected = (first_layer.explained(f, x, **options) for f in (net.eval(), partial(net.eval())))
            close(found.values, expected.values)


def steep(x: Tensor) -> Tensor:
    return torch.sigmoid(9 * x - torch.tensor([3.0, 5.5]).double()).sum(1, keepdim=True) + x[:, :1] ** 2


def bisection() -> None:
    x = torch.tensor([[1.0, 0.8], [0.5, 1.4]]).double()
    cases = ((0.05, 65, False), (0.003, 257, False), (1e-4, 13, False), (1e-4, 65, True), (1e-7, 65, True))
    for tolerance, most, smooth in cases:
        found = IntegratedGradients(tolerance=tolerance, max_steps=most, smooth=smooth)(steep, x, 0)
        for i, sample in enumerate(x):
            nodes, values, coarse, error = bisected(steep, sample, tolerance, most, smooth=smooth)
            assert int(found.n_evaluations[i]) == len(nodes)
            for part, wanted in ((found.values, values), (found.coarse, coarse), (found.error, torch.tensor(error))):
                close(part[i], wanted.to(part))


def kinks_by_trapezoids() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        integrated.test_kinks_are_integrated_by_trapezoids_even_where_smooth_is_said()


def spline() -> None:
    forget(spline_correction)
    try:
        pieces_of_paths.test_splines_go_through_the_nodes_of_each_sample_in_order()
    finally:
        forget(spline_correction)


def gap_by_spline() -> None:
    adaptive.test_no_spline_that_leaves_a_gap()


def gap_of_layers() -> None:
    layer_conductance.test_the_error_is_never_below_the_gap_unless_something_goes_past_the_layer()


def gap_without_error() -> None:
    # the gradient is the same everywhere, the function jumps at 0.7: only the piece around it is cut
    seen: list[float] = []

    def jumps(z: Tensor) -> Tensor:
        seen.extend(z.detach().flatten().tolist())
        return z.sum(1) + 5 * (z.detach().sum(1) > 0.7)

    IntegratedGradients(max_steps=9)(jumps, torch.ones(1, 1).double())
    # the baseline a hair beside itself; whether samples depend on each other is asked at some points again
    assert sorted({round(at, 6) + 0.0 for at in seen}) == [0.0, 0.25, 0.5, 0.5625, 0.625, 0.6875, 0.75, 0.875, 1.0]


def delta_of_fixed_rule() -> None:
    # the middle of the path says 3 x (x / 2)^2 of x^3
    close(IntegratedGradients(n_steps=1)(lambda z: z[:, 0] ** 3, torch.tensor([[2.0]])).convergence_delta, [-2.0])


def merging_of_batch_norm() -> None:
    torch.manual_seed(0)
    net = with_statistics(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten())).eval()
    x = torch.rand(2, 1, 5, 5, dtype=next(net.parameters()).dtype)
    with explaining(net), fast_convolutions(net, (x,)) as fast:
        # a wrong merge is found out, and taken away again
        assert fast.norms


def ways_back() -> None:
    for kind in ("pixels", "depthwise, wide padding", "depthwise, dilated", "depthwise, strided", "grouped"):
        input_gradients.test_output_and_gradient_are_those_of_torch(kind, last=False)


def draws_differ() -> None:
    # the mean over starts of (x - b)(x + b) is x^2 - mean(b^2): complete for each start, and so on average
    x = torch.tensor([[0.0], [1.0], [4.0]], dtype=torch.double)
    result = IntegratedGradients("noise", n_draws=4, n_steps=3)(lambda z: z[:, 0] ** 2, x)
    starts = [uniform_noise(x, seed=seed) for seed in range(4)]
    close(result.values, x**2 - torch.stack([start**2 for start in starts]).mean(0))
    close(result.convergence_delta, [0.0, 0.0, 0.0])


def midpoints() -> None:
    midpoint.cache_clear()
    close(IntegratedGradients(n_steps=4, rule="midpoint")(lambda z: 3 * z[:, 0], torch.tensor([[2.0]])).values, [6.0])
    close(IntegratedGradients(n_steps=4, rule="midpoint")(lambda z: z[:, 0] ** 2, torch.tensor([[2.0]])).values, [4.0])


def blur_keeps_constants() -> None:
    close(blurred(torch.full((1, 1, 6, 6), 3.0)), torch.full((1, 1, 6, 6), 3.0))


def mean_of_data() -> None:
    loader = [torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 8.0], [5.0, 2.0]])]
    close(data_mean(loader), [3.0, 4.0])


MUTATIONS = [
    Mutation("attribution.integrated_gradients.path_integral._scaled", "total * step", "total", fixed_rule),
    Mutation(
        "attribution.integrated_gradients.path.path_points",
        "torch.addcmul(b, alpha, x - b)",
        "alpha * (x - b)",
        fixed_rule,
    ),
    Mutation(
        "attribution.integrated_gradients.first_layer.Ends.at",
        "torch.addcmul(start, alpha[0], self.way)",
        "torch.addcmul(start, 1 - alpha[0], self.way)",
        from_first_layer,
    ),
    Mutation(
        "attribution.integrated_gradients.first_layer.Ends.at",
        "torch.mul(alpha, self.way, out=rows.unflatten(0, (len(nodes), -1)))",
        "torch.mul(1 - alpha, self.way, out=rows.unflatten(0, (len(nodes), -1)))",
        outputs_of_first_layer,
    ),
    Mutation(
        "attribution.integrated_gradients.first_layer.FirstLayer.ends",
        "self._output(inputs) - start",
        "self._output(inputs)",
        from_first_layer,
    ),
    Mutation(
        "attribution.integrated_gradients.first_layer._transposed",
        "gradients @ weight",
        "gradients.sum(1, keepdim=True) * weight.sum(0)",
        from_first_layer,
    ),
    Mutation(
        "attribution.integrated_gradients.first_layer._transposed",
        "at_input((len(gradients), *shape), weight, gradients, *options)",
        "at_input((len(gradients), *shape), weight.flip(2), gradients, *options)",
        from_first_layer,
    ),
    Mutation(
        "attribution.integrated_gradients.first_layer._folded",
        "weight @ gradients.flatten(2)",
        "weight.flip(0) @ gradients.flatten(2)",
        from_first_layer,
    ),
    Mutation("attribution.integrated_gradients.first_layer._look", "found[0] is not None", "False", from_first_layer),
    Mutation(
        "attribution.integrated_gradients.first_layer._is_same",
        "x.data_ptr() == given.data_ptr()",
        "x.shape == given.shape",
        from_first_layer,
    ),
    Mutation("attribution.integrated_gradients.first_layer._is_same", "x.is_contiguous()", "True", from_first_layer),
    Mutation("attribution.integrated_gradients.quadrature.gauss_legendre", "(nodes + 1) / 2", "nodes", fixed_rule),
    Mutation(
        "attribution.integrated_gradients.quadrature.gauss_legendre", "weights / 2", "weights ** 2 / 2", fixed_rule
    ),
    Mutation(
        "attribution.integrated_gradients.quadrature.split_error", "bound.jumping * jumps", "bound.jumping", fixed_rule
    ),
    Mutation("attribution.integrated_gradients.quadrature.split_error", "(split * bends).sqrt()", "split", fixed_rule),
    Mutation(
        "attribution.integrated_gradients.quadrature.second_differences",
        "[1.0, -2.0, 1.0]",
        "[1.0, -1.0, 0.0]",
        interleaved_differences,
    ),
    Mutation(
        "attribution.integrated_gradients.quadrature.second_differences",
        "(rule.nodes[i + 1] - rule.nodes[i - 1]) / 2",
        "1 / n",
        fixed_rule_with_jumps,
    ),
    Mutation(
        "attribution.integrated_gradients.method.IntegratedGradients._explained",
        "flat(integral.values).sum(1) - integral.change",
        "integral.change - flat(integral.values).sum(1)",
        delta_of_fixed_rule,
    ),
    Mutation("attribution.integrated_gradients.path.times_way", "g * step", "g", adaptive_rule),
    Mutation(
        "attribution.integrated_gradients.adaptive._begun",
        "torch.arange(1, last + 1, dtype=torch.float64, device=device) / last",
        "torch.arange(1, last + 1, dtype=torch.float64, device=device) / (last + 1)",
        adaptive_rule,
    ),
    Mutation(
        "attribution.integrated_gradients.adaptive._begun",
        "nodes.scores[n * last:] - start_scores",
        "nodes.scores[n * last:] + start_scores + 1",
        adaptive_rule,
    ),
    Mutation("attribution.integrated_gradients.pieces.Bound.jumps", "self.kink ** 2", "self.kink", bisection),
    Mutation(
        "attribution.integrated_gradients.pieces.Bound.__call__", "jumps * self.jumping", "self.jumping", bisection
    ),
    Mutation(
        "attribution.integrated_gradients.pieces.Bound.__call__",
        "(self.flat + jumps * self.jumping) * distance + jumps * (self.rooted * rooted + self.gap * gaps)",
        "(self.flat + jumps * self.jumping) * distance + self.rooted * rooted + self.gap * gaps",
        bisection,
    ),
    Mutation(
        "attribution.integrated_gradients.pieces.Bound.__call__",
        "self.rooted * rooted + self.gap * gaps",
        "self.gap * gaps",
        bisection,
    ),
    Mutation(
        "attribution.integrated_gradients.adaptive._replaced",
        "totals.squares.index_add_(0, halves.sample, more.square()).index_add_(0, pieces.sample, less.square(), alpha=-1)",  # noqa: E501
        "totals.squares.index_add_(0, halves.sample, more.square()).index_add_(0, pieces.sample, less.square(), alpha=0)",  # noqa: E501
        bisection,
    ),
    Mutation("attribution.integrated_gradients.adaptive._unsuited", "KINKED", "2", kinks_by_trapezoids),
    Mutation("attribution.integrated_gradients.quadrature.spline_correction", "24", "12", spline),
    Mutation(
        "attribution.integrated_gradients.quadrature.spline_correction",
        "(step[1:] + step[:-1]) / 3",
        "(step[1:] + step[:-1]) / 6",
        spline,
    ),
    Mutation(
        "attribution.integrated_gradients.pieces.Nodes.spline_corrections",
        "self.position.argsort()",
        "self.sample.argsort()",
        spline,
    ),
    Mutation("attribution.integrated_gradients.adaptive._smoothed", "1 - totals.jumps", "totals.jumps", bisection),
    Mutation(
        "attribution.integrated_gradients.adaptive._smoothed",
        "plain.where(worse[:, None], totals.values)",
        "totals.values",
        gap_by_spline,
    ),
    Mutation(
        "attribution.integrated_gradients.bypass._Held.__call__",
        "self.was_replaced = True",
        "self.was_replaced = False",
        gap_of_layers,
    ),
    Mutation("attribution.integrated_gradients.bypass.carries_everything", "MOVED * scale", "scale", gap_of_layers),
    Mutation(
        "attribution.conductance._Common.attribution", "torch.maximum(error, gap)", "error + 0 * gap", gap_of_layers
    ),
    Mutation(
        "attribution.integrated_gradients.adaptive._unsuited",
        "totals.n_evaluations > rule.n_first_nodes",
        "totals.n_evaluations >= rule.n_first_nodes",
        kinks_by_trapezoids,
    ),
    Mutation(
        "attribution.integrated_gradients.pieces.Pieces.divided",
        "self.rows[:, middle:]",
        "self.rows[:, :middle + 1]",
        kinks_by_trapezoids,
    ),
    Mutation(
        "attribution.integrated_gradients.adaptive._Measured.of",
        "[(change - smooth) ** 2, (total - plain) ** 2, (gaps ** 2).sum(1)]",
        "[(change - total) ** 2, (total - plain) ** 2, (gaps ** 2).sum(1)]",
        bisection,
    ),
    Mutation(
        "attribution.integrated_gradients.path_ends.at_baseline",
        "torch.tensor([hair(path)], dtype=torch.float64)",
        "torch.zeros(1, dtype=torch.float64)",
        kink_at_baseline,
    ),
    Mutation(
        "attribution.integrated_gradients.layer_paths._walk",
        "torch.tensor([hair(path)], dtype=torch.float64)",
        "torch.zeros(1, dtype=torch.float64)",
        kink_at_baseline,
    ),
    Mutation(
        "attribution.integrated_gradients.path_ends._smooth_start", "SAME_GRADIENT * size", "size * 2", kink_at_baseline
    ),
    Mutation(
        "attribution.integrated_gradients.path_ends.hair",
        "rounding / LEAST_ROUNDING",
        "rounding",
        integrated.test_the_last_bit_of_the_weights_changes_no_explanation,
    ),
    Mutation(
        "attribution.integrated_gradients.path.StraightPath.attributed",
        "(products[0].sum(-1), *products[1:])",
        "products",
        of_tokens,
    ),
    Mutation(
        "attribution.integrated_gradients.adaptive._replaced",
        "totals.values.index_add_(0, pieces.sample, pieces.integrated(at, rule.fine), alpha=-1)",
        "totals.values.index_add_(0, pieces.sample, pieces.integrated(at, rule.fine), alpha=1)",
        bisection,
    ),
    Mutation(
        "attribution.integrated_gradients.adaptive._replaced", "rule.n_intervals // 2", "rule.n_intervals", bisection
    ),
    Mutation("attribution.integrated_gradients.adaptive._marked", "rule.n_intervals", "2", bisection),
    Mutation("attribution.integrated_gradients.pieces.Pieces.divided", "self.start + half", "self.start", bisection),
    Mutation("attribution.integrated_gradients.pieces.Pieces.between", "0.5", "0.4", bisection),
    Mutation("attribution.integrated_gradients.pieces.PieceRule.difference", "f - c", "f", bisection),
    Mutation(
        "attribution.integrated_gradients.adaptive._replaced",
        "totals.difference.index_add_(0, halves.sample, more).index_add_(0, pieces.sample, less, alpha=-1)",
        "totals.difference.index_add_(0, halves.sample, more).index_add_(0, pieces.sample, less, alpha=1)",
        bisection,
    ),
    Mutation(
        "attribution.integrated_gradients.adaptive._replaced",
        "totals.difference.index_add_(0, halves.sample, more)",
        "totals.difference",
        bisection,
    ),
    Mutation(
        "attribution.integrated_gradients.marking.bulk", "before < share[sample]", "before <= share[sample]", bisection
    ),
    Mutation("attribution.integrated_gradients.marking.share_to_cut", "1 - LEFT_OF_A_PIECE", "1", bisection),
    Mutation("attribution.integrated_gradients.marking.bulk", "before - before[first]", "before", bisection),
    Mutation(
        "attribution.integrated_gradients.marking._by_size",
        "size.argsort(descending=True, stable=True)",
        "size.argsort(stable=True)",
        bisection,
    ),
    Mutation(
        "attribution.integrated_gradients.adaptive._marked",
        "rank(urgency, sample) < room[sample]",
        "rank(urgency, sample) <= room[sample]",
        bisection,
    ),
    Mutation("attribution.integrated_gradients.marking.bulk", "size / total", "size", bisection),
    Mutation(
        "attribution.integrated_gradients.adaptive._marked", "(room >= totals.n_evaluations).all()", "True", bisection
    ),
    Mutation(
        "attribution.integrated_gradients.adaptive._marked",
        "share_to_cut(error, goal.error)",
        "share_to_cut(error, 2 * goal.error)",
        bisection,
    ),
    Mutation(
        "attribution.integrated_gradients.adaptive._Measured.of", "(total - change).abs", "total.abs", gap_without_error
    ),
    Mutation("attribution.integrated_gradients.quadrature.refinement", "0.5", "0.4", midpoints),
    Mutation("attribution.integrated_gradients.quadrature.relative_distance", "a.abs", "b.abs", adaptive_rule),
    Mutation(
        "attribution.baseline_kinds._smoothing", "weights.sum(1, keepdim=True)", "weights.sum()", blur_keeps_constants
    ),
    Mutation(
        "attribution.integrated_gradients.conv_fusion._scaled",
        "weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))",
        "weight",
        merging_of_batch_norm,
    ),
    Mutation(
        "attribution.integrated_gradients.conv_fusion._Norm.scale_and_shift",
        "-self.mean * scale",
        "-self.mean",
        merging_of_batch_norm,
    ),
    Mutation(
        "attribution.integrated_gradients.conv_fusion._Call.merged",
        "bias * scale + shift",
        "bias + shift",
        merging_of_batch_norm,
    ),
    Mutation("attribution.integrated_gradients.input_gradients._transposed", "weight.flip(2, 3)", "weight", ways_back),
    Mutation(
        "attribution.integrated_gradients.input_gradients._by_pixel",
        "gradients.permute(0, 2, 3, 1) @ weight",
        "gradients.permute(0, 2, 3, 1) @ weight.flip(0)",
        ways_back,
    ),
    Mutation("attribution.baselines.drawn_baselines", "seed + draw", "seed", draws_differ),
    Mutation(
        "attribution.integrated_gradients.path_integral.averaged",
        "torch.stack([integral.change for integral in integrals]).mean(0)",
        "integrals[0].change",
        draws_differ,
    ),
    Mutation("attribution.embedding.AtEmbedding._of_tokens", "vectors.sum", "vectors.mean", of_tokens),
    Mutation("attribution.integrated_gradients.quadrature.midpoint", "1 / n_steps", "1 / (n_steps + 1)", midpoints),
]

ALSO_CHECKED = [mean_of_data]
"""Checks without an error of their own."""
