"""Errors made on purpose in the code of tests of faithfulness: each is noticed by its check."""

import torch
from scipy.stats import spearmanr
from torch import Tensor

from lightning_explain.attribution import (
    InputXGradient,
)
from lightning_explain.faithfulness import (
    cascading_randomisation,
    deletion,
    infidelity,
    insertion,
    mass_in_mask,
    max_sensitivity,
)
from tests.attribution.nets import drawn, mlp
from tests.mutations.checking import close
from tests.mutations.mutation import Mutation

X = torch.tensor([[3.0, 1.0, -2.0]])


def removal() -> None:
    def model(z: Tensor) -> Tensor:
        return z.sum(1)

    gone = deletion(model, X, None, X, n_steps=3, scale="output")
    close(gone.scores, [2.0, -1.0, -2.0, 0.0])
    close(gone.auc, [(2 / 2 - 1 - 2 + 0) / 3])
    close(insertion(model, X, None, X, n_steps=3, scale="output").scores, [0.0, 3.0, 4.0, 2.0])


def infidelity_of_a_line() -> None:
    slope = torch.tensor([[2.0, -1.0, 0.5]])

    def model(z: Tensor) -> Tensor:
        return (z * slope).sum(1) + z[:, 0] ** 2

    def step(inputs: Tensor, generator: torch.Generator) -> Tensor:
        return torch.tensor([[1.0, 2.0, 0.0]])

    # foretold 0, real (6 - 1 - 1 + 9) - (4 - (-1) - 1 + 4)
    close(infidelity(model, X, None, slope, perturb=step, n_draws=3), [25.0])
    close(infidelity(model, X, None, slope * X, perturb=step, n_draws=2, baseline="zeros"), [25.0])


def sensitivity() -> None:
    draws = [
        0.5 * (2 * torch.rand((1, 3), generator=generator) - 1)
        for generator in [torch.Generator().manual_seed(0)]
        for _ in range(3)
    ]
    # input x gradient of sum(x^2) / 2 is x^2
    changes = [((X + draw) ** 2 - X**2).norm() / (X**2).norm() for draw in draws]
    found = max_sensitivity(InputXGradient(), lambda z: z.square().sum(1) / 2, X, radius=0.5, n_draws=3)
    close(found, torch.stack(changes).max()[None])


def inside_the_mask() -> None:
    close(mass_in_mask(X, torch.tensor([[False, True, True]])), [0.5])


def randomisation() -> None:
    found = cascading_randomisation(InputXGradient(), mlp(smooth=True), drawn(3, 4), 0, seed=5)
    assert found.layers == ("4", "2", "0")
    net, generator = mlp(smooth=True), torch.Generator().manual_seed(5)
    original = InputXGradient()(net, drawn(3, 4), 0).values
    for layer, row in zip((net[4], net[2], net[0]), found.spearman, strict=True):
        for parameter in (layer.weight.data, layer.bias.data):
            new = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(parameter.mean() + parameter.std(correction=0) * new)
        now = InputXGradient()(net, drawn(3, 4), 0).values
        close(row, [spearmanr(was, is_).statistic for was, is_ in zip(original, now, strict=True)])


MUTATIONS = [
    Mutation(
        "faithfulness.removal.deletion",
        "torch.where(gone, base, explained)",
        "torch.where(gone, explained, base)",
        removal,
    ),
    Mutation(
        "faithfulness.removal.insertion",
        "torch.where(back, explained, base)",
        "torch.where(back, base, explained)",
        removal,
    ),
    Mutation(
        "faithfulness.removal._rank",
        "values.flatten(1).argsort(dim=1, descending=True, stable=True)",
        "values.flatten(1).argsort(dim=1, stable=True)",
        removal,
    ),
    Mutation("faithfulness.removal._Walk.curve", "torch.trapezoid(scores, shares, dim=1)", "scores.mean(1)", removal),
    Mutation("faithfulness.robustness.infidelity", "explained - step", "explained + step", infidelity_of_a_line),
    Mutation(
        "faithfulness.robustness._mean_squared",
        "(foretold - real).square",
        "(foretold - real).abs",
        infidelity_of_a_line,
    ),
    Mutation("faithfulness.robustness._slope", "values / way", "values", infidelity_of_a_line),
    Mutation(
        "faithfulness.robustness.max_sensitivity",
        "torch.maximum(largest, change.norm(dim=1))",
        "change.norm(dim=1)",
        sensitivity,
    ),
    Mutation("faithfulness.robustness.max_sensitivity", "largest / here.norm(dim=1)", "largest", sensitivity),
    Mutation(
        "faithfulness.robustness.max_sensitivity",
        "radius * draw.to(device=inputs.device, dtype=inputs.dtype)",
        "draw.to(device=inputs.device, dtype=inputs.dtype)",
        sensitivity,
    ),
    Mutation("faithfulness.masks.mass_in_mask", "values.abs()", "values", inside_the_mask),
    Mutation("faithfulness.randomisation._with_parameters", "chosen[::-1]", "chosen", randomisation),
    Mutation(
        "faithfulness.randomisation._randomise",
        "parameter.mean() + spread * draw.to(device=parameter.device, dtype=parameter.dtype)",
        "parameter + 0 * draw.to(device=parameter.device, dtype=parameter.dtype)",
        randomisation,
    ),
]
