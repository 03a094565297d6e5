"""A single sample gets the gradient that it has among others, whatever lies how in memory."""

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module

from lightning_explain.attribution import LRP, InputXGradient, IntegratedGradients, SmoothGrad
from lightning_explain.batch_norm_gradients import gradients_aligned
from tests.attribution.nets import drawn, seeded


class Folded(nn.Module):
    """Tokens folded into a map, normalised, and unfolded again, as vision transformers with convolutions do it."""

    def __init__(self, *, in_place: bool = False) -> None:
        super().__init__()
        self.norm, self.in_place = nn.BatchNorm2d(6), in_place
        self.lift, self.head = nn.Linear(3, 6), nn.Linear(6 * 16, 3)
        self.norm.running_mean, self.norm.running_var = drawn(6), drawn(6).abs() + 0.5

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        maps = self.lift(tokens).transpose(1, 2).reshape(len(tokens), 6, 4, 4)
        normed = self.norm(maps)
        if self.in_place:
            normed *= 2
        return self.head(normed.flatten(1).relu())


SLOW = IntegratedGradients(n_steps=5, fast_convolutions=False, chunk_size=1)
METHODS = [InputXGradient(), SmoothGrad(n_draws=2), LRP(), SLOW]


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_one_sample_is_explained_as_among_others(method, in_place):
    net, x = seeded(Folded(in_place=in_place)), drawn(3, 16, 3)
    together = method(net, x, 1).values
    alone = torch.cat([method(net, x[i : i + 1], 1).values for i in range(3)])
    torch.testing.assert_close(alone, together, rtol=1e-6, atol=1e-9)


def test_nothing_is_left_behind_and_nothing_put_on_networks_without_norms():
    before = len(torch_module._global_forward_hooks)
    with gradients_aligned(nn.Linear(2, 2)):
        assert len(torch_module._global_forward_hooks) == before
    with pytest.raises(ValueError, match="within"), gradients_aligned(Folded()):
        assert len(torch_module._global_forward_hooks) == before + 1
        raise ValueError("within")
    assert len(torch_module._global_forward_hooks) == before
