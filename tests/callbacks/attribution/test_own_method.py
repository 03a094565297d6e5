"""A method that is added as a user adds one, and every other form that a method can have, in real runs."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import captum.attr
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import LRP, Attribution, AttributionMonitor, IntegratedGradients, Probe, Saliency
from lightning_explain.attribution import AtEmbedding, as_method, from_captum
from lightning_explain.errors import ConfigurationError
from tests.callbacks.attribution.own_method import TwoSided, train
from tests.events import Events
from tests.modalities import Learner, Reader, sentences
from tests.models import digits, quiet_trainer


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[AttributionMonitor, Events]:
    folder = tmp_path_factory.mktemp("own")
    monitor = AttributionMonitor(
        method=[TwoSided(baseline="train_mean"), LRP(), TwoSided()],
        probe=Probe.from_dataset(digits(32, 32)[1], per_class=1),
        faithfulness=["deletion", "infidelity", "max_sensitivity"],
        compare_with={"start": 0},
        on_error="raise",
    )
    logger = TensorBoardLogger(folder, "run", version=0)
    train(monitor, epochs=2, logger=logger)
    return monitor, Events(logger.log_dir)


def test_own_method_has_every_figure_and_picture(run: tuple[AttributionMonitor, Events]) -> None:
    monitor, events = run
    assert list(monitor.methods) == ["TwoSided baseline=train_mean", "LRP", "TwoSided"]
    stem = "explain/attribution"
    for tag in ("drift/previous", "drift/start", "convergence_delta", "deletion_auc", "infidelity", "max_sensitivity"):
        assert list(events.curve(f"{stem}/{tag}")), tag
        assert list(events.curve(f"{stem}/TwoSided/{tag}")), tag
    assert list(events.curve(f"{stem}/agreement/LRP_vs_TwoSided"))
    assert {"heatmaps", "filmstrip", "TwoSided/filmstrip"} <= {tag.removeprefix(f"{stem}/") for tag in events.images}
    words = events._events.summary_metadata[f"{stem}/TwoSided/drift/previous"].summary_description
    assert words.startswith("TwoSided: gradients at both ends (baseline: zeros): ")


def test_own_method_gets_the_mean_of_the_training_data_and_its_tolerance_is_checked(
    run: tuple[AttributionMonitor, Events],
) -> None:
    monitor, events = run
    assert monitor.latest is not None
    found = monitor.latest.attribution
    mean = digits(32, 32)[0].tensors[0].mean(0)
    torch.testing.assert_close(found.baseline, mean.expand_as(found.parts[0]))
    line = json.loads((Path(events._events.path) / "explain/attribution/record.jsonl").read_text().splitlines()[-1])
    assert line["baseline"] == "train_mean"
    assert found.convergence_delta is not None
    gap = found.convergence_delta.abs() / (found.parts[0].flatten(1).sum(1) - found.convergence_delta).abs()
    assert line["missed_tolerance"] == (gap > 0.5).nonzero().flatten().tolist()


# -- token ids --------------------------------------------------------------------------------------------------


class MyIG(IntegratedGradients):
    """A subclass that changes nothing."""


def function(model: Callable[..., Tensor], inputs: Tensor, target: Any = None) -> Attribution:
    return TwoSided()(model, inputs, target)


def with_option(model: Callable[..., Tensor], inputs: Tensor, target: Any = None, *, factor: float) -> Attribution:
    found = Saliency()(model, inputs, target)
    return Attribution(**{**vars(found), "values": tuple(factor * part for part in found.parts)})


FORMS: dict[str, Any] = {
    "class": IntegratedGradients(),
    "subclass": MyIG(),
    "dataclass": TwoSided(),
    "function": function,
    "lambda": lambda model, x, target: IntegratedGradients(n_steps=2)(model, 1 * x, target),
    "partial": functools.partial(with_option, factor=2.0),
    "partial of an object": functools.partial(MyIG()),
    "declared": as_method(function, is_samplewise=True),
    "captum": from_captum(captum.attr.Saliency),
    "bound": TwoSided().__call__,
}


def read(monitor: AttributionMonitor) -> None:
    ids, labels, vocabulary = sentences(8)
    data = TensorDataset(ids[:32], labels[:32])
    quiet_trainer(callbacks=[monitor], max_epochs=1).fit(
        Learner(Reader(len(vocabulary))), DataLoader(data, 16), DataLoader(data, 16)
    )


@pytest.mark.parametrize("method", FORMS.values(), ids=FORMS.keys())
def test_token_ids_are_refused_before_training_whatever_form_the_method_has(method: Any) -> None:
    with pytest.raises(ConfigurationError, match="AtEmbedding"):
        read(AttributionMonitor(method=method))


@pytest.mark.parametrize("form", ["subclass", "dataclass", "function", "partial", "captum"])
def test_every_form_explains_token_ids_at_their_embedding(form: str) -> None:
    monitor = AttributionMonitor(method=[AtEmbedding(FORMS[form]), AtEmbedding(LRP())], on_error="raise")
    read(monitor)
    assert monitor.probe is not None and monitor.latest is not None
    assert len(monitor.records) == 2
    for found in monitor.latest.attributions.values():
        assert found.parts[0].shape == monitor.probe.parts[0].shape
        assert bool((found.parts[0].abs().sum(1) > 0).all())


def test_a_function_that_explains_token_ids_needs_no_declaration() -> None:
    def at_words(model: Any, ids: Tensor, target: Any = None) -> Attribution:
        return AtEmbedding(Saliency())(model, ids, target)

    monitor = AttributionMonitor(method=at_words, on_error="raise")
    read(monitor)
    assert len(monitor.records) == 2
