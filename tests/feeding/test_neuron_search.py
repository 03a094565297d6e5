"""What feeds neurons: attributions against captum and closed forms."""

import captum.attr
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain import InputXGradient, IntegratedGradients
from lightning_explain.feeding import choose_neurons, feeding_features
from lightning_explain.neurons import ActiveNeurons, LayerProfile, unit_layers
from tests.feeding.nets import METHOD, counted, mlp


def test_the_most_telling_active_neurons_are_chosen_as_by_a_loop() -> None:
    net, x, y = mlp()
    found = counted(net, "1", x, y, 0.4)
    for most in (1, 3, 100):
        expected = []
        for c in range(3):
            others = [k for k in range(3) if k != c]
            excess = {
                j: float(found.activation[c, j]) - sum(float(found.activation[k, j]) for k in others) / 2
                for j in range(8)
                if float(found.rates[c, j]) >= 0.4
            }
            expected += [(c, j) for j in sorted(excess, key=lambda j: -excess[j])[:most]]
        assert choose_neurons(found, most) == expected


def test_where_the_layer_reads_the_input_its_weights_are_taken() -> None:
    net, x, y = mlp()
    found = feeding_features(net, x, y, {"1": counted(net, "1", x, y)}, unit_layers(net, "1"), method=METHOD, n_top=6)
    feeding = found["1"]
    assert feeding.method == "weights" and not feeding.kernel
    for c, neuron, features, values in zip(
        feeding.classes.tolist(), feeding.neurons.tolist(), feeding.features, feeding.values, strict=True
    ):
        row = net[0].weight[neuron].detach()
        assert torch.equal(values, row[features]) and 0 <= c < 3
        assert features.tolist() == sorted(range(6), key=lambda i: -abs(float(row[i])))


@pytest.mark.parametrize("name", ["1", "3"])
def test_deeper_the_activation_is_attributed_as_captum_does(name: str) -> None:
    net, x, y = mlp()
    # behind a layer of its own, so that "1" does not read the input any more
    whole = nn.Sequential(nn.Softplus(), net).eval()
    layers = [layer for layer in unit_layers(whole) if layer.name == f"1.{name}"]
    profile = counted(whole, f"1.{name}", x, y)
    found = feeding_features(whole, x, y, {f"1.{name}": profile}, layers, method=METHOD, most_neurons=3, n_top=6)
    feeding = found[f"1.{name}"]
    reference = captum.attr.NeuronIntegratedGradients(whole, whole.get_submodule(f"1.{name}"))
    assert feeding.method == "IntegratedGradients" and len(feeding.classes) > 3
    for c, neuron, features, values in zip(
        feeding.classes.tolist(), feeding.neurons.tolist(), feeding.features, feeding.values, strict=True
    ):
        each = reference.attribute(x[y == c], neuron, n_steps=4, method="gausslegendre")
        torch.testing.assert_close(values, each.mean(0)[features].float(), rtol=1e-4, atol=1e-6)
        assert values.abs().tolist() == sorted(values.abs().tolist(), reverse=True)


def test_with_all_neurons_every_active_pair_is_there() -> None:
    net, x, y = mlp()
    profile = counted(net, "3", x, y)
    found = feeding_features(
        net, x, y, {"3": profile}, unit_layers(net, "3"), method=InputXGradient(), most_neurons=10**6
    )["3"]
    pairs = set(zip(found.classes.tolist(), found.neurons.tolist(), strict=True))
    assert pairs == {tuple(pair) for pair in profile.active_sets.nonzero().tolist()}
    assert found.n_active.tolist() == profile.active_sets.sum(1).tolist()
    assert found.method == "InputXGradient"


class Net(nn.Module):
    """A convolution that reads the image, one that does not, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 4, 3), nn.Linear(64, 5)
        self.relu_a, self.relu_b, self.relu_c = nn.ReLU(inplace=True), nn.ReLU(), nn.ReLU()
        self.out = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.relu_c(self.c(self.relu_b(self.b(self.relu_a(self.a(x)))).flatten(1))))


def test_images_give_kernels_and_maps() -> None:
    torch.manual_seed(0)
    net, x, y = Net().eval(), torch.rand(8, 1, 8, 8), torch.arange(8) % 2
    profiles = {name: counted(net, name, x, y, 0.1) for name in ("relu_a", "relu_b")}
    before = [p.clone() for p in net.parameters()]
    found = feeding_features(net, x, y, profiles, unit_layers(net), method=IntegratedGradients(n_steps=100))
    kernel, maps = found["relu_a"], found["relu_b"]
    assert kernel.kernel and kernel.shape == (1, 3, 3) and maps.shape == (1, 8, 8)
    for place, neuron in enumerate(kernel.neurons.tolist()):
        assert torch.equal(kernel.maps[place], net.a.weight[neuron, 0].detach())
    # a channel is its mean over positions, and the map adds up to what that differs from the one of a black image
    for place, (c, neuron) in enumerate(zip(maps.classes.tolist(), maps.neurons.tolist(), strict=True)):
        activation = lambda x: net.relu_b(net.b(net.relu_a(net.a(x))))[:, neuron].mean((1, 2))  # noqa: B023, E731
        difference = (activation(x[y == c]) - activation(torch.zeros(1, 1, 8, 8))).mean()
        assert float(maps.maps[place].sum()) == pytest.approx(float(difference.detach()), abs=2e-3)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert all(p.grad is None for p in net.parameters())
    assert not any(m._forward_hooks for m in net.modules())


def test_large_images_are_drawn_small() -> None:
    net = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(1, 2, 3), nn.ReLU())
    x, y = torch.rand(2, 1, 100, 80), torch.tensor([0, 0])
    profiles = {"2": counted(net, "2", x, y, 0.01)}
    small = feeding_features(net, x, y, profiles, unit_layers(net), method=METHOD)["2"]
    assert small.maps.shape[1:] == (64, 64)
    # a mean of squares: the left half of the picture is the left half of what it stands for
    whole = IntegratedGradients(n_steps=METHOD.n_steps)
    for place, neuron in enumerate(small.neurons.tolist()):
        values = whole(lambda z: net(z)[:, neuron].mean((1, 2)), x).values.mean(0).sum(0)  # noqa: B023
        shrunk = functional.adaptive_avg_pool2d(values[None, None], 64)[0, 0]
        torch.testing.assert_close(small.maps[place], shrunk, atol=1e-6, rtol=1e-3)


def test_classes_without_probe_samples_are_left_out_and_none_is_one_class() -> None:
    net, x, y = mlp()
    profile = counted(net, "3", x, y)
    some = feeding_features(net, x[y > 0], y[y > 0], {"3": profile}, unit_layers(net), method=METHOD)["3"]
    assert set(some.classes.tolist()) == {1, 2}
    one = counted(net, "3", x, torch.zeros(24, dtype=torch.long))
    all_samples = feeding_features(net, x, None, {"3": one}, unit_layers(net), method=METHOD)["3"]
    assert set(all_samples.classes.tolist()) == {0}


def test_a_forward_of_ones_own_and_several_inputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.relu = nn.Linear(5, 4), nn.ReLU()

        def both(self, x: Tensor, z: Tensor) -> Tensor:
            return self.relu(self.a(torch.cat([x, z], 1)))

    torch.manual_seed(1)
    net, x, z = Two(), torch.rand(6, 2), torch.rand(6, 3)
    metric = ActiveNeurons(1, 4)
    metric.update(net.both(x, z).detach(), torch.zeros(6, dtype=torch.long))
    profile = LayerProfile.of(metric.compute(), 0.1)
    found = feeding_features(
        net, (x, z), None, {"relu": profile}, unit_layers(net), method=InputXGradient(), forward=net.both, n_top=5
    )["relu"]
    assert found.features.shape[1] == 5 and found.maps is None
    for place, neuron in enumerate(found.neurons.tolist()):
        on = (net.both(x, z)[:, neuron] > 0).float()[:, None]
        expected = (torch.cat([x, z], 1) * net.a.weight[neuron] * on).mean(0)
        torch.testing.assert_close(found.values[place], expected[found.features[place]].detach())


def test_a_layer_applied_at_every_step_has_a_weight_for_each_feature_of_a_step() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU()).eval()
    x, y = torch.randn(8, 10, 4), torch.arange(8) % 2
    metric = ActiveNeurons(2, 6, unit_dim=-1)
    metric.update(net(x).detach(), y)
    profile = LayerProfile.of(metric.compute(), 0.1)
    found = feeding_features(net, x, y, {"1": profile}, unit_layers(net), method=METHOD, n_top=9)["1"]
    assert (found.method, found.shape, found.maps, found.kernel) == ("weights", (4,), None, False)
    for place, neuron in enumerate(found.neurons.tolist()):
        assert torch.equal(found.values[place], net[0].weight[neuron, found.features[place]].detach())
    assert {row["feature"] for row in found.to_rows(feature_names=list("abcd"))} == set("abcd")
