"""Which layer a rule by name means, and how what has no rule is named: by module path and torch function."""

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune, weight_norm

from lightning_explain.attribution import LRP, EpsilonRule, GammaRule, ZBoxRule, ZeroRule, ZPlusRule
from lightning_explain.errors import ConfigurationError
from lightning_explain.paths import contributions
from tests.attribution.lrp.operations.applied import drawn

EPSILON = EpsilonRule(1e-9)
X = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
IMAGES = torch.rand(3, 4, 5, 5, generator=torch.Generator().manual_seed(0))


class _Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def _computed(layer: nn.Module, how: str) -> None:
    if how == "pruned":
        prune.l1_unstructured(layer, "weight", amount=0.3)
    elif how == "old weight norm":
        with pytest.warns(FutureWarning):
            weight_norm(layer)
    elif how == "own":
        parametrize.register_parametrization(layer, "weight", _Doubled())
    elif how == "twice":
        parametrizations.weight_norm(layer)
        parametrize.register_parametrization(layer, "weight", _Doubled())
    else:
        getattr(parametrizations, how)(layer)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", ["linear", "convolution"])
@pytest.mark.parametrize(
    "how", ["weight_norm", "spectral_norm", "orthogonal", "pruned", "old weight norm", "own", "twice"]
)
def test_a_rule_by_name_is_used_where_the_weight_is_computed(how: str, kind: str, frozen: bool) -> None:
    torch.manual_seed(1)

    def net() -> nn.Sequential:
        first = nn.Linear(4, 4, bias=False) if kind == "linear" else nn.Conv2d(4, 4, 3, bias=False)
        pool = [] if kind == "linear" else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(first, nn.ReLU(), *pool, nn.Linear(4, 2, bias=False)).eval()

    special, plain = net(), net()
    _computed(special[0], how)
    special.eval().requires_grad_(requires_grad=not frozen)
    x = X if kind == "linear" else IMAGES
    special(x)
    plain[0].weight.data, plain[-1].weight.data = special[0].weight.detach().clone(), special[-1].weight.detach()
    rules = {"0": ZBoxRule(0.0, 1.0), nn.Linear: EPSILON, nn.Conv2d: EPSILON}
    want, got = (LRP(rules)(model, x, 1).values for model in (plain, special))
    assert not torch.allclose(want, LRP({nn.Linear: EPSILON, nn.Conv2d: EPSILON})(plain, x, 1).values)
    torch.testing.assert_close(got, want)


class _Tied(nn.Module):
    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(4, n, bias=False) for n in (4, 4, 2))
        if tied:
            self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.c(functional.relu(self.b(functional.relu(self.a(x)))))


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_rule_by_name_means_the_layer_that_runs_where_weights_are_tied(name: str) -> None:
    torch.manual_seed(2)
    tied, untied = _Tied(tied=True), _Tied(tied=False)
    untied.load_state_dict(tied.state_dict())
    rules = {name: GammaRule(10.0), nn.Linear: EPSILON}
    want = LRP(rules)(untied, X, 1).values
    torch.testing.assert_close(LRP(rules)(tied, X, 1).values, want)
    assert not torch.allclose(LRP({nn.Linear: EPSILON})(tied, X, 1).values, want)
    names = [layer.name for layer in contributions(tied, X, 1, rules=rules)[0].layers]
    assert names == [layer.name for layer in contributions(untied, X, 1, rules=rules)[0].layers]


class _Own(nn.Module):
    """A user's layer that computes its weight and calls the function itself."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nn.Parameter(torch.rand(4, 2)), nn.Parameter(torch.rand(2, 4))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.low @ self.high)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_users_layer_that_computes_its_weight_has_its_own_name(frozen: bool) -> None:
    torch.manual_seed(3)
    own = _Own()
    special = nn.Sequential(OrderedDict(own=own, relu=nn.ReLU(), out=nn.Linear(4, 2, bias=False)))
    plain = nn.Sequential(OrderedDict(own=nn.Linear(4, 4, bias=False), relu=nn.ReLU(), out=special.out))
    plain.own.weight.data = (own.low @ own.high).detach()
    special.requires_grad_(requires_grad=not frozen)
    rules = {"own": GammaRule(5.0), nn.Linear: EPSILON}
    torch.testing.assert_close(LRP(rules)(special, X, 1).values, LRP(rules)(plain, X, 1).values)


class _Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, grad):
        return 3 * ctx.saved_tensors[0] ** 2 * grad


class _Calls(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize("explain", [lambda net: LRP()(net, X, 0), lambda net: contributions(net, X, 0)])
@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: x.cumprod(1), r"'block\.inner' \(_Calls\): torch\.Tensor\.cumprod"),
        (lambda x: torch.atan2(x, x + 1), r"'block\.inner' \(_Calls\): torch\.atan2"),
        (lambda x: x.sort(1).values.cumprod(1), r"'block\.inner' \(_Calls\): torch\.Tensor\.cumprod"),
        (_Cube.apply, r"'block\.inner' \(_Calls\): the custom autograd function _Cube"),
    ],
)
def test_an_operation_without_rule_is_named_as_it_was_written_and_where(explain, function, said: str) -> None:
    inner = nn.Sequential(OrderedDict(inner=_Calls(function)))
    net = nn.Sequential(OrderedDict(a=nn.Linear(4, 4), block=inner, b=nn.Linear(4, 2)))
    with pytest.raises(ConfigurationError, match=said) as caught:
        explain(net)
    assert "autograd calls" not in str(caught.value) and "Backward" not in str(caught.value)


class _Branches(nn.Module):
    """Layers without a rule that do not run, run for nothing, or see no input; and one that counts where asked."""

    def __init__(self, counts: bool = False) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 2)
        self.decoder = nn.TransformerEncoderLayer(4, 1, 4)
        self.auxiliary = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 7), _Calls(lambda x: x.cumprod(1)))
        self.places, self.counts = nn.Embedding(1, 4), counts
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.relu(self.body(x))
        auxiliary = self.auxiliary(hidden)
        score = self.head(hidden + self.places(torch.zeros(len(x), dtype=torch.long)))
        return score + auxiliary[:, :2] if self.counts else score


@pytest.mark.parametrize("frozen", [False, True])
def test_layers_that_the_score_does_not_depend_on_are_not_refused(frozen: bool) -> None:
    torch.manual_seed(4)
    net = _Branches().requires_grad_(requires_grad=not frozen)
    plain = nn.Sequential(net.body, nn.ReLU(), net.head)
    absorbed = net.places.weight.detach()
    with torch.no_grad():
        shifted = nn.Linear(4, 2)
        shifted.weight.copy_(net.head.weight)
        shifted.bias.copy_(net.head.bias + (net.head.weight @ absorbed[0]))
    plain = nn.Sequential(net.body, nn.ReLU(), shifted)
    want = LRP({nn.Linear: EPSILON})(plain, X, 1).values
    torch.testing.assert_close(LRP({nn.Linear: EPSILON})(net, X, 1).values, want, rtol=1e-4, atol=1e-5)
    assert list(LRP().layer_relevance(net, X, 1, layers="body")) == ["body"]
    assert [layer.name for layer in contributions(net, X, 1)[0].layers] == ["input", "body", "output"]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    with pytest.raises(ConfigurationError, match=r"'auxiliary.2' \(_Calls\)") as caught:
        LRP()(_Branches(counts=True), X, 1)
    assert "decoder" not in str(caught.value) and "places" not in str(caught.value)


class _Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        self.other = nn.Linear(4, 3)

    def forward(self, x: Tensor, n: Tensor, z: Tensor) -> Tensor:
        return (self.net(x * 2) + self.other(z)) * (n > 0).to(x.dtype)[:, None]


@pytest.mark.parametrize("rules", [None, {"net.0": ZBoxRule(0.0, 3.0), nn.Linear: EPSILON}])
def test_integer_inputs_are_carried_along_and_get_no_relevance(rules) -> None:
    torch.manual_seed(5)
    net, n = _Mixed(), torch.tensor([1, 0, 1])
    x, carried, z = LRP(rules)(net, (X, n, X + 1), 1).values
    if rules is None:
        parts = (X.clone().requires_grad_(), (X + 1).requires_grad_())
        gradients = torch.autograd.grad(net(parts[0], n, parts[1])[:, 1].sum(), parts)
        for found, part, gradient in zip((x, z), parts, gradients, strict=True):
            torch.testing.assert_close(found, part.detach() * gradient, rtol=1e-3, atol=1e-4)
    assert carried.tolist() == [0.0, 0.0, 0.0] and bool(x[0].any()) and not x[1].any() and bool(z[0].any())
    graph = contributions(net, (X, n, X + 1), 1, rules=None)[0]
    by_name = {layer.name: layer.contribution for layer in graph.layers}
    assert set(by_name) >= {"input 0", "input 1", "input 2", "net.0"}
    assert not by_name["input 1"].any() and bool(by_name["input 0"].any())


def test_rules_by_name_apply_to_the_call_whatever_its_weight_is():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
            self.second.weight = self.first.weight
            self.last = parametrizations.weight_norm(nn.Linear(4, 2))

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.second(self.first(x).relu()).relu())

    net, x = Tied().double(), drawn(3, 4)
    plain = LRP({nn.Linear: ZeroRule()})(net, x, 0).values
    found = [LRP({name: ZPlusRule(), nn.Linear: ZeroRule()})(net, x, 0).values for name in ("first", "second", "last")]
    for one in found:
        assert not torch.allclose(one, plain)
    assert not torch.allclose(found[0], found[1])
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_what_torch_functions_do_not_show_is_refused_with_the_reason() -> None:
    hidden = nn.Linear(4, 4)
    net = nn.Sequential(OrderedDict(mapped=_Calls(torch.vmap(hidden)), head=nn.Linear(4, 2)))
    with pytest.raises(ConfigurationError, match=r"'mapped' .*cannot be followed \(TorchScript"):
        LRP()(net, X, 0)
