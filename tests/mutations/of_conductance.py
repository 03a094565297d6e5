"""Errors made on purpose in the code of conductance: each is noticed by its check."""

import torch
from torch import Tensor, nn

from lightning_explain.attribution import (
    LayerConductance,
    integrated_gradients_and_conductance,
    neuron_importance,
)
from tests.attribution.nets import convnet, drawn
from tests.mutations.checking import AT, FROM, PRODUCT, close
from tests.mutations.mutation import Mutation


class Quadratic(nn.Module):
    """Hidden (x0 x1, x1), score h0 + h1^2."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.hidden(torch.stack([x[:, 0] * x[:, 1], x[:, 1]], 1))
        return h[:, 0] + h[:, 1] ** 2


def conductance() -> None:
    for n_steps in (4, 5):
        at_input, at_layers = integrated_gradients_and_conductance(
            Quadratic(), AT, layers="hidden", baseline=FROM, n_steps=n_steps
        )
        close(at_input.values, [PRODUCT[0], PRODUCT[1] + 9 - 1])
        close(at_layers["hidden"].values, [6 + 0.5, 9.0 - 1])
        close(at_input.coarse, at_input.values)
        close(at_layers["hidden"].coarse, at_layers["hidden"].values)
        assert float(at_layers["hidden"].convergence_delta.abs()) < 1e-6  # the walk begins a hair beside the baseline


def importance_of_channels() -> None:
    found = LayerConductance("0", n_steps=2)(convnet(), drawn(2, 2, 8, 8), 1)
    close(neuron_importance(found), torch.einsum("bchw->bc", found.values))


def conductance_before_an_activation_in_place() -> None:
    x = drawn(3, 2, 8, 8)
    plain, in_place = (LayerConductance("0", n_steps=4)(net, x, 1) for net in (convnet(), convnet(in_place=True)))
    close(in_place.values, plain.values)


MUTATIONS = [
    Mutation("attribution.integrated_gradients.layer_paths._StepSum.add", "0.5", "1.0", conductance),
    Mutation(
        "attribution.integrated_gradients.layer_paths._StepSum.add",
        "gradient + last_gradient",
        "2 * gradient",
        conductance,
    ),
    Mutation("attribution.integrated_gradients.layer_paths._lengths", "nodes.diff() / 2", "nodes.diff()", conductance),
    Mutation(
        "attribution.integrated_gradients.layer_paths._walk",
        "(torch.arange(n_steps + 1) % 2 == 0) | (nodes == 1)",
        "torch.arange(n_steps + 1) % 2 == 0",
        conductance,
    ),
    Mutation(
        "attribution.integrated_gradients.layer_paths._walk",
        "scores[-1] - scores[0]",
        "scores[0] - scores[-1]",
        conductance,
    ),
    Mutation(
        "attribution.integrated_gradients.layer_paths.LayerPath.is_overwritten",
        "self.values._version != self.version",
        "False",
        conductance_before_an_activation_in_place,
    ),
    Mutation(
        "attribution.conductance.neuron_importance",
        "values.movedim(unit_dim, 1).flatten(2).sum",
        "values.movedim(unit_dim, 1).flatten(2).mean",
        importance_of_channels,
    ),
]
