"""A deliberate error in every formula, and the check that catches it.

Each row of `MUTATIONS` replaces one piece of source text, which must occur exactly once in the package, in memory: the
function around it runs the changed code while its check runs. A check must pass on the code as it is, and fail on
the changed code. Where an edit moved a formula, adapt the row.
"""

import ast
import importlib
import inspect
import math
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import captum.attr
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional

import lightning_explain
import tests.attribution.integrated_gradients.test_first_layer as first_layer
import tests.attribution.integrated_gradients.test_method as integrated
import tests.attribution.lrp.dense as dense
import tests.attribution.lrp.operations.applied as applied
import tests.attribution.lrp.operations.test_activations as activations
import tests.attribution.lrp.operations.test_attention as attention
import tests.attribution.lrp.operations.test_normalisation as normalisation
import tests.attribution.lrp.operations.test_recurrent as recurrent
import tests.attribution.lrp.test_method as relevance_propagation
import tests.attribution.test_conductance as layer_conductance
import tests.drift.test_error as errors
import tests.drift.test_similarity as similarity
import tests.test_drift_alert as alert
from lightning_explain.attribution import (
    LRP,
    AlphaBetaRule,
    AtEmbedding,
    EpsilonRule,
    FlatRule,
    GammaRule,
    GradCAM,
    InputXGradient,
    IntegratedGradients,
    LayerConductance,
    Saliency,
    SmoothGrad,
    WSquareRule,
    ZBoxRule,
    ZeroRule,
    ZPlusRule,
    blurred,
    data_mean,
    from_captum,
    integrated_gradients_and_conductance,
    neuron_importance,
    uniform_noise,
)
from lightning_explain.attribution.integrated_gradients.conv_fusion import speed_up_convolutions
from lightning_explain.attribution.integrated_gradients.quadrature import gauss_legendre, midpoint
from lightning_explain.batches import label_oddities
from lightning_explain.callbacks.class_scores.class_metrics import ScoreCounts, doubt
from lightning_explain.drift import cosine_distance, distances, relative_l1, spearman, top_k_overlap
from lightning_explain.errors import ExplanationError
from lightning_explain.faithfulness import (
    cascading_randomisation,
    deletion,
    infidelity,
    insertion,
    mass_in_mask,
    max_sensitivity,
)
from lightning_explain.feeding import input_weights
from lightning_explain.isolation import explaining
from lightning_explain.neurons import unit_layers
from tests.attribution.integrated_gradients.plain_bisection import bisected
from tests.attribution.lrp.nets import read_beside, with_statistics
from tests.attribution.nets import convnet, drawn, mlp, seeded

PACKAGE = Path(lightning_explain.__file__).parent
SOURCES = {path: path.read_text() for path in PACKAGE.rglob("*.py")}

pytestmark = pytest.mark.filterwarnings("ignore:IntegratedGradients used max_steps")


def close(a: Tensor, b: Tensor | list[float]) -> None:
    wanted = b if isinstance(b, Tensor) else torch.tensor(b, dtype=a.dtype)
    torch.testing.assert_close(a.reshape(wanted.shape), wanted, rtol=1e-6, atol=1e-9)


# ---- the checks: small, and independent of the code that they check


def forget(function: Any) -> None:
    """Empty the cache of a function, which beartype may have wrapped."""
    while not isinstance(function, FunctionType) or "__wrapped__" in vars(function):
        with suppress(AttributeError):
            function.cache_clear()
        function = function.__wrapped__


def product(x: Tensor) -> Tensor:
    return x[:, 0] * x[:, 1]


AT, FROM = torch.tensor([[2.0, 3.0]]).double(), torch.tensor([[0.5, -1.0]]).double()
# (x0 - b0) (x1 + b1) / 2, and the other way round
PRODUCT = [(2 - 0.5) * (3 - 1) / 2, (3 + 1) * (2 + 0.5) / 2]


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
    close(found.values, [trapezoid])
    # on a smooth function the distance of the two rules shrinks fast, and less than half of it is error
    close(found.error, [0.36 * (before - trapezoid) / trapezoid])
    close(found.convergence_delta, [trapezoid - 8])


def kink_at_baseline() -> None:
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU()).double()
    net[0].weight.data.fill_(2.0)
    x = torch.tensor([[1.0], [3.0]]).double()
    for baseline in ("zeros", torch.zeros_like(x)):
        close(IntegratedGradients(baseline)(net, x).values, 2 * x)
    close(LayerConductance("0", n_steps=4)(net, x).values, 2 * x)


def below_the_gap() -> None:
    found = IntegratedGradients(max_steps=17)(lambda v: v.sum(1) + 5 * (v.detach().sum(1) > 1), torch.ones(1, 2))
    close(found.error, [2.5])


def of_tokens() -> None:
    net, ids = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 1)).double(), torch.tensor([[1, 4]])
    wanted = (net[0](ids).detach() * net[2].weight.detach().reshape(1, 2, 3)).sum(-1)
    for method in (IntegratedGradients(), IntegratedGradients(n_steps=2), InputXGradient()):
        close(AtEmbedding(method)(net, ids, 0).values, wanted)


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
    with explaining(net):
        speed_up_convolutions(net, (x,))
        # a wrong merge is found out, and taken away again
        assert "forward" in vars(net[1])


def draws_differ() -> None:
    # the mean over starts of (x - b)(x + b) is x^2 - mean(b^2): complete for each start, and so in the mean
    x = torch.tensor([[0.0], [1.0], [4.0]], dtype=torch.double)
    result = IntegratedGradients("noise", n_draws=4, n_steps=3)(lambda z: z[:, 0] ** 2, x)
    starts = [uniform_noise(x, seed=seed) for seed in range(4)]
    close(result.values, x**2 - torch.stack([start**2 for start in starts]).mean(0))
    close(result.convergence_delta, [0.0, 0.0, 0.0])


def tokens() -> None:
    net = seeded(nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 1)))
    ids = torch.tensor([[1, 4], [0, 2]])
    close(AtEmbedding()(net, ids).values.sum(1), net(ids)[:, 0].detach() - net[2].bias.detach())


def midpoints() -> None:
    midpoint.cache_clear()
    close(IntegratedGradients(n_steps=4, rule="midpoint")(lambda z: 3 * z[:, 0], torch.tensor([[2.0]])).values, [6.0])
    close(IntegratedGradients(n_steps=4, rule="midpoint")(lambda z: z[:, 0] ** 2, torch.tensor([[2.0]])).values, [4.0])


def blur_keeps_constants() -> None:
    close(blurred(torch.full((1, 1, 6, 6), 3.0)), torch.full((1, 1, 6, 6), 3.0))


def mean_of_data() -> None:
    loader = [torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 8.0], [5.0, 2.0]])]
    close(data_mean(loader), [3.0, 4.0])


class Quadratic(nn.Module):
    """Hidden (x0 x1, x1), score h0 + h1^2."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.hidden(torch.stack([x[:, 0] * x[:, 1], x[:, 1]], 1))
        return h[:, 0] + h[:, 1] ** 2


def conductance() -> None:
    for n_steps in (4, 5):
        at_input, at_layers = integrated_gradients_and_conductance(
            Quadratic(), AT, layers="hidden", baseline=FROM, n_steps=n_steps
        )
        close(at_input.values, [PRODUCT[0], PRODUCT[1] + 9 - 1])
        close(at_layers["hidden"].values, [6 + 0.5, 9.0 - 1])
        close(at_input.coarse, at_input.values)
        close(at_layers["hidden"].coarse, at_layers["hidden"].values)
        assert float(at_layers["hidden"].convergence_delta.abs()) < 1e-6  # the walk begins a hair beside the baseline


def importance_of_channels() -> None:
    found = LayerConductance("0", n_steps=2)(convnet(), drawn(2, 2, 8, 8), 1)
    close(neuron_importance(found), torch.einsum("bchw->bc", found.values))


def conductance_before_an_activation_in_place() -> None:
    x = drawn(3, 2, 8, 8)
    plain, in_place = (LayerConductance("0", n_steps=4)(net, x, 1) for net in (convnet(), convnet(in_place=True)))
    close(in_place.values, plain.values)


class Weighed(nn.Module):
    """A layer whose outputs are summed with fixed weights, so that all of them carry relevance."""

    def __init__(self, layer: nn.Module, weights: Tensor) -> None:
        super().__init__()
        self.layer, self.weights = layer, weights

    def forward(self, x: Tensor) -> Tensor:
        return (self.layer(x) * self.weights).sum(1)


def rule_check(rule, oracle: dense.DenseRule) -> Callable[[], None]:
    def check() -> None:
        for nonnegative in (False, True):
            x, layer = drawn(5, 6, seed=3), seeded(nn.Linear(6, 4), seed=2)
            x = x.abs() if nonnegative else x
            weights = torch.tensor([1.0, -2.0, 0.5, 3.0]).double()
            matrix, bias = layer.weight.data, layer.bias.data
            wanted = [oracle(matrix, bias, a, weights * (matrix @ a + bias)) for a in x]
            close(LRP({nn.Linear: rule})(Weighed(layer, weights), x).values, torch.stack(wanted))

    return check


zero = rule_check(ZeroRule(), dense.epsilon(0.0))
epsilon = rule_check(EpsilonRule(0.3), dense.epsilon(0.3))
gamma = rule_check(GammaRule(0.7), dense.gamma(0.7))
alpha_beta = rule_check(AlphaBetaRule(2.0, 1.0), dense.alpha_beta(2.0, 1.0))
z_plus = rule_check(ZPlusRule(), dense.alpha_beta(1.0, 0.0))
flat = rule_check(FlatRule(), dense.flat(torch.ones(4, 6).double()))
w_square = rule_check(WSquareRule(), dense.w_square)
z_box = rule_check(ZBoxRule(-4.0, 5.0), dense.z_box(-4.0, 5.0))


def layer_read_beside_its_relu() -> None:
    for relu in (functional.relu, functional.relu_):
        close(*read_beside(relu, rule=GammaRule(0.4), norm=False))


def nothing_to_share() -> None:
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    close(LRP({nn.Linear: ZPlusRule()})(layer, torch.tensor([[1.0, 2.0]]), 0).values, [0.0, 0.0])
    layer.weight.data = torch.zeros(2, 2)
    close(LRP({nn.Linear: WSquareRule()})(layer, torch.tensor([[1.0, 2.0]]), 0).values, [0.0, 0.0])


def nothing_to_share_by_gamma() -> None:
    # the first output has no contributions at all, and a gradient
    layer = nn.Linear(2, 2, bias=False).double()
    layer.weight.data = torch.tensor([[0.0, 0.0], [1.0, -3.0]]).double()
    weights = torch.tensor([1.0, 1.0]).double()
    inputs = torch.tensor([[1.0, 2.0]]).double()
    found = LRP({nn.Linear: GammaRule(1.0)})
    assert bool(found(Weighed(layer, weights), inputs).values.isfinite().all())
    # an input whose only way is a dead output must not get relevance at the layer before
    both = nn.Sequential(nn.Linear(2, 2, bias=False).double(), layer)
    both[0].weight.data = torch.eye(2).double()
    layer.weight.data = torch.tensor([[0.0, 1.0], [0.0, 0.0]]).double()
    close(found(both, torch.tensor([[1.0, 0.0]]).double(), 0).values, [0.0, 0.0])


def relevance_of_a_convnet() -> None:
    """Without epsilon a ReLU network has input x gradient, here through BatchNorm, padding and a residual sum."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)
            self.second, self.head = nn.Conv2d(3, 3, (3, 1), padding=(1, 0)), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = (self.norm(self.first(0.5 * x)) + x.mean(1, keepdim=True)).relu()
            return self.head((self.second(y) + y).relu().mean((2, 3)))

    net, x = with_statistics(seeded(Net())), drawn(2, 2, 5, 5)
    rules = {kind: ZeroRule() for kind in (nn.Linear, nn.Conv2d, nn.BatchNorm2d)}
    leaf = x.clone().requires_grad_()
    score = net(leaf)[:, 1]
    (gradient,) = torch.autograd.grad(score.sum(), leaf)
    found = LRP(rules)(net, x, 1)
    close(found.values, x * gradient)
    close(found.convergence_delta, (x * gradient).sum((1, 2, 3)) - score.detach())


def rules_after_batch_norm() -> None:
    """Merged by hand: relevance by z+ of a convolution and its BatchNorm is that of one convolution."""
    conv, norm = nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2)
    apart = with_statistics(seeded(nn.Sequential(conv, norm, nn.Flatten())))
    merged = seeded(nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten()))
    scale = norm.weight.data / (norm.running_var + norm.eps).sqrt()
    merged[0].weight.data = conv.weight.data * scale.reshape(2, 1, 1, 1)
    merged[0].bias.data = (conv.bias.data - norm.running_mean) * scale + norm.bias.data
    x, rules = drawn(3, 1, 3, 3), {nn.Conv2d: ZPlusRule()}
    close(LRP(rules)(apart, x, 5).values, LRP(rules)(merged, x, 5).values)


absorbed_share = relevance_propagation.test_offsets_absorb_and_their_share_is_told


def rules_of_operations() -> None:
    activations.test_activations_hand_relevance_on_by_any_name("sin")
    for name in ("layer", "group", "root mean square"):
        normalisation.test_the_spread_of_a_normalisation_is_a_constant(name)
    x, y = drawn(3, 4), drawn(3, 4, seed=1)
    products = ((lambda a, b: a * b.sigmoid(), 1.0), (lambda a, b: a * b, 0.5), (lambda a, b: a / (b * b), 1.0))
    for function, of_x in products:
        relevance = function(x, y) * applied.weights(4)
        found = LRP({})(applied.Apply(function), (x, y))
        close(found.parts[0], of_x * relevance)
        close(found.parts[1], (1 - of_x) * relevance)
    attention.test_attention_equals_its_dense_form(attention.fused, "bias")
    for kind in ("lstm", "gru"):
        recurrent.test_recurrent_layers_give_the_same_output_and_conserve(kind, {"bidirectional": True}, packed=True)


def activations_hand_on() -> None:
    net, x = mlp(smooth=True), drawn(3, 4)
    relevance = LRP({nn.Linear: ZeroRule()}).layer_relevance(net, x, 1, layers=["2", "3"])
    close(relevance["2"], relevance["3"])
    close(relevance["3"].sum(1), net(x)[:, 1].detach() - net[4].bias[1].detach())


def scaled_input_of_an_input_rule() -> None:
    layer, x = seeded(nn.Linear(3, 2)), drawn(2, 3)

    class Halved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, v: Tensor) -> Tensor:
            return self.layer(v / 2 + 1)

    rules = {nn.Linear: WSquareRule()}
    close(LRP(rules)(Halved(), x, 1).values, LRP(rules)(layer, x / 2 + 1, 1).values)


def grad_cam() -> None:
    net = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(8, 1, bias=False))
    x = torch.tensor([[[[1.0, -2.0], [0.0, 4.0]], [[2.0, 2.0], [-1.0, 3.0]]]])
    w = torch.tensor([[4.0, 0.0, 0.0, 0.0, -1.0, -1.0, -1.0, -1.0]])
    net[2].weight.data = w
    # means of the gradient 1 and -1, so the rectified difference of the channels
    close(GradCAM("0")(net, x).values, [0.0, 0.0, 1.0, 1.0])


class _Patches(nn.Module):
    """Patches [1, 2, 2, 2] as tokens after another one; the score is twice the first channel of the patches."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.tokens = nn.Conv2d(2, 2, 1, bias=False), nn.Identity()
        self.patches.weight.data = torch.eye(2)[:, :, None, None]

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = self.tokens(torch.cat([torch.full((1, 1, 2), 9.0), patches], 1))
        return 4 * tokens[:, 1:, 0].mean(1, keepdim=True)


def grad_cam_of_tokens() -> None:
    x = torch.tensor([[[[1.0, -2.0], [0.0, 4.0]], [[2.0, 2.0], [-1.0, 3.0]]]])
    close(GradCAM("tokens")(_Patches(), x).values, [1.0, 0.0, 0.0, 4.0])


class _Overwritten(nn.Module):
    def __init__(self, turned: bool) -> None:
        super().__init__()
        self.layer, self.turned = nn.Identity(), turned
        self.inner = nn.Conv2d(1, 1, 1, bias=False)
        self.inner.weight.data.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        z = self.inner(x)
        z = self.layer(z[:, :, 1:] if self.turned else z)
        z *= -3.0
        return z.relu().mean((2, 3))


def grad_cam_of_an_overwritten_output() -> None:
    x = torch.tensor([[[[5.0, 5.0], [-1.0, -1.0]]]])
    # dF/dz is -3/2 where -3 z is positive, half of a view's places or all of them
    close(GradCAM("layer")(_Overwritten(turned=True), x).values, [1.5] * 4)
    close(GradCAM("layer")(_Overwritten(turned=False), x).values, [0.0, 0.0, 0.375, 0.375])


def weights_of_layers_that_read_the_input() -> None:
    net = nn.Sequential(
        nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False), nn.ReLU(inplace=True), nn.Linear(1, 1)
    )
    net[0].weight.data, net[1].weight.data = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0, 6.0]])
    x = torch.ones(1, 2)
    found = input_weights(net, lambda: net(x), x, unit_layers(net, ["2", "3"]))
    assert list(found) == ["2"]
    close(found["2"], [23.0, 34.0])


def delta_of_captum() -> None:
    net, x = nn.Sequential(nn.Linear(2, 1)), torch.tensor([[1.0, 2.0]])
    net[0].weight.data, net[0].bias.data = torch.tensor([[3.0, 1.0]]), torch.tensor([4.0])
    found = from_captum(captum.attr.LRP)(net, x)
    close(found.convergence_delta, [float(found.values.sum()) - 9.0])


def gradient_methods() -> None:
    x = torch.tensor([[2.0, 1.0], [-1.0, 4.0]])

    def model(z: Tensor) -> Tensor:
        return z[:, 0] ** 2 - 3 * z[:, 1]

    close(Saliency()(model, x).values, [4.0, 3.0, 2.0, 3.0])
    close(InputXGradient()(model, x).values, [8.0, -3.0, 2.0, -12.0])


def smooth_grad() -> None:
    x, noise = torch.tensor([[2.0, 0.0]]), 0.5
    draws = torch.randn((3, 1, 2), generator=torch.Generator().manual_seed(0))[:, 0]
    gradients = 3 * (x + noise * 2 * draws) ** 2
    found = SmoothGrad(noise=noise, n_draws=3, seed=0)(lambda z: (z**3).sum(1), x)
    close(found.values, gradients.mean(0, keepdim=True))
    error = math.sqrt(2 / math.pi) * gradients.std(0).sum() / math.sqrt(3) / gradients.mean(0).sum()
    close(found.error, error[None])


def captum_by_seed() -> None:
    noisy = from_captum(lambda model: captum.attr.NoiseTunnel(captum.attr.Saliency(model)), nt_samples=2)
    first = noisy(mlp(), drawn(2, 4), 1).values
    torch.rand(5)
    close(noisy(mlp(), drawn(2, 4), 1).values, first)


X = torch.tensor([[3.0, 1.0, -2.0]])


def removal() -> None:
    def model(z: Tensor) -> Tensor:
        return z.sum(1)

    gone = deletion(model, X, None, X, n_steps=3, scale="output")
    close(gone.scores, [2.0, -1.0, -2.0, 0.0])
    close(gone.auc, [(2 / 2 - 1 - 2 + 0) / 3])
    close(insertion(model, X, None, X, n_steps=3, scale="output").scores, [0.0, 3.0, 4.0, 2.0])


def infidelity_of_a_line() -> None:
    slope = torch.tensor([[2.0, -1.0, 0.5]])

    def model(z: Tensor) -> Tensor:
        return (z * slope).sum(1) + z[:, 0] ** 2

    def step(inputs: Tensor, generator: torch.Generator) -> Tensor:
        return torch.tensor([[1.0, 2.0, 0.0]])

    # foretold 0, real (6 - 1 - 1 + 9) - (4 - (-1) - 1 + 4)
    close(infidelity(model, X, None, slope, perturb=step, n_draws=3), [25.0])
    close(infidelity(model, X, None, slope * X, perturb=step, n_draws=2, baseline="zeros"), [25.0])


def sensitivity() -> None:
    draws = [
        0.5 * (2 * torch.rand((1, 3), generator=generator) - 1)
        for generator in [torch.Generator().manual_seed(0)]
        for _ in range(3)
    ]
    # input x gradient of sum(x^2) / 2 is x^2
    changes = [((X + draw) ** 2 - X**2).norm() / (X**2).norm() for draw in draws]
    found = max_sensitivity(InputXGradient(), lambda z: z.square().sum(1) / 2, X, radius=0.5, n_draws=3)
    close(found, torch.stack(changes).max()[None])


def inside_the_mask() -> None:
    close(mass_in_mask(X, torch.tensor([[False, True, True]])), [0.5])


def randomisation() -> None:
    found = cascading_randomisation(InputXGradient(), mlp(smooth=True), drawn(3, 4), 0, seed=5)
    assert found.layers == ("4", "2", "0")
    net, generator = mlp(smooth=True), torch.Generator().manual_seed(5)
    original = InputXGradient()(net, drawn(3, 4), 0).values
    for layer, row in zip((net[4], net[2], net[0]), found.spearman, strict=True):
        for parameter in (layer.weight.data, layer.bias.data):
            new = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(parameter.mean() + parameter.std(correction=0) * new)
        now = InputXGradient()(net, drawn(3, 4), 0).values
        close(row, [spearmanr(was, is_).statistic for was, is_ in zip(original, now, strict=True)])


A, B = torch.tensor([[1.0, -4.0, 2.0, 0.5]]), torch.tensor([[2.0, 1.0, -3.0, 0.5]])


def drift_measures() -> None:
    close(cosine_distance(A, B), (1 - torch.cosine_similarity(A, B)))
    # ranks 3 1 4 2 and 4 3 1 2
    close(spearman(A, B), [1 - 6 * (1 + 4 + 9 + 0) / (4 * 15)])
    close(top_k_overlap(A, B, 2), [0.5])
    close(relative_l1(A, B), [11 / 6.5])
    found = distances(A, B)
    close(found["spearman"], 1 - spearman(A, B))
    # of absolute values 2 4 3 1 and 3 2 4 1
    close(found["spearman_absolute"], [6 * (1 + 4 + 1 + 0) / 60])
    # ranks 1.5 1.5 3 4 and 1 2 3 4
    close(spearman(torch.tensor([[1.0, 1.0, 2.0, 3.0]]), torch.tensor([[1.0, 2.0, 3.0, 4.0]])), [math.sqrt(0.9)])


# ---- the errors: text as it stands in the package, text that replaces it, check that must notice


def figures_of_classes() -> None:
    counts = ScoreCounts(2)
    counts.update(torch.tensor([[2.0, 1.0], [1.0, 2.0], [3.0, 1.0]]), torch.tensor([0, 1, 1]), None)
    close(torch.tensor(list(counts.compute().figures.values())), torch.tensor([[0.5, 1], [1, 0.5], [2 / 3, 2 / 3]]))
    assert doubt(counts.compute(), {"acc": 2 / 3}, named=False) == ""
    assert doubt(counts.compute(), {"acc": 0.1}, named=False) != ""


def labels_or_none() -> None:
    shares = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    assert label_oddities("one-hot", shares).tolist() == [True, False]
    assert label_oddities("one-hot", torch.ones(1, 2)).tolist() == [True, True]
    assert label_oddities("one-hot", torch.eye(2)).tolist() == [False, False]
    assert label_oddities("binary", torch.tensor([0.0, 3.0])).tolist() == [True, True]


MUTATIONS: list[tuple[str, str, Callable[[], None]]] = [
    # figures of classes, and what labels are
    ("(self.hits / self.predicted).tolist()", "(self.hits / self.actual).tolist()", figures_of_classes),
    ("(2 * self.hits / (self.predicted + self.actual))", "(self.hits / self.actual)", figures_of_classes),
    ("torch.where(predicted == actual, actual, n_classes)", "predicted", figures_of_classes),
    ("tally.distance(logged) > GROSS", "tally.distance(logged) < GROSS", figures_of_classes),
    ("odd | (total != 1).any()", "odd", labels_or_none),
    ("beyond | ((total - 1).abs() > SHARES_OFF).any()", "beyond", labels_or_none),
    ("~((target >= 0) & (target <= 1)).all()", "(target < 0).any()", labels_or_none),
    # integrated gradients and their quadrature
    ("total * step * factor", "total * factor", fixed_rule),
    ("torch.addcmul(b, alpha, x - b)", "(alpha * (x - b))", fixed_rule),
    ("requires_grad_(), alpha, self.way)", "requires_grad_(), 1 - alpha, self.way)", from_first_layer),
    ("Ends(start, self._output(inputs) - start)", "Ends(start, self._output(inputs))", from_first_layer),
    (
        "lambda gradients: gradients @ weight",
        "lambda gradients: gradients.sum(1, keepdim=True) * weight.sum(0)",
        from_first_layer,
    ),
    (
        "at_input((len(gradients), *shape), weight, gradients",
        "at_input((len(gradients), *shape), weight.flip(2), gradients",
        from_first_layer,
    ),
    ("weight @ gradients.flatten(2)", "weight.flip(0) @ gradients.flatten(2)", from_first_layer),
    ("found[0] is not None", "False", from_first_layer),
    ("x.data_ptr() == given.data_ptr()", "x.shape == given.shape", from_first_layer),
    ("and x.is_contiguous()", "", from_first_layer),
    ("torch.from_numpy((nodes + 1) / 2)", "torch.from_numpy(nodes)", fixed_rule),
    ("torch.from_numpy(weights / 2)", "torch.from_numpy(weights**2 / 2)", fixed_rule),
    ("bound.jumping * jumps) * (split * bends).sqrt()", "bound.jumping) * (split * bends).sqrt()", fixed_rule),
    ("* (split * bends).sqrt()", "* split", fixed_rule),
    ("torch.tensor([1.0, -2.0, 1.0], dtype", "torch.tensor([1.0, -1.0, 0.0], dtype", fixed_rule),
    ("half = (rule.nodes[i + 1] - rule.nodes[i - 1]) / 2", "half = 1 / n", fixed_rule_with_jumps),
    (
        "flat(integral.values).sum(1) - integral.change",
        "integral.change - flat(integral.values).sum(1)",
        delta_of_fixed_rule,
    ),
    ("g * step for g, step in zip(gradients", "g for g, step in zip(gradients", adaptive_rule),
    ("dtype=torch.float64, device=device) / last", "dtype=torch.float64, device=device) / (last + 1)", adaptive_rule),
    ("nodes.scores[n * last :] - start_scores", "nodes.scores[n * last :] + start_scores + 1", adaptive_rule),
    ("self.kink**2 * spread", "self.kink * spread", bisection),
    ("self.flat + jumps * self.jumping", "self.flat + self.jumping", bisection),
    ("jumps * (self.rooted * rooted + self.gap * gaps)", "self.rooted * rooted + self.gap * gaps", bisection),
    ("self.rooted * rooted + self.gap", "self.gap", bisection),
    ("0, pieces.sample, less.square(), alpha=-1", "0, pieces.sample, less.square(), alpha=0", bisection),
    ("(squares[:, 0], squares[:, 1]) > KINKED", "(squares[:, 0], squares[:, 1]) > 2", kinks_by_trapezoids),
    ("self.was_replaced = True", "self.was_replaced = False", gap_of_layers),
    ("moved.abs() <= MOVED * scale", "moved.abs() <= scale", gap_of_layers),
    ("error = torch.maximum(error, gap)\n        # with", "error = error + 0 * gap\n        # with", gap_of_layers),
    ("is_refined = totals.n_evaluations >", "is_refined = totals.n_evaluations >=", kinks_by_trapezoids),
    ("self.rows[:, middle:]", "self.rows[:, : middle + 1]", kinks_by_trapezoids),
    ("(change - smooth) ** 2, (total - plain)", "(change - total) ** 2, (total - plain)", bisection),
    (
        "torch.tensor([hair(path)], dtype=torch.float64), torch.ones(1, 1))\n        gradients",
        "torch.zeros(1, dtype=torch.float64), torch.ones(1, 1))\n        gradients",
        kink_at_baseline,
    ),
    (
        "torch.tensor([hair(path)], dtype=torch.float64), nodes[1:]",
        "torch.zeros(1, dtype=torch.float64), nodes[1:]",
        kink_at_baseline,
    ),
    ("apart <= SAME_GRADIENT * size", "apart <= size * 2", kink_at_baseline),
    ("rounding / LEAST_ROUNDING", "rounding", integrated.test_the_last_bit_of_the_weights_changes_no_explanation),
    ("(products[0].sum(-1), *products[1:]) if self.of_vectors", "products if self.of_vectors", of_tokens),
    ("pieces.integrated(at, rule.fine), alpha=-1)", "pieces.integrated(at, rule.fine), alpha=1)", bisection),
    ("rule.n_intervals // 2)", "rule.n_intervals)", bisection),
    ("n_evaluations) // rule.n_intervals", "n_evaluations) // 2", bisection),
    ("Pieces(self.sample, self.start + half, half", "Pieces(self.sample, self.start, half", bisection),
    ("device=self.start.device) + 0.5) / n_intervals", "device=self.start.device) + 0.4) / n_intervals", bisection),
    ("f - c for f, c in zip(self.fine", "f for f, c in zip(self.fine", bisection),
    ("integrated(at, rule.difference), alpha=-1)", "integrated(at, rule.difference), alpha=1)", bisection),
    ("totals.difference.index_add_(0, halves.sample, more)", "pass", bisection),
    ("before < share[sample], part", "before <= share[sample], part", bisection),
    ("/ (1 - LEFT_OF_A_PIECE)", "/ 1", bisection),
    ("index_copy_(0, order, before - before[first])", "index_copy_(0, order, before)", bisection),
    ("size.argsort(descending=True, stable=True)", "size.argsort(stable=True)", bisection),
    ("< room[sample])", "<= room[sample])", bisection),
    ("size > 0, size / total, 0.0", "size > 0, size, 0.0", bisection),
    ("(room >= totals.n_evaluations).all()", "True", bisection),
    ("_share_to_cut(error, goal.error)", "_share_to_cut(error, 2 * goal.error)", bisection),
    ("(total - change).abs(), squares", "total.abs(), squares", gap_without_error),
    ("dtype=torch.float64) + 0.5) / n_intervals", "dtype=torch.float64) + 0.4) / n_intervals", midpoints),
    ("(a - b).abs().sum(1), a.abs().sum(1)", "(a - b).abs().sum(1), b.abs().sum(1)", adaptive_rule),
    ("return weights / weights.sum(1, keepdim=True)", "return weights / weights.sum()", blur_keeps_constants),
    ("return weight * scale[:, None, None, None], shift", "return weight, shift", merging_of_batch_norm),
    ("shift * scale + norm.bias.detach()", "shift + norm.bias.detach()", merging_of_batch_norm),
    ("seed=seed + draw)", "seed=seed)", draws_differ),
    ("torch.stack([integral.change for integral in integrals]).mean(0)", "integrals[0].change", draws_differ),
    ("vectors if summed else vectors.sum(-1)", "vectors if summed else vectors.mean(-1)", of_tokens),
    ("torch.full((n_steps,), 1 / n_steps, dtype", "torch.full((n_steps,), 1 / (n_steps + 1), dtype", midpoints),
    # conductance
    ("value - last_value, value=0.5", "value - last_value, value=1.0", conductance),
    ("addcmul_(gradient + last_gradient,", "addcmul_(2 * gradient,", conductance),
    ("half = nodes.diff() / 2", "half = nodes.diff()", conductance),
    (
        "kept = (torch.arange(n_steps + 1) % 2 == 0) | (nodes == 1)",
        "kept = torch.arange(n_steps + 1) % 2 == 0",
        conductance,
    ),
    ("scores[-1] - scores[0],", "scores[0] - scores[-1],", conductance),
    ("return self.values._version != self.version", "return False", conductance_before_an_activation_in_place),
    ("movedim(unit_dim, 1).flatten(2).sum(2)", "movedim(unit_dim, 1).flatten(2).mean(2)", importance_of_channels),
    # rules of relevance propagation
    (
        "del z\n        return layer.transpose(gradient, layer.weight, a)",
        "return layer.transpose(z, layer.weight, a)",
        zero,
    ),
    ("value=-self.epsilon", "value=self.epsilon", epsilon),
    ("z.abs().add_(self.epsilon)", "z.add(self.epsilon)", epsilon),
    ("(self.for_positive, self.for_negative)", "(self.for_negative, self.for_positive)", z_plus),
    ("_by_sign(bias, self.positive, self.negative)", "bias", gamma),
    ("functional.leaky_relu(a, below / above)", "functional.leaky_relu(a, below)", gamma),
    ("rising = Favouring(layer, 1 + self.gamma, 1)", "rising = Favouring(layer, 1, 1 + self.gamma)", gamma),
    ("float(a.amin()) == 0 and float(a.amax()) == 0", "True", gamma),
    ("where_positive(of_positive, z, out=of_positive)", "of_positive", nothing_to_share_by_gamma),
    ("return where_negative(shares, z, out=shares)", "return shares", gamma),
    ("alpha=2 + self.gamma", "alpha=1 + self.gamma", gamma),
    ("of_positive - of_negative, layer.weight * (1 + self.gamma / 2)", "of_positive, layer.weight", gamma),
    ("layer.weight.abs() * (self.gamma / 2), a)", "layer.weight.abs() * self.gamma, a)", gamma),
    ("of_positive.add_(of_negative)", "of_positive", gamma),
    ("torch.addcmul(back, of_sizes, a.sign(), out=back)", "back.add_(of_sizes)", gamma),
    ('readers.get(node, set()) - {"Relu"}', "set()", layer_read_beside_its_relu),
    ("total -= self.beta *", "total += self.beta *", alpha_beta),
    ("total = self.alpha * Favouring", "total = Favouring", alpha_beta),
    ("return Favouring(layer, 1, 0)", "return Favouring(layer, 0, 1)", z_plus),
    ("_by_sign(bias, self.positive, self.negative)", "_by_sign(bias, self.negative, self.positive)", z_plus),
    ("shares if self.positive else shares.neg_()", "shares", alpha_beta),
    ("            total.neg_()\n", "            pass\n", alpha_beta),
    ("half = (self.positive - self.negative) / 2", "half = self.positive - self.negative", z_plus),
    ("sizes.add_(z, alpha=(self.positive + self.negative) / 2)", "sizes.add_(z, alpha=1)", z_plus),
    ("functional.threshold(total, 0, math.inf, inplace=True)", "pass", nothing_to_share),
    ("return by_sign(for_positive, for_negative, a)", "return for_positive", z_plus),
    ("total.add_(total.sign().abs_().neg_().add_(1.0))", "total.add_(0.0)", nothing_to_share),
    ("layer, a, relevance, torch.ones_like(layer.weight))", "layer, a, relevance, layer.weight)", flat),
    ("s.sum(-1, keepdim=True).expand_as(like)", "s.mean(-1, keepdim=True).expand_as(like)", flat),
    ("weight = layer.weight.square()", "weight = layer.weight.abs()", w_square),
    ("(a - high) * by_weight", "(a - low) * by_weight", z_box),
    ("(high - low) * by_positive", "high * by_positive", z_box),
    ("layer.apply(low, above, layer.bias)", "layer.apply(low, above)", z_box),
    ("shift = -running_mean * scale", "shift = running_mean * scale", relevance_of_a_convnet),
    ("bias * scale + shift", "bias + shift", rules_after_batch_norm),
    (
        "convergence_delta=flat(values).sum(1) - change,",
        "convergence_delta=change - flat(values).sum(1),",
        relevance_of_a_convnet,
    ),
    ("(a / z).nan_to_num_(", "(a * z).nan_to_num_(", activations_hand_on),
    ("return gradients[0] * ctx.share, None", "return gradients[0], None", rules_of_operations),
    ("ctx.save_for_backward(ratio_of(read, a) if", "ctx.save_for_backward(torch.ones_like(a) if", rules_of_operations),
    ("gradient = gradient - gradient.mean(ctx.centred, keepdim=True)", "pass", rules_of_operations),
    ("return (gradient * spread)", "return gradient", rules_of_operations),
    ("gradient = gradient * scale[0]", "gradient = gradient * 1", rules_of_operations),
    ("dividend, divisor.detach(),", "dividend, divisor,", rules_of_operations),
    ("signals = [rank == min(ranks)", "signals = [rank == max(ranks)", rules_of_operations),
    ("of_product = of_weights / 2 if", "of_product = of_weights if", rules_of_operations),
    ("(0.0 if is_constant else 0.5)", "(0.5 if is_constant else 0.5)", rules_of_operations),
    ("torch.sigmoid(i) * torch.tanh(g)", "torch.sigmoid(i) * torch.sigmoid(g)", rules_of_operations),
    ("(1 - update) * new", "update * new", rules_of_operations),
    ("reversed(range(len(sizes))) if backward", "range(len(sizes)) if backward", rules_of_operations),
    (
        "1 - flat(values).sum(1) / change)",
        "flat(values).sum(1) / change)",
        absorbed_share,
    ),
    ("name: entry.value * next(gradients)", "name: next(gradients)", activations_hand_on),
    (
        "torch.zeros_like(scale), relevance / scale)",
        "torch.zeros_like(scale), relevance)",
        scaled_input_of_an_input_rule,
    ),
    # gradients
    (
        "(weights * feature_map).sum(dim=1, keepdim=True).relu()",
        "(weights * feature_map).relu().sum(dim=1, keepdim=True)",
        grad_cam,
    ),
    ("gradient.mean(dim=(2, 3), keepdim=True)", "gradient", grad_cam),
    ("self.first : self.first + self.n_places", ": self.n_places", grad_cam_of_tokens),
    ("shape[dim] - _sized(along[place]) - sum(after)", "0", grad_cam_of_tokens),
    ("if seen[key].is_overwritten:", "if False:", grad_cam_of_an_overwritten_output),
    ("self._watched.stride(), base.offset", "self._watched.stride(), 0", grad_cam_of_an_overwritten_output),
    ("product = weight @ product", "product = weight", weights_of_layers_that_read_the_input),
    ("self.tensor._version == self.version", "True", weights_of_layers_that_read_the_input),
    ("-delta if _is_relevance(explainer) else delta", "delta", delta_of_captum),
    ("g.abs()", "g", gradient_methods),
    ("x * g", "g", gradient_methods),
    ("mean[index] += step / done", "mean[index] += step", smooth_grad),
    ("squares.clamp_min(0) / (self.n_draws - 1)", "squares.clamp_min(0) / self.n_draws", smooth_grad),
    ("MEAN_ABSOLUTE_NORMAL * spread", "spread", smooth_grad),
    ("torch.manual_seed(seed)\n    np", "np", captum_by_seed),
    # faithfulness
    ("torch.where(gone, base, explained)", "torch.where(gone, explained, base)", removal),
    ("torch.where(back, explained, base)", "torch.where(back, base, explained)", removal),
    ("argsort(dim=1, descending=True, stable=True)", "argsort(dim=1, stable=True)", removal),
    ("torch.trapezoid(scores, shares, dim=1)", "scores.mean(1)", removal),
    ("model(explained - step)", "model(explained + step)", infidelity_of_a_line),
    ("(foretold - real).square()", "(foretold - real).abs()", infidelity_of_a_line),
    ("torch.zeros_like(values), values / way)", "torch.zeros_like(values), values)", infidelity_of_a_line),
    ("largest = torch.maximum(largest, change.norm(dim=1))", "largest = change.norm(dim=1)", sensitivity),
    ("largest / here.norm(dim=1)", "largest", sensitivity),
    ("explained + radius * draw", "explained + draw", sensitivity),
    ("size = values.abs()\n    # 0 / 0", "size = values\n    # 0 / 0", inside_the_mask),
    ("return chosen[::-1]", "return chosen", randomisation),
    ("parameter.mean() + spread * draw", "parameter + 0 * draw", randomisation),
    # drift
    ("b / norm_b).square().sum(1) / 2).float()", "b / norm_b).square().sum(1)).float()", drift_measures),
    ("direction_b.double()).square().sum(1) / 2)", "direction_b.double()).square().sum(1))", drift_measures),
    ("(below + up_to + 1).float() / 2", "below.float() + 1", drift_measures),
    ("1 - correlation(a.absolute_ranks, b.absolute_ranks)", "1 - correlation(a.ranks, b.ranks)", drift_measures),
    ("(in_a & in_b).sum(1) / k", "(in_a | in_b).sum(1) / k", drift_measures),
    ("size = b.abs().sum(1)", "size = a.abs().sum(1)", drift_measures),
    (
        "(crossing * (1 - crossing)).sum(1)",
        "crossing.sum(1)",
        similarity.test_the_spread_of_top_k_is_that_of_its_formula,
    ),
    (
        "squares[samples].sum().sqrt() /",
        "squares[samples].sqrt().sum() /",
        errors.test_independent_errors_cancel_as_drawn_ones_do,
    ),
    ("torch.maximum(independent, common)", "independent", errors.test_what_all_have_in_common_does_not_cancel),
    ("torch.hypot(now, reference)", "(now + reference).abs()", errors.test_the_two_explanations_err_independently),
    ("(error.to(way) / way)", "error.to(way)", errors.test_the_share_is_the_error_over_the_way_to_the_coarser_rule),
    # alerts
    (
        "min(now / last, last / before, FASTEST_GROWTH)",
        "now / last",
        alert.test_a_learning_rate_that_is_warmed_up_is_no_alarm,
    ),
    ("recent[-1 if lasts else 0]", "recent[-1]", alert.test_one_figure_that_was_an_event_hides_no_other),
    (
        "n_classes**GROUPS_POWER * (1 + few)",
        "n_classes**GROUPS_POWER",
        alert.test_of_many_classes_and_of_few_samples_more_is_expected,
    ),
    (
        "SLOWLY * max(median(figures), least)",
        "math.inf",
        alert.test_a_mask_that_is_looked_at_ever_more_is_noticed_however_slowly,
    ),
]


# ---- how they are made


def _place(text: str) -> tuple[Path, int]:
    """Find the one file that holds a text, and the line on which the text ends."""
    found = [path for path, source in SOURCES.items() for _ in range(source.count(text))]
    assert len(found) == 1, f"{text!r} is found {len(found)} times in the package; adapt its row"
    source = SOURCES[found[0]]
    return found[0], source[: source.index(text) + len(text)].count("\n") + 1


def _owner(tree: ast.AST, line: int, path: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Name the outermost function around a line, with the classes that it is in."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or 0):
            inner = (*path, node.name)
            return inner if isinstance(node, ast.FunctionDef) else _owner(node, line, inner)
    raise AssertionError(f"line {line} is in no function")


def _code(code: CodeType, path: tuple[str, ...]) -> CodeType:
    for name in path:
        code = next(part for part in code.co_consts if isinstance(part, CodeType) and part.co_name == name)
    return code


def _function(module, path: tuple[str, ...]):
    """Get the function as it lies in its class, without what beartype wraps around it."""
    found = module
    for name in path:
        found = inspect.getattr_static(found, name)
    found = found.fget if isinstance(found, property) else found
    return inspect.unwrap(found.__func__ if isinstance(found, staticmethod | classmethod) else found)


@contextmanager
def mutated(text: str, replacement: str) -> Generator[None, None, None]:
    path, line = _place(text)
    owner = _owner(ast.parse(SOURCES[path]), line)
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    function = _function(importlib.import_module(name), owner)
    wrong = compile(SOURCES[path].replace(text, replacement), f"{path} with an error", "exec", dont_inherit=True)
    right = function.__code__
    function.__code__ = _code(wrong, owner)
    try:
        yield
    finally:
        function.__code__ = right


CHECKS = list(dict.fromkeys(check for _, _, check in MUTATIONS))


@pytest.mark.parametrize("check", [*CHECKS, mean_of_data], ids=lambda check: check.__name__)
def test_the_check_passes_on_the_code_as_it_is(check: Callable[[], None]):
    check()


@pytest.mark.parametrize(("text", "replacement", "check"), MUTATIONS, ids=[text[:50] for text, _, _ in MUTATIONS])
def test_the_error_is_noticed(text: str, replacement: str, check: Callable[[], None]):
    with mutated(text, replacement), pytest.raises((AssertionError, ExplanationError)):
        check()
    check()
