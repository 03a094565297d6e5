import dataclasses
import warnings

import captum.attr
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lightning_explain.attribution import (
    IntegratedGradients,
    LayerConductance,
    integrated_gradients_and_conductance,
    neuron_importance,
)
from lightning_explain.errors import ConfigurationError, ExplanationError, ExplanationWarning
from tests.attribution.nets import convnet, drawn, mlp, seeded

TARGET = torch.tensor([0, 2, 1, 1])


def captum_conductance(net, layer, x, target, n_steps):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        explainer = captum.attr.LayerConductance(net, net.get_submodule(layer))
        return explainer.attribute(x, target=target, n_steps=n_steps).detach()


def distance(a, b):
    return float((a - b).abs().sum() / b.abs().sum())


@pytest.mark.parametrize(
    ("net", "x", "layers"),
    [(mlp(smooth=True), drawn(4, 4), ["0", "1", "3", "4"]), (convnet(), drawn(4, 2, 8, 8), ["0", "1", "2", "4"])],
)
def test_agree_with_captum_at_many_steps(net, x, layers):
    at_input, at_layers = integrated_gradients_and_conductance(
        net, x, TARGET, layers=layers, n_steps=400, chunk_size=400
    )
    assert list(at_layers) == layers
    for name in layers:
        expected = captum_conductance(net, name, x, TARGET, 2000)
        assert at_layers[name].values.shape == expected.shape
        assert distance(at_layers[name].values, expected) < 5e-3
    reference = captum.attr.IntegratedGradients(net).attribute(x, target=TARGET, n_steps=500)
    assert distance(at_input.values, reference) < 5e-3


def test_closed_form():
    # h = (x0 x1, x1), F = h0 + h1^2 from (0, 0) to (a, b): conductances a b and b^2
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = nn.Identity()

        def forward(self, x):
            h = self.hidden(torch.stack([x[:, 0] * x[:, 1], x[:, 1]], 1))
            return h[:, 0] + h[:, 1] ** 2

    at_input, at_layers = integrated_gradients_and_conductance(
        Net(), torch.tensor([[2.0, 3.0]]).double(), layers="hidden", n_steps=7
    )
    # gradients are linear along the path, for which the rule is exact: (ab/2, ab/2 + b^2)
    torch.testing.assert_close(at_input.values, torch.tensor([[3.0, 12.0]]).double())
    torch.testing.assert_close(at_layers["hidden"].values, torch.tensor([[6.0, 9.0]]).double())
    torch.testing.assert_close(at_layers["hidden"].convergence_delta, torch.zeros(1).double(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("baseline", ["zeros", "mean", "noise"])
def test_layers_that_carry_everything_sum_to_the_change_of_the_score(baseline):
    net, x = mlp(smooth=True), drawn(4, 4)
    at_input, at_layers = integrated_gradients_and_conductance(
        net, x, TARGET, layers="*", n_steps=200, baseline=baseline
    )

    def picked(z):
        return net(z).gather(1, TARGET[:, None])[:, 0].detach()

    change = picked(x) - picked(at_input.baseline)
    for found in (at_input, *at_layers.values()):
        torch.testing.assert_close(found.values.sum(1), change, rtol=0, atol=1e-3)
        torch.testing.assert_close(found.convergence_delta, found.values.sum(1) - change)


def test_a_bypassed_layer_has_the_bypass_as_delta():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.branch = nn.Linear(1, 1, bias=False)
            self.branch.weight.data.fill_(2.0)

        def forward(self, x):
            return (self.branch(x) + x)[:, 0]

    found = LayerConductance("branch")(Skip(), torch.tensor([[3.0]]))
    assert (found.values.item(), found.convergence_delta.item()) == pytest.approx((6.0, -3.0))


def test_error_falls_with_the_square_of_the_steps():
    net, x = mlp(smooth=True), drawn(4, 4)
    # (the last hidden layer is followed by a linear one only, so that its sum is exact)
    errors = {}
    exact = integrated_gradients_and_conductance(net, x, 1, layers="1", n_steps=2000)
    for n_steps in (20, 40):
        found = integrated_gradients_and_conductance(net, x, 1, layers="1", n_steps=n_steps)
        errors[n_steps] = [
            distance(a.values, b.values)
            for a, b in zip((found[0], *found[1].values()), (exact[0], *exact[1].values()), strict=True)
        ]
    for rough, fine in zip(errors[20], errors[40], strict=True):
        assert 3.5 < rough / fine < 4.5


@pytest.mark.parametrize("n_steps", [20, 21])
def test_the_estimated_error_covers_the_true_one(n_steps):
    net, x = convnet(), drawn(16, 2, 8, 8)
    exact = integrated_gradients_and_conductance(net, x, 1, layers="1", n_steps=1000, chunk_size=200)
    found = integrated_gradients_and_conductance(net, x, 1, layers="1", n_steps=n_steps)
    for a, b in zip((found[0], *found[1].values()), (exact[0], *exact[1].values()), strict=True):
        true = (a.values - b.values).flatten(1).abs().sum(1) / b.values.flatten(1).abs().sum(1)
        assert 0.3 < float(true.mean() / a.error.mean()) < 1.5


def test_input_agrees_with_integrated_gradients():
    net, x = mlp(smooth=True), drawn(4, 4)
    expected = IntegratedGradients(n_steps=30)(net, x, TARGET).values
    at_input, _ = integrated_gradients_and_conductance(net, x, TARGET, n_steps=200)
    torch.testing.assert_close(at_input.values, expected, rtol=1e-3, atol=1e-4)
    assert at_input.n_evaluations.tolist() == [201] * 4


@pytest.mark.parametrize("chunk_size", [1, 3, 4, 10, 1000])
def test_chunks_change_nothing(chunk_size):
    net, x = convnet(), drawn(4, 2, 8, 8)
    whole = integrated_gradients_and_conductance(net, x, TARGET, n_steps=9)
    split = integrated_gradients_and_conductance(net, x, TARGET, n_steps=9, chunk_size=chunk_size)
    for a, b in zip((split[0], *split[1].values()), (whole[0], *whole[1].values()), strict=True):
        torch.testing.assert_close(a.values, b.values)
        torch.testing.assert_close(a.coarse, b.coarse)
        torch.testing.assert_close(a.convergence_delta, b.convergence_delta)


def test_in_place_activation_does_not_change_the_layer_before_it():
    x = drawn(4, 2, 8, 8)
    plain = integrated_gradients_and_conductance(convnet(), x, 1, layers=["0", "1"], n_steps=10)[1]
    in_place = integrated_gradients_and_conductance(convnet(in_place=True), x, 1, layers=["0", "1"], n_steps=10)[1]
    for name in ("0", "1"):
        torch.testing.assert_close(in_place[name].values, plain[name].values)
    assert not torch.allclose(plain["0"].values, plain["1"].values)


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 2)
        self.act = nn.Tanh()

    def forward(self, x):
        return self.c(self.act(self.b(self.act(self.a(x)))))


def test_a_module_that_runs_twice_is_two_layers():
    net, x = seeded(Shared()), drawn(3, 4)
    _, at_layers = integrated_gradients_and_conductance(net, x, 1)
    assert {name: tuple(found.values.shape) for name, found in at_layers.items()} == {"act": (3, 5), "act#1": (3, 6)}
    torch.testing.assert_close(LayerConductance("act#1")(net, x, 1).values, at_layers["act#1"].values)
    torch.testing.assert_close(LayerConductance("act")(net, x, 1).values, at_layers["act"].values)
    with pytest.raises(ConfigurationError, match="act#5"):
        LayerConductance("act#5")(net, x, 1)


def test_layer_conductance_is_one_layer_of_the_walk():
    net, x = mlp(), drawn(4, 4)
    walk = integrated_gradients_and_conductance(net, x, TARGET, n_steps=20)[1]["3"]
    found = LayerConductance("3", n_steps=20)(net, x, TARGET)
    assert torch.equal(found.values, walk.values)
    assert torch.equal(found.convergence_delta, walk.convergence_delta)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(4)))
def test_permuting_the_batch_permutes_the_explanation(order):
    net, x = mlp(), drawn(4, 4)
    method = LayerConductance("1", n_steps=5)
    torch.testing.assert_close(method(net, x[order], TARGET[order]).values, method(net, x, TARGET).values[order])


@settings(max_examples=10, deadline=None)
@given(factor=st.floats(-3, 3))
def test_linear_in_what_follows_the_layer(factor):
    net, x = mlp(), drawn(4, 4)
    scaled = mlp()
    for parameter in scaled[4].parameters():
        parameter.data.mul_(factor)
    method = LayerConductance("3", n_steps=5)
    torch.testing.assert_close(method(scaled, x, 1).values, factor * method(net, x, 1).values)


def test_importance_of_neurons_and_the_input_come_from_one_walk():
    net, x = convnet(), drawn(4, 2, 8, 8)
    calls: list[int] = []
    net[0].register_forward_hook(lambda *_: calls.append(1))
    at_input, at_layers = integrated_gradients_and_conductance(net, x, TARGET, layers=["1", "4", "6"], n_steps=30)
    assert len(calls) == 31 + 1 + 2 + 2 * 3  # the baseline itself; rows apart; what goes past layers
    assert at_input.values.shape == x.shape
    for name, n_neurons in (("1", 4), ("4", 5), ("6", 5)):
        found = neuron_importance(at_layers[name])
        assert found.shape == (4, n_neurons)
        expected = captum_conductance(net, name, x, TARGET, 2000)
        assert distance(found, expected.flatten(2).sum(2) if expected.ndim > 2 else expected) < 0.05
        torch.testing.assert_close(found.sum(1), at_layers[name].values.flatten(1).sum(1))
    last = dataclasses.replace(at_layers["1"], values=at_layers["1"].values.movedim(1, -1))
    torch.testing.assert_close(neuron_importance(last, unit_dim=-1), neuron_importance(at_layers["1"]))


def test_in_place_networks_are_walked_again_only_once():
    net, x = convnet(in_place=True), drawn(4, 2, 8, 8)
    calls: list[int] = []
    net[0].register_forward_hook(lambda *_: calls.append(1))
    integrated_gradients_and_conductance(net, x, TARGET, layers=["0", "1"], n_steps=5)
    assert len(calls) == 6 + 1 + 1 + 2 + 2 * 2  # the baseline, twice; rows apart; what goes past


def test_a_unit_that_is_ignored_gets_zero():
    net, x = mlp(), drawn(4, 4)
    net[4].weight.data[:, 2] = 0
    assert not LayerConductance("3")(net, x, 1).values[:, 2].any()


def test_several_inputs_and_a_layer_that_does_not_follow_the_path():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused, self.constant, self.joined = nn.Linear(2, 2), nn.Identity(), nn.Identity()

        def forward(self, a, b):
            self.unused(a.float())
            fixed = self.constant(torch.ones(len(a), 2).double())
            return (self.joined(a * b) + fixed).sum(1)

    at_input, at_layers = integrated_gradients_and_conductance(
        Two(), (torch.ones(3, 2).double(), 2 * torch.ones(3, 2).double()), layers="*", n_steps=4
    )
    torch.testing.assert_close(at_input.values, (torch.ones(3, 2).double(), torch.ones(3, 2).double()))
    torch.testing.assert_close(at_layers["joined"].values, torch.full((3, 2), 2.0).double())
    assert not at_layers["unused"].values.any()
    assert not at_layers["constant"].values.any()


def test_one_step_has_no_error_estimate():
    at_input, _ = integrated_gradients_and_conductance(mlp(), drawn(2, 4), 1, n_steps=1)
    assert bool(at_input.error.isnan().all())
    assert at_input.coarse is None


class Silent(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.ReLU(), nn.ReLU()

    def forward(self, x):
        return self.a(x).sum(1)


def test_layers_that_do_not_run():
    with pytest.warns(ExplanationWarning, match="1 of 2 chosen layers.*b"):
        integrated_gradients_and_conductance(Silent(), torch.ones(2, 3), n_steps=2)
    with pytest.raises(ConfigurationError, match="1 of 1 chosen layers"):
        LayerConductance("b")(Silent(), torch.ones(2, 3))


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: LayerConductance("1", n_steps=0), "n_steps=0"),
        (lambda: LayerConductance("nope")(mlp(), drawn(2, 4), 0), "matches no module"),
        (lambda: LayerConductance("[13]")(mlp(), drawn(2, 4), 0), "stands for 2 layers: 1, 3"),
        (lambda: LayerConductance("1")(lambda z: z, drawn(2, 4), 0), "needs an nn.Module"),
        (lambda: LayerConductance("0")(nn.Sequential(nn.LSTM(4, 3)), drawn(5, 2, 4).float(), 0), "returned tuple"),
    ],
)
def test_errors(run, message):
    with pytest.raises(ConfigurationError, match=message):
        run()


def test_a_layer_without_the_sample_first_is_refused():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.turned = nn.Identity()

        def forward(self, x):
            return self.turned(x.T).sum(0)

    with pytest.raises(ConfigurationError, match="first dimension must be the sample"):
        LayerConductance("turned")(Turned(), drawn(2, 4))


def test_nan_is_refused():
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = nn.Identity()

        def forward(self, x):
            return self.hidden(x - 2 * x).sqrt().sum(1)

    with pytest.raises(ExplanationError, match="NaN"):
        LayerConductance("hidden")(Root(), torch.ones(2, 3))


@pytest.mark.parametrize("n_steps", [2, 3, 4, 5])
def test_the_coarser_rule_goes_to_the_end_of_the_path(n_steps):
    # on a linear network every rule that covers the whole path is exact
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)).double()
    at_input, at_layers = integrated_gradients_and_conductance(net, drawn(4, 4), 1, layers="0", n_steps=n_steps)
    for found in (at_input, at_layers["0"]):
        torch.testing.assert_close(found.coarse, found.values)
        torch.testing.assert_close(found.error, torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-12)


class Bypassed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.act, self.last = nn.Linear(4, 8), nn.ReLU(), nn.Linear(12, 3)

    def forward(self, x):
        return self.last(torch.cat([self.act(self.first(x)), x], 1))


def test_the_error_is_never_below_the_gap_unless_something_goes_past_the_layer():
    net, x = mlp(), drawn(4, 4)
    at_input, at_layers = integrated_gradients_and_conductance(net, x, TARGET, n_steps=5)
    for found in (at_input, *at_layers.values()):
        gap = found.convergence_delta.abs() / found.values.flatten(1).abs().sum(1)
        assert (found.error >= gap * 0.9999).all()
        assert found is at_layers["3"] or gap.max() > 1e-3  # from there on the network is linear
    _, past = integrated_gradients_and_conductance(seeded(Bypassed()), x, TARGET, layers="act", n_steps=5)
    gap = past["act"].convergence_delta.abs() / past["act"].values.abs().sum(1)
    assert (past["act"].error < gap).any()


def test_samples_that_depend_on_each_other_are_refused():
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.ReLU(), nn.Linear(8, 3))
    with pytest.raises(ExplanationError, match="move by .* when the other samples of its batch change"):
        LayerConductance("2")(net.double(), drawn(4, 4), TARGET)
