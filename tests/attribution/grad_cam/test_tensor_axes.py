"""What dimensions hold is found from operations, never from sizes."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from lightning_explain.attribution.grad_cam.feature_map import find_feature_map
from lightning_explain.attribution.grad_cam.tensor_axes import axes_of, holds

IMAGE = torch.rand(4, 4, 8, 8, requires_grad=True)
C, R, W, T = ("channels",), ("rows",), ("columns",), ("tokens",)
RW = ("rows", "columns")


def conv(x):
    torch.manual_seed(0)
    return nn.Conv2d(4, 4, 3, stride=2, padding=1)(x)


def tokens(x, before=0):
    found = conv(x).flatten(2).transpose(1, 2)
    return torch.cat([torch.zeros(4, before, 4), found], 1) if before else found


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda x: x.relu(), ((), C, R, W)),
        (conv, ((), C, R, W)),
        (lambda x: conv(x).permute(0, -2, -1, 1), ((), R, W, C)),
        (lambda x: conv(x).movedim(1, -1).transpose(1, 2), ((), W, R, C)),
        (lambda x: nn.Linear(4, 4)(conv(x).permute(0, 2, 3, 1)), ((), R, W, C)),
        (lambda x: nn.Linear(4, 4, bias=False)(conv(x).permute(0, 2, 3, 1)), ((), R, W, C)),
        (lambda x: conv(x).permute(0, 2, 3, 1) @ torch.rand(4, 4), ((), R, W, C)),
        # a linear layer over columns mixes places: channels stay where they were
        (lambda x: nn.Linear(4, 4)(conv(x)), ((), C, R, W)),
        (lambda x: nn.Linear(9, 4)(nn.Linear(4, 9)(conv(x))), ((), C, R, ())),
        (lambda x: nn.InstanceNorm2d(4)(conv(x)), ((), C, R, W)),
        (lambda x: nn.GroupNorm(2, 4)(conv(x)), ((), C, R, W)),
        (lambda x: nn.LayerNorm(4)(conv(x).permute(0, 2, 3, 1)), ((), R, W, C)),
        (lambda x: conv(x) + torch.rand(4, 1, 1), ((), C, R, W)),
        (lambda x: conv(x) * nn.Linear(4, 4)(conv(x).mean((2, 3)))[:, :, None, None].sigmoid(), ((), C, R, W)),
        (lambda x: torch.cat([conv(x), conv(x)], 1), ((), C, R, W)),
        (lambda x: functional.interpolate(conv(x), scale_factor=2.0, mode="bilinear"), ((), C, R, W)),
        (lambda x: conv(x)[:, :, 1:, ::2], ((), C, R, W)),
        # nothing tells: sizes agree everywhere
        (lambda x: conv(x) @ conv(x), ((), (), (), ())),
        (lambda x: conv(x) + conv(x).permute(0, 2, 3, 1), ((), (), (), ())),
        (lambda x: torch.stack([conv(x).mean(1)] * 4, 1), ((), (), (), ())),
        (lambda x: conv(x)[:, torch.tensor([3, 1, 0, 2])], ((), (), (), ())),
        (lambda x: nn.Linear(64, 64)(x.flatten(2)).flatten(1)[:, :64].reshape(4, 4, 4, 4), ((), (), (), ())),
        (lambda x: conv(x).flip(2), ((), (), (), ())),
        (tokens, ((), RW, C)),
        (lambda x: tokens(x, 2), ((), T, C)),
        (lambda x: nn.TransformerEncoderLayer(4, 2, 4, norm_first=True, batch_first=True)(tokens(x, 1)), ((), T, C)),
        (lambda x: tokens(x, 2)[:, 2:], ((), RW, C)),
        (lambda x: tokens(x, 1)[:, 1:].transpose(1, 2).reshape(4, 4, 4, 4), ((), C, R, W)),
        (lambda x: tokens(x, 1)[:, 2:], ((), (), C)),
        # patches cut out by reshaping, and embedded by a linear layer
        (
            lambda x: nn.Linear(16, 5)(x.view(4, 4, 4, 2, 4, 2).permute(0, 2, 4, 1, 3, 5).reshape(4, 16, 16)),
            ((), RW, C),
        ),
        # heads of an attention are no channels of a map
        (lambda x: nn.Linear(4, 12)(tokens(x)).reshape(4, 16, 3, 2, 2).permute(2, 0, 3, 1, 4)[0], ((), (), RW, ())),
    ],
)
def test_dimensions(made, expected):
    assert tuple(holds(dimension) for dimension in axes_of(made(IMAGE).grad_fn, IMAGE)) == expected


def test_the_first_patch_is_found_where_other_tokens_are():
    registers = torch.rand(1, 2, 4, requires_grad=True)
    made = torch.cat([torch.zeros(4, 1, 4), tokens(IMAGE), registers.expand(4, -1, -1)], 1)
    found = find_feature_map(axes_of(made.grad_fn, IMAGE))
    assert (found.first, found.grid, found.order) == (1, (4, 4), (0, 2, 1))
    more = torch.cat([registers.expand(4, -1, -1), made], 1)
    assert find_feature_map(axes_of(more.grad_fn, IMAGE)).first == 3
    # without a gradient on either side nothing indicates how many are before
    both = torch.cat([torch.zeros(4, 1, 4), tokens(IMAGE), torch.zeros(4, 2, 4)], 1)
    assert find_feature_map(axes_of(both.grad_fn, IMAGE)) is None


def test_a_swin_like_merging_of_patches_keeps_rows_and_columns():
    z = conv(IMAGE).permute(0, 2, 3, 1)
    merged = torch.cat([z[:, 0::2, 0::2], z[:, 1::2, 0::2], z[:, 0::2, 1::2], z[:, 1::2, 1::2]], -1)
    again = z.reshape(4, 2, 2, 2, 2, 4).permute(0, 1, 3, 4, 2, 5).flatten(3)
    for made in (merged, again):
        out = nn.Linear(16, 8)(nn.LayerNorm(16)(made))
        assert find_feature_map(axes_of(out.grad_fn, IMAGE)).order == (0, 3, 1, 2)
