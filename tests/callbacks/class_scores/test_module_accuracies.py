"""Accuracies that a module measures itself."""

import torch
from torch import nn
from torchmetrics.classification import BinaryF1Score, MulticlassAccuracy

from lightning_explain.callbacks.class_scores.module_accuracies import (
    accuracy_metrics,
    held_accuracies,
    logged_accuracies,
)


def test_accuracies_are_known_by_name_and_only_fresh_ones_count() -> None:
    metrics = {"val/accuracy": 0.5, "valAcc": 0.25, "val_acc_top5": 0.9, "train_acc": 1.0, "space": 0.1, "old_acc": 0.3}
    fresh = [name for name in metrics if name != "old_acc"]
    assert logged_accuracies(metrics, fresh) == {"val/accuracy": 0.5}
    assert logged_accuracies({"acc": torch.tensor(0.75)}, ["acc"]) == {"acc": 0.75}


def test_percent_are_shares() -> None:
    assert logged_accuracies({"acc": 62.5}, ["acc"]) == {"acc": 0.625}


def test_a_vector_of_accuracies_is_none() -> None:
    assert logged_accuracies({"acc": torch.tensor([0.5, 0.6])}, ["acc"]) == {}


class Measuring(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.acc = MulticlassAccuracy(num_classes=3, average="micro")
        self.best_two = MulticlassAccuracy(num_classes=3, top_k=2, average="micro")
        self.f1 = BinaryF1Score()


def test_held_metrics_are_computed_on_a_copy_if_updated_in_this_validation() -> None:
    module = Measuring()
    assert set(accuracy_metrics(module)) == {"acc"}
    assert held_accuracies(module, {}) == {}
    module.acc.update(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 1, 2]))
    assert held_accuracies(module, {"acc": 0}) == {"acc": 0.75}
    assert held_accuracies(module, {"acc": 1}) == {}
    assert module.acc._computed is None
