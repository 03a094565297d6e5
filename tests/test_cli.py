"""The command line: what it says, how it leaves, and that it is quick about it."""

import subprocess
import sys

import pytest

import lightning_explain
from lightning_explain.cli import main


def left_with(argv: list[str]) -> int | str | None:
    with pytest.raises(SystemExit) as left:
        main(argv)
    return left.value.code


def test_help_says_what_it_does_with_examples(capsys):
    assert left_with(["--help"]) == 0
    words = capsys.readouterr().out
    assert "examples:" in words
    assert "lightning-explain demo --epochs 3" in words
    assert "tensorboard --logdir runs/demo" in words


def test_help_of_the_demo_names_every_option_and_its_default(capsys):
    assert left_with(["demo", "--help"]) == 0
    words = capsys.readouterr().out
    for option in ("--logdir", "--epochs", "--seed", "--pictures"):
        assert option in words
    assert "default: 10" in words


def test_version(capsys):
    assert left_with(["--version"]) == 0
    assert capsys.readouterr().out == f"lightning-explain {lightning_explain.__version__}\n"


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["dance"], "dance"),
        ([], "COMMAND"),
        (["demo", "--epochs", "0"], "at least 1"),
        (["demo", "--epochs", "many"], "'many' given"),
        (["demo", "--seed", "-1"], "from 0"),
        (["demo", "--seed", str(1 << 32)], "from 0"),
    ],
)
def test_wrong_arguments_leave_with_2_and_are_named(argv, named, capsys):
    assert left_with(argv) == 2
    assert named in capsys.readouterr().err


def test_without_mlxtend_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    assert main(["demo"]) == 1
    seen = capsys.readouterr()
    assert 'pip install "lightning-explain[demo]"' in seen.err
    assert seen.out == ""


def test_options_reach_the_demo(monkeypatch, tmp_path):
    demo = pytest.importorskip("lightning_explain.demo")
    asked = {}
    monkeypatch.setattr(demo, "run", asked.update)
    assert main(["demo", "--logdir", str(tmp_path), "--epochs", "3", "--seed", "7"]) == 0
    assert asked == {"logdir": tmp_path, "epochs": 3, "seed": 7, "pictures": None, "detail": "terse"}


@pytest.mark.parametrize("argv", [["--help"], ["demo", "--help"], ["--version"], ["dance"]])
def test_nothing_heavy_is_loaded_before_the_arguments_are_understood(argv):
    script = f"""
import sys
from lightning_explain.cli import main
try:
    main({argv!r})
except SystemExit:
    pass
heavy = {{"torch", "lightning", "tensorboard", "matplotlib", "numpy", "mlxtend"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
