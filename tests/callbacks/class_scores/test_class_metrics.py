"""Which tensor precision, recall and F1 are of: the right one, or none and a word."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.classification import MulticlassAccuracy

from lightning_explain import ActiveNeuronMonitor
from lightning_explain.callbacks.class_scores.class_metrics import (
    ScoreCounts,
    Tally,
    doubt,
    predicted_classes,
    verdict,
)
from lightning_explain.callbacks.class_scores.module_accuracies import (
    accuracy_metrics,
    held_accuracies,
    logged_accuracies,
)
from lightning_explain.errors import ExplanationWarning
from tests.callbacks.class_scores.score_nets import Parts, X, Y, fit_scores


def monitor(**options: Any) -> ActiveNeuronMonitor:
    return ActiveNeuronMonitor(feeding=0, maps=0, **options)


class Called(Parts):
    """The steps call self(x)."""

    def scores(self, x: Tensor) -> Tensor:
        return self(x)


class Tasked(Called):
    """Gives [batch, tasks = 1, classes]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, None]

    def scores(self, x: Tensor) -> Tensor:
        return self(x)[:, 0]


class Probabilities(Parts):
    """Returns probabilities, while the steps compute logits by the parts."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).softmax(1)


class Nested(Parts):
    """The steps call parts of a part."""

    def __init__(self) -> None:
        super().__init__()
        names = ("encoder", "head", "other", "decoder")
        self.net = torch.nn.ModuleDict({name: self._modules.pop(name) for name in names})

    def __getattr__(self, name: str) -> Any:
        parts = self.__dict__["_modules"].get("net", {})
        return parts[name] if name in parts else super().__getattr__(name)


class FeaturesFirst(Called):
    def forward(self, x: Tensor) -> Any:
        hidden = self.encoder(x)
        return hidden, self.head(hidden)

    def scores(self, x: Tensor) -> Tensor:
        return self(x)[1]


class NoForward(Parts):
    """Nothing says which part holds the scores but the accuracy that is logged."""

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError


@pytest.mark.filterwarnings("ignore:.*is taken for the scores")
@pytest.mark.filterwarnings("ignore:.*exemplars are kept, but not shown")
@pytest.mark.parametrize("kind", [Parts, Called, Tasked, Probabilities, Nested, FeaturesFirst, NoForward])
def test_the_figures_are_those_of_the_class_scores(kind: type[Parts]) -> None:
    watched, model = monitor(on_error="raise", layers="*encoder*"), kind()
    trainer = fit_scores(model, watched)
    assert watched.class_metrics["recall"] == pytest.approx(model.true_recall())
    assert trainer.callback_metrics["explain/neurons/recall/0"] == pytest.approx(model.true_recall()[0])


class Decoding(Called):
    """Returns its reconstruction; what it learns is not to classify."""

    logs = False

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return functional.mse_loss(self(batch[0]), batch[0])


class Embedding(Decoding):
    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self(batch[0]).square().mean()


class OtherHead(Parts):
    """Its forward returns the untrained head."""

    def forward(self, x: Tensor) -> Tensor:
        return self.other(self.encoder(x).detach())

    def scores(self, x: Tensor) -> Tensor:
        self(x)
        return self.head(self.encoder(x))


class HeldAccuracy(OtherHead):
    """Holds a metric that it computes after the callbacks had their turn."""

    logs = False

    def __init__(self) -> None:
        super().__init__()
        self.right = MulticlassAccuracy(3)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.right.update(self.scores(batch[0]), batch[1])

    def on_validation_epoch_end(self) -> None:
        self.log("how_good", self.right.compute())
        self.right.reset()


class TwoHeads(Called):
    def forward(self, x: Tensor) -> Any:
        hidden = self.encoder(x)
        return self.head(hidden), self.other(hidden)

    def scores(self, x: Tensor) -> Tensor:
        return self(x)[0]


class Silent(NoForward):
    logs = False


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Decoding, "it has 64 columns"),
        (Embedding, "it has 16 columns"),
        (OtherHead, "while the module measures val_acc"),
        (HeldAccuracy, "while the module measures right"),
        (TwoHeads, r"nothing indicates which .* output="),
        (Silent, "any of decoder, encoder, head, other may hold them"),
    ],
)
def test_of_another_tensor_nothing_is_logged_and_that_is_said_once(kind: type[Parts], words: str) -> None:
    watched = monitor(exemplars=0)
    with pytest.warns(ExplanationWarning, match=f"no precision, recall and F1: .*{words}") as caught:
        trainer = fit_scores(kind(), watched, epochs=2)
    assert len([w for w in caught if issubclass(w.category, ExplanationWarning)]) == 1
    assert watched.class_metrics == {}
    assert not [name for name in trainer.callback_metrics if "/f1/" in name or "/recall/" in name]
    assert watched.profiles["val"]["encoder.1"].n_samples.tolist() == torch.bincount(Y).tolist()


def test_what_output_names_is_believed() -> None:
    watched, model = monitor(output=lambda out: out[0], on_error="raise"), TwoHeads()
    fit_scores(model, watched)
    assert watched.class_metrics["recall"] == pytest.approx(model.true_recall())


class Narrow(Called):
    logs = False

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self(batch[0]).square().mean()


def test_labels_that_a_head_cannot_predict_are_no_classes_of_it() -> None:
    watched = monitor()
    with pytest.warns(ExplanationWarning, match="the labels of 177 samples are beyond"):
        fit_scores(Narrow(), watched, y=torch.where(Y == 2, 7, Y))
    assert watched.class_metrics == {}


def test_predictions_group_samples_by_the_right_head() -> None:
    watched, model = monitor(by="prediction", on_error="raise"), Parts()
    fit_scores(model, watched)
    with torch.no_grad():
        predicted = model(X).argmax(1)
    assert watched.profiles["val"]["encoder.1"].n_samples.tolist() == torch.bincount(predicted, minlength=3).tolist()


# -- the counts --------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 6), st.integers(1, 3))
def test_counts_equal_sklearn_over_any_batches(seed: int, n_classes: int, n_batches: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(30, n_classes, generator=generator)
    labels = torch.randint(-1, n_classes, (30,), generator=generator)
    counted = torch.rand(30, generator=generator) < 0.8
    counts = ScoreCounts(n_classes)
    for rows in torch.arange(30).chunk(n_batches):
        counts.update(scores[rows], labels[rows], counted[rows])
    kept = counted & (labels >= 0)
    wanted = precision_recall_fscore_support(
        labels[kept], scores.argmax(1)[kept], labels=range(n_classes), zero_division=np.nan
    )
    for name, values in zip(("precision", "recall", "f1"), wanted, strict=False):
        np.testing.assert_allclose(counts.compute().metrics[name], values, rtol=1e-9)


def test_a_single_column_is_read_as_probabilities_only_if_all_batches_are() -> None:
    labels = torch.tensor([0, 1, 1])
    for last, predicted in ((torch.tensor([[0.2], [0.4], [0.9]]), 1), (torch.tensor([[0.2], [-3.0], [2.0]]), 5)):
        counts = ScoreCounts(1)
        counts.update(torch.tensor([[0.1], [0.3], [0.4]]), labels, None)
        counts.update(last, labels, None)
        assert float(counts.compute().predicted[1]) == predicted
    assert predicted_classes(torch.tensor([[0.4]]), 0.5)[0].tolist() == [0]


def tally(hits: list[float], predicted: list[float], actual: list[float], beyond: int = 0) -> Tally:
    return Tally(len(hits), *(torch.tensor(each).double() for each in (hits, predicted, actual)), beyond)


GOOD, POOR = tally([9, 9], [10, 10], [10, 10]), tally([1, 1], [10, 10], [10, 10])


@pytest.mark.parametrize(
    ("found", "logged", "named", "fits"),
    [
        (GOOD, {}, False, True),
        (GOOD, {"acc": 0.88, "f": 0.1}, False, True),
        (GOOD, {"acc": 0.5}, False, False),
        (GOOD, {"acc": 0.5}, True, True),
        (tally([9, 9], [10, 10], [10, 10], 3), {}, True, False),
        (tally([1, 1, 0, 0, 0], [2, 2, 6, 6, 4], [10, 10, 0, 0, 0]), {}, False, False),
        (tally([9, 9, 0, 0, 0], [10, 10, 0, 0, 0], [10, 10, 0, 0, 0]), {}, False, False),
        (tally([9, 9, 0, 0, 0], [10, 10, 0, 0, 0], [10, 10, 0, 0, 0]), {"acc": 0.9}, False, True),
        (tally([0, 0], [0, 0], [0, 0]), {}, False, True),
    ],
)
def test_what_speaks_against_a_tensor(found: Tally, logged: dict[str, float], named: bool, fits: bool) -> None:
    assert (doubt(found, logged, named=named) == "") is fits


def test_of_several_parts_the_one_that_agrees_with_the_logged_accuracy_is_taken() -> None:
    parts = {"a": GOOD, "b": POOR}
    assert verdict(None, parts, {"acc": 0.9}, named=False).metrics == GOOD.metrics
    assert verdict(None, parts, {"acc": 0.1}, named=False).metrics == POOR.metrics
    assert not verdict(None, parts, {}, named=False).metrics
    assert not verdict(None, {"a": GOOD, "b": GOOD}, {"acc": 0.9}, named=False).metrics
    assert verdict(None, {"a": GOOD}, {}, named=False).metrics == GOOD.metrics
    assert verdict(POOR, parts, {}, named=False).metrics == POOR.metrics
    assert "neither" in verdict(None, {}, {}, named=False).why_not


def test_accuracies_are_found_among_the_metrics_of_this_validation() -> None:
    names = [
        "val/acc",
        "Accuracy",
        "acc_top5",
        "train_acc",
        "balanced_acc",
        "accent",
        "val_loss",
        "acc/dataloader_idx_0",
    ]
    metrics = {name: torch.tensor(93.0) for name in names} | {"old_acc": torch.tensor(0.2)}
    assert Counter(logged_accuracies(metrics, names)) == {
        "val/acc": 0.93,
        "Accuracy": 0.93,
        "acc/dataloader_idx_0": 0.93,
    }


def test_accuracies_that_a_module_holds_are_read_and_left_alone() -> None:
    module = nn.ModuleDict({"val": MulticlassAccuracy(3, average="micro"), "top": MulticlassAccuracy(3, top_k=2)})
    assert list(accuracy_metrics(module)) == ["val"] and held_accuracies(module, {}) == {}
    module["val"].update(torch.eye(3)[[0, 1, 1]], torch.tensor([0, 1, 2]))
    assert held_accuracies(module, {"val": 1}) == {}
    assert held_accuracies(module, {"val": 0}) == {"val": pytest.approx(2 / 3)}
    assert module["val"]._computed is None
