"""A layer's output and the gradient at it, also where something writes into it or into what it is a view of."""

import pytest
import torch
from torch import nn

from lightning_explain.attribution.grad_cam.layer_output import LayerOutput
from tests.attribution.nets import drawn

X = drawn(2, 3, 4)


@pytest.mark.parametrize("write", [lambda z: z, lambda z: z.mul_(3.0), lambda z: z.relu_()])
def test_the_gradient_is_that_at_the_output_as_the_layer_gave_it(write) -> None:
    leaf = X.clone().requires_grad_()
    z = leaf * 2
    noted = LayerOutput.of(z, nn.Identity(), copied=True)
    score = (write(z) ** 2).sum((1, 2))
    own = (2 * X).requires_grad_()
    (wanted,) = torch.autograd.grad((write(own * 1) ** 2).sum(), own)
    gradient = noted.gradient(score)
    assert gradient is not None
    torch.testing.assert_close(gradient, wanted)
    torch.testing.assert_close(noted.values, 2 * X)


def test_a_view_that_was_written_into_has_the_gradient_of_its_base_at_its_place() -> None:
    leaf = X.clone().requires_grad_()
    base = leaf * 2
    view = base[:, 1:].transpose(1, 2)
    noted = LayerOutput.of(view, nn.Identity())
    assert not noted.is_overwritten
    view.mul_(5.0)
    assert noted.is_overwritten
    gradient = noted.gradient((base**2).sum((1, 2)))
    assert gradient is not None
    # d (5 z)^2 / dz with z = 2 x
    torch.testing.assert_close(gradient, (50 * 2 * X[:, 1:]).transpose(1, 2))


def test_without_a_way_to_the_score_there_is_no_gradient() -> None:
    leaf = X.clone().requires_grad_()
    noted = LayerOutput.of(leaf * 2, nn.LayerNorm(4))
    assert noted.gradient((leaf * 3).sum((1, 2))) is None
    assert noted.is_norm and not LayerOutput.of(leaf * 2, nn.BatchNorm1d(3)).is_norm


def test_only_outputs_with_samples_places_and_a_gradient_may_be_maps() -> None:
    leaf = X.clone().requires_grad_()

    def may(output: torch.Tensor, n: int = 2) -> bool:
        return LayerOutput.of(output, nn.Identity()).may_be_map(n)

    assert may(leaf * 2) and may((leaf * 2)[:, None])
    assert not may(leaf * 2, 3) and not may((leaf * 2).flatten(1)) and not may(X * 2)
    assert LayerOutput.of(X * 2, nn.Identity()).axes(leaf) is None
