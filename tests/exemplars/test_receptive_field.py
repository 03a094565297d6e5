"""Receptive fields that are found by trying equal the support of the dense Jacobian."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_explain.exemplars.receptive_field import ReceptiveFields, flat_place, pieces


class Masked(nn.Module):
    """A convolution that sees what is above and to the left: zeros that are multiplied, not left out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0]])
        return torch.relu(nn.functional.conv2d(x, self.conv.weight * mask, self.conv.bias, padding=1))


class Causal(nn.Module):
    """Attention that looks back, over [batch, channels, steps]."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dropout=0.0)

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[2])
        return self.layer(x.transpose(1, 2), src_mask=mask, is_causal=True).transpose(1, 2)


class Backwards(nn.Module):
    """A recurrent layer that reads from the end."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x.flip(2).transpose(1, 2))[0].transpose(1, 2).flip(2)


def layers_of(name: str) -> list[nn.Module]:
    found: dict[str, Any] = {
        "pooled": lambda: [nn.Conv2d(2, 8, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU()],
        "dilated": lambda: [nn.Conv2d(2, 8, 3, 1, 2, 2), nn.ReLU(), nn.Conv2d(8, 8, 2, 2), nn.GELU()],
        "depthwise": lambda: [nn.Conv2d(2, 8, 3, 2), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=8), nn.Hardswish()],
        "masked": lambda: [Masked()],
        "circular": lambda: [nn.Conv2d(2, 8, 3, padding=1, padding_mode="circular"), nn.Tanh()],
        "enlarged": lambda: [
            nn.AvgPool2d(2),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(2, 8, 3),
            nn.ELU(),
        ],
        "transposed": lambda: [nn.Conv2d(2, 8, 3), nn.SiLU(), nn.ConvTranspose2d(8, 6, 3, stride=2)],
        "normalised": lambda: [nn.Conv2d(2, 8, 3), nn.GroupNorm(2, 8), nn.ReLU()],
        "of steps": lambda: [nn.Conv1d(4, 8, 5, stride=3), nn.ReLU(), nn.Conv1d(8, 8, 3)],
        "looking back": lambda: [Causal()],
        "recurrent": lambda: [nn.Conv1d(4, 4, 1), Backwards()],
    }
    return found[name]()


SIZES: dict[str, tuple[int, ...]] = {
    "pooled": (9, 11), "dilated": (8, 9), "depthwise": (9, 9), "masked": (6, 7), "circular": (6, 7),
    "enlarged": (8, 8), "transposed": (6, 6), "normalised": (5, 6), "of steps": (40,), "looking back": (7,),
    "recurrent": (6,),
}  # fmt: skip


def support(net: nn.Module, size: Sequence[int], channels: int) -> Tensor:
    """Return where the dense Jacobian is not zero, for any unit and some inputs: [positions, *size]."""
    found: Tensor | None = None
    for seed in range(8):
        x = torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
        jacobian: Any = torch.autograd.functional.jacobian(nn.Sequential(net, nn.Flatten(2)), x, vectorize=True)[0]
        mark = (jacobian != 0).any(0).any(1).any(1)
        found = mark if found is None else found | mark
    assert found is not None
    return found


@pytest.mark.parametrize("name", list(SIZES))
def test_equal_to_the_support_of_the_dense_jacobian(name: str) -> None:
    torch.manual_seed(0)
    size = SIZES[name]
    net, channels = nn.Sequential(*layers_of(name)).eval(), 4 if len(size) == 1 else 2
    axes = tuple(range(1, 1 + len(size)))
    marks = support(net.double(), size, channels)
    net.float()
    fields = ReceptiveFields(axes, size)
    with torch.no_grad():
        x = torch.randn(2, channels, *size)
        fields.look("net", lambda given: {"net": net(*given).flatten(2)}, [x], 0, list(range(len(marks))))
    for place, mark in enumerate(marks):
        seen = [mark.movedim(axis, 0).flatten(1).any(1) if mark.ndim > 1 else mark for axis in range(len(size))]
        hits = [each.nonzero().flatten().tolist() for each in seen]
        # a position that depends on nothing has no field
        expected = tuple((hit[0], hit[-1] + 1) if hit else (0, n) for hit, n in zip(hits, size, strict=True))
        assert fields.box(place) == expected, place


def test_long_axes_are_tried_in_pieces_and_then_step_by_step() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv1d(1, 6, 37, stride=11), nn.ReLU(), nn.Conv1d(6, 4, 3, dilation=2))
    fields, x = ReceptiveFields((1,), (3000,)), torch.randn(2, 1, 3000)
    assert max(stop - start for start, stop in pieces(3000)) == 12
    with torch.no_grad():
        fields.look("net", lambda given: {"net": net(*given)}, [x], 0, [0, 50, 100])
    assert [fields.box(place) for place in (0, 50, 100)] == [((11 * p, 11 * p + 4 * 11 + 37),) for p in (0, 50, 100)]


def test_tokens_are_exchanged_for_others() -> None:
    torch.manual_seed(0)
    words, conv = nn.Embedding(30, 6), nn.Conv1d(6, 8, 3, padding=1)
    ids = torch.randint(0, 30, (2, 9))
    fields = ReceptiveFields((0,), (9,))
    with torch.no_grad():
        fields.look("net", lambda given: {"net": conv(words(given[0]).transpose(1, 2))}, [ids], 0, [0, 4])
    assert fields.box(0) == ((0, 2),) and fields.box(4) == ((3, 6),)


def test_a_layer_that_does_not_run_leaves_the_whole_input() -> None:
    fields = ReceptiveFields((1,), (5,))
    fields.look("other", lambda given: {"net": given[0]}, [torch.randn(2, 3, 5)], 0, [0])
    assert fields.box(0) == ((0, 5),)
    assert flat_place((1, 2), (4, 5)) == 7 and flat_place((), ()) == 0


def test_kernels_are_as_they_were() -> None:
    before = torch.backends.cudnn.enabled, torch.backends.mkldnn.enabled
    fields = ReceptiveFields((1,), (5,))
    with pytest.raises(ZeroDivisionError):
        fields.look("net", lambda given: {"net": given[0] / (1 // 0)}, [torch.randn(1, 3, 5)], 0, [0])
    assert (torch.backends.cudnn.enabled, torch.backends.mkldnn.enabled) == before


def test_longer_samples_have_positions_that_shorter_ones_lack() -> None:
    def outputs(parts: tuple[Tensor, ...]) -> dict[str, Tensor]:
        x, lengths = parts
        return {"layer": x[:, :, : int(lengths.max())] * 2}

    parts = (torch.randn(2, 1, 6), torch.tensor([2, 5]))
    fields = ReceptiveFields((1,), (6,))
    fields.look("layer", outputs, parts, 0, [0])
    assert [fields.box(place) for place in range(6)] == [((n, n + 1),) for n in range(5)] + [((0, 6),)]
