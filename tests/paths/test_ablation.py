"""Ablation of drawn units: against hooks that set the same units by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from lightning_explain.paths import ablation
from lightning_explain.paths.ablation import Ablation
from tests.paths.by_hand import Transformer
from tests.paths.by_hand import seeded as drawn_at_random
from tests.paths.nets import lenet, mlp, seeded


def without(net: nn.Module, units: dict[str, list[int]], x: torch.Tensor) -> torch.Tensor:
    """The scores with channels or features of some modules set to their mean over the samples."""
    means: dict[str, torch.Tensor] = {}
    modules = dict(net.named_modules())
    noting = [modules[n].register_forward_hook(lambda m, a, out, n=n: means.update({n: out.mean(0)})) for n in units]
    net(x)
    for handle in noting:
        handle.remove()

    def set_units(name, out):
        out = out.clone()
        out[:, units[name]] = means[name][units[name]]
        return out

    setting = [modules[n].register_forward_hook(lambda m, a, out, n=n: set_units(n, out)) for n in units]
    scores = net(x)
    for handle in setting:
        handle.remove()
    return scores.detach()


def test_units_are_set_to_their_mean_layer_by_layer():
    seeded()
    net, x, target = mlp(4, 6, 5, 3).eval(), torch.randn(7, 4, dtype=torch.double), torch.arange(7) % 3
    units = {"0": [1, 4], "2": [0, 3]}
    (found,) = ablation(net, x, target, [units], torch.zeros(7, dtype=torch.long), n_draws=2)
    score = net(x).gather(1, target[:, None]).detach()
    after = without(net, units, x).gather(1, target[:, None])
    assert found.drawn == pytest.approx(float((score - after).sum() / score.abs().sum()))
    assert (found.n_units, found.n_draws) == (4, 2)


def test_a_batch_norm_belongs_to_the_channels_and_positions_keep_means_of_their_own():
    net, x, target = lenet()
    net.eval()
    (found,) = ablation(net, x, target, [{"conv1": [2], "fc1": [0, 3, 5]}], torch.zeros(5, dtype=torch.long))
    score = net(x).gather(1, target[:, None]).detach()
    after = without(net, {"norm": [2], "fc1": [0, 3, 5]}, x).gather(1, target[:, None])
    assert found.drawn == pytest.approx(float((score - after).sum() / score.abs().sum()))


def test_heads_are_set_before_the_output_projection():
    net, x = drawn_at_random(Transformer()), torch.rand(4, 3, 2, dtype=torch.double)
    (found,) = ablation(net, x, 1, [{"blocks.1": [1]}], torch.zeros(4, dtype=torch.long))
    block = net.blocks[1]
    score = net(x)[:, 1].detach()

    def set_head(module, args):
        read = args[0].clone()
        read[..., 2:] = read[..., 2:].mean(0)
        return (read,)

    handle = block.out.register_forward_pre_hook(set_head)
    after = net(x)[:, 1].detach()
    handle.remove()
    assert found.drawn == pytest.approx(float((score - after).sum() / score.abs().sum()))


def test_each_group_has_its_own_units_and_means_are_of_all_samples():
    seeded()
    net, x, target = mlp(4, 9, 3).eval(), torch.randn(6, 4, dtype=torch.double), torch.tensor([0, 0, 1, 1, 2, 2])
    groups = torch.tensor([0, 0, 1, 1, -1, -1])
    first, second = ablation(net, x, target, [{"0": [1]}, {"0": [2, 3]}], groups)
    score = net(x).gather(1, target[:, None]).flatten().detach()
    for found, units, rows in ((first, [1], slice(0, 2)), (second, [2, 3], slice(2, 4))):
        after = without(net, {"0": units}, x).gather(1, target[:, None]).flatten()
        lost = (score - after)[rows].sum() / score[rows].abs().sum()
        assert found.drawn == pytest.approx(float(lost))


def test_random_units_are_others_and_the_same_for_the_same_seed():
    seeded()
    net, x = mlp(4, 4, 3).eval(), torch.randn(6, 4, dtype=torch.double)
    groups = torch.zeros(6, dtype=torch.long)
    state = torch.get_rng_state()
    (found,) = ablation(net, x, 1, [{"0": [0, 1], "input": [0], "output": [0]}], groups)
    # of four units two are left, so that every draw has those
    (others,) = ablation(net, x, 1, [{"0": [2, 3]}], groups)
    assert found.random == pytest.approx(others.drawn) and found.random_spread == pytest.approx(0)
    (again,) = ablation(net, x, 1, [{"0": [0, 1]}], groups)
    assert again == found
    assert torch.equal(torch.get_rng_state(), state)


def test_layers_of_which_most_units_are_drawn_are_left_out():
    seeded()
    net, x = mlp(4, 4, 6, 3).eval(), torch.randn(6, 4, dtype=torch.double)
    groups = torch.zeros(6, dtype=torch.long)
    (both,) = ablation(net, x, 1, [{"0": [0, 1, 2], "2": [0]}], groups)
    (one,) = ablation(net, x, 1, [{"2": [0]}], groups)
    assert both == one and one.n_units == 1


def test_without_units_nothing_is_known():
    net, x = mlp(4, 1, 3).eval(), torch.randn(6, 4, dtype=torch.double)
    (found,) = ablation(net, x, 1, [{"0": [0], "input": [1]}], torch.zeros(6, dtype=torch.long))
    assert found.n_units == 0 and np.isnan([found.drawn, found.random, found.random_spread, found.ratio]).all()


def test_random_units_of_a_group_do_not_depend_on_the_other_groups():
    seeded()
    net, x = mlp(4, 9, 7, 3).eval(), torch.randn(6, 4, dtype=torch.double)
    first, second = {"0": [1], "2": [4]}, {"2": [2, 3]}
    both = ablation(net, x, 1, [first, second], torch.tensor([0, 0, 0, 1, 1, 1]), n_draws=3)
    (alone,) = ablation(net, x, 1, [second], torch.tensor([-1, -1, -1, 0, 0, 0]), n_draws=3)
    assert alone.random == pytest.approx(both[1].random) and alone.random_spread > 0


def test_one_sample_has_no_mean_to_be_set_to():
    net, x = mlp(4, 9, 3).eval(), torch.randn(1, 4, dtype=torch.double)
    (found,) = ablation(net, x, 1, [{"0": [1]}], torch.zeros(1, dtype=torch.long))
    assert found.n_units == 0 and np.isnan(found.drawn)


def test_positions_of_channels_are_units_of_their_own():
    net, x, target = lenet()
    net.eval()
    shape = net.conv1(x).shape[1:]
    # position 5 of channel 1 has a number that is no channel's
    unit = shape[1] * shape[2] + 5
    (found,) = ablation(net, x, target, [{"conv1": [unit]}], torch.zeros(5, dtype=torch.long), keep_positions=True)

    def set_one(module, args, out):
        changed = out.clone().flatten(1)
        changed[:, unit] = changed[:, unit].mean(0)
        return changed.view_as(out)

    score = net(x).gather(1, target[:, None]).detach()
    handle = net.norm.register_forward_hook(set_one)
    after = net(x).gather(1, target[:, None]).detach()
    handle.remove()
    assert found.n_units == 1 and found.drawn == pytest.approx(float((score - after).sum() / score.abs().sum()))


def test_the_ratio_is_undefined_where_random_units_lose_nothing():
    assert Ablation(0.5, 0.25, 0.1, 3, 8).ratio == 2
    assert torch.isnan(torch.tensor(Ablation(0.5, -0.1, 0.1, 3, 8).ratio))
    assert Ablation(0.123456, 0.25, 0.1, 3, 8).to_json()["drawn"] == 0.1235
