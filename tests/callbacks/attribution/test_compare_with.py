"""Drift against what the user names: checkpoints, and steps of the run."""

import json
import re
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn

from lightning_explain import LRP, AttributionMonitor, IntegratedGradients, Saliency
from lightning_explain.callbacks.attribution.compare_with import Comparisons, named_references
from lightning_explain.callbacks.attribution.history import History
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.drift import drift
from lightning_explain.errors import ConfigurationError, ExplanationWarning
from tests.command_line import fitted_from_yaml
from tests.events import Events
from tests.models import DigitData, DigitNet, quiet_trainer
from tests.training import fit

pytestmark = [
    pytest.mark.filterwarnings("ignore:IntegratedGradients used max_steps"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]

TAG = "explain/attribution/drift"


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of another training, as a Trainer saves it."""
    pl.seed_everything(5, verbose=False)
    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(DigitNet(), DigitData())
    path = tmp_path_factory.mktemp("before") / "before.ckpt"
    trainer.save_checkpoint(path)
    return path


def monitor(**options: Any) -> AttributionMonitor:
    return AttributionMonitor(**({"on_error": "raise", "method": IntegratedGradients(n_steps=16)} | options))


def loaded(path: Path) -> DigitNet:
    model = DigitNet()
    model.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    return model.eval()


class Parameters(pl.Callback):
    """Remembers which objects a module's parameters are when training begins."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.found = {name: id(parameter) for name, parameter in pl_module.named_parameters()}


def curve(watcher: AttributionMonitor, tag: str) -> dict[int, float]:
    return {record["step"]: record["scalars"][tag] for record in watcher.records if tag in record["scalars"]}


def test_drift_is_that_of_the_checkpoint_explained_by_itself(before: Path, tmp_path: Path) -> None:
    methods = {"ours": IntegratedGradients(n_steps=16), "gradient": Saliency()}
    watcher = monitor(method=methods, compare_with={"pretrained": str(before)})
    trainer = fit(watcher, logger=TensorBoardLogger(tmp_path, name="", version=""))
    assert watcher.latest is not None
    assert watcher.probe is not None
    assert isinstance(watcher.probe.inputs, Tensor)
    for name, prefix in (("ours", ""), ("gradient", "gradient/")):
        alone = methods[name](loaded(before), watcher.probe.inputs, watcher.probe.labels)
        moved = drift(watcher.latest.attributions[name], alone)
        scalars = watcher.records[-1]["scalars"]
        for measure in ("cosine", "spearman", "relative_l1", "ssim"):
            group = "drift" if measure == "cosine" else f"drift_{measure}"
            tag = f"explain/attribution/{prefix}{group}/pretrained"
            assert scalars[tag] == pytest.approx(moved.mean(measure), rel=1e-4, abs=1e-6)
            assert trainer.callback_metrics[tag] == pytest.approx(scalars[tag])
        if name == "ours":
            assert scalars[f"{TAG}/pretrained_error"] == pytest.approx(moved.error("cosine"), rel=1e-3, abs=1e-6)
    # known from the first explanation on, before training
    assert list(curve(watcher, f"{TAG}/pretrained")) == [0, 7, 15]
    events = Events(tmp_path)
    assert events.curve(f"{TAG}/pretrained") == pytest.approx(curve(watcher, f"{TAG}/pretrained"))
    assert "checkpoint before.ckpt" in events.description(f"{TAG}/pretrained")
    lines = (tmp_path / "explain" / "attribution" / "record.jsonl").read_text().splitlines()
    record = json.loads(lines[-1])
    assert len(record["drift"]["pretrained"]["cosine"]) == len(watcher.probe)


def test_weights_metrics_and_random_streams_stay_as_they_are(before: Path) -> None:
    seen: list[Any] = []
    for callbacks in ([], [monitor(compare_with={"pretrained": before, "warm": 3})]):
        kept = Parameters()
        trainer = fit(kept, *callbacks)
        model = trainer.lightning_module
        assert {name: id(parameter) for name, parameter in model.named_parameters()} == kept.found
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items() if not k.startswith("explain/")}
        modes = [module.training for module in model.modules()]
        state = {name: tensor.tolist() for name, tensor in model.state_dict().items()}
        moments = [
            torch.stack([e["exp_avg"].sum(), e["exp_avg_sq"].sum()]) for e in trainer.optimizers[0].state.values()
        ]
        seen.append([metrics, modes, state, torch.get_rng_state().tolist(), torch.stack(moments).tolist()])
    assert seen[0] == seen[1]


def test_a_step_is_the_first_explanation_at_it_or_after_it(tmp_path: Path) -> None:
    watcher = monitor(compare_with={"start": 0, "warm": 8})
    fit(watcher, max_epochs=4, logger=TensorBoardLogger(tmp_path, name="", version=""))
    assert curve(watcher, f"{TAG}/start") == curve(watcher, f"{TAG}/first")
    warm = curve(watcher, f"{TAG}/warm")
    assert list(warm) == [23, 31]  # made at step 15, compared with from the next on
    assert warm[23] == curve(watcher, f"{TAG}/previous")[23]
    assert warm[31] != curve(watcher, f"{TAG}/previous")[31]
    assert "that of step 15" in Events(tmp_path).description(f"{TAG}/warm")


def broken_run(folder: Path, first: Any, second: Any) -> tuple[AttributionMonitor, AttributionMonitor]:
    """Two epochs with one choice, then two more from the checkpoint with another."""
    watchers = [monitor(compare_with=first), monitor(compare_with=second)]
    saver = {"enable_checkpointing": True, "num_sanity_val_steps": 0}
    fit(watchers[0], ModelCheckpoint(folder, save_last=True), **saver)
    fit(watchers[1], ModelCheckpoint(folder, save_last=True), max_epochs=4, ckpt=folder / "last.ckpt", **saver)
    return watchers[0], watchers[1]


def test_a_resumed_run_needs_no_checkpoint_to_compare_with(before: Path, tmp_path: Path) -> None:
    given = tmp_path / "given.ckpt"
    given.write_bytes(before.read_bytes())
    chosen = {"pretrained": given, "warm": 3}
    whole, watchers = monitor(compare_with=chosen), [monitor(compare_with=chosen) for _ in range(2)]
    fit(whole, max_epochs=4, num_sanity_val_steps=0)
    saver = {"enable_checkpointing": True, "num_sanity_val_steps": 0}
    fit(watchers[0], ModelCheckpoint(tmp_path, save_last=True), **saver)
    given.unlink()
    fit(watchers[1], ModelCheckpoint(tmp_path, save_last=True), max_epochs=4, ckpt=tmp_path / "last.ckpt", **saver)
    for name in ("pretrained", "warm", "warm_error"):
        joined = curve(watchers[0], f"{TAG}/{name}") | curve(watchers[1], f"{TAG}/{name}")
        # dropout draws anew after a resume
        assert list(joined) == list(curve(whole, f"{TAG}/{name}"))
    assert list(curve(watchers[1], f"{TAG}/warm")) == [23, 31]


def test_what_is_asked_anew_is_explained_anew(before: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.ckpt"
    torch.save(DigitNet().state_dict(), other)  # plain weights do as well
    _, second = broken_run(
        tmp_path,
        {"one": before, "two": before, "gone": before},
        {"one": before, "two": other, "three": other, "old": 3},
    )
    tags = {tag for tag in second.records[-1]["scalars"] if tag.startswith(f"{TAG}/")}
    assert f"{TAG}/gone" not in tags
    found = {name: curve(second, f"{TAG}/{name}") for name in ("one", "two", "three", "old")}
    assert found["two"] == found["three"]
    assert found["one"] != found["two"]
    assert list(found["old"]) == [31]  # the run was past step 3, so the first explanation from there on stands for it


def spoilt(path: Path, before: Path) -> Path:
    """Write a checkpoint in which every number is NaN."""
    state = torch.load(before, weights_only=True)["state_dict"]
    torch.save({name: tensor * torch.nan for name, tensor in state.items()}, path)
    return path


def test_an_explanation_of_a_checkpoint_that_fails_does_not_end_the_run(before: Path, tmp_path: Path) -> None:
    broken = spoilt(tmp_path / "broken.ckpt", before)
    watcher = monitor(on_error="warn", compare_with={"good": before, "bad": broken})
    with pytest.warns(
        ExplanationWarning, match="explaining the probe by the checkpoint broken.ckpt failed.*NaN"
    ) as told:
        trainer = fit(watcher)
    assert sum("explaining the" in str(warning.message) for warning in told) == 1
    assert trainer.current_epoch == 2
    assert list(curve(watcher, f"{TAG}/good")) == [0, 7, 15]
    assert not curve(watcher, f"{TAG}/bad")


def test_where_another_process_cannot_take_the_weights_this_one_goes_on_too(
    before: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter([("", False), ("RuntimeError: out of memory", False)])  # it reads them, and has no room for them
    monkeypatch.setattr(Ranks, "exchanged", lambda _, own: [own, next(told)])
    comparisons = Comparisons(references=named_references({"old": before}), guard=Guard("monitor", "warn"))
    asked: list[str] = []
    model = DigitNet()
    own = dict(model.named_parameters())
    with pytest.warns(ExplanationWarning, match="the checkpoint before.ckpt failed.*out of memory"):
        comparisons.explain_checkpoints(
            model, asked.append, history=History(), full_names={"IG": "IG"}, ranks=Ranks(0, 2)
        )
    # an explanation is made by all processes together, so none may begin it alone
    assert not asked
    assert all(parameter is own[name] for name, parameter in model.named_parameters())


def test_what_failed_is_tried_again_in_the_next_fit(before: Path, tmp_path: Path) -> None:
    path = spoilt(tmp_path / "given.ckpt", before)
    watcher, model = monitor(on_error="warn", compare_with={"given": path}), DigitNet()
    for times in (1, 2):
        trainer = quiet_trainer(callbacks=[watcher], max_epochs=times)
        if times == 1:
            with pytest.warns(ExplanationWarning, match="given.ckpt failed"):
                trainer.fit(model, DigitData())
            path.write_bytes(before.read_bytes())
        else:
            trainer.fit(model, DigitData())
    assert curve(watcher, f"{TAG}/given")


def test_a_failure_of_the_run_itself_is_reported_beside_that_of_a_checkpoint(before: Path, tmp_path: Path) -> None:
    calls: list[int] = []

    def failing(model: nn.Module, inputs: Tensor, target: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("of the checkpoint" if len(calls) == 2 else "of the run")
        return Saliency()(model, inputs, target)

    with pytest.warns(ExplanationWarning) as told:
        fit(monitor(method=failing, on_error="warn", compare_with={"pretrained": before}))
    words = [str(warning.message) for warning in told if "explaining the probe" in str(warning.message)]
    assert ["of the checkpoint" in words[0], "of the run" in words[1]] == [True, True]
    assert "before.ckpt" in words[0]
    assert "before.ckpt" not in words[1]


@pytest.mark.filterwarnings("ignore:.*more than the 90 % that max_overhead=0.9 allows")
def test_a_budget_counts_a_checkpoint_once(before: Path) -> None:
    slow: list[Tensor] = []

    def method(model: nn.Module, inputs: Tensor, target: Any) -> Any:
        slow.append(inputs)
        if 1 < len(slow) <= 4:  # the three checkpoints, right after the first explanation
            time.sleep(0.5)
        return Saliency()(model, inputs, target)

    watcher = monitor(
        method=method, compare_with=dict.fromkeys("abc", before), max_overhead=0.9, every_n_epochs=None,
        every_n_train_steps=1,
    )  # fmt: skip
    fit(watcher, max_epochs=6)
    pacing = watcher.state_dict()["pacing"]
    assert pacing["spent"] > 1.5
    assert max(pacing["costs"]) < 1.4


class Telling(DigitNet):
    """Saves more than weights."""

    def get_extra_state(self) -> dict[str, int]:
        return {"version": 3}

    def set_extra_state(self, state: Any) -> None:
        del state


def test_what_a_module_says_beside_its_weights_is_no_hindrance(before: Path, tmp_path: Path) -> None:
    model = Telling()
    model.load_state_dict({**torch.load(before, weights_only=True)["state_dict"], "_extra_state": {}})
    torch.save(model.state_dict(), tmp_path / "telling.ckpt")
    watcher = monitor(compare_with={"one": before, "two": tmp_path / "telling.ckpt"})
    fit(watcher, max_epochs=1)
    assert curve(watcher, f"{TAG}/one") == curve(watcher, f"{TAG}/two")


class Adapted(DigitNet):
    """Saves its head alone, as adapters are saved beside a network that stays as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.strict_loading = False


def test_a_module_that_saves_a_part_of_its_weights_is_compared_with_that_part(before: Path, tmp_path: Path) -> None:
    head = {name: t for name, t in torch.load(before, weights_only=True)["state_dict"].items() if name[:4] == "head"}
    torch.save(head, tmp_path / "head.ckpt")
    watcher = monitor(compare_with={"adapter": tmp_path / "head.ckpt"})
    pl.seed_everything(0, verbose=False)
    model = Adapted()
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    quiet_trainer(callbacks=[watcher], max_epochs=1).fit(model, DigitData())
    alone = DigitNet()
    alone.load_state_dict({**start, **head})
    assert watcher.probe is not None
    assert isinstance(watcher.probe.inputs, Tensor)
    assert watcher.latest is not None
    wanted = IntegratedGradients(n_steps=16)(alone.eval(), watcher.probe.inputs, watcher.probe.labels)
    found = drift(watcher.latest.attribution, wanted).mean("cosine")
    assert curve(watcher, f"{TAG}/adapter")[7] == pytest.approx(found, rel=1e-4)


class Wider(DigitNet):
    def __init__(self) -> None:
        super().__init__()
        self.head[3] = nn.Linear(16, 12)


def test_what_cannot_be_compared_with_is_refused_before_training(before: Path, tmp_path: Path) -> None:
    def refused(match: str, compare_with: Any) -> None:
        with pytest.raises(ConfigurationError, match=match):
            fit(AttributionMonitor(compare_with=compare_with))

    refused(r"compare_with=\{'old': '.*gone.ckpt'\} names a file that does not exist", {"old": tmp_path / "gone.ckpt"})
    torch.save(Wider().state_dict(), tmp_path / "wider.ckpt")
    refused(r"other shapes: head.3.weight \[12, 16\] instead of \[10, 16\]", {"old": tmp_path / "wider.ckpt"})
    torch.save(DigitNet().head.state_dict(), tmp_path / "head.ckpt")
    refused("has no frozen.0.weight, .*which DigitNet needs; it has 0.weight", {"old": tmp_path / "head.ckpt"})
    (tmp_path / "words.ckpt").write_text("no checkpoint")
    refused("cannot be used: it holds more than weights", {"old": tmp_path / "words.ckpt"})
    torch.save({"weights": 3}, tmp_path / "three.ckpt")
    refused("it holds weights; expected 'state_dict'", {"old": tmp_path / "three.ckpt"})
    torch.save(DigitNet(), tmp_path / "pickled.ckpt")
    refused("could run code while it is read", {"old": tmp_path / "pickled.ckpt"})


@pytest.mark.parametrize(
    ("compare_with", "match"),
    [
        (["before.ckpt"], "expected names of your own for checkpoints or steps"),
        ("before.ckpt", "expected names of your own"),
        ({"old": -1}, "expected names of your own"),
        ({"old": True}, "expected names of your own"),
        ({"old": ""}, "expected names of your own"),
        ({"old": 1.5}, "expected names of your own"),
        ({"first": 3}, "the name 'first': it would be taken for another"),
        ({"Previous": 3}, "taken for another"),
        ({"now": 3}, "taken for another"),
        (dict.fromkeys("abcdefghi", 3), "has 9 names; expected at most 8"),
        ({"old_error": 3}, "taken for another"),
        ({"a b": 3, "a/b": 4}, "taken for another"),
        ({"": 3}, "expected 1 to 40 letters"),
        ({"x" * 41: 3}, "expected 1 to 40 letters"),
        ({3: 3}, "expected 1 to 40 letters"),
    ],
)
def test_names_and_sources_are_checked(compare_with: Any, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        named_references(compare_with)


def test_a_class_of_the_same_name_keeps_its_own_curve(before: Path) -> None:
    watcher = monitor(compare_with={"three": before, "<b>": 3, "a": 8}, class_names=[*"abc", "three", *"efghij"])
    fit(watcher)
    scalars = watcher.records[-1]["scalars"]
    assert {f"{TAG}/three", f"{TAG}/three_3", f"{TAG}/three_error", f"{TAG}/_b_"} <= scalars.keys()
    assert scalars[f"{TAG}/three"] != scalars[f"{TAG}/three_3"]
    # also before the explanation of that name is there
    assert list(curve(watcher, f"{TAG}/a_0")) == [7, 15]
    assert not curve(watcher, f"{TAG}/a")


def test_the_heatmaps_show_what_it_looked_at_there(before: Path, tmp_path: Path) -> None:
    sizes: list[int] = []
    for number, options in enumerate(({}, {"compare_with": {"pretrained": before}})):
        watcher = monitor(method=[IntegratedGradients(n_steps=8), LRP()], **options)
        folder = tmp_path / str(number)
        fit(watcher, max_epochs=1, logger=TensorBoardLogger(folder, name="", version=""))
        sizes.append(Events(folder).picture("explain/attribution/heatmaps").shape[1])
        charts = Events(folder).charts()
    assert sizes[1] > sizes[0]
    (by_class,) = charts["attribution: drift by class and in all"]
    shown = [
        tag
        for tag in ("previous", "first", "pretrained", "pretrained_error", "3")
        if re.fullmatch(by_class, f"{TAG}/{tag}")
    ]
    assert shown == ["previous", "3"]
    assert charts["attribution: drift against pretrained, and its error"] == [
        f"{TAG}/pretrained",
        f"{TAG}/pretrained_error",
    ]


@pytest.mark.filterwarnings("ignore")  # what jsonargparse and LightningCLI say is not ours
def test_from_yaml(before: Path, tmp_path: Path) -> None:
    options = {"compare_with": {"pretrained": str(before), "warm": 2}, "on_error": "raise"}
    watcher = fitted_from_yaml(options, tmp_path, train_batches=3)
    assert list(curve(watcher, f"{TAG}/pretrained")) == [0, 2]
