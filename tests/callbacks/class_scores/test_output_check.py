"""What is explained: the class scores among what a module returns, or a refusal that names output=."""

from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import (
    ActiveNeuronMonitor,
    AttributionMonitor,
    DecisionPathMonitor,
    IntegratedGradients,
    Probe,
    Saliency,
)
from lightning_explain.attribution import AtEmbedding
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.base.output_choice import are_probabilities_of, feeds, likeliest_scores
from lightning_explain.callbacks.class_scores.output_check import check_rows, gradient_mode_words, output_words
from lightning_explain.callbacks.class_scores.output_source import OutputSource, matching
from lightning_explain.errors import ConfigurationError, ExplanationWarning
from tests.callbacks.class_scores.score_nets import Parts, X, Y, fit_scores
from tests.callbacks.class_scores.test_class_metrics import Decoding, Embedding, FeaturesFirst, Tasked, TwoHeads
from tests.models import quiet_trainer


def probe() -> Probe:
    return Probe(inputs=X[:30], targets=Y[:30])


class LogitsFirst(Parts):
    def forward(self, x: Tensor) -> Any:
        hidden = self.encoder(x)
        return self.head(hidden), hidden


class WithProbabilities(Parts):
    def forward(self, x: Tensor) -> Any:
        scores = super().forward(x)
        return scores.softmax(1), scores


@pytest.mark.parametrize("kind", [FeaturesFirst, LogitsFirst, WithProbabilities, Tasked])
def test_attributions_add_up_to_the_change_of_the_logit(kind: type[Parts]) -> None:
    monitor = AttributionMonitor(probe=probe(), method=IntegratedGradients(n_steps=64), on_error="raise")
    model = kind()
    if kind is Tasked:
        fit_scores(model, monitor)
    else:
        with pytest.warns(ExplanationWarning, match=r"the module returns 2 tensors; .* say so with output=") as said:
            fit_scores(model, monitor)
        assert len([w for w in said if issubclass(w.category, ExplanationWarning)]) == 1
    assert monitor.latest is not None
    with torch.no_grad():
        logits = (model.head(model.encoder(x)) for x in (X[:30], torch.zeros(30, 64)))
        change = next(logits) - next(logits)
    summed = monitor.latest.attribution.values.sum(1)
    torch.testing.assert_close(summed, change.gather(1, Y[:30, None])[:, 0], atol=0.02, rtol=0.02)
    assert monitor.latest.scores.shape == (30, 3)


@pytest.mark.parametrize("monitor", [AttributionMonitor, DecisionPathMonitor])
@pytest.mark.parametrize(
    ("kind", "words"),
    [(TwoHeads, "nothing indicates which tensor"), (Decoding, "as many as its input has, .* 3 classes")],
)
def test_what_cannot_be_known_is_asked_for(monitor: Any, kind: type[Parts], words: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{words}.*output="):
        fit_scores(kind(), monitor(probe=probe()))


@pytest.mark.filterwarnings("ignore:.*there is no decision to follow")  # a ReLU ends it
@pytest.mark.parametrize("monitor", [AttributionMonitor, DecisionPathMonitor])
def test_an_embedding_is_explained_with_a_word(monitor: Any) -> None:
    with pytest.warns(ExplanationWarning, match="16 outputs, while labels go up to 2"):
        fit_scores(Embedding(), monitor(probe=probe()))


def test_one_choice_for_all_monitors() -> None:
    class Wide(FeaturesFirst):
        """Its features are as many as its classes: width tells nothing, what was computed from what does."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(64, 3), nn.Tanh())
            self.head, self.other, self.decoder = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 64)

    neurons = ActiveNeuronMonitor(feeding=0, maps=0, layers="*encoder*", on_error="raise")
    attributions, paths = AttributionMonitor(probe=probe(), on_error="raise"), DecisionPathMonitor(probe=probe())
    model = Wide()
    with pytest.warns(ExplanationWarning, match="the one at 1 is taken for the scores") as said:
        fit_scores(model, neurons, attributions, paths)
    assert len([w for w in said if "is taken for the scores" in str(w.message)]) == 3
    assert neurons.class_metrics["recall"] == pytest.approx(model.true_recall())
    with torch.no_grad():
        scores = model.head(model.encoder(X[:30]))
    assert attributions.latest is not None and paths.latest is not None
    for found in (attributions.latest.scores, paths.latest.scores):
        torch.testing.assert_close(found, scores)


# -- the evidence ------------------------------------------------------------------------------------------------

BASE = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
HIDDEN = BASE.tanh()
LOGITS = HIDDEN @ torch.ones(4, 3) * torch.arange(3.0)
OTHER = BASE.sin()[:, :3]


@pytest.mark.parametrize(
    ("candidates", "n_classes", "place"),
    [
        ({0: HIDDEN, 1: LOGITS}, 3, 1),
        ({0: LOGITS, 1: HIDDEN}, 3, 0),
        ({0: LOGITS, 1: OTHER}, 3, None),  # two heads
        ({0: LOGITS, 1: LOGITS.softmax(1)}, 3, 0),
        ({0: LOGITS.log_softmax(1), 1: LOGITS}, 3, 1),
        ({0: LOGITS, 1: LOGITS * 2}, 3, 1),
        ({0: BASE.cos(), 1: LOGITS}, 3, None),  # as wide as is needed, and nothing says that scores came of it
        ({0: OTHER[:, :2], 1: LOGITS}, 3, 1),  # too narrow for the classes
        ({0: HIDDEN, 1: LOGITS}, 2, None),  # neither has as many columns as there are classes
        ({0: HIDDEN, 1: LOGITS[:, :1]}, 2, 1),  # a binary classifier's logit
        ({0: OTHER, 1: OTHER.cos() @ torch.ones(3, 64)}, 3, None),  # a decoder: what it starts from are no scores
        ({0: LOGITS[:, None], 1: torch.ones(6, 2, 5, 5)}, 3, 0),  # maps are none
        ({0: HIDDEN, 1: LOGITS[:, 0]}, None, 1),  # a regression
        ({0: OTHER[:, 0], 1: LOGITS[:, 0]}, None, None),  # mean and variance
    ],
)
def test_the_scores_are_chosen_by_evidence(candidates: dict[Any, Tensor], n_classes: int | None, place: Any) -> None:
    assert likeliest_scores(candidates, 6, n_classes) == place


def test_a_graph_tells_what_came_of_what() -> None:
    assert feeds(HIDDEN, LOGITS) and not feeds(LOGITS, HIDDEN) and not feeds(HIDDEN, HIDDEN)
    assert not feeds(HIDDEN.detach(), LOGITS)
    assert are_probabilities_of(LOGITS.sigmoid(), LOGITS) and not are_probabilities_of(OTHER, LOGITS)


def test_parts_are_known_by_the_tensor_or_by_its_values_if_only_one_has_them() -> None:
    scores, source = LOGITS.detach(), OutputSource
    assert matching([(source("a"), OTHER), (source("b"), scores), (source("b.c"), scores)], scores) == [
        source("b"),
        source("b.c"),
    ]
    assert matching([(source("a", 1), scores.clone()[:, None])], scores) == [source("a", 1)]
    assert matching([(source("a"), scores)], scores.softmax(1)) == [source("a")]
    # heads that begin with zeros give the same, and are two
    zeros = torch.zeros(6, 3)
    assert matching([(source("a"), zeros.clone()), (source("b"), zeros.clone())], zeros) == []


def test_more_outputs_than_classes_want_a_word_only_where_they_are_many() -> None:
    few = Probe(inputs=torch.rand(4, 5), targets=torch.tensor([0, 1, 2, 2]))
    assert output_words(few, torch.rand(4, 3)) == output_words(few, torch.rand(4, 6)) == ""
    assert "7 outputs" in output_words(few, torch.rand(4, 7))
    named = Probe(inputs=torch.rand(4, 5), targets=torch.tensor([0, 1, 2, 2]), class_names=list("abcdefg"))
    assert output_words(named, torch.rand(4, 7)) == ""
    # threes alone say nothing of how many classes there are
    threes = Probe(inputs=torch.rand(4, 10), targets=torch.full((4,), 3))
    assert output_words(threes, torch.rand(4, 10)) == output_words(threes, torch.rand(4, 50)) == ""
    with pytest.raises(ConfigurationError, match="rebuild its input"):
        output_words(few, torch.rand(4, 5))


class TimeFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][-1])


@pytest.mark.parametrize("n_steps", [5, 12])
def test_samples_along_another_dimension_are_refused_also_where_sizes_are_equal(n_steps: int) -> None:
    module, x = TimeFirst(), torch.rand(12, n_steps, 4)
    with pytest.raises(ConfigurationError, match=r"scores of shape .* samples of the probe; .*forward_fn=.*transpose"):
        check_rows(Question(), module, (x,), module(x))
    told = Question(forward_fn=lambda module, x: module(x.transpose(0, 1)))
    check_rows(told, module, (x,), told.scores(module)(x))


def test_a_module_of_one_batch_size_is_left_alone() -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.zeros(12, 4)

    check_rows(Question(), Fixed(), (torch.rand(12, 4),), torch.rand(12, 4))
    check_rows(Question(), nn.Linear(4, 3), (torch.rand(12, 4),), torch.rand(12, 3))


class Sentences(L.LightningModule):
    """Mean of a transformer's tokens, padding included unless `masked`: in its fused form padded ones are 0."""

    def __init__(self, *, nested: bool, masked: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(10, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=nested)
        self.head, self.masked = nn.Linear(8, 3), masked

    def forward(self, ids: Tensor) -> Tensor:
        padding = ids == 0
        tokens = self.encoder(self.embedding(ids), src_key_padding_mask=padding)
        if self.masked:
            return self.head((tokens * ~padding[..., None]).sum(1) / (~padding).sum(1, keepdim=True))
        return self.head(tokens.mean(1))

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        self.log("loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


IDS = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0], [7, 8, 9, 0]]).repeat(4, 1)
LABELS = torch.arange(3).repeat(4)


def words(model: L.LightningModule, ids: Tensor) -> str:
    return gradient_mode_words(Question(), model.eval(), (ids,))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_other_scores_where_gradients_are_taken_are_told() -> None:
    model = Sentences(nested=True)
    said = words(model, IDS)
    with torch.no_grad():
        plain = model(IDS)
    tracked = model(IDS).detach()
    moved = 100 * float((tracked - plain).abs().max() / plain.abs().max())
    assert moved > 1
    assert f"up to {moved:.2g} % apart" in said
    # both cures that it names, and nothing padded at all
    assert words(Sentences(nested=False), IDS) == ""
    assert words(Sentences(nested=True, masked=True), IDS) == ""
    assert words(model, IDS.clamp_min(1)) == ""


class Noisy(Sentences):
    def forward(self, ids: Tensor) -> Tensor:
        return torch.nn.functional.dropout(super().forward(ids), training=True)


def test_scores_that_are_random_anyway_tell_nothing_of_gradients() -> None:
    assert words(Noisy(nested=False), IDS) == ""


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("kind", [AttributionMonitor, DecisionPathMonitor])
def test_it_is_told_before_training(kind: Any) -> None:
    probe = Probe(inputs=IDS, targets=LABELS, class_names=list("abc"))
    method: dict[str, Any] = {"method": AtEmbedding(Saliency())} if kind is AttributionMonitor else {}
    data = DataLoader(TensorDataset(IDS, LABELS), batch_size=12)
    with pytest.warns(ExplanationWarning, match="the module gives other scores where gradients are taken") as said:
        quiet_trainer(callbacks=[kind(probe=probe, **method)], max_epochs=1).fit(Sentences(nested=True), data, data)
    assert len([w for w in said if "other scores" in str(w.message)]) == 1
