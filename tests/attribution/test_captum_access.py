"""What stands between captum and a model: counted rows, one kind of numbers, inputs in the model's order."""

import random

import numpy as np
import torch
from torch import nn

from lightning_explain.attribution.captum_access import ModelAccess, keep_outputs, seed_streams


def test_rows_are_counted_and_numbers_keep_their_kind():
    x = torch.rand(3, 2).double()
    access = ModelAccess((x,))
    seen: list[torch.dtype] = []
    model = access.counting(lambda a: seen.append(a.dtype) or a.sum(1))
    model(x.float()), model(x)
    assert seen == [torch.float64] * 2
    assert access.rows == 6


def test_inputs_come_in_the_order_of_the_model():
    ids, x, mask = torch.tensor([[1], [2]]), torch.rand(2, 3), torch.tensor([[True], [False]])
    access = ModelAccess((ids, x, mask))
    assert (access.explained, access.carried) == ([1], [0, 2])
    got: list[tuple[torch.Tensor, ...]] = []
    access.counting(lambda *args: got.append(args))(x, ids, mask, "further")
    assert [id(part) for part in got[0][:3]] == [id(ids), id(x), id(mask)]
    assert got[0][3] == "further"
    module = nn.Identity()
    module.forward = lambda *args: got.append(args)  # type: ignore[method-assign]
    access.counting(module)(x, ids, mask)
    assert got[1][0] is ids and got[1][2] is mask


def test_a_layers_output_is_kept_from_what_is_written_into_it():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True))
    kept: list[torch.Tensor] = []
    keep_outputs(net[0], at_input=False)
    net[0].register_forward_hook(lambda _module, _args, output: kept.append(output))
    x = -torch.ones(1, 2) @ torch.linalg.inv(net[0].weight).T
    net(x)
    assert bool((kept[0] != 0).all()) and torch.equal(kept[0], nn.functional.linear(x, net[0].weight, net[0].bias))


def test_every_random_stream_is_seeded():
    def draws() -> list[float]:
        seed_streams(4)
        return [float(torch.rand(1)), float(np.random.rand()), random.random()]

    assert draws() == draws()
