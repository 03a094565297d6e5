"""What a trace meets while a model runs: operations without a rule, autocast, checkpointing, writes into the input."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from lightning_explain.attribution import (
    LRP,
    EpsilonGammaBox,
    GammaRule,
    ZeroRule,
    ZPlusRule,
)
from lightning_explain.errors import ConfigurationError
from tests.attribution.lrp.cases import close
from tests.attribution.lrp.nets import Lambda
from tests.attribution.lrp.operations.applied import RULES, Apply, drawn


@pytest.mark.parametrize("rules", [None, EpsilonGammaBox(0.0, 1.0), {nn.Conv2d: ZPlusRule(), nn.Linear: ZeroRule()}])
def test_a_model_that_opens_autocast_itself_is_explained(rules):
    class Half(nn.Module):
        def __init__(self, *, half: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten())
            self.head, self.half = nn.Linear(64, 3), half

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
                return self.head(self.body(x)).float()

    x = torch.rand(3, 1, 8, 8)
    whole, half = (LRP(rules)(Half(half=half), x, 1) for half in (False, True))
    assert half.values.dtype == torch.float32
    torch.testing.assert_close(half.values, whole.values, rtol=0.1, atol=0.05 * float(whole.values.abs().max()))


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> Tensor:
        return 2 * gradients[0]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda m, x: Doubled.apply(x), r"'1' \(Lambda\): the custom autograd function Doubled"),
        (lambda m, x: x.cumprod(1), r"'1' \(Lambda\): torch.Tensor.cumprod"),
        (lambda m, x: torch.cdist(x, m.weight), r"'1' \(Lambda\): (torch.*)?cdist"),
        (lambda m, x: torch.atan2(x, x + 1), r"'1' \(Lambda\): torch.atan2"),
        (lambda m, x: x if x.mean() > 0 else -x, r"'1' \(Lambda\) turns values .* into a bool of Python"),
        (lambda m, x: x * x.abs().max().item(), r"'1' \(Lambda\) turns values .* into a item of Python"),
        (lambda m, x: x * float((x > 0).sum()), r"'1' \(Lambda\) turns values .* into a float of Python"),
        (lambda m, x: functional.batch_norm(x, None, None, training=True), "statistics of the batch"),
    ],
)
def test_operation_without_rule_is_refused_by_module_and_name(function, said: str):
    model = nn.Sequential(nn.Linear(4, 4), Lambda(function), nn.Linear(4, 4))
    with pytest.raises(ConfigurationError, match=said):
        LRP()(model, torch.randn(4, 4), 0)


def test_what_never_runs_or_never_reaches_the_score_is_never_refused():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.idle, self.aside = nn.Linear(4, 2), nn.Bilinear(2, 2, 2), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            self.aside(x).cumprod(1)
            return self.body(x) if self.body is not None else self.idle(x, x)

    net, x = Net(), torch.randn(3, 4)
    close(LRP()(net, x, 1).values, LRP()(net.body, x, 1).values)


class Block(nn.Module):
    def __init__(self, *, checkpointed: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(4, 6), nn.SiLU(), nn.LayerNorm(6), nn.Linear(6, 4), nn.ReLU())
        self.head, self.checkpointed = nn.Linear(4, 2), checkpointed

    def forward(self, x: Tensor) -> Tensor:
        return self.head(checkpoint(self.body, x, use_reentrant=False) if self.checkpointed else self.body(x))


@pytest.mark.parametrize("rules", [None, {nn.Linear: ZPlusRule()}, {nn.Linear: GammaRule()}])
def test_activation_checkpointing_changes_nothing(rules):
    x = drawn(3, 4)
    plain, saved = (LRP(rules)(Block(checkpointed=how).double(), x, 1).values for how in (False, True))
    close(plain, saved)


def test_what_is_no_number_is_carried_along():
    class Picking(nn.Module):
        def forward(self, x: Tensor, places: Tensor, mask: Tensor) -> Tensor:
            return (x.gather(1, places) * mask).sum(1)

    x, places, mask = drawn(2, 4), torch.tensor([[0, 3], [1, 1]]), torch.tensor([[True, True], [True, False]])
    found = LRP()(Picking(), (x, places, mask))
    close(found.parts[0], torch.tensor([[x[0, 0], 0, 0, x[0, 3]], [0, x[1, 1], 0, 0]]).double())
    assert not found.parts[1].any()
    assert not found.parts[2].any()


def test_a_model_may_write_into_its_input():
    x = drawn(3, 4)
    layer = nn.Linear(4, 2, bias=False).double()
    inside = LRP(RULES)(Apply(lambda a: layer(a.sub_(0.5).mul_(2.0))), x).values
    close(inside, LRP(RULES)(Apply(lambda a: layer((a - 0.5) * 2)), x).values)
