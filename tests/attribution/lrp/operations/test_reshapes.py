"""Views of what the trace lays out in its own way."""

import torch
from torch import Tensor, nn

from lightning_explain.attribution import LRP
from tests.attribution.lrp.operations.applied import RULES, close, drawn


class Viewing(nn.Module):
    """Convolutions, whose outputs are channels last under the trace, and views that only channels first allows."""

    def __init__(self) -> None:
        super().__init__()
        self.signal, self.gate = (nn.Conv2d(2, 3, 3, bias=False) for _ in range(2))
        self.head = nn.Linear(48, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.signal(x).view(len(x), -1).relu() * self.gate(x).sigmoid().view(len(x), 48))


def test_views_for_images_that_are_channels_first_run_on_others_too() -> None:
    torch.manual_seed(0)
    net, x = Viewing().double(), drawn(2, 2, 6, 6)
    found = LRP(RULES)(net, x, 1)
    close(found.values.flatten(1).sum(1), net(x)[:, 1].detach())
    # the gate behind the view is still known as one
    assert not torch.allclose(LRP(RULES, gates="uniform")(net, x, 1).values, found.values)
