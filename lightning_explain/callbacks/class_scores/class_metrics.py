"""Precision, recall and F1 of each class, and whether what was caught are class scores at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

GROSS = 0.2
"""An accuracy that differs by more from the one that the module logs is one of another tensor."""

CLOSE = 0.02
"""How near an accuracy must come to a logged one to be evidence for its tensor."""

MANY = 2
"""So many times as many columns as there are labels may be an embedding rather than class scores."""

ClassMetrics = dict[str, list[float]]
"""Precision, recall and F1 by class."""


def predicted_classes(scores: Tensor, threshold: float | Tensor = 0.0) -> tuple[Tensor, int]:
    """Turn scores [batch, classes] into predicted classes [batch] and the number of classes.

    One column means a binary classifier, which says 1 above the threshold: 0 for logits, 0.5 for probabilities.

    Example:
        >>> predicted_classes(torch.tensor([[0.2], [-1.0]]))
        (tensor([1, 0]), 2)
    """
    flat = scores.reshape(len(scores), -1)
    if flat.shape[1] == 1:
        return (flat[:, 0] > threshold).long(), 2
    return flat.argmax(1), flat.shape[1]


def outside_probabilities(scores: Tensor) -> Tensor:
    """Return True if any score is no probability: boolean [], on the scores' device."""
    return ~((scores >= 0) & (scores <= 1)).all()


class ScoreCounts(Metric):
    """Counts, class by class, how often it was predicted, was true, and both; never waits for the device.

    A single column is counted as logits and as probabilities, until it is known over all batches which they are.

    Args:
        n_columns: Columns of the scores.
    """

    full_state_update = False
    hits: Tensor
    predicted: Tensor
    actual: Tensor
    beyond: Tensor
    outside: Tensor

    def __init__(self, n_columns: int) -> None:
        super().__init__()
        self.n_columns = n_columns
        self.thresholds = (0.0, 0.5) if n_columns == 1 else (0.0,)
        room = (len(self.thresholds), max(2, n_columns) + 1)
        for name in ("hits", "predicted"):
            self.add_state(name, torch.zeros(room, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("actual", torch.zeros(room[1], dtype=torch.long), dist_reduce_fx="sum")
        for name in ("beyond", "outside"):
            self.add_state(name, torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, scores: Tensor, labels: Tensor, counted: Tensor | None) -> None:
        """Count one batch.

        Args:
            scores: [batch, columns].
            labels: Class of each sample [batch]; negative ones are ignored.
            counted: Boolean [batch]; False for padding; None where all count.
        """
        n_classes = max(2, self.n_columns)
        counts = labels >= 0 if counted is None else (labels >= 0) & counted
        known = counts & (labels < n_classes)
        # the last place is thrown away: picking samples out would wait for the device
        actual = torch.where(known, labels, n_classes)
        ones = torch.ones_like(actual)
        self.actual.index_add_(0, actual, ones)
        self.beyond += (counts & ~known).sum()
        self.outside += outside_probabilities(scores)
        for row, threshold in enumerate(self.thresholds):
            predicted = torch.where(known, predicted_classes(scores, threshold)[0], n_classes)
            self.predicted[row].index_add_(0, predicted, ones)
            self.hits[row].index_add_(0, torch.where(predicted == actual, actual, n_classes), ones)

    def compute(self) -> "Tally":
        """Return the counts of all batches and processes."""
        row = int(self.n_columns == 1 and int(self.outside) == 0)
        hits, predicted, actual = (each[..., :-1].double().cpu() for each in (self.hits, self.predicted, self.actual))
        return Tally(self.n_columns, hits[row], predicted[row], actual, int(self.beyond))


class Tally(NamedTuple):
    """Counts of a tensor's predictions against the labels.

    Attributes:
        n_columns: Columns of the scores.
        hits: Samples of each class that were predicted right [classes].
        predicted: Samples for which the class was predicted [classes].
        actual: Samples of the class [classes].
        n_beyond: Samples whose label is beyond the columns.
    """

    n_columns: int
    hits: Tensor
    predicted: Tensor
    actual: Tensor
    n_beyond: int

    @property
    def metrics(self) -> ClassMetrics:
        """Precision, recall and F1 by class; NaN for a class that was neither seen nor predicted."""
        return {
            "precision": (self.hits / self.predicted).tolist(),
            "recall": (self.hits / self.actual).tolist(),
            "f1": (2 * self.hits / (self.predicted + self.actual)).tolist(),
        }

    @property
    def n_labels(self) -> int:
        """The largest label that was met, plus one."""
        seen = self.actual.nonzero()
        return int(seen.max()) + 1 if len(seen) else 0

    @property
    def accuracies(self) -> tuple[float, float]:
        """The share of samples that are right, and its mean over the classes."""
        recall = self.hits / self.actual
        return float(self.hits.sum() / self.actual.sum()), float(recall[self.actual > 0].mean())

    def distance(self, logged: Mapping[str, float]) -> float:
        """Return the distance of the accuracy to the nearest that the module logged; NaN where it logged none."""
        gaps = [abs(own - other) for own in self.accuracies for other in logged.values()]
        return min(gaps, default=float("nan"))


def doubt(tally: Tally, logged: Mapping[str, float], *, named: bool) -> str:
    """Return the reason for which a tensor cannot hold the class scores; empty if there is none.

    Args:
        tally: How its largest columns agree with the labels.
        logged: The accuracies that the module logged in the same validation.
        named: Whether the user said with output= that this is it; then only impossible widths speak against it.
    """
    width = f"{tally.n_columns} column{'s' * (tally.n_columns != 1)}"
    if tally.n_beyond:
        return f"it has {width}, and the labels of {tally.n_beyond} samples are beyond"
    total = float(tally.actual.sum())
    if named or not total:
        return ""
    n_labels = max(2, tally.n_labels)
    elsewhere = float(tally.predicted[n_labels:].sum()) / total
    if elsewhere > 0.5:
        share = f"{elsewhere:.0%}".replace("%", " %")
        return f"it has {width}, {share} of the largest ones beyond the labels, which end at {n_labels - 1}"
    if tally.n_columns > MANY * n_labels and not logged:
        return (
            f"it has {width}, while labels end at {n_labels - 1}, and the module measures no accuracy to compare with"
        )
    if tally.distance(logged) > GROSS:
        listed = ", ".join(f"{name} = {value:.3g}" for name, value in list(logged.items())[:3])
        return f"its accuracy is {tally.accuracies[0]:.3g}, while the module measures {listed}"
    return ""


@dataclass(frozen=True)
class ScoreCheck:
    """Outcome of the check of a validation's class scores.

    Attributes:
        metrics: Precision, recall and F1 by class; empty where no tensor fits.
        why_not: Why there are none; empty where there are, or no sample was scored.
    """

    metrics: ClassMetrics
    why_not: str = ""


def verdict(
    explained: Tally | None, others: Mapping[str, Tally], logged: Mapping[str, float], *, named: bool
) -> ScoreCheck:
    """Choose the tensor that holds the class scores.

    Args:
        explained: Of what the explained forward returns, if the validation step computed that.
        others: Of what children of the module returned, where it did not; by name.
        logged: The accuracies that the module logged.
        named: As for `doubt`.
    """
    if explained is not None:
        why = doubt(explained, logged, named=named)
        return (
            ScoreCheck({}, f"what the module's forward returns holds none: {why}")
            if why
            else ScoreCheck(explained.metrics)
        )
    doubts = {name: doubt(tally, logged, named=named) for name, tally in others.items()}
    fitting = {name: others[name] for name, why in doubts.items() if not why}
    if len(others) > 1:
        fitting = {name: tally for name, tally in fitting.items() if tally.distance(logged) <= CLOSE}
    if len(fitting) == 1:
        return ScoreCheck(next(iter(fitting.values())).metrics)
    if len(others) == 1:
        ((name, why),) = doubts.items()
        return ScoreCheck({}, f"the validation step called {name}, whose output holds none: {why}")
    return ScoreCheck(
        {},
        f"any of {', '.join(others)} may hold them, and nothing says which (the module measures no accuracy that "
        "one of them alone agrees with)"
        if others
        else "neither the module's forward nor one of its direct children returned any [batch, classes]",
    )


class ClassScores:
    """Counts the predictions of a validation against its labels, for every tensor that may hold the class scores."""

    def __init__(self) -> None:
        self._counts: dict[str, ScoreCounts] = {}

    def reset(self) -> None:
        """Forget all counts."""
        self._counts = {}

    def add(self, name: str, scores: Tensor, labels: Tensor, counted: Tensor | None) -> None:
        """Count one batch of a tensor's scores [batch, columns] against its labels [batch]."""
        n_columns = scores.reshape(len(scores), -1).shape[1]
        if name in self._counts and self._counts[name].n_columns != n_columns:
            return  # another head for another loader, say: its columns are no classes of the first one's
        self._of(name, n_columns, scores.device).update(scores.detach(), labels, counted)

    def _of(self, name: str, n_columns: int, device: torch.device) -> ScoreCounts:
        if name not in self._counts:
            with torch.inference_mode(mode=False):
                self._counts[name] = ScoreCounts(n_columns).to(device)
        return self._counts[name]

    @property
    def widths(self) -> dict[str, int]:
        """Columns of each tensor by its name; `EXPLAINED` for what the explained forward returns."""
        return {name: counts.n_columns for name, counts in self._counts.items()}

    def tallies(self, widths: Mapping[str, int], device: torch.device) -> dict[str, Tally]:
        """Return the counts of each tensor.

        In a distributed run every process must call this.

        Args:
            widths: Of the tensors that any process met.
            device: Where counts live.
        """
        found: dict[str, Tally] = {}
        for name in sorted(widths):
            counts = self._of(name, widths[name], device)
            if not counts.update_called:
                nothing = torch.zeros(0, dtype=torch.long, device=device)
                counts.update(torch.zeros(0, widths[name], device=device), nothing, None)
            found[name] = counts.compute()
        return found
