"""An embedding as wide as there are classes is explained with a warning; class scores never are."""

import warnings
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain import AttributionMonitor, DecisionPathMonitor, IntegratedGradients, Probe
from lightning_explain.errors import ExplanationWarning
from tests.callbacks.class_scores.score_nets import Parts, X, Y, fit_scores

WORDS = r"Headed\.forward returns is explained.*leads through head\.weight.*forward_fn=.*output="


def probe() -> Probe:
    return Probe(inputs=X[:12], targets=Y[:12])


def monitor(kind: type[Any] = AttributionMonitor, **options: Any) -> Any:
    own = {"method": IntegratedGradients(n_steps=2, tolerance=9.0)} if kind is AttributionMonitor else {}
    return kind(probe=probe(), on_error="raise", **own, **options)


class Headed(Parts):
    """Its forward is the encoder, of a width that may be that of the classes."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, width))
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Any:
        return self.encoder(x)

    def scores(self, x: Tensor) -> Tensor:
        return self.head(self(x).relu())


class ByParts(Headed):
    def scores(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).relu())


class Manual(Headed):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(functional.cross_entropy(self.scores(batch[0]), batch[1]))
        optimizer.step()


class NamedEmbedding(Headed):
    def forward(self, x: Tensor) -> Any:
        hidden = self.encoder(x)
        return {"out": hidden, "klass": self.head(hidden.relu())}

    def scores(self, x: Tensor) -> Tensor:
        return self(x)["klass"]


def said(model: pl.LightningModule, *monitors: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit_scores(model, *monitors)
    return [str(each.message) for each in caught if issubclass(each.category, ExplanationWarning)]


@pytest.mark.parametrize("kind", [AttributionMonitor, DecisionPathMonitor])
@pytest.mark.parametrize("model", [lambda: Headed(3), lambda: Headed(6), ByParts, Manual, NamedEmbedding])
def test_an_embedding_as_wide_as_the_classes_is_said_once(kind: type[Any], model: Any) -> None:
    module = model()
    words = said(module, monitor(kind))
    pattern = WORDS.replace("Headed", type(module).__name__)
    assert len([each for each in words if "the loss does not read it" in each]) == 1
    with pytest.warns(ExplanationWarning, match=pattern):
        fit_scores(model(), monitor(kind))
    assert not module._forward_hooks and not module.encoder._forward_hooks


def test_a_wider_one_is_said_once_as_before() -> None:
    words = said(Headed(16), monitor())
    assert len([each for each in words if "16 outputs, while" in each]) == 1
    assert not any("the loss does not read it" in each for each in words)


@pytest.mark.parametrize(
    "options", [{"output": lambda out: out}, {"forward_fn": lambda module, x: module.head(module(x).relu())}]
)
def test_what_was_chosen_is_not_doubted(options: dict[str, Any]) -> None:
    assert said(Headed(), monitor(**options)) == []


def test_class_scores_are_explained_without_a_word_and_the_run_stays_as_it_is() -> None:
    assert said(Parts(), monitor()) == []
    weights: list[Tensor] = []
    for monitors in ([], [monitor()]):
        torch.manual_seed(0)
        model = Headed()
        said(model, *monitors)
        weights.append(torch.cat([part.detach().flatten() for part in model.parameters()]))
    assert torch.equal(*weights)


class Named(Parts):
    def forward(self, x: Tensor) -> Any:
        hidden = self.encoder(x)
        logits = self.head(hidden)
        return {"preds": logits.softmax(1), "raw": logits, "out": hidden}

    def scores(self, x: Tensor) -> Tensor:
        return self(x)["raw"]


class NamedHidden(Parts):
    def forward(self, x: Tensor) -> Any:
        hidden = self.encoder(x)
        return {"out": hidden, "klass": self.head(hidden)}

    def scores(self, x: Tensor) -> Tensor:
        return self(x)["klass"]


class Usual(Parts):
    def forward(self, x: Tensor) -> Any:
        hidden = self.encoder(x)
        return {"last_hidden_state": hidden, "logits": self.head(hidden), "pooler_output": hidden.tanh()}

    def scores(self, x: Tensor) -> Tensor:
        return self(x)["logits"]


@pytest.mark.parametrize(("kind", "n_said"), [(Named, 1), (NamedHidden, 1), (Usual, 0)])
@pytest.mark.parametrize("which", [AttributionMonitor, DecisionPathMonitor])
def test_a_usual_name_does_not_win_over_evidence(kind: type[Parts], n_said: int, which: type[Any]) -> None:
    model, own = kind(), monitor(which)
    words = said(model, own)
    assert len(words) == n_said and all("is taken for the scores" in each for each in words)
    with torch.no_grad():
        torch.testing.assert_close(own.latest.scores, model.head(model.encoder(X[:12])))
