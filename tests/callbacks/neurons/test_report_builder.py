"""Reports made of counts: classes, histories, gaps, and what a checkpoint keeps of them."""

from typing import Any

import pytest
import torch

from lightning_explain import Probe
from lightning_explain.callbacks.neurons.counting.watch import NeuronWatch
from lightning_explain.callbacks.neurons.report_builder import ReportBuilder
from lightning_explain.callbacks.neurons.results import Counted
from tests.callbacks.neurons.small_counts import GivenChoice, GivenCounts, neuron_probe, no_exemplars
from tests.callbacks.neurons.small_reports import RATES, feeding, profile
from tests.models import quiet_trainer

TRAINER = quiet_trainer()


def builder(watch: NeuronWatch, *, class_names: Any = (), probe: Probe | None = None, **counted: Counted) -> Any:
    return ReportBuilder(
        watch=watch,
        probe=neuron_probe(probe),
        choice=GivenChoice(**counted),
        exemplars=no_exemplars(),
        class_names=class_names,
    )


def test_nothing_counted_is_no_report() -> None:
    found = builder(GivenCounts())
    assert found.build(TRAINER, "val", step=3) is None
    assert found.profiles == {} and found.state_dict() == {}


def test_a_report_holds_the_counts_of_its_stage_and_their_distance_from_training() -> None:
    watch = GivenCounts(val={"fc": profile()}, train={"fc": profile(RATES.flip(0)), "other": profile()})
    watch.metrics, watch.silent = {"recall": [0.5, 1.0]}, {"val": ("spare",)}
    probe = Probe(inputs=torch.rand(2, 2), targets=torch.tensor([0, 1]), feature_names=["width", "height"])
    found = builder(watch, class_names=["cat"], probe=probe, val=Counted(2, 5), train=Counted(9, 9))
    report = found.build(TRAINER, "val", step=7)
    assert (report.step, report.epoch, report.stage) == (7, 0, "val")
    assert report.class_names == ["cat", "1"] and report.feature_names == ("width", "height")
    assert report.scores == {"recall": [0.5, 1.0]} and report.silent == ("spare",)
    assert report.counted == {"train": Counted(9, 9), "val": Counted(2, 5)}
    assert list(report.layers) == ["fc"]  # of training there are more
    torch.testing.assert_close(report.layers["fc"].gaps, RATES.flip(0) - RATES)


def test_a_report_of_training_has_neither_gaps_nor_class_metrics() -> None:
    watch = GivenCounts(train={"fc": profile()}, val={"fc": profile()})
    watch.metrics = {"recall": [0.5, 1.0]}
    report = builder(watch).build(TRAINER, "train", step=0)
    assert report.layers["fc"].gaps is None and report.scores == {}


def test_stages_of_which_one_has_no_classes_are_not_compared() -> None:
    watch = GivenCounts(train={"fc": profile()}, val={"fc": profile()})
    watch.by_class = {"train"}
    found = builder(watch)
    assert GivenCounts.compares_stages.__get__(watch) is False
    assert found.build(TRAINER, "val", step=0).layers["fc"].gaps is None
    assert found.comparable_training() == {}
    watch.by_class = {"train", "val"}
    assert list(found.comparable_training()) == ["fc"]


@pytest.mark.parametrize(
    ("n_classes", "by_class", "given", "names"),
    [
        (2, True, ("a", "b"), ["a", "b"]),
        (2, True, ("a", "b", "c"), ["a", "b", "c"]),
        (3, True, ("a",), ["a", "1", "2"]),
        (1, True, (), ["0"]),
        (1, False, (), ["all samples"]),
        (1, False, ("a", "b"), ["all samples"]),
    ],
)
def test_classes_have_the_names_that_were_given_or_their_indices(
    n_classes: int, by_class: bool, given: tuple[str, ...], names: list[str]
) -> None:
    watch = GivenCounts(val={"fc": profile(RATES[:1].expand(n_classes, 4), (10,) * n_classes)})
    watch.by_class = {"val"} if by_class else set()
    found = builder(watch, class_names=given)
    assert found.build(TRAINER, "val", step=0).class_names == names


def turned_over(found: Any, rates: Any = RATES) -> float:
    found._watch.given = {"val": {"fc": profile(rates)}}
    return found.build(TRAINER, "val", step=0).layers["fc"].history.mean_turnover()


def test_turnover_is_between_reports_also_across_a_checkpoint() -> None:
    found = builder(GivenCounts())
    assert torch.tensor(turned_over(found)).isnan()
    changed = RATES.flip(0)
    # active in class 0: neurons 0 and 1, then 0 and 3: one of three stays; likewise in class 1
    assert turned_over(found, changed) == pytest.approx(1 - 1 / 3)
    resumed = builder(GivenCounts())
    resumed.load_state_dict(found.state_dict())
    assert turned_over(resumed, changed) == 0
    assert turned_over(resumed, RATES) == pytest.approx(1 - 1 / 3)
    resumed.start_over("It restarts.")
    assert torch.tensor(turned_over(resumed)).isnan()
    assert resumed.build(TRAINER, "val", step=0).caveat == "It restarts."


def test_stages_have_histories_of_their_own() -> None:
    found = builder(GivenCounts())
    turned_over(found)
    found._watch.given = {"train": {"fc": profile()}}
    assert torch.tensor(found.build(TRAINER, "train", step=0).layers["fc"].history.mean_turnover()).isnan()
    assert set(found.state_dict()) == {"train", "val"}


def test_samples_whose_classes_are_none_go_on_as_one_group() -> None:
    probe = Probe(inputs=torch.rand(4, 2), targets=torch.tensor([0, 1, 0, 1]))
    watch = GivenCounts(val={"fc": profile()})
    found = builder(watch, probe=probe)
    found.build(TRAINER, "val", step=0)
    assert found._probe.probe.labels is not None
    watch.by_class, watch.merged = set(), {"val"}
    watch.given = {"val": {"fc": profile(RATES.mean(0, keepdim=True), (20,))}}
    report = found.build(TRAINER, "val", step=1)
    assert report.class_names == ["all samples"] and len(report.layers["fc"].profile.rates) == 1
    assert found._probe.probe.labels is None


def test_feeding_features_are_kept_for_the_reports_that_follow() -> None:
    found = builder(GivenCounts(val={"fc": profile(), "other": profile()}))
    features = feeding()
    found.add_feeding({"fc": features}, epoch=4)
    for step in (1, 2):
        layers = found.build(TRAINER, "val", step=step).layers
        assert layers["fc"].feeding is features and layers["other"].feeding is None
    found.start_over()
    assert found.build(TRAINER, "val", step=3).layers["fc"].feeding is None
