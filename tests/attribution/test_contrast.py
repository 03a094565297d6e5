from functools import partial

import captum.attr
import pytest
import torch
from torch import nn

from lightning_explain.attribution import (
    LRP,
    AtEmbedding,
    GradCAM,
    InputXGradient,
    IntegratedGradients,
    LayerConductance,
    Saliency,
    SmoothGrad,
    as_method,
    from_captum,
)
from lightning_explain.attribution.contrast import (
    contrast_classes,
    contrast_of,
    contrast_words,
    differences,
    with_contrast,
)
from lightning_explain.errors import ConfigurationError
from tests.attribution.nets import convnet, drawn, mlp, seeded

LINEAR = [
    IntegratedGradients(n_steps=5),
    InputXGradient(),
    SmoothGrad(n_draws=3),
    LayerConductance("1", n_steps=5),
    LRP(),
    from_captum(captum.attr.DeepLift),
    from_captum(captum.attr.LayerConductance, layer="1", n_steps=5),
]
TARGET, OTHERS = torch.tensor([0, 2, 1, 1]), torch.tensor([2, 1, 0, 2])


def name_of(method):
    return f"{type(method).__name__}{getattr(method, '__name__', '')}"


@pytest.mark.parametrize("method", LINEAR, ids=name_of)
def test_linear_methods_explain_the_difference_of_two_explanations(method):
    net, x = mlp(), drawn(4, 4)
    found = with_contrast(method, OTHERS)(net, x, TARGET)
    expected = method(net, x, TARGET).values - method(net, x, OTHERS).values
    torch.testing.assert_close(found.values, expected)
    assert found.target.tolist() == TARGET.tolist()
    assert found.contrast.tolist() == OTHERS.tolist()


def test_saliency_and_grad_cam_are_of_the_difference_itself():
    net, x = convnet(), drawn(4, 2, 8, 8)

    def of_difference(z):
        return (net(z).gather(1, TARGET[:, None]) - net(z).gather(1, OTHERS[:, None]))[:, 0]

    z = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(of_difference(z).sum(), z)
    torch.testing.assert_close(Saliency(contrast=OTHERS)(net, x, TARGET).values, gradient.abs())
    features, head = net[:5](x).detach().requires_grad_(), net[5:]
    scores = head(features)
    (slopes,) = torch.autograd.grad(
        (scores.gather(1, TARGET[:, None]) - scores.gather(1, OTHERS[:, None])).sum(), features
    )
    small = (slopes.mean((2, 3), keepdim=True) * features).sum(1, keepdim=True).relu().detach()
    wanted = nn.functional.interpolate(small, size=[8, 8], mode="bilinear", align_corners=False)
    torch.testing.assert_close(GradCAM("4", contrast=OTHERS)(net, x, TARGET).values, wanted)


def test_integrated_gradients_are_complete_for_the_difference():
    net, x = mlp(smooth=True), drawn(4, 4)
    found = IntegratedGradients(n_steps=40, contrast=OTHERS)(net, x, TARGET)
    scores = net(x) - net(torch.zeros_like(x))
    change = (scores.gather(1, TARGET[:, None]) - scores.gather(1, OTHERS[:, None]))[:, 0]
    torch.testing.assert_close(found.values.sum(1), change.detach(), rtol=1e-6, atol=1e-8)
    assert float(found.convergence_delta.abs().max()) < 1e-6


def test_the_strongest_other_class_is_that_of_the_scores_and_never_the_target():
    net, x = mlp(), drawn(4, 4)
    found = InputXGradient(contrast="strongest")(net, x, TARGET)
    scores = net(x).detach()
    for row, (c, other) in enumerate(zip(TARGET.tolist(), found.contrast.tolist(), strict=True)):
        assert other == max((k for k in range(3) if k != c), key=lambda k: float(scores[row, k]))


def test_tokens_are_explained_by_a_contrast_at_their_embedding():
    net = seeded(nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 3)))
    ids, target = torch.tensor([[1, 5, 5], [2, 0, 8]]), torch.tensor([1, 2])
    method = AtEmbedding(IntegratedGradients(contrast=0))
    assert contrast_of(method) == 0
    found = method(net, ids, target)
    # linear in the vectors, with the zero vector as baseline
    vectors = net[0](ids)
    weights = (net[2].weight[target] - net[2].weight[0]).reshape(2, 3, 4)
    torch.testing.assert_close(found.values, (vectors * weights).sum(-1).detach())
    assert found.contrast.tolist() == [0, 0]
    assert contrast_of(with_contrast(method, None)) is None


def test_relevance_of_layers_is_of_the_difference_too():
    net, x = mlp(), drawn(4, 4)
    found = LRP(contrast=OTHERS).layer_relevance(net, x, TARGET, layers="1")["1"]
    one, other = (LRP().layer_relevance(net, x, classes, layers="1")["1"] for classes in (TARGET, OTHERS))
    torch.testing.assert_close(found, one - other)


def test_a_plain_function_and_several_inputs():
    def model(a, b):
        return torch.stack([a.sum(1), 2 * b.sum(1), a.sum(1) * 5], dim=1)

    found = InputXGradient(contrast=1)(model, (torch.ones(2, 2), torch.ones(2, 3)), torch.tensor([0, 2]))
    assert found.values[0].tolist() == [[1, 1], [5, 5]]
    assert found.values[1].tolist() == [[-2] * 3] * 2


def test_differences_have_one_output_for_each_pair_and_the_names_of_the_layers():
    net = mlp()
    module, index = differences(net, torch.tensor([0, 0, 1]), torch.tensor([1, 1, 2]))
    assert module(drawn(3, 4)).shape == (3, 2)
    assert index.tolist() == [0, 0, 1]
    assert dict(module.named_modules())["1"] is net[1]


def test_the_model_and_the_method_are_left_as_they_were():
    net, x = mlp(), drawn(4, 4)
    net.train()
    before = dict(vars(net))
    method = InputXGradient(contrast="strongest")
    method(net, x, TARGET)
    assert vars(net) == before
    assert net.training
    assert method.contrast == "strongest"


REFUSED = {
    "name": ("cat", TARGET, r"contrast='cat'; expected an index.*names are known to monitors"),
    "the class itself": (1, TARGET, r"contrast=1 cannot be compared.*samples \[2, 3\]"),
    "beyond": (7, TARGET, r"up to 7; the model returned \[.*, 3\]"),
    "no target": (1, None, r"contrast=1 with target=None"),
    "length": (torch.tensor([1]), TARGET, r"contrast= has shape \[1\].*LongTensor \[4\]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_be_no_contrast_is_refused(case):
    contrast, target, words = REFUSED[case]
    with pytest.raises(ConfigurationError, match=words):
        InputXGradient(contrast=contrast)(mlp(), drawn(4, 4), target)


@pytest.mark.parametrize("contrast", [True, -1, torch.tensor([0.5]), torch.tensor(1)])
@pytest.mark.parametrize("make", [Saliency, LRP, IntegratedGradients, GradCAM, partial(LayerConductance, "1")])
def test_what_is_of_no_such_kind_is_refused_at_construction(make, contrast):
    with pytest.raises(ConfigurationError, match=r"contrast=.*expected the index"):
        make(contrast=contrast)


def test_one_output_has_no_other_class():
    with pytest.raises(ConfigurationError, match="needs another class"):
        Saliency(contrast="strongest")(lambda x: x.sum(1), torch.ones(2, 3), 0)


def test_a_function_declares_a_contrast_for_monitors():
    mine = as_method(lambda model, inputs, target=None: InputXGradient()(model, inputs, target), contrast="strongest")
    assert contrast_of(mine) == "strongest"
    plain = with_contrast(mine, None)
    assert (contrast_of(plain), contrast_of(mine)) == (None, "strongest")
    assert plain(mlp(), drawn(4, 4), TARGET).contrast is None


def test_classes_and_words():
    assert contrast_classes(2, torch.tensor([0, 1]), None).tolist() == [2, 2]
    assert contrast_words(None) == ""
    assert contrast_words(torch.tensor([1])) == "a class given for each sample"
