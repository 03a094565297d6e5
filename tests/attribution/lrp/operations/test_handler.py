"""Operations that need no rule of their own conserve relevance."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.attribution.lrp.operations.applied import Apply, conserves, drawn

OTHERS = {
    "roll": lambda x: x.roll(1, 1),
    "scatter": lambda x: torch.zeros(3, 6).double().scatter(1, torch.arange(4).expand(3, 4), x),
    "circular padding": lambda x: functional.pad(x[:, None], (2, 1), mode="circular")[:, 0],
    "written into a part": lambda x: torch.cat([x, x], 1).clone().index_fill(1, torch.tensor([2]), 0.0),
    "cumulative sum": lambda x: x.cumsum(1),
    "gather": lambda x: x[:, [3, 1, 1]],
    "top k": lambda x: x.topk(2, 1).values,
    "interpolation": lambda x: functional.interpolate(x[:, None], 7)[:, 0],
    "masked": lambda x: x.masked_fill(x < 0, 0.0),
    "largest": lambda x: x.max(1, keepdim=True).values,
    "spread": lambda x: x.std(1, keepdim=True),
    "norm": lambda x: x.norm(dim=1, keepdim=True),
    "two of one": lambda x: torch.maximum(x, 2 * x),
    "einsum of two": lambda x: torch.einsum("bi,bj->bij", x, torch.relu(x)),
    "lerp": lambda x: torch.lerp(x, 2 * x, 0.3),
    "wave": lambda x: torch.fft.irfft(torch.fft.rfft(x), n=4),
    "where": lambda x: torch.where(x > 0, x, 0.1 * x),
    "cosine": lambda x: functional.cosine_similarity(x, x.flip(1))[:, None],
    "baddbmm": lambda x: torch.baddbmm(x[:, None], x[:, None, :1], x[:, None]),
    "in place sum": lambda x: x.clone().add_(x),
    "chunks": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
}


def _set(x: Tensor) -> Tensor:
    out = torch.zeros(len(x), 6, dtype=x.dtype)
    out[:, 1:5] = x
    out[:, 2] *= 3
    return out


OTHERS["set item"] = _set


@pytest.mark.parametrize("name", OTHERS)
def test_other_operations_conserve(name: str):
    conserves(Apply(OTHERS[name]), drawn(3, 4))
