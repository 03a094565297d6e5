"""Errors made on purpose in the counting of active neurons and in what feeds them: each is noticed by its check."""

from functools import partial

import torch

from lightning_explain.budget import PassBudget
from lightning_explain.callbacks.neurons.counting.batch_choice import stride_of_samples
from lightning_explain.feeding.shared_passes import shared_attributions
from lightning_explain.neurons.activity import fewest_active, unit_activity
from lightning_explain.neurons.class_counts import JointCounts, SummedLayer, class_rows
from lightning_explain.neurons.units import unit_layers
from tests.feeding.nets import mlp
from tests.mutations.checking import close
from tests.mutations.mutation import Mutation


def shares_of_positions() -> None:
    fewest_active.cache_clear()
    assert [fewest_active(36, 0.25), fewest_active(10, 0.1 + 0.2), fewest_active(9, 0.0), fewest_active(7, 0.3)] == [
        9,
        3,
        1,
        3,
    ]


def sums_by_class() -> None:
    layers = [
        unit_activity(torch.tensor([[1.0, -1.0], [2.0, 3.0]]), unit_dim=1),
        unit_activity(torch.tensor([[[1.0, 0.0, 0.0, 0.0, 0.0]], [[0.0] * 5]]), unit_dim=1, signed=False),
    ]
    sums = JointCounts(2, [SummedLayer.of(each) for each in layers], torch.device("cpu"))
    sums.add(layers, class_rows(torch.tensor([0, -5]), 2))
    flat, maps = sums.drain()
    close(flat.active, torch.tensor([[1.0, 0], [0, 0]]))
    close(flat.activation, torch.tensor([[1.0, -1], [0, 0]]))
    close(flat.magnitude, torch.tensor([1.0, 1]))
    close(maps.alive, torch.tensor([1.0]))
    close(maps.samples, torch.tensor([1.0, 0]))


def feeding_of_neurons() -> None:
    net, x, y = mlp()
    layers = {layer.name: layer for layer in unit_layers(net)}
    pairs = [(0, 3), (1, 3), (0, 4)]
    found = shared_attributions(net, net, (x,), y, {"1": (layers["1"], pairs)}, n_points=64)["1"]
    few = shared_attributions(net, net, (x,), y, {"1": (layers["1"], pairs)}, n_points=4)["1"]
    # the first is linear on the samples of its class; the others' true errors are 0.05 and 0.06
    assert float(few.errors[0]) < 1e-5
    assert bool((few.errors[1:] > 0.04).all() and (few.errors < 0.12).all())
    for values, (c, neuron) in zip(found.values, pairs, strict=True):
        change = net[:2](x[y == c])[:, neuron] - net[:2](torch.zeros(1, 6))[:, neuron]
        assert abs(float(values.sum()) - float(change.mean().detach())) < 0.02


def spared_batches() -> None:
    assert stride_of_samples(torch.tensor([800.0, 399.0]), torch.tensor([100.0, 10.0])) == 1
    assert stride_of_samples(torch.tensor([800.0, 6000.0]), torch.tensor([400.0, 100.0])) == 2
    assert stride_of_samples(torch.tensor([1000.0]), torch.tensor([0.0])) == 4


def passes_beside_training() -> None:
    budget = PassBudget(0.1)
    budget.train(100)
    assert budget.trained == 300
    allows = partial(budget.allows, at_end=40)
    assert allows(30, progress=None, is_first=True) and not allows(31, progress=None, is_first=True)
    assert allows(80, progress=0.25, is_first=True) and not allows(81, progress=0.25, is_first=True)
    assert not allows(60, progress=0.25, is_first=False)
    budget.spend(20)
    assert not allows(11, progress=None, is_first=False) and not allows(61, progress=0.25, is_first=True)


MUTATIONS = [
    Mutation(
        "callbacks.neurons.counting.batch_choice.stride_of_samples",
        "val.clamp_min(ENOUGH)",
        "val.clamp_min(1)",
        spared_batches,
    ),
    Mutation(
        "callbacks.neurons.counting.batch_choice.stride_of_samples",
        "val.clamp_min(ENOUGH)",
        "torch.full_like(val, ENOUGH)",
        spared_batches,
    ),
    Mutation("budget.PassBudget.train", "TRAINING * n_samples", "n_samples", passes_beside_training),
    Mutation("budget.PassBudget.allows", "self.spent + cost + at_end", "cost + at_end", passes_beside_training),
    Mutation(
        "budget.PassBudget.allows",
        "is_first and progress is not None",
        "progress is not None",
        passes_beside_training,
    ),
    Mutation("neurons.activity.fewest_active", "below >= np.float32(min_fraction)", "False", shares_of_positions),
    Mutation(
        "neurons.activity.fewest_active",
        "math.ceil(min_fraction * n_positions)",
        "int(min_fraction * n_positions)",
        shares_of_positions,
    ),
    Mutation("neurons.class_counts.class_rows", "labels >= 0", "labels > 0", sums_by_class),
    Mutation("neurons.class_counts.JointCounts.drain", "columns[k : 2 * k]", "columns[:k]", sums_by_class),
    Mutation("neurons.class_counts.JointCounts.drain", "active.amax(0) + next(alive)", "active.amax(0)", sums_by_class),
    Mutation("feeding.shared_passes.shared_attributions", "int((labels == c).sum())", "1", feeding_of_neurons),
    Mutation("feeding.shared_passes._with_errors", "halves[1] / shares[1]", "halves[1]", feeding_of_neurons),
    Mutation("feeding.shared_passes._with_errors", "PER_SPLIT * split", "split", feeding_of_neurons),
    Mutation("feeding.shared_passes._gradients", "neuron >= 0", "neuron >= 4", feeding_of_neurons),
]
