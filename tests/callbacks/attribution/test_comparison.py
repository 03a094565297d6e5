"""AttributionMonitor with several methods and with measures of faithfulness, in real runs."""

import itertools
import json
import warnings
from pathlib import Path
from typing import Any

import captum.attr
import lightning.pytorch as pl
import pytest
import scipy.stats
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from sklearn.datasets import load_iris
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import LRP, AttributionMonitor, GradCAM, InputXGradient, IntegratedGradients, Probe, Saliency
from lightning_explain.attribution import Attribution, from_captum
from lightning_explain.errors import ConfigurationError, ExplanationError, ExplanationWarning
from lightning_explain.faithfulness import cascading_randomisation, deletion, infidelity, insertion, max_sensitivity
from tests.events import Events
from tests.models import DigitData, DigitNet, quiet_trainer
from tests.training import logged_fit as fit

pytestmark = [
    pytest.mark.filterwarnings("ignore:IntegratedGradients used max_steps"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]
THREE = (IntegratedGradients(n_steps=8), LRP(), InputXGradient())
EVERYTHING = ("deletion", "insertion", "infidelity", "max_sensitivity", "randomisation")
FIGURES = {"deletion_auc", "insertion_auc", "infidelity", "max_sensitivity", "randomisation", "randomisation_absolute"}


def probe(per_class: int = 1) -> Probe:
    return Probe.from_dataset(DigitData().val, per_class=per_class)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("three")
    monitor = AttributionMonitor(method=list(THREE), probe=probe(), faithfulness=EVERYTHING, on_error="raise")
    trainer, events = fit(monitor, folder, max_epochs=2)
    return monitor, trainer, events


def records_on_disk(events: Events) -> list[dict[str, Any]]:
    path = Path(events._events.path) / "explain/attribution/record.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_method_logs_the_same_figures_and_the_first_keeps_its_tags(three: Any) -> None:
    _, _, events = three
    stem = "explain/attribution/"
    mine = {tag.removeprefix(stem) for tag in events.scalars if tag.startswith(stem)}
    groups = ("IntegratedGradients/", "LRP/", "InputXGradient/", "agreement/")
    first = {tag for tag in mine if not tag.startswith(groups)}
    assert {
        "drift/previous",
        "drift/first_error",
        "drift/3",
        "drift_ssim/first",
        "convergence_delta",
        *FIGURES,
    } <= first
    for name in ("LRP", "InputXGradient"):
        own = {tag.removeprefix(f"{name}/") for tag in mine if tag.startswith(f"{name}/")}
        # methods without a coarser rule or a promise of completeness have no error and no gap
        missing = {tag for tag in first - own if not tag.endswith("_error")}
        assert missing == {"overhead", "error"} | ({"convergence_delta"} if name == "InputXGradient" else set())
        # only LRP hands the output itself down, so that offsets can take a part of it
        assert own - first == ({"absorbed_share"} if name == "LRP" else set())
    assert not any(tag.startswith("IntegratedGradients/") for tag in mine)
    assert {tag for tag in mine if tag.startswith("agreement/")} == {
        "agreement/IntegratedGradients_vs_LRP",
        "agreement/IntegratedGradients_vs_InputXGradient",
        "agreement/LRP_vs_InputXGradient",
    }
    assert {tag.removeprefix(stem) for tag in events.images} == {
        "heatmaps", "filmstrip", "LRP/filmstrip", "InputXGradient/filmstrip"
    }  # fmt: skip


def test_all_methods_explain_the_same_moment(three: Any) -> None:
    monitor, trainer, events = three
    assert [record["step"] for record in monitor.records] == [0, 7, 15]
    for tag in ("total_attribution", "LRP/total_attribution", "agreement/IntegratedGradients_vs_LRP", "deletion_auc"):
        assert list(events.curve(f"explain/attribution/{tag}")) == [0, 7, 15]
    model, inputs, labels = trainer.lightning_module, monitor.probe.inputs, monitor.probe.targets
    for method, (name, found) in zip(THREE, monitor.latest.attributions.items(), strict=True):
        again = method(model, inputs, labels)
        torch.testing.assert_close(found.values, again.values, msg=name)
        assert torch.equal(found.target, labels)


def test_agreement_is_that_of_scipy(three: Any) -> None:
    monitor, _, events = three
    for a, b in itertools.combinations(monitor.latest.attributions, 2):
        rows = [monitor.latest.attributions[name].values.flatten(1).numpy() for name in (a, b)]
        expected = [scipy.stats.spearmanr(x, y).statistic for x, y in zip(*rows, strict=True)]
        tag = f"{a}_vs_{b}"
        assert monitor.records[-1]["agreement"][tag] == pytest.approx(expected, abs=1e-4)
        mean = sum(expected) / len(expected)
        assert events.curve(f"explain/attribution/agreement/{tag}")[15] == pytest.approx(mean, abs=1e-5)


def test_faithfulness_is_that_of_the_measures_alone(three: Any) -> None:
    monitor, trainer, events = three
    model, x, y = trainer.lightning_module, monitor.probe.inputs, monitor.probe.targets
    for name, method in monitor.methods.items():
        found = method(model, x, y)
        check = cascading_randomisation(method, model, x, y)
        zeros = torch.zeros_like(x)
        expected = {
            "deletion_auc": deletion(model, x, y, found).auc,
            "insertion_auc": insertion(model, x, y, found).auc,
            "infidelity": infidelity(model, x, y, found, baseline=zeros),
            "max_sensitivity": max_sensitivity(method, model, x, y),
            "randomisation": check.spearman[-1],
            "randomisation_absolute": check.spearman_absolute[-1],
        }
        record = monitor.records[-1] if name == "IntegratedGradients" else monitor.records[-1]["methods"][name]
        prefix = "explain/attribution/" + ("" if name == "IntegratedGradients" else f"{name}/")
        for metric, values in expected.items():
            assert record["faithfulness"][metric] == pytest.approx(values.tolist(), rel=1e-3, abs=1e-4), (name, metric)
            assert events.curve(prefix + metric)[15] == pytest.approx(float(values.nanmean()), rel=1e-3, abs=1e-5)


def test_the_record_on_disk_has_every_method(three: Any) -> None:
    monitor, _, events = three
    last = records_on_disk(events)[-1]
    assert last["method"] == "IntegratedGradients (baseline: zeros)" and last["baseline"] == "zeros"
    assert list(last["methods"]) == ["LRP", "InputXGradient"]
    assert last["methods"]["LRP"]["baseline"] is None
    for entry in (last, *last["methods"].values()):
        assert len(entry["drift"]["previous"]["cosine"]) == len(monitor.probe)
        assert set(entry["faithfulness"]) == FIGURES
    assert len(last["agreement"]["IntegratedGradients_vs_LRP"]) == len(monitor.probe)


def test_every_tag_says_in_tensorboard_what_it_is_by_which_method_and_baseline(three: Any) -> None:
    _, _, events = three
    metadata = events._events.summary_metadata
    for tag in (tag for tag in [*events.scalars, *events.images] if tag.startswith("explain/")):
        words = metadata[tag].summary_description
        assert len(words) > 30, tag
        if tag.endswith("overhead"):
            continue
        if "/LRP/" in tag:
            assert "LRP (no baseline)" in words
        elif "/InputXGradient/" in tag:
            assert "InputXGradient (no baseline)" in words
        elif "LRP_vs_InputXGradient" not in tag:
            assert "IntegratedGradients (baseline: zeros)" in words
    heatmaps = metadata["explain/attribution/heatmaps"].summary_description
    assert "IntegratedGradients (baseline: zeros), LRP (no baseline), InputXGradient (no baseline)" in heatmaps
    assert "cosine distance" in metadata["explain/attribution/drift/previous"].summary_description
    assert "completeness" in metadata["explain/attribution/convergence_delta"].summary_description


def test_a_description_is_written_once_for_each_tag(three: Any) -> None:
    _, _, events = three
    raw = b"".join(path.read_bytes() for path in Path(events._events.path).glob("events.*"))
    assert (
        raw.count(b"sum of the absolute attributions, mean over the probe, in output units") == 3
    )  # one for each method
    assert len(events.curve("explain/attribution/total_attribution")) == 3


def test_the_picture_shows_the_methods_side_by_side(three: Any) -> None:
    _, _, events = three
    single = 2 * 64 + 1
    picture = events.picture("explain/attribution/heatmaps")
    assert picture.shape[1] > 3 * single  # input and three methods in a row
    red = (picture[..., 0] > 180) & (picture[..., 2] < 120)
    assert red.sum() > 50


def test_summary_and_charts_name_all_methods(three: Any) -> None:
    _, _, events = three
    text = events._events.Tensors("explain/attribution/summary/text_summary")[-1].tensor_proto.string_val[0].decode()
    for words in ("IntegratedGradients (baseline: zeros)", "LRP and InputXGradient", "faithfulness of LRP", "ssim"):
        assert words in text
    assert "nan" not in text
    layout = events._events.Tensors("custom_scalars__config__")[-1].tensor_proto.string_val[0]
    assert b"explain/attribution/LRP/drift/previous" in layout and b"explain/attribution/agreement/.*" in layout


def test_callbacks_can_monitor_agreement_and_faithfulness(tmp_path: Path) -> None:
    stopper = EarlyStopping(
        "explain/attribution/LRP/deletion_auc", stopping_threshold=2.0
    )  # always below: stops at once
    saver = ModelCheckpoint(tmp_path, monitor="explain/attribution/agreement/IntegratedGradients_vs_LRP", mode="max")
    monitor = AttributionMonitor(method=list(THREE[:2]), probe=probe(), faithfulness=["deletion"], on_error="raise")
    trainer = quiet_trainer(callbacks=[stopper, saver, monitor], enable_checkpointing=True, max_epochs=3)
    trainer.fit(DigitNet(), DigitData())
    assert trainer.current_epoch <= 1 and stopper.stopped_epoch == 0
    tag = "explain/attribution/agreement/IntegratedGradients_vs_LRP"
    assert float(saver.best_model_score) == pytest.approx(monitor.records[-1]["scalars"][tag], rel=1e-5)


# -- tabular data -----------------------------------------------------------------------------------------------


class Iris(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 3))

    def forward(self, x: Any) -> Any:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch[0])

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 2e-2)


def iris() -> DataLoader[Any]:
    x, y = load_iris(return_X_y=True)
    return DataLoader(TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y)), batch_size=50)


def test_lrp_of_an_mlp_agrees_with_input_times_gradient_on_iris(tmp_path: Path) -> None:
    # epsilon to 0 on a ReLU net equals input x gradient: the agreement must find it
    logger = TensorBoardLogger(tmp_path)
    monitor = AttributionMonitor(method=[LRP(), InputXGradient()], on_error="raise")
    quiet_trainer(callbacks=[monitor], logger=logger, max_epochs=1).fit(Iris(), iris(), iris())
    events = Events(logger.log_dir)
    assert min(events.curve("explain/attribution/agreement/LRP_vs_InputXGradient").values()) > 0.97
    assert events.picture("explain/attribution/heatmaps").std() > 5
    assert events.picture("explain/attribution/InputXGradient/filmstrip").std() > 5


def test_a_constant_explanation_has_no_agreement_and_is_not_counted(tmp_path: Path) -> None:
    def half(model: Any, inputs: Any, target: Any = None) -> Attribution:
        values = inputs.clone()
        values[::2] = 1.0
        return _as_attribution(values, target)

    monitor = AttributionMonitor(method=[InputXGradient(), half], on_error="raise")
    quiet_trainer(callbacks=[monitor], max_epochs=1).fit(Iris(), iris(), iris())
    values = torch.tensor(monitor.records[-1]["agreement"]["InputXGradient_vs_half"])
    assert values[::2].isnan().all() and not values[1::2].isnan().any()
    tag = "explain/attribution/agreement/InputXGradient_vs_half"
    assert monitor.records[-1]["scalars"][tag] == pytest.approx(float(values[1::2].mean()), abs=1e-4)


def _as_attribution(values: Any, target: Any) -> Attribution:
    return Attribution(
        values=values,
        convergence_delta=None,
        error=None,
        target=target,
        baseline=None,
        n_evaluations=torch.ones(len(values)),
    )


# -- resume -----------------------------------------------------------------------------------------------------


class Steady(DigitNet):
    def __init__(self) -> None:
        super().__init__()
        self.head[2].p = 0.0


def train(methods: list[Any], max_epochs: int, folder: Path | None, resumed: bool = False) -> AttributionMonitor:
    pl.seed_everything(1, verbose=False)
    monitor = AttributionMonitor(method=methods, on_error="raise")
    saver = [] if folder is None else [ModelCheckpoint(folder, save_last=True)]
    trainer = quiet_trainer(
        callbacks=[monitor, *saver],
        max_epochs=max_epochs,
        enable_checkpointing=folder is not None,
        num_sanity_val_steps=0,
    )
    ckpt = folder / "last.ckpt" if resumed and folder is not None else None
    trainer.fit(Steady(), DigitData(shuffle=False), ckpt_path=ckpt)
    return monitor


def curve(monitor: AttributionMonitor, tag: str) -> dict[int, float]:
    return {record["step"]: record["scalars"][tag] for record in monitor.records if tag in record["scalars"]}


def test_every_methods_drift_goes_on_after_a_resume(tmp_path: Path) -> None:
    whole = train(list(THREE), 4, None)
    first = train(list(THREE), 2, tmp_path)
    second = train(list(THREE), 4, tmp_path, resumed=True)
    assert [record["step"] for record in second.records] == [23, 31]
    for prefix in ("", "LRP/", "InputXGradient/"):
        for metric in ("drift/previous", "drift/first", "drift_spearman/first"):
            tag = f"explain/attribution/{prefix}{metric}"
            joined = curve(first, tag) | curve(second, tag)
            assert joined == pytest.approx(curve(whole, tag), rel=1e-5, abs=1e-8)
            assert len(joined) == 4
        last = [record["scalars"] for record in whole.records][-1]
        stem = f"explain/attribution/{prefix}drift"
        assert last[f"{stem}/first"] != pytest.approx(last[f"{stem}/previous"], rel=1e-3)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]
    assert any("AttributionMonitor" in key for key in saved)


def test_another_baseline_begins_a_curve_of_its_own_and_says_so(tmp_path: Path) -> None:
    train([IntegratedGradients(n_steps=8), LRP()], 1, tmp_path)
    with pytest.warns(ExplanationWarning, match=r"drift curve of IntegratedGradients \(baseline: mean\) restarts"):
        second = train([IntegratedGradients(n_steps=8, baseline="mean"), LRP()], 2, tmp_path, resumed=True)
    (record,) = second.records
    assert record["drift"] == {} and set(record["methods"]["LRP"]["drift"]) == {"previous", "first"}
    # what nothing goes on with is not carried along in every checkpoint
    assert set(second.state_dict()["history"]["memories"]) == {"IntegratedGradients (baseline: mean)", "LRP"}


# -- faults -----------------------------------------------------------------------------------------------------


def failing(model: Any, inputs: Any, target: Any = None) -> Attribution:
    raise RuntimeError("this method has had enough")


@pytest.mark.parametrize("order", [0, 1])
def test_a_failing_method_is_reported_once_by_name_and_leaves_the_others_alone(order: int, tmp_path: Path) -> None:
    methods = [failing, IntegratedGradients(n_steps=4)] if order == 0 else [IntegratedGradients(n_steps=4), failing]
    monitor = AttributionMonitor(method=methods, probe=probe(), faithfulness=["deletion"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, events = fit(monitor, tmp_path, max_epochs=2)
    told = [str(w.message) for w in caught if issubclass(w.category, ExplanationWarning)]
    assert len(told) == 1
    assert "explaining the probe with failing failed" in told[0] and "has had enough" in told[0]
    prefix = "explain/attribution/IntegratedGradients/" if order == 0 else "explain/attribution/"
    assert list(events.curve(prefix + "drift/previous")) == [7, 15]
    assert list(events.curve(prefix + "deletion_auc")) == [0, 7, 15]
    assert len(events.steps("explain/attribution/heatmaps")) == 3
    record = records_on_disk(events)[-1]
    assert monitor.latest is not None
    if order == 0:
        assert record["failed"] is True and list(record["methods"]) == ["IntegratedGradients"]
        with pytest.raises(ExplanationError, match="failing failed at step 15"):
            _ = monitor.latest.attribution
    else:
        assert record["methods"] == {}
        assert monitor.latest.attribution is monitor.latest.attributions["IntegratedGradients"]


def test_a_failing_method_raises_if_asked(tmp_path: Path) -> None:
    monitor = AttributionMonitor(method=[InputXGradient(), failing], on_error="raise")
    with pytest.raises(RuntimeError, match="had enough"):
        fit(monitor, tmp_path, max_epochs=1)


def test_what_a_method_leaves_behind_does_not_reach_the_next(tmp_path: Path) -> None:
    def messy(model: Any, inputs: Any, target: Any = None) -> Attribution:
        model.head.register_forward_hook(lambda module, args, out: out * 0)
        model.train()
        raise RuntimeError("in the middle")

    clean = AttributionMonitor(method=[InputXGradient()], probe=probe(), on_error="raise")
    fit(clean, tmp_path / "clean", max_epochs=1)
    monitor = AttributionMonitor(method=[messy, InputXGradient()], probe=probe())
    with pytest.warns(ExplanationWarning, match="messy"):
        fit(monitor, tmp_path / "messy", max_epochs=1)
    assert clean.latest is not None and monitor.latest is not None
    found = monitor.latest.attributions["InputXGradient"].values
    assert torch.equal(clean.latest.attribution.values, found)


def test_a_measure_that_fails_leaves_the_explanation_and_the_other_measures(tmp_path: Path) -> None:
    class Sealed(DigitNet):
        def __deepcopy__(self, memo: Any) -> Any:
            raise RuntimeError("cannot be copied")

    monitor = AttributionMonitor(method=InputXGradient(), probe=probe(), faithfulness=["randomisation", "deletion"])
    with pytest.warns(ExplanationWarning, match=r"measuring randomisation of InputXGradient failed.*cannot be copied"):
        _, events = fit(monitor, tmp_path, Sealed(), max_epochs=1)
    assert len(events.curve("explain/attribution/deletion_auc")) == 2
    assert "explain/attribution/randomisation" not in events.scalars


def test_methods_whose_shapes_have_nothing_in_common_are_not_compared(tmp_path: Path) -> None:
    def pooled(model: Any, inputs: Any, target: Any = None) -> Attribution:
        return _as_attribution(inputs[:, :, :4, :4].clone(), target)

    monitor = AttributionMonitor(method=[InputXGradient(), GradCAM(layer="body.2"), pooled], probe=probe())
    with pytest.warns(ExplanationWarning) as caught:
        _, events = fit(monitor, tmp_path, max_epochs=1)
    told = [str(w.message) for w in caught if issubclass(w.category, ExplanationWarning)]
    assert sum("agreement of" in words for words in told) == 2
    assert "explain/attribution/agreement/InputXGradient_vs_GradCAM" in events.scalars


def test_a_scored_module_is_measured_by_its_own_copy(tmp_path: Path) -> None:
    # with output=, the methods get a wrapper: its copy must lose its weights, not ask the original
    monitor = AttributionMonitor(
        method=Saliency(), probe=probe(), output=lambda scores: 2 * scores, faithfulness=["randomisation"]
    )
    fit(monitor, tmp_path, max_epochs=1)
    values = monitor.records[-1]["faithfulness"]["randomisation_absolute"]
    assert max(values) < 0.99


# -- options ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": []}, "method= is empty"),
        ({"method": {}}, "method= is empty"),
        ({"method": [LRP]}, r"LRP is a class; write LRP\("),
        ({"method": [LRP(), LRP()]}, "2 methods that would both be called 'LRP'.*mapping"),
        ({"method": [lambda *a: None, lambda *a: None]}, "both be called '<lambda>'"),
        ({"method": {"drift": LRP()}}, "cannot be called 'drift'"),
        ({"method": {"a": LRP(), "agreement": LRP()}}, "cannot be called 'agreement'"),
        ({"method": {"a_vs_b": LRP()}}, "cannot be called 'a_vs_b'"),
        ({"method": {"a/b": LRP(), "a_b": LRP()}}, "look the same in tags"),
        ({"faithfulness": ["deletion", "honesty"]}, "faithfulness=.*honesty.*expected a list of some of.*deletion"),
        ({"faithfulness": "deletion"}, "expected a list"),
        ({"measures": ["euclid"]}, "euclid"),
    ],
)
def test_bad_options_are_refused_where_they_are_given(options: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        AttributionMonitor(**options)


def test_faithfulness_of_several_inputs_is_refused_before_training() -> None:
    class Two(Iris):
        def forward(self, a: Any, b: Any = None) -> Any:
            return self.net(a if b is None else torch.cat([a, b], 1))

    pair = Probe(inputs=(torch.rand(3, 2), torch.rand(3, 2)), targets=torch.tensor([0, 1, 2]))
    with pytest.raises(ConfigurationError, match="measures explanations of one input, but a probe sample has 2"):
        quiet_trainer(callbacks=[AttributionMonitor(probe=pair, faithfulness=["deletion"])]).fit(Two(), iris(), iris())


def test_names_tell_methods_of_one_class_apart() -> None:
    def named(*methods: Any) -> list[str]:
        return list(AttributionMonitor(method=list(methods)).methods)

    assert named(IntegratedGradients(), IntegratedGradients(baseline="blur")) == [
        "IntegratedGradients",
        "IntegratedGradients baseline=blur",
    ]
    assert named(
        IntegratedGradients(n_steps=8, baseline=torch.zeros(1, 8, 8)), LRP(), IntegratedGradients(n_steps=16)
    ) == [
        "IntegratedGradients baseline=tensor [1, 8, 8] n_steps=8",
        "LRP",
        "IntegratedGradients n_steps=16",
    ]
    assert named(from_captum(captum.attr.DeepLift), from_captum(captum.attr.Saliency)) == ["DeepLift", "Saliency"]
    assert named(
        from_captum(captum.attr.Occlusion, sliding_window_shapes=(1, 2, 2)),
        from_captum(captum.attr.Occlusion, sliding_window_shapes=(1, 4, 4)),
    ) == ["Occlusion sliding_window_shapes=(1, 2, 2)", "Occlusion sliding_window_shapes=(1, 4, 4)"]


def test_a_mapping_names_methods_and_titles_say_what_they_are(tmp_path: Path) -> None:
    monitor = AttributionMonitor(
        method={"ours": IntegratedGradients(n_steps=4, baseline="noise"), "b / <c>": LRP()}, on_error="raise"
    )
    _, events = fit(monitor, tmp_path, max_epochs=1)
    assert "explain/attribution/b____c_/total_attribution" in events.scalars
    assert "explain/attribution/agreement/ours_vs_b____c_" in events.scalars
    record = records_on_disk(events)[-1]
    assert record["method"] == "ours: IntegratedGradients (baseline: noise, seed 0)"
    assert record["methods"]["b / <c>"]["method"] == "b / <c>: LRP"
    words = events._events.summary_metadata["explain/attribution/drift/previous"].summary_description
    assert words.startswith("ours: IntegratedGradients (baseline: noise, seed 0): ")


def test_a_logger_with_a_prefix_keeps_it(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, prefix="mine")
    csv = CSVLogger(tmp_path, "csv")
    monitor = AttributionMonitor(method=InputXGradient(), on_error="raise")
    quiet_trainer(callbacks=[monitor], logger=[logger, csv], max_epochs=1).fit(Iris(), iris(), iris())
    events = Events(logger.log_dir)
    mine = [tag for tag in events.scalars if "total_attribution" in tag]
    assert mine == ["mine-explain/attribution/total_attribution"]
    assert len(events.curve(mine[0])) == 2
    assert "total_attribution" in (Path(csv.log_dir) / "metrics.csv").read_text().splitlines()[0]
