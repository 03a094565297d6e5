"""Errors made on purpose in the code of class scores and labels: each is noticed by its check."""

import torch

from lightning_explain.batches import label_oddities
from lightning_explain.callbacks.class_scores.class_metrics import ScoreCounts, doubt
from tests.mutations.checking import close
from tests.mutations.mutation import Mutation


def metrics_of_classes() -> None:
    counts = ScoreCounts(2)
    counts.update(torch.tensor([[2.0, 1.0], [1.0, 2.0], [3.0, 1.0]]), torch.tensor([0, 1, 1]), None)
    close(torch.tensor(list(counts.compute().metrics.values())), torch.tensor([[0.5, 1], [1, 0.5], [2 / 3, 2 / 3]]))
    assert doubt(counts.compute(), {"acc": 2 / 3}, named=False) == ""
    assert doubt(counts.compute(), {"acc": 0.1}, named=False) != ""


def labels_or_none() -> None:
    shares = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    assert label_oddities("one-hot", shares).tolist() == [True, False]
    assert label_oddities("one-hot", torch.ones(1, 2)).tolist() == [True, True]
    assert label_oddities("one-hot", torch.eye(2)).tolist() == [False, False]
    assert label_oddities("binary", torch.tensor([0.0, 3.0])).tolist() == [True, True]


MUTATIONS = [
    Mutation(
        "callbacks.class_scores.class_metrics.Tally.metrics",
        "self.hits / self.predicted",
        "self.hits / self.actual",
        metrics_of_classes,
    ),
    Mutation(
        "callbacks.class_scores.class_metrics.Tally.metrics",
        "2 * self.hits / (self.predicted + self.actual)",
        "self.hits / self.actual",
        metrics_of_classes,
    ),
    Mutation(
        "callbacks.class_scores.class_metrics.ScoreCounts.update",
        "torch.where(predicted == actual, actual, n_classes)",
        "predicted",
        metrics_of_classes,
    ),
    Mutation(
        "callbacks.class_scores.class_metrics.doubt",
        "tally.distance(logged) > GROSS",
        "tally.distance(logged) < GROSS",
        metrics_of_classes,
    ),
    Mutation("batches.label_oddities", "odd | (total != 1).any()", "odd", labels_or_none),
    Mutation("batches.label_oddities", "beyond | ((total - 1).abs() > SHARES_OFF).any()", "beyond", labels_or_none),
    Mutation("batches.label_oddities", "~((target >= 0) & (target <= 1)).all()", "(target < 0).any()", labels_or_none),
]
