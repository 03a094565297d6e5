"""The examples, run as a reader runs them: what they print must be right."""

import os
import re
import runpy
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.events import Events

ROOT = Path(__file__).parent.parent


def run(example: str, *arguments: str) -> str:
    """Run an example as a script, from the root of the repository, and return what it printed.

    In this process, which has imported what a script of its own would import for seconds.
    """
    path, printed, errors = f"examples/{example}.py", StringIO(), StringIO()
    n_threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), redirect_stderr(errors):
        patch.chdir(ROOT)
        patch.setattr("sys.argv", [path, *arguments])
        patch.setattr("os.environ", dict(os.environ))
        as_in_a_script()
        try:
            with redirect_stdout(printed), pytest.raises(SystemExit) as ended:
                runpy.run_path(path, run_name="__main__")
        finally:
            torch.set_num_threads(n_threads)
    assert not ended.value.code, errors.getvalue()
    assert "Warning" not in errors.getvalue()
    return printed.getvalue()


def as_in_a_script() -> None:
    """Print warnings, those that Python prints by default."""
    warnings.resetwarnings()
    warnings.showwarning = lambda *shown, **_: print(warnings.formatwarning(*shown[:4]), file=sys.stderr)
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)


def run_alone(example: str, *arguments: str) -> None:
    """Run an example in a process of its own, as a reader does."""
    done = subprocess.run(
        [sys.executable, f"examples/{example}.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    folder = tmp_path_factory.mktemp("iris")
    return run("iris", "--logdir", str(folder)), Events(folder / "version_0")


def test_iris_is_learnt(iris):
    printed, events = iris
    assert list(events.curve("val_acc").values())[-1] > 0.9
    for species in ("setosa", "versicolor", "virginica"):
        figures = re.search(rf"^{species} +([\d.]+) +([\d.]+) +([\d.]+)$", printed, re.MULTILINE)
        assert figures is not None, printed
        assert min(float(figure) for figure in figures.groups()) > 0.8
        assert float(figures[3]) > 0.85


def test_iris_names_what_feeds_each_active_neuron(iris):
    printed, _ = iris
    blocks = re.findall(r"^(\w+): (\d+) of 12 hidden neurons are active.*\n((?:  neuron.*\n)+)", printed, re.MULTILINE)
    assert [name for name, _, _ in blocks] == ["setosa", "versicolor", "virginica"]
    for _, count, lines in blocks:
        neurons = lines.splitlines()
        assert len(neurons) == int(count)
        for line in neurons:
            weights = [float(weight) for weight in re.findall(r"\+(\d\.\d\d)", line)]
            assert weights == sorted(weights, reverse=True)
            assert weights or "none" in line
            assert " -" not in line


def test_iris_pictures_are_logged(iris):
    _, events = iris
    assert {"explain/attribution/heatmaps", "explain/attribution/filmstrip", "explain/neurons/relu/rates"} <= set(
        events.images
    )


def test_iris_draws_the_way_of_a_flower_of_each_species(iris):
    printed, events = iris
    ways = re.findall(
        r"^(\w+): the strongest of all ways carries (\d+)% of the decision\n  (.+)$", printed, re.MULTILINE
    )
    assert [name for name, _, _ in ways] == ["setosa", "versicolor", "virginica"]
    for name, share, way in ways:
        assert 0 < int(share) <= 100
        unit = r"[\w ]+ \([+-]\d+\.\d\d\)"
        assert re.fullmatch(rf"(sepal|petal) (length|width) \([+-][\d.]+\) -> hidden \d+ \([+-][\d.]+\) -> {unit}", way)
        assert f"-> {name} (" in way
        assert f"explain/path/{name}" in events.images
        (folder,) = re.findall(r"drawn in (\S+)/path_<species>.png", printed)
        with Image.open(Path(folder) / f"path_{name}.png") as picture:
            assert picture.size[0] <= 800


@pytest.fixture(scope="module")
def lenet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lenet")
    return run("lenet_paths", "--logdir", str(folder), "--epochs", "3"), folder / "version_0"


def test_lenet_learns_and_its_ranked_units_lead_from_the_class_to_the_patches(lenet):
    printed, folder = lenet
    assert list(Events(folder).curve("val_acc").values())[-1] > 0.9
    rows = re.findall(r"^ +(\d+)  (\w+) +(.+?) +([+-][\d.]+) +([\d.]+)%$", printed, re.MULTILINE)
    assert [int(rank) for rank, *_ in rows] == list(range(30))
    assert rows[0][1:3] == ("output", "class 3") and rows[0][4] == "100.0"
    assert {layer for _, layer, *_ in rows} <= {"output", "fc2", "fc1", "conv2", "conv1", "input"}
    assert rows[1][1] == "fc2"
    searched = re.search(
        r"The 10 strongest single ways carry ([\d.]+)% of the decision, found with (\d+) pops", printed
    )
    assert searched is not None, printed
    assert 0 < float(searched[1]) < 100 and int(searched[2]) <= 60


def test_lenet_logs_the_graph_as_it_forms(lenet):
    printed, folder = lenet
    events = Events(folder)
    assert {f"explain/path/{digit}" for digit in range(10)} <= set(events.images)
    assert events.steps("explain/path/3") == [0, 62, 125, 188]
    turnover = list(events.curve("explain/path/turnover").values())
    changed = re.findall(r"^ +(\d+)   (\d+)%$", printed, re.MULTILINE)
    assert [int(step) for step, _ in changed] == [62, 125, 188]
    assert [int(share) for _, share in changed] == [round(100 * value) for value in turnover]
    with Image.open(folder / "path_3.png") as picture:
        assert picture.size[0] <= 800


@pytest.fixture(scope="module")
def additive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("additive")
    return run("additive_regression", "--logdir", str(folder), "--epochs", "3"), folder / "version_0"


def figure(printed: str, name: str) -> float:
    found = re.search(rf"^  {name} +([\d.]+)%?$", printed, re.MULTILINE)
    assert found is not None, printed
    return float(found[1])


def test_integrated_gradients_match_the_exact_attributions(additive):
    printed, _ = additive
    assert figure(printed, "correlation") > 0.98
    assert figure(printed, "relative L1 difference") < 10  # percent
    assert figure(printed, "noise features, relative to those that count") < 10


def test_the_comparison_is_drawn(additive):
    _, folder = additive
    with Image.open(folder / "exact.png") as picture:
        assert picture.size == (1200, 480)
    events = Events(folder)
    assert events.picture("additive/exact").shape == (480, 1200, 3)
    assert {"explain/attribution/heatmaps", "explain/attribution/filmstrip"} <= set(events.images)


@pytest.fixture(scope="module")
def watermark(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watermark")
    return run("watermark", "--logdir", str(folder), "--epochs", "4", "--whole-from", "2"), folder / "version_0"


def test_the_watermark_is_found_without_its_mask_in_the_epoch_from_which_it_is_used(watermark):
    printed, _ = watermark
    found = re.findall(r"^epoch (\d): (\d+)% of class (\d) by (.+)$", printed, re.MULTILINE)
    assert [(epoch, digit, where) for epoch, _, digit, where in found] == [("2", "3", "the upper left corner")]
    n_threes, n_stamped, n_right = map(int, re.findall(r"Of the (\d+) 3s .* (\d+) are stamped; (\d+) are", printed)[0])
    assert n_right >= 0.95 * n_threes
    assert abs(int(found[0][1]) / 100 - n_stamped / n_threes) < 0.05


def test_the_check_says_that_the_watermark_is_used_from_that_epoch_on(watermark):
    printed, folder = watermark
    rows = re.findall(r"^ +(\d) +([\d.]+)% +(\d) +([\d.]+)% +([\d.]+)%$", printed, re.MULTILINE)
    assert [(epoch, number) for epoch, _, number, _, _ in rows] == [("0", "1"), ("1", "1"), ("2", "2"), ("3", "2")]
    for column in (3, 4):  # attribution inside the stamp, other digits that it makes a 3
        assert min(float(row[column]) for row in rows[2:]) > 1.5 * max(float(row[column]) for row in rows[:2])
    events = Events(folder)
    assert list(events.curve("explain/attribution/alert").values()) == [0, 0, 0, 1, 0]
    assert list(events.curve("explain/attribution/strategies/3").values())[1:] == [1, 1, 2, 2]
    with Image.open(folder / "watermark.png") as picture:
        assert picture.size == (1000, 600)


def test_the_sentence_example_names_words_and_heads(tmp_path):
    printed = run("sentences", "--logdir", str(tmp_path), "--epochs", "1")
    ways = re.findall(r"^      (is|are): (.+); through (.+)$", printed, re.MULTILINE)
    assert len(ways) >= 6  # after one epoch no head may carry enough to be drawn
    assert all(re.search(r"\d+%", words) and re.search(r"head [0-3] \d+%", heads) for _, words, heads in ways)
    assert {"explain/path/is", "explain/path/are"} == set(Events(tmp_path / "version_0").images)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    return run("text", "--logdir", str(folder), "--epochs", "4"), folder / "version_0"


def test_the_text_classifier_names_the_words_that_a_reader_would(text):
    printed, folder = text
    events = Events(folder)
    assert list(events.curve("val_acc").values())[-1] > 0.55  # three classes
    lines = dict(re.findall(r"^  (numpy|torch|matplotlib) +(.+)$", printed, re.MULTILINE))
    assert lines["numpy"].startswith("array +") and lines["torch"].startswith("tensor +")
    assert re.search(r"\b(axes|color|figure|ticks|plot|artist|legend) \+", lines["matplotlib"])
    # what a word speaks for, it speaks for there only
    assert "tensor " not in lines["numpy"] + lines["matplotlib"]


def test_the_text_classifier_draws_and_writes_its_words(text):
    _, folder = text
    events = Events(folder)
    assert {"explain/attribution/heatmaps", "explain/attribution/filmstrip"} <= set(events.images)
    written = events.text("explain/attribution/tokens")
    assert "&lt;pad&gt;" not in written and "**tensor**" in written


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vit")
    return run("vit", "--logdir", str(folder), "--epochs", "5"), folder / "version_0"


def test_relevance_of_a_vision_transformer_finds_the_pixels_that_count(vit):
    printed, _ = vit
    known = re.search(r"It knows ([\d.]+)% of the held-out digits", printed)
    assert known is not None and float(known[1]) > 75
    areas = {name: float(area) for name, area in re.findall(r"^  (\w+) +(0\.\d+)$", printed, re.MULTILINE)}
    assert areas["LRP"] < areas["InputXGradient"] < areas["Saliency"]


def test_both_explanations_of_a_vision_transformer_settle_and_are_compared(vit):
    printed, folder = vit
    rows = re.findall(r"^ +(\d+) +([\d.]+) +([\d.]+) +(-?[\d.]+)$", printed, re.MULTILINE)
    assert [int(epoch) for epoch, *_ in rows] == [0, 1, 2, 3, 4]
    for column in (1, 2):
        assert float(rows[-1][column]) < float(rows[0][column])
    assert float(rows[-1][3]) > 0.2
    events = Events(folder)
    assert len(events.curve("explain/attribution/LRP/absorbed_share")) == 6
    with Image.open(folder / "vit.png") as picture:
        assert picture.size[0] > 700


@pytest.fixture(scope="module")
def cat(tmp_path_factory):
    picture = tmp_path_factory.mktemp("cat") / "cat.png"
    return run("cat", "--n-steps", "24", "--out", str(picture)), picture


def test_a_really_pretrained_network_sees_a_cat(cat):
    printed, _ = cat
    seen = {name: float(share) for name, share in re.findall(r"^  ([A-Za-z ]+?) +([\d.]+)%$", printed, re.MULTILINE)}
    assert sum(seen.get(name, 0) for name in ("tabby", "tiger cat", "Egyptian cat")) > 80
    assert seen["tabby"] > 10


def test_the_cat_is_explained_by_its_face(cat):
    printed, picture = cat
    found = re.findall(
        r"^  (\S.*?) {2,}(-?[\d.]+) +(-?[\d.]+) +(-?[\d.]+) +([\d.]+)% \(([\d.]+)% of the picture\)$",
        printed,
        re.MULTILINE,
    )
    assert len(found) == 3
    for _, total, expected, gap, share, area in found:
        assert float(gap) == pytest.approx(float(total) - float(expected), abs=2e-3)
        assert float(share) > 1.5 * float(area)
    # what LRP loses is what biases absorb; never more than the score
    assert 0 < float(found[1][1]) < float(found[1][2])
    with Image.open(picture) as drawn:
        assert drawn.size[0] > 900


def test_fine_tuning_changes_the_reasons_the_more_the_harsher_it_is(tmp_path):
    printed = run("finetuning", "--logdir", str(tmp_path), "--epochs", "2")
    rows = re.findall(r"^(\w+) +([\d.]+)% +([\d.]+)% +([\d.]+) ± ([\d.]+)", printed, re.MULTILINE)
    drift = {name: float(value) for name, _, _, value, _ in rows}
    error = {name: float(value) for name, _, _, _, value in rows}
    old = {name: float(value) for name, _, value, _, _ in rows}
    assert set(drift) == {"head_only", "gently", "harshly"}
    assert drift["harshly"] > 3 * max(drift["gently"], drift["head_only"])
    # who forgets the old digits decides for other reasons
    assert old["harshly"] < min(old["gently"], old["head_only"])
    assert all(error[name] < drift[name] for name in drift)
    assert len(Events(tmp_path / "harshly" / "version_0").curve("explain/attribution/drift/first")) == 2
    with Image.open(tmp_path / "finetuning.png") as picture:
        assert picture.size[0] > 900


def test_the_callbacks_come_from_a_configuration_file(tmp_path):
    run_alone(
        "lightning_cli", "fit", "--config", "examples/lightning_cli.yaml", "--trainer.max_epochs", "4",
        "--trainer.logger.save_dir", str(tmp_path), "--trainer.enable_progress_bar", "false",
    )  # fmt: skip
    events = Events(tmp_path / "version_0")
    assert "explain/path/3" in events.images
    assert "explain/neurons/hidden.2/dead" in events.scalars
    assert "IntegratedGradients (baseline: train_mean)" in events.text("explain/attribution/summary")
