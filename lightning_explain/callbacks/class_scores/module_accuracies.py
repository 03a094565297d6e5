"""The accuracies that a module itself measures in a validation: logged ones, and torchmetrics that it holds."""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torchmetrics import Metric

ACCURACY = re.compile(r"(^|[^a-z])(acc|accuracy)([^a-z]|$)", re.IGNORECASE)
OTHER = re.compile(r"train|top.?[2-9k]|balanced", re.IGNORECASE)


def logged_accuracies(metrics: Mapping[str, Tensor | float], fresh: Sequence[str]) -> dict[str, float]:
    """Find the accuracies among logged metrics.

    Args:
        metrics: By name.
        fresh: Names of those that were logged in this validation.

    Example:
        >>> logged_accuracies({"val_acc": 0.5, "val_acc_top5": 0.9, "pace": 1.0}, ["val_acc", "val_acc_top5", "pace"])
        {'val_acc': 0.5}
    """
    names = [name for name in fresh if ACCURACY.search(name) and not OTHER.search(name)]
    found = {name: float(metrics[name]) for name in names if torch.as_tensor(metrics[name]).numel() == 1}
    # some log percent
    return {name: value / 100 if value > 1 else value for name, value in found.items()}


def accuracy_metrics(module: nn.Module) -> dict[str, Metric]:
    """Return the torchmetrics in a module that measure how many samples are right, by name."""
    return {
        name: metric
        for name, metric in module.named_modules()
        if isinstance(metric, Metric)
        and re.fullmatch("(Multiclass|Binary)?Accuracy", type(metric).__name__)
        and getattr(metric, "top_k", 1) == 1
    }


def held_accuracies(module: nn.Module, updates_before: Mapping[str, int]) -> dict[str, float]:
    """Work out the accuracies that a module holds and has updated in this validation; the module's are left alone.

    Args:
        module: The module.
        updates_before: How often each was updated before the validation.
    """
    found: dict[str, float] = {}
    for name, metric in accuracy_metrics(module).items():
        if not metric.update_count or metric.update_count == updates_before.get(name):
            continue
        copy = deepcopy(metric)
        copy.distributed_available_fn = lambda: False  # this process's own share is near enough
        value = copy.compute()
        if value.numel() == 1:
            found[name] = float(value)
    return found
