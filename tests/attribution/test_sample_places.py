"""Samples are found again wherever a model puts them, or said to be lost; never taken for others."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge
from torch.nn import functional

from lightning_explain.attribution.sample_places import FollowedSamples, SamplePlaces

N = 3
"""Samples; also tokens and heads, so that no size tells them apart."""


def followed(function: Callable[[Tensor], Tensor]) -> tuple[SamplePlaces | None, Tensor, Tensor]:
    """Return the places in a result, the result of 1, 2, 3 for the samples, and the samples' sums as they are."""
    numbers = torch.arange(1.0, N + 1).reshape(N, 1, 1, 1).expand(N, 3, 3, 4).clone().requires_grad_()
    node = get_gradient_edge(numbers).node
    out = function(numbers * 1)
    places = FollowedSamples({node: SamplePlaces(0, 1, N, 1)}, {}).of(out.grad_fn, out.output_nr)
    sums = torch.stack([torch.where(out.detach() == n, out.detach(), 0.0).sum() for n in range(1, N + 1)])
    return places, out.detach(), sums


MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "merged with heads": lambda x: x.reshape(9, 3, 4),
    "merged behind heads": lambda x: x.transpose(0, 1).reshape(9, 3, 4),
    "tokens first": lambda x: x.permute(1, 2, 0, 3),
    "tokens first, merged": lambda x: x.permute(1, 0, 2, 3).reshape(3, 9, 4),
    "windows": lambda x: x.unflatten(3, (2, 2)).permute(0, 3, 1, 2, 4).flatten(0, 1),
    "windows and back": lambda x: x.reshape(9, 3, 4).view(3, 3, 3, 4).transpose(1, 2),
    "negative dims": lambda x: x.transpose(-4, -1).permute(-1, 0, 1, 2).transpose(-2, -3),
    "views of two": lambda x: torch.cat([x, x.detach() * 0 + x], 0),
    "joined beside": lambda x: torch.cat([x, x], 1),
    "stacked before": lambda x: torch.stack([x, x], 0),
    "stacked behind": lambda x: torch.stack([x, x], -1),
    "one of": lambda x: x.transpose(0, 1)[1],
    "unbound": lambda x: x.transpose(0, 2).unbind(0)[2],
    "chunks": lambda x: x.chunk(2, -1)[1],
    "rolled": lambda x: x.roll((1, 1), (1, 2)),
    "flipped": lambda x: x.flip(1),
    "indexed": lambda x: x.transpose(0, 1)[torch.tensor([[0, 2]])],
    "mean": lambda x: x.transpose(0, 1).mean((0, 2)),
    "mean kept": lambda x: x.mean(2, keepdim=True),
    "squeezed": lambda x: x[:, :, :, :1].squeeze(-1).unsqueeze(0),
    "broadcast": lambda x: x[:, 0, 0] + torch.zeros(2, 1, 4),
    "expanded": lambda x: x[:, :1].expand(5, N, 3, 3, 4),
    "padded": lambda x: functional.pad(x, (1, 1, 1, 1)),
    "turned": lambda x: x[:, 0, 0].t(),
    "batched product": lambda x: torch.bmm(x[:, 0], torch.eye(4).expand(N, 4, 4)),
    "product, the second": lambda x: torch.eye(4) @ x[:, 0, 0].t(),
}


@pytest.mark.parametrize("name", MOVES)
def test_samples_are_found_wherever_they_were_moved(name: str) -> None:
    places, out, sums = followed(MOVES[name])
    assert places is not None
    torch.testing.assert_close(places.sums(out), sums)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.flip(0),
        lambda x: x.roll(1, 0),
        lambda x: x[torch.tensor([2, 0, 1])],
        lambda x: x.sort(0).values,
        lambda x: x.reshape(9, 12)[torch.arange(9)],
        lambda x: x.sum(),
        lambda x: x.sum(0),
        lambda x: x[:2],
        lambda x: x.split(2)[0],
        lambda x: torch.einsum("bij,bjk->ik", x[:, 0, :, :3], x[:, 0, :3]),
        lambda x: x.cumsum(0),
        lambda x: x + x.transpose(0, 1),
        lambda x: x.transpose(0, 1)[[0, 1], [1, 2]],
    ],
)
def test_samples_that_were_put_in_another_order_or_mixed_are_unknown(function: Callable[[Tensor], Tensor]) -> None:
    assert followed(function)[0] is None
