"""LRP through whole networks: conservation, sums, BatchNorm, every layer's relevance, and what is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from lightning_explain.attribution import (
    LRP,
    AtEmbedding,
    Epsilon,
    EpsilonPlusFlat,
    EpsilonRule,
    GammaRule,
    ZeroRule,
    ZPlusRule,
)
from lightning_explain.errors import ConfigurationError, ExplanationError
from tests.attribution.lrp.cases import ALL_ZERO, CLASSES, COMPOSITES, IMAGES, close, input_x_gradient
from tests.attribution.lrp.nets import (
    BasicBlock,
    Functional,
    Lambda,
    mlp,
    resnet,
    vgg,
    with_statistics,
)
from tests.attribution.lrp.operations.applied import RULES


def bare_resnet(inplace: bool) -> nn.Module:
    return resnet(inplace=inplace, norm=False)


def bare_vgg(inplace: bool) -> nn.Module:
    return vgg(bias=False, inplace=inplace)


def test_residual_sum_shares_in_proportion_to_its_summands():
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2, bias=False)
            nn.init.constant_(self.linear.weight, 5.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x) + x

    values = LRP()(Skip(), torch.tensor([[2.0, 3.0]]), 1).values
    torch.testing.assert_close(values, torch.tensor([[10.0, 18.0]]))


@pytest.mark.parametrize("build", [resnet, vgg, lambda: mlp(bias=True)], ids=["resnet", "vgg", "mlp"])
def test_without_epsilon_a_relu_network_gives_input_x_gradient(build):
    model = build()
    x = IMAGES if isinstance(model[0], nn.Conv2d) else torch.randn(3, 5).double()
    target = CLASSES.clamp(max=2)
    for rules in (ALL_ZERO, Epsilon(1e-13)):
        close(LRP(rules)(model, x, target).values, input_x_gradient(model, x, target))


@pytest.mark.parametrize("name", COMPOSITES)
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("build", [bare_resnet, bare_vgg])
def test_relevance_is_conserved_at_every_layer_without_biases(build, inplace: bool, name: str):
    if name == "alpha-beta" and build is bare_resnet:
        pytest.skip("an output with contributions of one sign only loses the other sign's share")
    model = build(inplace)
    method = LRP(COMPOSITES[name])
    result = method(model, IMAGES, CLASSES)
    score = model(IMAGES).gather(1, CLASSES[:, None]).squeeze(1)
    small = {"rtol": 1e-4, "atol": 1e-5} if name == "default" else {"rtol": 1e-7, "atol": 1e-9}
    torch.testing.assert_close(result.values.flatten(1).sum(1), score, **small)
    torch.testing.assert_close(result.convergence_delta, result.values.flatten(1).sum(1) - score)
    top = [child for child, _ in model.named_children()]
    relevance = method.layer_relevance(model, IMAGES, CLASSES, layers=top)
    assert relevance.keys() == set(top)
    for child in relevance.values():
        torch.testing.assert_close(child.flatten(1).sum(1), score, **small)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), rule=st.sampled_from([ZeroRule(), EpsilonRule(1e-12), GammaRule(1.0), ZPlusRule()]))
def test_relevance_is_conserved_for_random_networks(seed: int, rule):
    torch.manual_seed(seed)
    layers = [nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 5, bias=False), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(5, 2, bias=False)).double()
    nn.init.uniform_(model[-1].weight, 0.1, 1.0)
    delta = LRP({nn.Linear: rule})(model, torch.randn(4, 4).double(), 0).convergence_delta
    assert delta.abs().max() < 1e-8


@pytest.mark.parametrize("name", COMPOSITES)
@pytest.mark.parametrize("build", [resnet, vgg])
def test_in_place_operations_change_nothing(build, name: str):
    calm, wild = build(inplace=False), build(inplace=True)
    wild.load_state_dict(calm.state_dict())
    method = LRP(COMPOSITES[name])
    close(method(calm, IMAGES, CLASSES).values, method(wild, IMAGES, CLASSES).values)
    relevance = [method.layer_relevance(model, IMAGES, CLASSES, layers="*") for model in (calm, wild)]
    for layer, values in relevance[0].items():
        close(relevance[1][layer], values)


def test_functional_operations_conserve_relevance():
    x = torch.randn(4, 2, 8, 8).double()
    model = Functional().eval()
    for rules in (Epsilon(1e-12), EpsilonPlusFlat(1e-12), ALL_ZERO):
        assert LRP(rules)(model, x, 2).convergence_delta.abs().max() < 1e-9
    close(LRP(ALL_ZERO)(model, x, CLASSES[[0, 2, 2, 0]]).values, input_x_gradient(model, x, CLASSES[[0, 2, 2, 0]]))


def test_samples_do_not_mix():
    model, order = resnet(), torch.tensor([2, 0, 1])
    values = LRP()(model, IMAGES, CLASSES).values
    close(LRP()(model, IMAGES[order], CLASSES[order]).values, values[order])
    close(LRP()(model, IMAGES[1:2], 3).values, values[1:2])


def test_reparametrised_and_subclassed_layers_work():
    class SelfPadding(nn.Conv2d):
        def __init__(self) -> None:
            super().__init__(3, 2, 3)
            self.pad = nn.ZeroPad2d(1)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(self.pad(x))

    torch.manual_seed(0)
    normed = parametrizations.weight_norm(nn.Conv2d(2, 4, 3))
    model = nn.Sequential(SelfPadding(), nn.ReLU(), normed, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = model.double()
    close(LRP(ALL_ZERO)(model, IMAGES, CLASSES).values, input_x_gradient(model, IMAGES, CLASSES))
    same = nn.Conv2d(2, 4, 3).double()
    same.load_state_dict({"weight": normed.weight, "bias": normed.bias})
    plain = nn.Sequential(*model[:2], same, *model[3:])
    close(LRP()(model, IMAGES, CLASSES).values, LRP()(plain, IMAGES, CLASSES).values)


def test_other_impossible_requests_say_what_to_do():
    model = mlp()
    x = torch.ones(2, 5).double()
    with pytest.raises(ConfigurationError, match="plain callable"):
        LRP()(lambda v: v, x)
    with pytest.raises(ConfigurationError, match="class index 7"):
        LRP()(model, x, 7)
    with pytest.raises(ConfigurationError, match="no gradient"):
        LRP()(model, x.long(), 0)
    with pytest.raises(ConfigurationError, match="matches no module"):
        LRP().layer_relevance(model, x, 0, layers="9")
    with pytest.raises(ExplanationError, match="hold NaN or infinity"):
        LRP()(model, x * float("nan"), 0)
    with pytest.raises(ExplanationError, match="does not depend"):
        LRP()(nn.Sequential(Lambda(lambda m, v: v.detach())), x, 0)


def test_block_alone_as_a_model():
    block = with_statistics(BasicBlock(3, 3)).double()
    head = nn.Sequential(nn.Flatten(), nn.Linear(192, 2).double())
    found = LRP()(nn.Sequential(block, head), IMAGES, 0).values
    assert found.any()
    close(found, LRP()(nn.Sequential(nn.Sequential(block), *head), IMAGES, 0).values)


def test_offsets_absorb_and_their_share_is_reported():
    layer = nn.Linear(3, 1)
    layer.weight.data.fill_(1.0)
    layer.bias.data.fill_(2.0)
    found = LRP(Epsilon(0.0))(layer, torch.tensor([[1.0, 2.0, 3.0], [1.0, 0.0, -3.0]]), 0)
    torch.testing.assert_close(found.absorbed_share, torch.tensor([0.25, torch.nan]), equal_nan=True)


def test_tokens_are_explained_at_their_embedding():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, bias=False)
    body = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    class Text(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.body, self.head = nn.Embedding(9, 8), body, nn.Linear(8, 2, bias=False)

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.body(self.embedding(ids)).mean(1))

    net, ids = Text().double().eval(), torch.tensor([[1, 5, 5, 0], [2, 0, 8, 3]])
    found = AtEmbedding(LRP(RULES, attention="cp"))(net, ids, 1)
    assert found.values.shape == ids.shape
    close(found.values.sum(1), net(ids)[:, 1].detach())
    named = AtEmbedding(LRP({"head": ZPlusRule(), "*": ZeroRule()}, attention="cp"))(net, ids, 1)
    assert not torch.allclose(named.values, found.values)
