"""Single steps of relevance propagation: their forward pass is the operation's, their gradient the rule's."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.attribution.lrp.input_rules import FlatRule
from lightning_explain.attribution.lrp.maps import Dense
from lightning_explain.attribution.lrp.rules import EpsilonRule
from lightning_explain.attribution.lrp.steps import PassedActivation, RelevanceCall, Ruled, keep, keeps, shared
from tests.attribution.lrp.operations.applied import Apply, conserves
from tests.attribution.nets import drawn

DENSE = Dense(drawn(3, 4, seed=2), drawn(3, seed=3))


def ruled(x: torch.Tensor, rule) -> torch.Tensor:
    return Ruled.apply(x, RelevanceCall(x, DENSE, rule), lambda a: DENSE.apply(a, DENSE.weight, DENSE.bias))


def test_a_layer_goes_back_by_its_rule() -> None:
    x = drawn(2, 4).requires_grad_()
    z = ruled(x, EpsilonRule(0.5))
    torch.testing.assert_close(z, functional.linear(x, DENSE.weight, DENSE.bias))
    (gradient,) = torch.autograd.grad(z, x, torch.ones(2, 3).double())
    z = z.detach()
    wanted = (z / (z + 0.5 * torch.where(z < 0, -1.0, 1.0))) @ DENSE.weight
    torch.testing.assert_close(gradient, wanted)


def test_an_input_rule_gives_relevance_itself() -> None:
    x = drawn(2, 4).requires_grad_()
    z = ruled(x, FlatRule())
    (relevance,) = torch.autograd.grad(z, x, torch.ones(2, 3).double())
    torch.testing.assert_close(relevance, (z.detach().sum(1, keepdim=True) / 4).expand(2, 4))


def test_a_layer_notices_what_is_written_into_its_output() -> None:
    z = ruled(drawn(2, 4).requires_grad_(), EpsilonRule())
    node = z.grad_fn
    assert keeps(node)
    node.output.add_(1)
    assert not keeps(node)
    keep(node, torch.ones(2))
    assert keeps(node) and node.output.tolist() == [1.0, 1.0]


def test_activations_have_the_gradient_output_over_input_and_none_at_zero() -> None:
    x = torch.tensor([2.0, 0.0, -1.0], requires_grad=True)
    a = PassedActivation.apply(x, torch.tanh)
    torch.testing.assert_close(a, x.tanh())
    (gradient,) = torch.autograd.grad(a.sum(), x)
    torch.testing.assert_close(gradient, torch.tensor([0.9640276 / 2, 0.0, 0.7615942]))
    silu = PassedActivation.apply(x, nn.SiLU(), torch.sigmoid)
    torch.testing.assert_close(torch.autograd.grad(silu.sum(), x)[0], x.detach().sigmoid())


def scaled(y: Tensor) -> Tensor:
    y *= 0.5
    return y


def part_scaled(y: Tensor) -> Tensor:
    y[..., :2] *= 2
    return y


def row_scaled(y: Tensor) -> Tensor:
    y.transpose(0, 1)[1].mul_(2.0)
    return y


def gated(y: Tensor) -> Tensor:
    part = y[..., 1:]
    part *= part.sigmoid()
    return y


WRITTEN = (
    scaled,
    part_scaled,
    row_scaled,
    gated,
    partial(functional.relu, inplace=True),
    partial(functional.silu, inplace=True),
    lambda y: y.masked_fill_(y.detach() > 1, 0.0),
    lambda y: y.sub_(y.mean(-1, keepdim=True)),
)
WEIGHT = drawn(6, 2, 3, seed=4)
MADE: dict[str, Callable[[Tensor], Tensor]] = {
    "layer norm": lambda x: functional.layer_norm(x, (6,)),
    "root mean square": lambda x: functional.rms_norm(x, (6,)),
    "group norm": lambda x: functional.group_norm(x.transpose(1, 2), 2).transpose(1, 2),
    "instance norm": functional.instance_norm,
    "linear": lambda x: x @ WEIGHT.reshape(6, 6),
    "contraction": lambda x: torch.einsum("btd,dhe->bhte", x, WEIGHT),
    "convolution": lambda x: functional.conv1d(x.transpose(1, 2), WEIGHT.reshape(6, 6, 1)).transpose(1, 2),
    "convolution as large": lambda x: functional.conv1d(x, WEIGHT.reshape(6, 6, 1)[:, :4].expand(6, 4, 6)),
    "product": lambda x: (x @ WEIGHT.reshape(6, 6)) * x.sigmoid(),
}


@pytest.mark.parametrize("name", MADE)
def test_what_a_rule_made_may_be_written_into(name: str) -> None:
    x = drawn(2, 4, 6)
    for write in WRITTEN:
        conserves(Apply(lambda y, write=write: write(MADE[name](y))), x)


def test_a_factor_gets_its_share() -> None:
    x = torch.tensor([1.0, 3.0], requires_grad=True)
    found = shared(x, 0.25)
    assert found.tolist() == [1.0, 3.0]
    assert torch.autograd.grad(found, x, torch.tensor([4.0, 8.0]))[0].tolist() == [1.0, 2.0]
