import captum.attr
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from lightning_explain.attribution import GradCAM
from lightning_explain.errors import ConfigurationError
from tests.attribution.nets import convnet, drawn, mlp

X = drawn(4, 2, 8, 8)
TARGET = torch.tensor([0, 2, 1, 1])


@pytest.mark.parametrize("layer", ["0", "1", "3", "4"])
def test_agrees_with_captum(layer):
    net = convnet()
    small = captum.attr.LayerGradCam(net, net.get_submodule(layer)).attribute(X, TARGET, relu_attributions=True)
    expected = functional.interpolate(small, size=(8, 8), mode="bilinear").detach()
    found = GradCAM(layer)(net, X, TARGET)
    assert bool(expected.any())
    torch.testing.assert_close(found.values, expected)
    assert found.values.shape == (4, 1, 8, 8)
    assert (found.convergence_delta, found.error, found.baseline) == (None,) * 3


def test_closed_form():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.maps = nn.Identity()

        def forward(self, x):
            a = self.maps(x)
            return torch.stack([2 * a[:, 0].mean((1, 2)) - a[:, 1].mean((1, 2)), a[:, 1].sum((1, 2))], 1)

    x = torch.tensor([[[[4.0, 8.0], [0.0, 0.0]], [[0.0, 4.0], [4.0, 0.0]]]])
    # dF0/da is 2/4 everywhere in channel 0 and -1/4 in channel 1
    assert GradCAM()(Net(), x, 0).values.tolist() == [[[[2.0, 3.0], [0.0, 0.0]]]]
    assert GradCAM()(Net(), x, 1).values.tolist() == [[[[0.0, 4.0], [4.0, 0.0]]]]


def test_finds_the_last_map_before_pooling():
    net = convnet()
    torch.testing.assert_close(GradCAM()(net, X, 1).values, GradCAM("4")(net, X, 1).values)


def test_in_place_activation_gives_the_same():
    torch.testing.assert_close(
        GradCAM()(convnet(in_place=True), X, 1).values, GradCAM()(convnet(in_place=False), X, 1).values
    )


def test_a_map_the_score_does_not_use_is_passed_over():
    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = convnet()
            self.auxiliary = nn.Conv2d(2, 3, 3, dtype=torch.float64)

        def forward(self, x):
            scores = self.body(x)
            self.auxiliary(x)
            return scores

    net = TwoHeads()
    torch.testing.assert_close(GradCAM()(net, X, 1).values, GradCAM()(net.body, X, 1).values)
    with pytest.raises(ConfigurationError, match="depends on none"):
        GradCAM("auxiliary")(net, X, 1)


def test_a_module_that_runs_twice_can_be_named_by_call():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 3, 3)
            self.relu = nn.ReLU()

        def forward(self, x):
            return self.relu(self.b(self.relu(self.a(x)))).mean((2, 3))

    from tests.attribution.nets import seeded

    net = seeded(Shared())
    torch.testing.assert_close(GradCAM("relu")(net, X, 1).values, GradCAM("relu#1")(net, X, 1).values)
    assert not torch.equal(GradCAM("relu")(net, X, 1).values, GradCAM("a")(net, X, 1).values)
    with pytest.raises(ConfigurationError, match="relu#2"):
        GradCAM("relu#2")(net, X, 1)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(4)))
def test_permuting_the_batch_permutes_the_explanation(order):
    net = convnet()
    torch.testing.assert_close(GradCAM()(net, X[order], TARGET[order]).values, GradCAM()(net, X, TARGET).values[order])


def test_works_where_all_parameters_are_frozen():
    net = convnet().requires_grad_(requires_grad=False)
    assert GradCAM()(net, X, 1).values.isfinite().all()


@pytest.mark.parametrize(
    ("method", "model", "x", "message"),
    [
        (GradCAM("9.conv"), convnet(), X, "matches no module"),
        (GradCAM("7"), convnet(), X, "does not give a feature map"),
        (GradCAM(), nn.Sequential(nn.Flatten(), nn.Linear(128, 2)).double(), X, "No layer gives a feature map"),
        (GradCAM(), mlp(), drawn(2, 4), "expected one batch of images"),
        (GradCAM(), lambda z: z.sum((1, 2, 3)), X, "needs an nn.Module"),
    ],
)
def test_errors(method, model, x, message):
    with pytest.raises(ConfigurationError, match=message):
        method(model, x, 0)
