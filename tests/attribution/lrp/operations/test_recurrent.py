"""Recurrent layers and cells: same output, conserved relevance, and a form of their own."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import rnn

from lightning_explain.attribution import (
    LRP,
)
from tests.attribution.lrp.operations.applied import RULES, Apply, close, conserves, drawn, weights

RECURRENT = {
    "lstm": lambda **options: nn.LSTM(4, 3, batch_first=True, **options),
    "gru": lambda **options: nn.GRU(4, 3, batch_first=True, **options),
    "rnn": lambda **options: nn.RNN(4, 3, batch_first=True, **options),
    "relu": lambda **options: nn.RNN(4, 3, nonlinearity="relu", batch_first=True, **options),
}


class Reading(nn.Module):
    def __init__(self, layer: nn.Module, *, packed: bool) -> None:
        super().__init__()
        self.layer, self.packed = layer, packed

    def forward(self, x: Tensor) -> Tensor:
        if self.packed:
            lengths = torch.tensor([3, 5, 2])
            out, h = self.layer(rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
            out, _ = rnn.pad_packed_sequence(out, batch_first=True)
        else:
            out, h = self.layer(x)
        h = h[0] if isinstance(h, tuple) else h
        return out.sum((1, 2)) + 2 * h[-1].sum(1)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"bidirectional": True}, {"num_layers": 2, "bidirectional": True}, {"bias": False}]
)
@pytest.mark.parametrize("kind", RECURRENT)
def test_recurrent_layers_give_the_same_output_and_conserve(kind: str, options, packed: bool):
    torch.manual_seed(0)
    net, x = Reading(RECURRENT[kind](**options), packed=packed).double(), drawn(3, 5, 4)
    found = LRP(RULES)(net, x)
    close(found.values.sum((1, 2)) - found.convergence_delta, net(x).detach())
    for name, parameter in net.named_parameters():
        if "bias" in name:
            nn.init.zeros_(parameter)
    conserves(net, x)
    if packed:
        assert not LRP(RULES)(net, x).values[0, 3:].any()


def test_a_cell_equals_the_layer_and_a_form_of_its_own():
    torch.manual_seed(0)
    layer, cell = nn.GRU(4, 3, batch_first=True).double(), nn.GRUCell(4, 3).double()
    for name, parameter in cell.named_parameters():
        parameter.data = getattr(layer, f"{name}_l0").data
    x = drawn(2, 1, 4)
    close(LRP(RULES)(Apply(lambda a: layer(a)[1][0]), x).values, LRP(RULES)(Apply(lambda a: cell(a[:, 0])), x).values)
    # from a state of 0 a GRU gives (1 - z) tanh(W x + b + r c), of which gates get nothing
    i_r, i_z, i_n = (x[:, 0] @ cell.weight_ih.T + cell.bias_ih).chunk(3, 1)
    h_r, h_z, h_n = cell.bias_hh.chunk(3)
    inner = i_n + torch.sigmoid(i_r + h_r) * h_n
    out = (1 - torch.sigmoid(i_z + h_z)) * torch.tanh(inner)
    per_unit = out * weights(3) / inner
    wanted = (per_unit @ cell.weight_ih[6:]) * x[:, 0]
    close(LRP(RULES)(Apply(cell), x[:, 0]).values, wanted.detach())
