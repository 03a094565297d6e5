"""What the loss of the first training step tells of scores and labels, in real fits of all three monitors."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor, IntegratedGradients, Probe
from lightning_explain.errors import ExplanationWarning
from tests.callbacks.class_scores.score_nets import Parts, X, Y, fit_scores

ORDER = torch.arange(50).flip(0)


class Own(Parts):
    """Takes the batch's labels in its own way."""

    logs = False

    def __init__(self, loss: Any) -> None:
        super().__init__()
        self.loss = loss

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        return self.loss(self, x, y)


def mixed(model: Any, x: Tensor, y: Tensor) -> Tensor:
    order = ORDER[len(x) > ORDER]
    out = model(0.7 * x + 0.3 * x[order])
    return 0.7 * functional.cross_entropy(out, y) + 0.3 * functional.cross_entropy(out, y[order])


def reordered(model: Any, x: Tensor, y: Tensor) -> Tensor:
    order = ORDER[len(x) > ORDER]
    return functional.cross_entropy(model(x[order]), y[order])


def shifted(model: Any, x: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(model(x), (y + 1) % 3)


def triplets(model: Any, x: Tensor, y: Tensor) -> Tensor:
    out = model(x)
    return functional.triplet_margin_loss(out, out.roll(1, 0), out.roll(2, 0))


def contrastive_and_head(model: Any, x: Tensor, y: Tensor) -> Tensor:
    out = model(x)
    pairs = functional.cross_entropy(out @ out.T, torch.arange(len(x)))
    return functional.cross_entropy(model.proxies(out), y) + pairs


def two_views(model: Any, x: Tensor, y: Tensor) -> Tensor:
    guessed = model(x).argmax(1)
    return functional.cross_entropy(model(x), y) + 0.1 * functional.cross_entropy(model(x + 1), guessed)


class FrozenProxies(Own):
    def __init__(self) -> None:
        super().__init__(contrastive_and_head)
        self.proxies = torch.nn.Linear(3, 3).requires_grad_(False)


def fitted(model: Any, *monitors: Any) -> tuple[Any, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = fit_scores(model, *monitors)
    return trainer, [str(each.message) for each in caught if issubclass(each.category, ExplanationWarning)]


def neurons() -> ActiveNeuronMonitor:
    return ActiveNeuronMonitor(feeding=0, maps=0, exemplars=0, on_error="raise")


def attribution() -> AttributionMonitor:
    method = IntegratedGradients(n_steps=2, tolerance=9.0)
    return AttributionMonitor(probe=Probe(inputs=X[:12], targets=Y[:12]), method=method, on_error="raise")


def test_labels_that_the_loss_takes_for_others_are_said_with_the_cure() -> None:
    for own in (attribution(), DecisionPathMonitor(probe=Probe(inputs=X[:12], targets=Y[:12]))):
        _, words = fitted(Own(shifted), own)
        assert [each for each in words if "takes label 0 for class 1, label 1 for class 2, label 2 for class 0" in each]
    own = neurons()
    _, words = fitted(Own(shifted), own)
    assert own.class_metrics == {}
    assert [each for each in words if "no precision, recall and F1" in each and "label 0 for class 1" in each]
    own = ActiveNeuronMonitor(feeding=0, maps=0, exemplars=0, target=lambda batch: (batch[1] + 1) % 3)
    trainer, words = fitted(Own(shifted), own)
    assert words == [] and "explain/neurons/f1/0" in trainer.callback_metrics


def test_training_that_mixes_samples_in_the_step_is_counted_as_a_whole() -> None:
    own = neurons()
    model = Own(mixed)
    _, words = fitted(model, own)
    assert [len(profiles["encoder.1"].n_samples) for profiles in (own.profiles["train"], own.profiles["val"])] == [1, 3]
    assert len(words) == 1 and "mixed or reordered within the step" in words[0] and "of training count" in words[0]
    assert own.class_metrics["recall"] == pytest.approx(model.true_recall())
    assert fitted(Own(mixed), attribution())[1] == []


def test_training_that_reorders_samples_in_the_step_is_not_counted() -> None:
    own = neurons()
    model = Own(reordered)
    _, words = fitted(model, own)
    assert not own.profiles["train"]
    assert len(own.profiles["val"]["encoder.1"].n_samples) == 3
    assert len(words) == 2 and "not counted: encoder.1" in words[0] and "mixed or reordered within the step" in words[1]
    assert own.class_metrics["recall"] == pytest.approx(model.true_recall())
    assert fitted(Own(reordered), attribution())[1] == []


@pytest.mark.parametrize("model", [lambda: Own(triplets), FrozenProxies])
def test_no_metrics_of_an_embedding_as_wide_as_the_classes(model: Any) -> None:
    own = neurons()
    _, words = fitted(model(), own)
    assert own.class_metrics == {}
    assert len(words) == 1 and "no precision, recall and F1: they would be of what the module's forward" in words[0]
    _, words = fitted(model(), attribution())
    assert len(words) == 1 and "forward returns is explained, output i for class i, but the loss" in words[0]


def test_labels_of_both_signs_are_told_to_be_classes() -> None:
    signs = torch.where(Y > 0, 1, -1)

    def hinge(model: Any, x: Tensor, y: Tensor) -> Tensor:
        return (1 - model(x)[:, 0] * y).relu().mean()

    own = neurons()
    with pytest.warns(ExplanationWarning, match=r"labels are -1 and 1.*target=lambda batch: \(batch\[1\] > 0\)"):
        fit_scores(Own(hinge), own, y=signs)
    assert own.class_metrics == {}


class Flipped(Parts):
    sign = -1.0

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        scores = self(batch[0]) + self(self.sign * batch[0])
        self.log("val_loss", functional.cross_entropy(scores, batch[1]))


class Twice(Flipped):
    sign = 1.0


def test_calls_of_one_validation_step_with_different_scores_are_said() -> None:
    own, model = neurons(), Flipped()
    _, words = fitted(model, own)
    assert len(words) == 1 and "are of the last call" in words[0]
    with torch.no_grad():
        predicted = model(-X).argmax(1)
    assert own.class_metrics["recall"] == [float((predicted[c == Y] == c).double().mean()) for c in range(3)]
    assert fitted(Twice(), neurons())[1] == []


def test_unlabelled_views_beside_labelled_ones_say_nothing() -> None:
    own = neurons()
    _, words = fitted(Own(two_views), own)
    assert words == []
    assert len(own.profiles["train"]["encoder.1"].n_samples) == 3


@pytest.mark.parametrize("loss", [mixed, shifted, contrastive_and_head])
def test_the_run_is_the_same_to_the_bit(loss: Any) -> None:
    weights: list[Tensor] = []
    for monitors in ([], [neurons(), attribution()]):
        torch.manual_seed(0)
        model = FrozenProxies()
        model.loss = loss
        fitted(model, *monitors)
        weights.append(torch.cat([part.detach().flatten() for part in model.parameters()]))
        assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(*weights)
