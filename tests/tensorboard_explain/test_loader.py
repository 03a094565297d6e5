"""How TensorBoard loads the tab: light, by its entry point, with enough events kept."""

import argparse
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from tensorboard_explain.loader import KEPT, ExplainLoader

HEAVY = ("torch", "lightning", "pytorch_lightning", "lightning_explain", "matplotlib", "torchmetrics", "pandas")


def test_importing_it_loads_neither_torch_nor_lightning() -> None:
    code = f"import sys, tensorboard_explain.loader; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_tensorboard_finds_it() -> None:
    (found,) = [entry for entry in entry_points(group="tensorboard_plugins") if entry.name == "explain"]
    assert found.load() is ExplainLoader


@pytest.mark.parametrize(("given", "expected"), [(None, KEPT), ({"images": 3}, KEPT), ({"explain": 7}, 7)])
def test_enough_events_are_kept_unless_the_user_says_otherwise(given: dict[str, int] | None, expected: int) -> None:
    flags = argparse.Namespace(samples_per_plugin=given)
    ExplainLoader().fix_flags(flags)
    assert flags.samples_per_plugin["explain"] == expected
    assert {**flags.samples_per_plugin, **(given or {})} == flags.samples_per_plugin
