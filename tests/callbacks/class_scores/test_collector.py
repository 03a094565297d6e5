"""Which tensor holds the class scores of a step, over the batches of a validation, and what is said if none does."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.class_scores.collector import NeuronScores
from lightning_explain.callbacks.class_scores.output_hook import EXPLAINED
from lightning_explain.errors import ConfigurationError
from lightning_explain.schedule import Stopwatch
from tests.training import explanation_warnings

X, Y = torch.randn(12, 4, generator=torch.Generator().manual_seed(1)), torch.arange(12) % 3
TRAINER = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cpu")), world_size=1)


class Net(nn.Module):
    """Three classes by a head, and a second head of the same width."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head, self.other = nn.Linear(4, 5), nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def by_hand(scores: Tensor, labels: Tensor = Y) -> dict[str, list[float]]:
    predicted = scores.argmax(1)
    right = [((predicted == c) & (labels == c)).sum().double() for c in range(scores.shape[1])]
    n_predicted = [(predicted == c).sum() for c in range(scores.shape[1])]
    n_true = [(labels == c).sum() for c in range(scores.shape[1])]
    return {
        "precision": [float(hit / n) for hit, n in zip(right, n_predicted, strict=True)],
        "recall": [float(hit / n) for hit, n in zip(right, n_true, strict=True)],
        "f1": [float(2 * hit / (n + m)) for hit, n, m in zip(right, n_predicted, n_true, strict=True)],
    }


def approximately(metrics: dict[str, list[float]]) -> Any:
    return {name: pytest.approx(values, nan_ok=True) for name, values in metrics.items()}


def scores_of(net: nn.Module, **options: Any) -> NeuronScores:
    scores = NeuronScores(Question(**options), Guard("Monitor", "warn"), Stopwatch())
    scores.attach(net)
    return scores


def validate(scores: NeuronScores, net: nn.Module, step: Any, *, logged: Any = None, counted: Any = None) -> Any:
    metrics: dict[str, Any] = {}
    scores.begin_validation(metrics, net)
    for batch in zip(X.split(5), Y.split(5), strict=True):
        scores.begin_batch(net, batch, lambda: 3)
        step(batch[0])
        scores.count(scores.end_batch(batch[1], redirected=False), batch[1], counted)
    metrics |= logged or {}
    scores.end_validation(metrics, net)
    return scores.metrics(TRAINER)


def test_what_the_forward_returns_is_counted_over_all_batches() -> None:
    net = Net()
    scores = scores_of(net)
    assert validate(scores, net, net) == approximately(by_hand(net(X)))
    assert scores.explained_width == 3


def test_a_validation_forgets_the_one_before() -> None:
    net = Net()
    scores = scores_of(net)
    validate(scores, net, net)
    with torch.no_grad():
        net.head.weight.neg_()
    assert validate(scores, net, net) == approximately(by_hand(net(X)))


def test_a_step_that_calls_parts_shows_its_scores_by_the_part_that_returns_the_same() -> None:
    net = Net()

    def step(x: Tensor) -> None:
        hidden = net.body(x)
        net.other(hidden), net.head(hidden)

    assert validate(scores_of(net), net, step) == approximately(by_hand(net(X)))


class Headless(Net):
    """Nothing to call by itself: its steps call parts."""

    forward = nn.Module.forward


def both(net: Net) -> Any:
    def step(x: Tensor) -> None:
        hidden = net.body(x)
        net.other(hidden), net.head(hidden)

    return step


def test_of_several_tensors_the_one_is_taken_that_the_logged_accuracy_is_of() -> None:
    net = Headless()
    expected = net.other(net.body(X))
    accuracy = (expected.argmax(1) == Y).double().mean()
    assert float(accuracy) != float((net.head(net.body(X)).argmax(1) == Y).double().mean())
    found = validate(scores_of(net), net, both(net), logged={"val_acc": accuracy})
    assert found == approximately(by_hand(expected))


def test_without_evidence_none_is_taken_and_that_is_reported_with_its_cure() -> None:
    net = Headless()
    with explanation_warnings() as told:
        scores = scores_of(net)
        assert validate(scores, net, both(net)) == {}
        assert validate(scores, net, both(net)) == {}
    assert len(told) == 1 and "no precision, recall and F1" in told[0]
    assert "may hold them" in told[0] and "say with output=" in told[0]


def test_an_accuracy_that_was_logged_before_the_validation_is_no_evidence() -> None:
    net = Headless()
    stale = {"val_acc": (net.other(net.body(X)).argmax(1) == Y).double().mean()}
    scores = scores_of(net)
    scores.begin_validation(stale, net)
    for batch in zip(X.split(5), Y.split(5), strict=True):
        scores.begin_batch(net, batch, lambda: 3)
        both(net)(batch[0])
        scores.count(scores.end_batch(batch[1], redirected=False), batch[1], None)
    scores.end_validation(stale, net)
    with explanation_warnings():
        assert scores.metrics(TRAINER) == {}


def test_padding_and_negative_labels_are_left_out() -> None:
    net, labels = Net(), Y.clone()
    labels[2] = -100
    scores = scores_of(net)
    scores.begin_validation({}, net)
    scores.begin_batch(net, (X, labels), lambda: 3)
    net(X)
    counted = torch.arange(12) < 10
    scores.count(scores.end_batch(labels, redirected=False), labels, counted)
    scores.end_validation({}, net)
    kept = counted & (labels >= 0)
    assert scores.metrics(TRAINER) == approximately(by_hand(net(X)[kept], labels[kept]))


def test_where_no_step_returned_scores_that_is_reported() -> None:
    net = Net()
    scores = scores_of(net)
    scores.begin_validation({}, net)
    scores.end_validation({}, net)
    with explanation_warnings() as told:
        assert scores.metrics(TRAINER) == {}
    assert len(told) == 1 and "returned any [batch, classes]" in told[0]


def test_predictions_are_the_largest_scores() -> None:
    scores, caught = scores_of(Net()), torch.tensor([[0.1, 0.9, 0.0], [3.0, 1.0, 2.0]])
    found = scores.predicted({EXPLAINED: caught})
    assert found is not None and found.tolist() == [1, 0]
    assert scores.predicted({}) is None
    with pytest.raises(ConfigurationError, match=r"any of head, other may hold them.*output="):
        scores.predicted({"head": caught, "other": caught})


def test_one_column_is_of_probabilities_until_one_lies_outside_them() -> None:
    scores = scores_of(Net())

    def predicted(*values: float) -> list[int]:
        found = scores.predicted({EXPLAINED: torch.tensor(values)[:, None]})
        assert found is not None
        return found.tolist()

    assert predicted(0.2, 0.8) == [0, 1]
    assert predicted(0.2, 1.8) == [1, 1]  # logits, then: 0.2 speaks for the class
    assert predicted(0.2, 0.8) == [1, 1]  # as those of before showed
    scores.attach(Net())
    assert predicted(0.2, 0.8) == [0, 1]


def test_hooks_come_off() -> None:
    net = Net()
    scores = scores_of(net)
    assert any(module._forward_hooks for module in net.modules())
    scores.detach()
    assert not any(module._forward_hooks for module in net.modules())


def test_a_choice_of_output_leaves_the_width_open() -> None:
    class Pair(Net):
        def forward(self, x: Tensor) -> Any:
            return {"hidden": self.body(x), "scores": super().forward(x)}

    net = Pair()
    scores = scores_of(net, output="scores")
    assert validate(scores, net, net) == approximately(by_hand(net(X)["scores"]))
    assert scores.explained_width is None
