"""One pass back: from layers with an input rule to the inputs that they read."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.attribution import (
    LRP,
    EpsilonPlusFlat,
)
from tests.attribution.lrp.cases import CLASSES, IMAGES, close
from tests.attribution.lrp.nets import (
    vgg,
)


def test_input_rules_reach_through_whatever_the_model_does_to_its_input_first():
    class Normalised(nn.Module):
        def __init__(self, body: nn.Module) -> None:
            super().__init__()
            self.body = body

        def forward(self, x: Tensor) -> Tensor:
            shifted = (x.permute(0, 2, 3, 1) - 0.3) / torch.tensor([0.2, -0.5, 2.0])
            return self.body(functional.pad(shifted.permute(0, 3, 1, 2), (1, 1, 1, 1)))

    body = vgg(bias=False)
    body[7] = nn.AdaptiveAvgPool2d(2)
    x = IMAGES
    normal = functional.pad((x - 0.3) / torch.tensor([0.2, -0.5, 2.0]).reshape(3, 1, 1), (1, 1, 1, 1))
    inner = LRP()(body, normal, CLASSES).values
    outer = LRP()(Normalised(body), x, CLASSES).values
    close(outer, inner[:, :, 1:-1, 1:-1])
    repeated = nn.Sequential(Expand(), vgg(bias=False))
    grey = LRP()(repeated, x[:, :1], CLASSES)
    assert grey.values.shape == (3, 1, 8, 8)
    assert grey.convergence_delta.abs().max() < 1e-5


class Expand(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.expand(-1, 3, -1, -1)


def test_several_inputs_and_a_direct_way_to_the_output():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.fc = nn.Conv2d(1, 2, 3, bias=False), nn.Linear(8 + 3 + 16, 2, bias=False)

        def forward(self, image: Tensor, table: Tensor) -> Tensor:
            maps = functional.relu(self.conv(image)).flatten(1)
            return self.fc(torch.cat([maps, table, image.flatten(1)], dim=1))

    image, table = torch.randn(4, 1, 4, 4), torch.randn(4, 3)
    result = LRP(EpsilonPlusFlat(0.0))(Two(), (image, table), 1)
    assert [part.shape for part in result.parts] == [image.shape, table.shape]
    assert result.convergence_delta.abs().max() < 1e-6
    assert result.baseline is None
    assert result.error is None
    assert result.n_evaluations.tolist() == [1, 1, 1, 1]
