"""Normalisations against their linear part, with the spread as a constant."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lightning_explain.attribution import (
    LRP,
)
from tests.attribution.lrp.operations.applied import RULES, Apply, close, drawn, weights


def linear_part(function: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> Tensor:
    """Relevance of a function that is linear in its second argument for a first one that stands for its statistics."""
    rows: list[Tensor] = []
    for sample in x:
        unit = torch.eye(sample.numel(), dtype=torch.double).reshape(-1, *sample.shape)
        zero = torch.zeros_like(unit)
        columns = (function(sample[None], unit) - function(sample[None], zero)).flatten(1)
        rows.append((sample.flatten() * (columns * weights(columns.shape[1])).sum(1)).reshape(sample.shape))
    return torch.stack(rows)


def spread(x: Tensor, dims: tuple[int, ...], *, centred: bool = True) -> Tensor:
    return (
        (x.var(dims, correction=0, keepdim=True) if centred else x.square().mean(dims, keepdim=True)).add(1e-5).sqrt()
    )


SCALE, SHIFT = drawn(4, seed=1), drawn(4, seed=2)


NORMS = {
    "layer": (
        lambda x: functional.layer_norm(x, (4,), SCALE, SHIFT),
        lambda s, x: (x - x.mean(-1, keepdim=True)) / spread(s, (-1,)) * SCALE + SHIFT,
        (3, 4),
    ),
    "layer without scale": (
        lambda x: functional.layer_norm(x, (3, 4)),
        lambda s, x: (x - x.mean((-2, -1), keepdim=True)) / spread(s, (-2, -1)),
        (3, 4),
    ),
    "by hand": (
        lambda x: (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt() * SCALE,
        lambda s, x: (x - x.mean(-1, keepdim=True)) / spread(s, (-1,)) * SCALE,
        (3, 4),
    ),
    "root mean square": (
        lambda x: functional.rms_norm(x, (4,), SCALE, 1e-5),
        lambda s, x: x / spread(s, (-1,), centred=False) * SCALE,
        (3, 4),
    ),
    "root mean square by hand": (
        lambda x: SCALE * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)),
        lambda s, x: x / spread(s, (-1,), centred=False) * SCALE,
        (3, 4),
    ),
    "group": (
        lambda x: functional.group_norm(x, 2, SCALE, SHIFT),
        lambda s, x: (
            (
                (x.unflatten(1, (2, 2)) - x.unflatten(1, (2, 2)).mean((2, 3), keepdim=True))
                / spread(s.unflatten(1, (2, 2)), (2, 3))
            ).flatten(1, 2)
            * SCALE[:, None]
            + SHIFT[:, None]
        ),
        (4, 5),
    ),
    "instance": (
        lambda x: functional.instance_norm(x, weight=SCALE, bias=SHIFT),
        lambda s, x: (x - x.mean(2, keepdim=True)) / spread(s, (2,)) * SCALE[:, None] + SHIFT[:, None],
        (4, 5),
    ),
    "length": (
        lambda x: functional.normalize(x, dim=-1),
        lambda s, x: x / s.norm(dim=-1, keepdim=True),
        (3, 4),
    ),
}


@pytest.mark.parametrize("name", NORMS)
def test_the_spread_of_a_normalisation_is_a_constant(name: str):
    function, form, shape = NORMS[name]
    x = drawn(2, *shape)
    close(form(x, x), function(x))
    close(LRP(RULES)(Apply(function), x).values, linear_part(form, x))
