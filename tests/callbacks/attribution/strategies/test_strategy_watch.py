import json
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from lightning_explain import LRP, AttributionMonitor, DriftAlert, Probe, Saliency, Strategies
from lightning_explain.drift.alert import Alert
from lightning_explain.strategies.strategy_alert import StrategyAlert
from tests.callbacks.attribution.strategies.marked_digits import loaders, net, two_kinds
from tests.events import Events
from tests.training import explanation_warnings, fit

pytestmark = pytest.mark.filterwarnings("ignore:.*a new strategy")


def monitor(alerts: list[Alert] | None = None, **options: object) -> AttributionMonitor:
    return AttributionMonitor(
        method=Saliency(),
        measures=["cosine"],
        strategies=Strategies(**{"per_class": 60, **options}),  # type: ignore[arg-type]
        alert=DriftAlert(on_alert=(alerts if alerts is not None else []).append),
        on_error="raise",
    )


def test_a_mark_is_found_followed_logged_and_told(tmp_path: Path) -> None:
    images, labels, marked = two_kinds()
    alerts: list[Alert] = []
    watching = monitor(alerts)
    logger = TensorBoardLogger(tmp_path, "run", version=0)
    trainer = fit(watching, model=net, data=loaders(images, labels), max_epochs=3, logger=logger)
    events = Events(logger.log_dir)
    told = [alert for alert in alerts if isinstance(alert, StrategyAlert)]
    assert len(told) == 1
    assert (told[0].class_name, told[0].where) == ("1", "the upper left corner")
    assert watching.latest is not None and watching.latest.strategies is not None
    report = watching.latest.strategies
    one = report.classes[1]
    # the sample is drawn from the training data, whose first sample is the 40th
    rows = torch.tensor(report.sample.indices) + 40
    inside = torch.zeros(len(rows), dtype=torch.bool)
    inside[one.members(1)] = True
    truth = marked[rows]
    assert (inside == truth).float().mean() > 0.97
    assert report.classes[0].n_strategies == 1
    assert one.followed[1] is not None and one.followed[1].is_reported
    assert all(bool(marked[40 + index]) for index in told[0].indices)
    tags = watching.records[-1]["scalars"]
    assert tags["explain/attribution/strategies/1"] == 2
    assert tags["explain/attribution/strategies/1/share"] == pytest.approx(one.strategies.strategies[1].share)
    assert tags["explain/attribution/strategies/0"] == 1
    assert "explain/attribution/strategies" in events.images
    record = watching.records[-1]["strategies"]
    json.dumps(record)
    assert record["classes"]["1"]["strategies"][1]["where"] == "the upper left corner"
    assert any(entry["scalars"]["explain/attribution/alert"] for entry in watching.records)
    assert trainer.callback_metrics["explain/attribution/strategies/1"] == 2


def test_without_a_mark_nothing_is_reported() -> None:
    images, labels, _ = two_kinds(n_marked=0)
    alerts: list[Alert] = []
    fit(monitor(alerts), model=net, data=loaders(images, labels), max_epochs=3)
    assert not [alert for alert in alerts if isinstance(alert, StrategyAlert)]


def test_what_was_told_is_not_told_again_after_a_resume(tmp_path: Path) -> None:
    images, labels, _ = two_kinds()
    first, alerts = monitor(), list[Alert]()
    trainer = fit(first, model=net, data=loaders(images, labels), max_epochs=2)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    torch.load(tmp_path / "a.ckpt", weights_only=True)
    second = monitor(alerts)
    fit(second, model=net, data=loaders(images, labels), max_epochs=3, ckpt=tmp_path / "a.ckpt")
    assert not [alert for alert in alerts if isinstance(alert, StrategyAlert)]
    assert second.latest is not None and second.latest.strategies is not None
    followed = second.latest.strategies.classes[1].followed[1]
    assert followed is not None and followed.epoch < 2


def test_the_users_own_samples_are_explained_at_every_nth_explanation() -> None:
    images, labels, _ = two_kinds(n=120)
    own = Probe(inputs=images[:80], targets=labels[:80], class_names=("standing", "lying"))
    watching = monitor(samples=own, every=2, method=LRP())
    fit(watching, model=net, data=loaders(images, labels), max_epochs=2)
    assert ["strategies" in record for record in watching.records] == [True, False, True]
    assert watching.records[-1]["strategies"]["classes"]["0"]["name"] == "standing"


def test_data_without_labels_are_said_so() -> None:
    images, _, _ = two_kinds()
    values = images.mean((1, 2, 3))
    watching = monitor()

    def regression() -> object:
        learner = net()
        learner.net.append(torch.nn.Linear(2, 1))
        learner.net.append(torch.nn.Flatten(0))
        learner.loss = torch.nn.functional.mse_loss
        return learner

    with explanation_warnings() as told:
        fit(watching, model=regression, data=loaders(images, values), max_epochs=1)
    assert any("has no class labels" in words for words in told)
    assert watching.latest is not None and watching.latest.strategies is not None
    assert [one.name for one in watching.latest.strategies.classes.values()] == ["all samples"]
    assert watching.latest.strategies.classes[0].inside[0] != watching.latest.strategies.classes[0].inside[0]


def test_any_operation_with_a_gradient_will_do() -> None:
    images, labels, _ = two_kinds()
    watching = AttributionMonitor(method=Saliency(), measures=["cosine"], strategies=Strategies(per_class=20))

    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

        @staticmethod
        def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
            return 2 * gradient

    class Odd(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return Doubled.apply(x)

    def odd() -> object:
        learner = net()
        learner.net.insert(1, Odd())
        return learner

    fit(watching, model=odd, data=loaders(images, labels), max_epochs=1)
    assert watching.latest is not None and watching.latest.strategies is not None
    assert "InputXGradient" in watching.latest.strategies.method
