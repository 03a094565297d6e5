"""Strategies in runs of several processes, from a configuration file, and resumed; they change nothing."""

import json
from pathlib import Path

import pytest
import torch

from lightning_explain import AttributionMonitor, Saliency, Strategies
from tests.callbacks.attribution.strategies.ddp_strategies import found
from tests.callbacks.attribution.strategies.marked_digits import loaders, net, two_kinds
from tests.command_line import fitted_from_yaml
from tests.processes import together
from tests.reliability.observation import Spy, differences
from tests.training import fit


def monitor() -> AttributionMonitor:
    return AttributionMonitor(
        method=Saliency(), measures=["cosine"], strategies=Strategies(per_class=60), on_error="raise"
    )


def test_two_processes_find_what_one_finds() -> None:
    (one,), (two, _) = together(1, found, 1), together(2, found, 2)
    assert len(one["strategies"]["classes"]["1"]["strategies"]) == 2
    assert two["heat"] == pytest.approx(one["heat"], rel=1e-4, abs=1e-6)
    assert two["scalars"] == pytest.approx(one["scalars"])
    for c, of_one in one["strategies"]["classes"].items():
        of_two = two["strategies"]["classes"][c]
        for a, b in zip(of_one["strategies"], of_two["strategies"], strict=True):
            assert (a["where"], a["share"], sorted(a["members"] or [])) == (
                b["where"], b["share"], sorted(b["members"] or []),
            )  # fmt: skip
            assert b["separation"] == pytest.approx(a["separation"], abs=1e-2)


def test_the_run_is_bit_identical_with_and_without_strategies() -> None:
    images, labels, _ = two_kinds()
    bare, watched = Spy(), Spy()
    for spy, callbacks in ((bare, []), (watched, [monitor()])):
        trainer = fit(callbacks, spy, model=net, data=loaders(images, labels), max_epochs=2)
        spy.after(trainer, trainer.lightning_module)
    assert differences(bare, watched) == []


@pytest.mark.filterwarnings("ignore")  # what jsonargparse and LightningCLI say is not ours
def test_the_options_come_from_a_configuration_file(tmp_path: Path) -> None:
    strategies = {"class_path": "lightning_explain.Strategies", "init_args": {"per_class": 20, "every": 2}}
    method = {"class_path": "lightning_explain.Saliency"}
    made = fitted_from_yaml(
        {"method": method, "strategies": strategies, "on_error": "raise"}, tmp_path, train_batches=2
    )
    assert ["strategies" in record for record in made.records][:2] == [True, False]
    classes = made.records[0]["strategies"]["classes"].values()
    assert {one["n_samples"] for one in classes} == {20}


def test_a_resumed_run_finds_what_the_unbroken_one_finds(tmp_path: Path) -> None:
    images, labels, _ = two_kinds()
    # in one order: a resumed run would shuffle otherwise
    ordered = [torch.utils.data.DataLoader(each.dataset, 20) for each in loaders(images, labels)]
    unbroken, first, second = monitor(), monitor(), monitor()
    fit(unbroken, model=net, data=tuple(ordered), max_epochs=3)
    fit(first, model=net, data=tuple(ordered), max_epochs=2).save_checkpoint(tmp_path / "a.ckpt")
    fit(second, model=net, data=tuple(ordered), max_epochs=3, ckpt=tmp_path / "a.ckpt")
    # as text, in which a NaN equals a NaN
    assert json.dumps(second.records[-1]["strategies"]) == json.dumps(unbroken.records[-1]["strategies"])
    assert len(second.records[-1]["strategies"]["classes"]["1"]["strategies"]) == 2
