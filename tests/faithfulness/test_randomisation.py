"""Explanations of a network that loses its weights, layer by layer."""

import pytest
import torch
from torch import nn

from lightning_explain.attribution import InputXGradient, Saliency
from lightning_explain.errors import ConfigurationError
from lightning_explain.faithfulness import cascading_randomisation
from tests.faithfulness.nets import X, drawn, net


def test_randomisation_goes_from_the_top_and_forgets_the_model():
    x = drawn(200, 4)
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    check = cascading_randomisation(InputXGradient(), model, x, 1)
    assert check.layers == ("4", "2", "0")
    assert check.spearman.shape == check.spearman_absolute.shape == (3, 200)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    again = cascading_randomisation(InputXGradient(), net(), x, 1)
    assert torch.equal(check.spearman, again.spearman)
    other = cascading_randomisation(InputXGradient(), net(), x, 1, seed=1)
    assert not torch.equal(check.spearman, other.spearman)


def test_an_explanation_that_ignores_the_model_survives():
    def constant(model, x, target):
        return Saliency()(lambda z: (z**2).sum(1), x)

    check = cascading_randomisation(constant, net(), drawn(5, 4), 1)
    torch.testing.assert_close(check.spearman, torch.ones(3, 5))


def test_signs_are_told_apart():
    class Flipped(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([1.0, -1.0], dtype=torch.float64))

        def forward(self, x):
            return (x**2).sum(1) * self.weight.sign()[0]

    seeds = range(20)
    checks = [cascading_randomisation(InputXGradient(), Flipped(), drawn(3, 4), seed=seed) for seed in seeds]
    assert {round(float(check.spearman[0, 0])) for check in checks} == {-1, 1}
    assert all(round(float(check.spearman_absolute[0, 0])) == 1 for check in checks)


def test_layers_cascade_and_shared_parameters_change_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x).tanh()).sum(1)

    weights = []

    def method(model, x, target):
        weights.append(model.a.weight.detach().clone())
        return InputXGradient()(model, x, target)

    check = cascading_randomisation(method, Tied(), drawn(3, 4).float())
    assert check.layers == ("b", "a")
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(weights[1], weights[2])


def test_chosen_layers_and_steps_build_on_each_other():
    states = []

    def method(model, x, target):
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        return Saliency()(model, x, target)

    assert cascading_randomisation(method, net(), drawn(3, 4), 1, layers=["0", "4"]).layers == ("4", "0")
    changed = [
        {name.partition(".")[0] for name in state if not torch.equal(state[name], states[0][name])} for state in states
    ]
    assert changed == [set(), {"4"}, {"4", "0"}]


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (nn.Tanh(), {}, "no parameters"),
        (net(), {"layers": "1"}, "layers='1' holds no parameters"),
    ],
)
def test_a_model_without_weights_to_lose_is_refused(model, options, message):
    with pytest.raises(ConfigurationError, match=message):
        cascading_randomisation(Saliency(), model, X, 1, **options)


def test_a_model_that_cannot_be_copied_is_refused():
    model = net()
    model.stash = (model[0].weight * 2).sum()
    with pytest.raises(ConfigurationError, match="cannot be copied"):
        cascading_randomisation(Saliency(), model, X, 1)
