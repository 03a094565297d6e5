"""The first layer of a network, run only at the ends of the path: the same explanation, and nothing left behind."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from lightning_explain import IntegratedGradients
from lightning_explain.attribution.integrated_gradients.conv_fusion import fast_convolutions
from lightning_explain.attribution.integrated_gradients.first_layer import Ends, find_first_layer
from lightning_explain.isolation import explaining

IMAGES = torch.randn(3, 2, 6, 5, generator=torch.Generator().manual_seed(0)).double()
TABLE = torch.randn(3, 4, generator=torch.Generator().manual_seed(1)).double()
TOKENS = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(2)).double()


@pytest.mark.parametrize("layout", ["channels first", "channels last"])
@pytest.mark.parametrize("n_nodes", [1, 3])
def test_outputs_go_straight_from_end_to_end(n_nodes: int, layout: str) -> None:
    way = IMAGES.to(memory_format=torch.channels_last if layout == "channels last" else torch.contiguous_format)
    start = way[:1].flip(2) + 1
    nodes = torch.tensor([[0.25, 0.5, 1.0]]).double() if n_nodes == 1 else torch.tensor([0.0, 0.3, 1.0]).double()
    rows = Ends(start, way).at(nodes)
    by_row = nodes.expand(n_nodes, 3) if n_nodes == 1 else nodes[:, None].expand(n_nodes, 3)
    expected = [start[0] + by_row[i, j] * way[j] for i in range(n_nodes) for j in range(3)]
    torch.testing.assert_close(rows.detach(), torch.stack(expected))
    # a view or another layout would be copied on the way back
    assert not rows._is_view()
    assert rows.stride()[1:] == way.stride()[1:]
    # networks write into it, and its gradient is still found
    edge = get_gradient_edge(rows)
    (found,) = torch.autograd.grad(rows.mul_(2).sum(), [edge])
    torch.testing.assert_close(found, torch.full_like(rows, 2))


class Flowing(nn.Module):
    """A network written as a function of its layers `first` and `second`."""

    def __init__(self, flow: Callable[[Any, Tensor], Tensor], first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.flow, self.first, self.second = flow, first, second

    def forward(self, x: Tensor) -> Tensor:
        return self.flow(self, x)


def head(x: Tensor) -> Tensor:
    """Two outputs, curved, of whatever comes."""
    x = x.flatten(1)
    return torch.stack([torch.tanh(x).sum(1), (x**2).mean(1)], dim=1)


def flowing(flow: Callable[[Any, Tensor], Tensor], first: nn.Module, second: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(3)
    for module in (first, second):
        for parameter in () if module is None else module.parameters():
            nn.init.normal_(parameter)
    return Flowing(flow, first, second or nn.Identity()).double()


def plain(net: Any, x: Tensor) -> Tensor:
    return head(torch.relu(net.first(x)))


FOUND = {
    "linear": (flowing(plain, nn.Linear(4, 6)), TABLE),
    "flattened": (flowing(lambda net, x: head(torch.relu(net.first(x.flatten(1)))), nn.Linear(60, 6)), IMAGES),
    "keyword": (flowing(lambda net, x: head(net.first(input=x)), nn.Linear(4, 6, bias=False)), TABLE),
    "written into": (flowing(lambda net, x: head(net.first(x).relu_()), nn.Linear(4, 6)), TABLE),
    "every token": (flowing(plain, nn.Linear(4, 6)), TOKENS),
    "convolution": (flowing(plain, nn.Conv2d(2, 3, 3, padding=1)), IMAGES),
    "folded": (flowing(plain, nn.Conv2d(2, 9, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 3))), IMAGES),
    "patches": (flowing(plain, nn.Conv2d(2, 9, 3, stride=3)), IMAGES),
    "strides": (flowing(plain, nn.Conv2d(2, 4, (3, 2), stride=2, dilation=(1, 2), groups=2)), IMAGES),
    "one dimension": (flowing(plain, nn.Conv1d(5, 3, 2)), TOKENS),
    "three dimensions": (
        flowing(lambda net, x: head(torch.relu(net.first(x[:, None]))), nn.Conv3d(1, 2, 2)),
        IMAGES,
    ),
    "batch norm": (
        flowing(lambda net, x: head(torch.relu(net.second(net.first(x)))), nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)),
        IMAGES,
    ),
    "mask of the input": (
        flowing(lambda net, x: head(torch.relu(net.first(x)) * (x > 0.3).any(1, keepdim=True)), nn.Linear(4, 6)),
        TABLE,
    ),
}

LEFT = {
    "another way": (
        flowing(lambda net, x: head(torch.relu(net.first(x)) + x.sum(1, keepdim=True)), nn.Linear(4, 6)),
        TABLE,
    ),
    "called twice": (flowing(lambda net, x: head(net.first(torch.relu(net.first(x)))), nn.Linear(4, 4)), TABLE),
    "read twice": (flowing(lambda net, x: head(net.first(x) * net.first(x).relu()), nn.Linear(4, 4)), TABLE),
    "two readers": (
        flowing(lambda net, x: head(net.first(x) * net.second(x)), nn.Linear(4, 6), nn.Linear(4, 6)),
        TABLE,
    ),
    "changed before": (flowing(lambda net, x: head(net.first(x.abs())), nn.Linear(4, 6)), TABLE),
    "turned": (flowing(lambda net, x: head(torch.relu(net.first(x.transpose(1, 2)))), nn.Linear(5, 6)), TOKENS),
    "without its gradient": (flowing(lambda net, x: head(net.first(x.detach()) + x[:, :1]), nn.Linear(4, 6)), TABLE),
    "samples mixed": (
        flowing(lambda net, x: head(torch.relu(net.first(x.flatten(0, 1))).unflatten(0, (-1, 5))), nn.Linear(4, 6)),
        TOKENS,
    ),
    "run again in the backward pass": (
        flowing(
            lambda net, x: checkpoint(lambda z: head(net.first(z).relu()), x, use_reentrant=False), nn.Linear(4, 6)
        ),
        TABLE,
    ),
    "circular": (flowing(plain, nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")), IMAGES),
    "same": (flowing(plain, nn.Conv2d(2, 3, 3, padding="same")), IMAGES),
    "computed weights": (flowing(plain, parametrizations.weight_norm(nn.Linear(4, 6))), TABLE),
    "no linear layer": (flowing(lambda net, x: head(functional.relu(x)), nn.Linear(4, 6)), TABLE),
}


def found(net: nn.Module, x: Tensor) -> Any:
    """Return the first layer that is found, and check that nothing is left behind."""
    with explaining(net):
        layer = find_first_layer(net, (x.clone(),))
        assert not any("forward" in vars(module) for module in net.modules())
    return layer


def explained(net: nn.Module, x: Tensor, **options: Any) -> Any:
    baseline = torch.full_like(x[:1], 0.1)
    return IntegratedGradients(baseline, **options)(net, x, torch.tensor([0, 1, 0]))


OPTIONS = [
    {"n_steps": 9},
    {"n_steps": 1},
    {"n_steps": 7, "chunk_size": 5},
    {"tolerance": 0.01},
    {"n_steps": 5, "n_draws": 2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", FOUND)
def test_the_explanation_is_the_same(kind: str, options: dict[str, Any]) -> None:
    """Against the same network as a function, which has no layers to be found."""
    net, x = FOUND[kind]
    net.eval()
    assert found(net, x).module is net.first
    if kind == "mask of the input" and "tolerance" in options:
        pytest.skip("where scores jump, rounding says on which side a node is")
    if "n_draws" in options:
        candidates = torch.randn(4, *x.shape[1:], generator=torch.Generator().manual_seed(9)).double()
        method = IntegratedGradients(candidates, **options)
        result, expected = method(net, x, 1), method(partial(net), x, 1)
    else:
        result, expected = explained(net, x, **options), explained(partial(net), x, **options)
    for name in ("values", "convergence_delta", "error", "coarse"):
        one, other = getattr(result, name), getattr(expected, name)
        if other is None:
            assert one is None
        else:
            # the stated error of what is exact is a root of rounding
            torch.testing.assert_close(one, other, atol=1e-9 if name == "error" else 1e-10, rtol=1e-9, equal_nan=True)
    assert result.n_evaluations.tolist() == expected.n_evaluations.tolist()


@pytest.mark.parametrize("kind", LEFT)
def test_other_networks_stay_as_they_are(kind: str) -> None:
    net, x = LEFT[kind]
    assert found(net.eval(), x) is None
    torch.testing.assert_close(explained(net, x, n_steps=9).values, explained(partial(net), x, n_steps=9).values)


def test_the_layer_runs_at_the_ends_only() -> None:
    """Rows of the first layer against rows of the one after it."""
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).double().eval()
    rows: dict[nn.Module, int] = {net[0]: 0, net[2]: 0}
    real = functional.linear

    def counting(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        rows[net[0] if weight is net[0].weight else net[2]] += len(x)
        return real(x, weight, bias)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(functional, "linear", counting)
        IntegratedGradients(n_steps=32)(net, TABLE, 0)
    ends = 2 + 3 + 3 + 1  # to find it, at the inputs and the baselines of two passes; and to state the gap
    assert rows[net[2]] == 32 * 3 + 2 + 3 + 1 + 2  # and two rows to see what its batch must be
    assert rows[net[0]] <= ends + 3 + 2 * 2


def test_hooks_see_what_they_would_see() -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).double().eval()
    seen: list[tuple[Tensor, Tensor]] = []
    net[0].register_forward_hook(lambda module, args, output: seen.append((args[0].detach(), output.detach())))
    IntegratedGradients(n_steps=8)(net, TABLE, 0)
    assert len(seen) > 2
    for x, output in seen:
        torch.testing.assert_close(output, functional.linear(x, net[0].weight, net[0].bias))


def test_a_merged_batch_norm_stays_merged() -> None:
    net, x = FOUND["batch norm"]
    with explaining(net.eval()), fast_convolutions(net, (x.clone(),)) as fast:
        layer = find_first_layer(net, (x.clone(),), fast)
        assert layer is not None
        assert fast.norms
        output = net.first.forward(x)
        gradients = torch.randn_like(output)
        point = x.clone().requires_grad_()
        (expected,) = torch.autograd.grad(net.first.forward(point), point, gradients)
        torch.testing.assert_close(layer.pulled_back(gradients, x), expected)
    assert "forward" not in vars(net.first)


def test_two_inputs_of_which_one_is_carried_along() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 6).double()

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return head(torch.relu(self.first(x)) * mask[:, None])

    net, mask = Masked().eval(), torch.tensor([1, 0, 2])
    with explaining(net):
        assert find_first_layer(net, (TABLE.clone(), mask)) is not None
        assert find_first_layer(net, (TABLE.clone(), mask.double())) is None, "either may be explained"
    for options in ({"n_steps": 6}, {}):
        one = IntegratedGradients(**options)(net, (TABLE, mask), 0)
        other = IntegratedGradients(**options)(partial(net), (TABLE, mask), 0)
        for a, b in zip(one.values, other.values, strict=True):
            torch.testing.assert_close(a, b)


def test_a_pass_that_fails_leaves_the_layer_as_found() -> None:
    class Failing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.calls = nn.Linear(4, 6).double(), 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            if self.calls > 2:
                raise ValueError("third time")
            return head(torch.relu(self.first(x)))

    net = Failing().eval()
    with pytest.raises(ValueError, match="third time"):
        IntegratedGradients(n_steps=4)(net, TABLE, 0)
    assert "forward" not in vars(net.first)
    assert net.calls == 0, "what a forward counts is put back"


@pytest.mark.parametrize(
    "problem", [torch.OutOfMemoryError("CUDA out of memory."), ValueError("not two rows")], ids=str
)
def test_a_search_that_fails_is_no_reason_to_fail(problem: Exception) -> None:
    class Particular(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 6).double()

        def forward(self, x: Tensor) -> Tensor:
            if len(x) == 2:
                raise problem
            return head(torch.relu(self.first(x)))

    net = Particular().eval()
    assert found(net, TABLE) is None
    one, other = (IntegratedGradients(n_steps=5)(f, TABLE, 0) for f in (net, partial(net)))
    torch.testing.assert_close(one.values, other.values)
