"""Integrated gradients against captum, closed forms, an exact oracle and the method's own axioms."""

import copy
import warnings
from itertools import pairwise
from typing import Any

import captum.attr
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lightning_explain import IntegratedGradients
from lightning_explain.attribution import LayerConductance
from lightning_explain.attribution.integrated_gradients.first_layer import FirstLayer
from lightning_explain.attribution.integrated_gradients.quadrature import relative_distance
from lightning_explain.attribution.result import flat
from lightning_explain.errors import ConfigurationError, ExplanationError, ExplanationWarning
from tests.attribution.integrated_gradients.plain_bisection import bisected
from tests.models import digits

SEEDS = st.integers(0, 10_000)


def mlp(seed: int, *, smooth: bool = False, n_out: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    act: Any = nn.Tanh if smooth else nn.ReLU
    return nn.Sequential(nn.Linear(6, 16), act(), nn.Linear(16, 16), act(), nn.Linear(16, n_out))


def convnet(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
    )


def l1_error(values: Tensor, reference: Tensor) -> Tensor:
    return (flat(values) - flat(reference)).abs().sum(1) / flat(reference).abs().sum(1)


# -- known numbers and closed forms -----------------------------------------------------------------------------


def test_known_numbers() -> None:
    """F = ReLU(ReLU(x1) - 1 - ReLU(x2)) at (3, 1) from zero gives (1.5, -0.5)."""

    def forward(x: Tensor) -> Tensor:
        return torch.relu(torch.relu(x[:, 0]) - 1 - torch.relu(x[:, 1]))

    result = IntegratedGradients(tolerance=1e-3, max_steps=4097)(forward, torch.tensor([[3.0, 1.0]]))
    torch.testing.assert_close(result.values, torch.tensor([[1.5, -0.5]]), atol=2e-3, rtol=0)


def test_a_product_splits_evenly() -> None:
    result = IntegratedGradients(n_steps=4)(lambda x: x[:, 0] * x[:, 1], torch.tensor([[3.0, 2.0]]))
    torch.testing.assert_close(result.values, torch.tensor([[3.0, 3.0]]))


@pytest.mark.parametrize(
    "method", [IntegratedGradients(), IntegratedGradients(n_steps=1), IntegratedGradients(n_steps=7)]
)
def test_linear_models_are_exact(method: IntegratedGradients) -> None:
    """The trapezoid of some peers is 2 % low here."""
    weight, x, baseline = torch.randn(5, 1), torch.randn(4, 5), torch.randn(5)
    result = IntegratedGradients(baseline=baseline, n_steps=method.n_steps)(lambda v: v @ weight, x)
    torch.testing.assert_close(result.values, (x - baseline) * weight.T)
    assert result.convergence_delta is not None and result.convergence_delta.abs().max() < 1e-5


def exact_by_breakpoints(net: nn.Module, x: Tensor, target: int) -> Tensor:
    """Exact IG of a ReLU MLP from zero: the gradient is constant between the points where a unit switches."""

    def switches(alphas: Tensor) -> Tensor:
        seen: list[Tensor] = []
        handles = [
            m.register_forward_hook(lambda _m, i, _o: seen.append(i[0] > 0)) for m in net if isinstance(m, nn.ReLU)
        ]
        with torch.no_grad():
            net(alphas.reshape(-1, *(1,) * x.ndim) * x)
        for handle in handles:
            handle.remove()
        return torch.cat(seen, dim=1)

    grid = torch.linspace(0, 1, 20_001, dtype=x.dtype)
    pattern = switches(grid)
    edges = [0.0]
    for i in (pattern[1:] != pattern[:-1]).any(1).nonzero().flatten().tolist():
        low, high = grid[i], grid[i + 1]
        for _ in range(40):
            middle = (low + high) / 2
            same = bool((switches(middle[None]) == pattern[i]).all())
            low, high = (middle, high) if same else (low, middle)
        edges.append(float(high))
    edges.append(1.0)
    total = torch.zeros_like(x)
    for a, b in pairwise(edges):
        point = ((a + b) / 2 * x).requires_grad_()
        total += (b - a) * torch.autograd.grad(net(point[None])[0, target], point)[0]
    return total * x


@pytest.mark.parametrize("sample", range(4))
def test_error_estimate_against_the_exact_integral(digit_mlp: nn.Module, sample: int) -> None:
    net = copy.deepcopy(digit_mlp).double()
    images, labels = digits()[1].tensors
    x, target = images[sample : sample + 1].double(), int(labels[sample])
    exact = exact_by_breakpoints(net, x[0], target)[None]
    for tolerance in (0.05, 0.005):
        result = IntegratedGradients(tolerance=tolerance, max_steps=4097)(net, x, target)
        assert result.error is not None and float(result.error) <= tolerance
        assert l1_error(result.values, exact) <= 2 * float(result.error)
    fine = IntegratedGradients(n_steps=3000, chunk_size=300)(net, x, target)
    assert l1_error(fine.values, exact) < 1e-3 and fine.error is not None and float(fine.error) < 1e-3


# -- captum -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_steps", [2, 9, 50])
@pytest.mark.parametrize("make", [mlp, convnet])
def test_equals_captum_at_the_same_points(make: Any, n_steps: int) -> None:
    net = make(0)
    x = torch.randn(5, 6) if make is mlp else torch.randn(5, 2, 8, 8)
    baseline, target = torch.randn_like(x), torch.tensor([0, 1, 2, 1, 0])
    ours = IntegratedGradients(baseline=baseline, n_steps=n_steps, chunk_size=7)(net, x, target)
    theirs, delta = captum.attr.IntegratedGradients(net).attribute(
        x, baseline, target=target, n_steps=n_steps, method="gausslegendre", return_convergence_delta=True
    )
    scale = theirs.abs().max()
    assert (ours.values - theirs).abs().max() <= 1e-5 * scale
    torch.testing.assert_close(ours.convergence_delta, delta.float(), atol=1e-5 * float(scale), rtol=1e-3)


def test_equals_captum_for_several_inputs() -> None:
    torch.manual_seed(0)
    a, b = nn.Linear(3, 4), nn.Linear(2, 4)

    def forward(x: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(a(x)) * torch.tanh(b(y))

    x, y = torch.randn(6, 3), torch.randn(6, 2)
    ours = IntegratedGradients(n_steps=20, baseline=(torch.zeros(3), torch.ones(2)))(forward, (x, y), 2)
    theirs = captum.attr.IntegratedGradients(forward).attribute(
        (x, y), (torch.zeros(1, 3), torch.ones(1, 2)), target=2, n_steps=20
    )
    assert isinstance(ours.values, tuple)
    for mine, other in zip(ours.values, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-5)


# -- the adaptive rule ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["digit_mlp", "digit_cnn"])
@pytest.mark.parametrize("tolerance", [0.05, 0.01])
def test_tolerance_bounds_error_and_gap(kind: str, tolerance: float, request: pytest.FixtureRequest) -> None:
    net = request.getfixturevalue(kind)
    x, target = (part[:60] for part in digits(1200, 100)[1].tensors)
    result = IntegratedGradients(tolerance=tolerance, max_steps=4097, chunk_size=600)(net, x, target)
    reference = IntegratedGradients(n_steps=2048, chunk_size=4000)(net, x, target)
    assert result.error is not None and (result.error <= tolerance).all()
    error = l1_error(result.values, reference.values)
    assert error.quantile(0.95) <= max(0.05 if tolerance == 0.05 else 0.015, tolerance)
    assert (error / result.error).quantile(0.95) < 2
    with torch.no_grad():
        change = (net(x) - net(torch.zeros_like(x))).gather(1, target[:, None]).squeeze(1)
    assert result.convergence_delta is not None
    floor = 0.01 * flat(result.values).abs().sum(1)
    assert (result.convergence_delta.abs() <= tolerance * torch.maximum(change.abs(), floor) * 1.001).all()


@pytest.mark.parametrize("as_smooth", [True, False])
@pytest.mark.parametrize("smooth", [True, False])
def test_bisection_against_a_plain_loop(*, smooth: bool, as_smooth: bool) -> None:
    net, x = nn.Sequential(mlp(3, smooth=smooth), nn.Softmax(1)).double(), 4 * torch.randn(4, 6).double()
    seen: list[Tensor] = []

    def watched(v: Tensor) -> Tensor:
        if v.requires_grad:
            seen.append(v.detach())
        return net(v)

    result = IntegratedGradients(tolerance=0.01, max_steps=4097, smooth=as_smooth)(watched, x, 0)
    assert result.n_evaluations.unique().numel() > 1, "samples must differ for this to mean anything"
    assert isinstance(result.coarse, Tensor)
    for i, sample in enumerate(x):
        nodes, values, coarse, error = bisected(net, sample, 0.01, 4097, smooth=as_smooth)
        assert result.n_evaluations[i] == len(nodes)
        torch.testing.assert_close(result.values[i], values)
        torch.testing.assert_close(result.coarse[i], coarse)
        assert result.error is not None and float(result.error[i]) == pytest.approx(error)
        for node in nodes[1:]:
            assert sum(bool(torch.allclose(row, node * sample, atol=1e-12)) for row in torch.cat(seen)) == 1


@pytest.mark.parametrize("tolerance", [0.05, 0.003, 1e-4])
@pytest.mark.parametrize("seed", range(4))
def test_smooth_networks_keep_the_tolerance_with_fewer_points(seed: int, tolerance: float) -> None:
    """Against 2,048 midpoints, whose own error is far below."""
    net = nn.Sequential(mlp(seed, smooth=True), nn.Softmax(1)).double()
    x = 4 * torch.randn(12, 6, generator=torch.Generator().manual_seed(seed)).double()
    reference = IntegratedGradients(n_steps=2048, rule="midpoint")(net, x, 0).values
    smooth, plain = (
        IntegratedGradients(tolerance=tolerance, max_steps=4097, smooth=s)(net, x, 0) for s in (True, False)
    )
    errors = relative_distance(reference, smooth.values)
    assert float(errors.quantile(0.9)) <= tolerance
    assert bool((smooth.error <= tolerance).all())
    share = float(smooth.n_evaluations.float().mean()) / float(plain.n_evaluations.float().mean())
    assert share <= {0.05: 2.0, 0.003: 0.95, 1e-4: 0.4}[tolerance]


@pytest.mark.parametrize("kinked", [nn.ReLU(), nn.MaxPool1d(2)], ids=str)
def test_kinks_are_named_where_smooth_is_said(kinked: nn.Module) -> None:
    net = nn.Sequential(nn.Linear(6, 4), nn.GELU(), kinked, nn.LazyLinear(1))
    net(torch.rand(3, 6))  # makes the last layer
    x = torch.rand(3, 6)
    with pytest.warns(ExplanationWarning, match=rf"smooth=True, but 2 is a {type(kinked).__name__}"):
        IntegratedGradients(smooth=True)(net, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        IntegratedGradients()(net, x)
        IntegratedGradients(smooth=True)(nn.Sequential(nn.Linear(6, 4), nn.GELU(), nn.Linear(4, 1)), x)


@pytest.mark.filterwarnings("ignore:IntegratedGradients got smooth=True")
def test_kinks_are_integrated_by_trapezoids_even_where_smooth_is_said() -> None:
    net, x = mlp(3).double(), 4 * torch.randn(6, 6, generator=torch.Generator().manual_seed(2)).double()
    found = IntegratedGradients(tolerance=0.002, max_steps=4097, smooth=True)(net, x, 0)
    for i, sample in enumerate(x):
        nodes, values, _, error = bisected(net, sample, 0.002, 4097, smooth=True)
        assert found.n_evaluations[i] == len(nodes) > 13
        torch.testing.assert_close(found.values[i], values)
        assert found.error is not None and float(found.error[i]) == pytest.approx(error)
        lengths = [(b - a) / 2 for a, b in pairwise(nodes)]
        weights = torch.tensor([a + b for a, b in zip([0.0, *lengths], [*lengths, 0.0], strict=True)])
        points = (torch.tensor(nodes).double()[:, None] * sample).requires_grad_()
        (gradients,) = torch.autograd.grad(net(points)[:, 0].sum(), points)
        torch.testing.assert_close(found.values[i], sample * (weights.double() @ gradients))


def test_cubics_are_exact_by_booles_rule() -> None:
    """Gradients are of degree 5, for which the rule is exact, and so is Simpson's coarser one up to degree 3."""
    x = torch.tensor([[2.0, -1.0]]).double()
    found = IntegratedGradients(smooth=True)(lambda z: (z**6).sum(1), x)
    torch.testing.assert_close(found.values, x**6)
    found = IntegratedGradients(smooth=True)(lambda z: (z**4).sum(1), x)
    torch.testing.assert_close(found.coarse, x**4)
    assert found.n_evaluations.tolist() == [9]


def test_nodes_crowd_where_the_gradient_changes() -> None:
    """All the change is in a tenth of the path, and so are the nodes; equal steps would need ten times as many."""
    seen: list[Tensor] = []

    def steep(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return torch.sigmoid(200 * (x - 0.6)).sum(1)

    result = IntegratedGradients(tolerance=0.01)(steep, torch.ones(1, 1).double())
    torch.testing.assert_close(result.values, torch.ones(1, 1).double(), atol=0.01, rtol=0)
    nodes = torch.cat(seen).flatten()
    # beside them the baseline itself, and what shows that the samples do not depend on each other
    assert len(nodes) - 1 - 4 == int(result.n_evaluations) < 60
    assert ((nodes - 0.6).abs() < 0.05).double().mean() > 0.5


def test_max_steps_is_never_exceeded() -> None:
    x = torch.rand(5, 2) + 1
    for most in (9, 10, 16, 33):
        with pytest.warns(ExplanationWarning, match=f"max_steps={most}"):
            result = IntegratedGradients(tolerance=1e-4, max_steps=most)(lambda v: torch.sin(40 * v).sum(1), x)
        assert (result.n_evaluations <= most).all() and (result.n_evaluations >= most - 1).all()


def test_samples_refined_apart_for_want_of_memory_get_the_same() -> None:
    """Gradients at the nodes are kept, so that a small budget allows fewer samples at a time."""
    net, x = nn.Sequential(mlp(3), nn.Softmax(1)).double(), 4 * torch.randn(7, 6).double()
    together = IntegratedGradients(tolerance=0.01, max_steps=4097)(net, x, 1)
    # 32 nodes of 6 numbers of 8 bytes for each sample
    apart = IntegratedGradients(tolerance=0.01, max_steps=4097, memory_budget=3 * 32 * 6 * 8, chunk_size=64)(net, x, 1)
    torch.testing.assert_close(apart.values, together.values)
    assert apart.n_evaluations.tolist() == together.n_evaluations.tolist()
    with pytest.raises(ExplanationError, match=r"1 of 3 samples are NaN or infinite \(first: sample 2\)"):
        IntegratedGradients(1.0 + torch.zeros(1), memory_budget=1)(
            lambda v: torch.sqrt(v).sum(1), torch.tensor([[1.0], [2.0], [-4.0]])
        )


def test_a_sample_costs_what_it_needs(digit_cnn: nn.Module) -> None:
    x, target = (part[:40] for part in digits(1200, 100)[1].tensors)
    counts = IntegratedGradients(tolerance=0.01, max_steps=257)(digit_cnn, x, target).n_evaluations
    assert (counts % 2 == 1).all() and counts.min() < counts.max() <= 257
    assert IntegratedGradients()(lambda v: v.flatten(1).sum(1), x).n_evaluations.tolist() == [5] * 40


def test_a_shared_baseline_is_differentiated_once_per_class() -> None:
    rows: list[int] = []
    net = mlp(0)

    def counted(x: Tensor) -> Tensor:
        rows.append(len(x))
        return net(x)

    x, target = torch.randn(12, 6), torch.arange(12) % 3
    IntegratedGradients(tolerance=10.0)(counted, x, target)
    first_look = [2, 2]
    assert rows[:2] == first_look
    assert sum(rows[2:]) == 2 * 3 + 1 + 4 * 12  # on both sides of the baseline, and at it
    rows.clear()
    IntegratedGradients(tolerance=10.0, baseline=torch.randn(12, 6))(counted, x, target)
    assert sum(rows[2:]) == 5 * 12 + 12  # and scores at the baselines
    rows.clear()
    IntegratedGradients(tolerance=10.0)(counted, x[:5], target[:5])
    assert sum(rows[2:]) == 5 * 5 + 1  # gradients on both sides would be more than one on each path


def test_no_pass_is_larger_than_the_chunk() -> None:
    rows: list[int] = []
    net = mlp(0)

    def counted(x: Tensor) -> Tensor:
        rows.append(len(x))
        return net(x)

    x = torch.randn(10, 6)
    small = IntegratedGradients(chunk_size=4, n_steps=6)(counted, x, 1)
    assert max(rows) <= 4
    torch.testing.assert_close(small.values, IntegratedGradients(chunk_size=60, n_steps=6)(net, x, 1).values)


def test_running_out_of_steps_is_said() -> None:
    def jagged(x: Tensor) -> Tensor:
        return torch.sin(40 * x).sum(1)

    with pytest.warns(ExplanationWarning, match="max_steps=17"):
        result = IntegratedGradients(tolerance=0.001, max_steps=17)(jagged, torch.rand(3, 2) + 1)
    assert result.error is not None and (result.error > 0.001).any()


def test_a_gap_that_stays_open_is_said_though_the_rules_agree() -> None:
    """A jump of the function moves its end and none of its gradients: the rules agree, and are both incomplete."""

    def stepped(x: Tensor) -> Tensor:
        return x.sum(1) + 5 * (x.detach().sum(1) > 1)

    with pytest.warns(ExplanationWarning, match="completeness gap within tolerance"):
        result = IntegratedGradients(max_steps=17)(stepped, torch.ones(3, 2))
    assert result.error is not None and result.convergence_delta is not None
    # no explanation is nearer to the true one than its gap: 5 of sum |values| = 2
    torch.testing.assert_close(result.error, torch.full((3,), 2.5))
    torch.testing.assert_close(result.convergence_delta, torch.full((3,), -5.0))


@pytest.mark.parametrize("options", [{}, {"smooth": True}, {"n_steps": 8}, {"baseline": torch.zeros(3, 2)}], ids=str)
@pytest.mark.filterwarnings("ignore:IntegratedGradients got smooth=True")
def test_a_kink_at_the_baseline_is_passed_by(options: dict[str, Any]) -> None:
    """A ReLU without bias is linear on every path from zero; its gradient at zero itself is that of none of them."""
    net = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 1, bias=False)).double()
    x = torch.tensor([[1.0, 2.0], [-1.0, 0.5], [0.3, -2.0]]).double()
    point = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(point).sum(), point)
    found = IntegratedGradients(**options)(net, x)
    torch.testing.assert_close(found.values, gradient * x)
    assert found.error is not None and (found.error < 1e-9).all()
    for layer in ("0", "1"):
        conductance = LayerConductance(layer, n_steps=4)(net, x)
        torch.testing.assert_close(conductance.values.sum(1), net(x).detach()[:, 0])


@pytest.mark.parametrize("options", [{}, {"n_steps": 6}, {"n_steps": 7, "rule": "midpoint"}, {"smooth": True}], ids=str)
@pytest.mark.filterwarnings("ignore:IntegratedGradients")
def test_the_error_is_never_below_the_gap(options: dict[str, Any]) -> None:
    net, x = nn.Sequential(mlp(5), nn.Softmax(1)), 4 * torch.randn(30, 6)
    found = IntegratedGradients(**options)(net, x, 0)
    assert found.error is not None and found.convergence_delta is not None
    assert (found.error * 1.0001 + 1e-6 >= found.convergence_delta.abs() / flat(found.values).abs().sum(1)).all()


# -- axioms -----------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_completeness(seed: int) -> None:
    net, x = mlp(seed, smooth=True).double(), torch.randn(4, 6, dtype=torch.double)
    result = IntegratedGradients(n_steps=64)(net, x, 1)
    with torch.no_grad():
        change = net(x)[:, 1] - net(torch.zeros_like(x))[:, 1]
    torch.testing.assert_close(flat(result.values).sum(1), change, atol=1e-8, rtol=1e-6)
    assert result.convergence_delta is not None and result.convergence_delta.abs().max() < 1e-7


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_linearity_sensitivity_and_permutation(seed: int) -> None:
    f, g = mlp(seed, smooth=True), mlp(seed + 1, smooth=True)
    x = torch.randn(5, 6)
    method = IntegratedGradients(n_steps=8)
    both = method(lambda v: 2 * f(v) - 3 * g(v), x, 0).values
    torch.testing.assert_close(both, 2 * method(f, x, 0).values - 3 * method(g, x, 0).values, atol=1e-5, rtol=1e-4)
    ignored = method(lambda v: f(v * torch.tensor([1.0, 1, 0, 1, 1, 1])), x, 0).values
    assert (ignored[:, 2] == 0).all()
    order = torch.randperm(5)
    torch.testing.assert_close(method(f, x[order], 0).values, method(f, x, 0).values[order], atol=1e-6, rtol=1e-5)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_implementation_invariance_and_symmetry(seed: int) -> None:
    net = mlp(seed)
    twin = nn.Sequential(*(m for m in mlp(seed)))
    with torch.no_grad():  # the same function by other weights: hidden units swapped, scaled up and down
        order = torch.randperm(16)
        twin[0].weight.copy_(net[0].weight[order] * 2)
        twin[0].bias.copy_(net[0].bias[order] * 2)
        twin[2].weight.copy_(net[2].weight[:, order] / 2)
    x = torch.randn(3, 6)
    method = IntegratedGradients(n_steps=40)
    torch.testing.assert_close(method(net, x, 0).values, method(twin, x, 0).values, atol=1e-4, rtol=1e-3)

    def symmetric(v: Tensor) -> Tensor:
        return net(torch.cat([v[:, :1] + v[:, 1:2], v[:, 2:], v[:, 2:3]], dim=1))

    equal = x.clone()
    equal[:, 1] = equal[:, 0]
    values = method(symmetric, equal, 0).values
    torch.testing.assert_close(values[:, 0], values[:, 1])


# -- errors and results -----------------------------------------------------------------------------------------


def test_bad_targets_are_refused() -> None:
    net, x = mlp(0), torch.randn(2, 6)
    with pytest.raises(ConfigurationError, match="class index 3.*3 columns"):
        IntegratedGradients()(net, x, 3)
    with pytest.raises(ConfigurationError, match="class index -1"):
        IntegratedGradients()(net, x, torch.tensor([0, -1]))
    with pytest.raises(ConfigurationError, match=r"LongTensor \[2\]"):
        IntegratedGradients()(net, x, torch.tensor([0, 1, 2]))
    with pytest.raises(ConfigurationError, match=r"shape \[\d+, 3\].*target="):
        IntegratedGradients()(net, x)


def test_nan_gradients_name_the_samples() -> None:
    def forward(x: Tensor) -> Tensor:
        return torch.sqrt(x).sum(1)

    with pytest.raises(ExplanationError, match=r"1 of 2 samples are NaN or infinite \(first: sample 1\)"):
        IntegratedGradients(baseline=torch.tensor([1.0]))(forward, torch.tensor([[1.0, 2.0], [1.0, -4.0]]))


def test_integer_inputs_and_detached_outputs_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="embedding"):
        IntegratedGradients()(lambda x: x.float().sum(1), torch.ones(2, 3, dtype=torch.long))
    with pytest.raises(ExplanationError, match="does not depend on its input"):
        IntegratedGradients()(lambda x: x.detach().sum(1), torch.ones(2, 3))


def test_works_inside_inference_mode_and_no_grad() -> None:
    net = mlp(0)
    expected = IntegratedGradients(n_steps=5)(net, torch.ones(2, 6), 0).values
    with torch.inference_mode():
        made_there = torch.ones(2, 6)
        torch.testing.assert_close(IntegratedGradients(n_steps=5)(net, made_there, 0).values, expected)
    with torch.no_grad():
        torch.testing.assert_close(IntegratedGradients(n_steps=5)(net, torch.ones(2, 6), 0).values, expected)


def test_input_equal_to_baseline_gets_nothing() -> None:
    result = IntegratedGradients()(mlp(0), torch.zeros(2, 6), 0)
    assert (result.values == 0).all() and result.n_evaluations.tolist() == [5, 5]
    assert result.error is not None and (result.error == 0).all()


def test_baselines() -> None:
    net, x = mlp(0), torch.rand(4, 6)
    mean = IntegratedGradients(n_steps=9, baseline=lambda v: v.mean(0))(net, x, 0)
    tensor = IntegratedGradients(n_steps=9, baseline=x.mean(0))(net, x, 0)
    torch.testing.assert_close(mean.values, tensor.values)
    torch.testing.assert_close(mean.baseline, x.mean(0).expand(4, 6))
    with pytest.raises(ConfigurationError, match="baseline='zero'; expected 'zeros'"):
        IntegratedGradients(baseline="zero")(net, x, 0)
    with pytest.raises(ConfigurationError, match=r"shape \[1, 5\].*broadcasts"):
        IntegratedGradients(baseline=torch.zeros(5))(net, x, 0)
    with pytest.raises(ConfigurationError, match="2 parts, but there are 1 inputs"):
        IntegratedGradients(baseline=(torch.zeros(6), torch.zeros(6)))(net, x, 0)


def test_the_last_bit_of_the_weights_changes_no_explanation() -> None:
    # many windows of max pooling are all but equal at the start of the path: by rounding they would be told apart
    torch.manual_seed(1)
    layers = (nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    net, x = nn.Sequential(*layers, nn.Flatten(), nn.Linear(384, 3)), digits(1200, 400)[1].tensors[0][:120]
    other = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1 + 6e-8 * torch.randn_like(parameter))
    one, two = (IntegratedGradients()(network, x, 0).values.flatten(1) for network in (net, other))
    apart = (one - two).abs().sum(1) / one.abs().sum(1)
    # some kink may lie at another point, where no rule can know its side
    assert int((apart > 1e-5).sum()) <= 1


def test_one_look_tells_what_three_did() -> None:
    """Two passes of two rows where nothing is unusual; where samples look at each other, it is still refused."""
    rows: list[int] = []
    net = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    net.eval().register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    IntegratedGradients(n_steps=3, chunk_size=15)(net, torch.rand(5, 3, 6, 6), 0)
    assert rows == [2, 2, 15, 5, 1]
    together = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 2)).eval()
    with pytest.raises(ExplanationError, match="looks at samples together"):
        IntegratedGradients(n_steps=3)(together, torch.rand(5, 3), 0)


def test_gradients_or_sums_go_back_through_the_first_layer_whichever_are_fewer() -> None:
    """Passes of one node would send five sums back instead of one gradient."""
    net, x = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)).double().eval(), torch.rand(2, 6).double()
    seen: list[int] = []
    real = FirstLayer.pulled_back

    def counting(self: FirstLayer, gradients: Tensor, like: Tensor) -> Tensor:
        seen.append(len(gradients))
        return real(self, gradients, like)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FirstLayer, "pulled_back", counting)
        one = IntegratedGradients(n_steps=8, chunk_size=1)(net, x, 0)
        assert seen == [1] * 16
        seen.clear()
        other = IntegratedGradients(n_steps=8, chunk_size=16)(net, x, 0)
        assert seen == [5 * 2]
    torch.testing.assert_close(one.values, other.values)
    torch.testing.assert_close(one.error, other.error)
