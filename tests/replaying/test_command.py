"""`lightning-explain replay` and `report` as commands, on a run that LightningCLI trained; the page in a browser."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch.cli import LightningCLI

from lightning_explain.cli import main
from tests.events import Events
from tests.replaying.cli_config import CONFIG, HOME
from tests.replaying.digits_project import Data, Net
from tests.tensorboard_explain.browser import launched

ROOT = Path(__file__).parents[2]


def lightning_cli(folder: Path, config: dict[str, Any], **options: Any) -> Any:
    """Train as a project's own script does; LightningCLI leaves checkpoints and its configuration."""
    folder.mkdir(exist_ok=True)
    (folder / "asked.yaml").write_text(yaml.safe_dump(config))
    return LightningCLI(
        args=["fit", "--config", str(folder / "asked.yaml")], trainer_defaults={"default_root_dir": str(folder)},
        save_config_kwargs={"overwrite": True}, auto_configure_optimizers=False, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A trained run, its replay, and the report on that, each by its own command."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch, pytest.warns():
        patch.chdir(folder)
        cli = lightning_cli(
            folder, CONFIG, model_class=Net, datamodule_class=Data,
            subclass_mode_model=True, subclass_mode_data=True,
        )  # fmt: skip
    accuracy = cli.trainer.callback_metrics["val_acc"]

    def command(*words: str) -> Any:
        script = [sys.executable, "-m", "lightning_explain.cli", *words]
        return subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)

    replayed = command(
        "replay", "--ckpt-dir", str(folder), "--config", str(folder / "config.yaml"), "--logdir", str(folder / "out")
    )
    reported = command(
        "report", str(folder / "out"), "-o", str(folder / "report.html"), "--gif", str(folder / "film.gif")
    )
    return SimpleNamespace(folder=folder, accuracy=float(accuracy), replayed=replayed, reported=reported)


def test_the_replay_explains_every_checkpoint_of_the_run(project: Any) -> None:
    assert project.replayed.returncode == 0, project.replayed.stderr
    assert "2 checkpoints explained: steps 24, 48" in project.replayed.stdout
    assert "2/2" in project.replayed.stderr
    assert "Warning" not in project.replayed.stderr
    events = Events(project.folder / "out" / "version_0")
    assert list(events.curve("explain/attribution/total_attribution")) == [24, 48]
    assert list(events.curve("explain/attribution/drift/previous")) == [48]
    assert events.steps("explain/path/3") == [24, 48]
    assert events.steps("explain/neurons/net.2/rates") == [24, 48]
    # the same split of the data as in training: drawn from the seed of the configuration
    assert events.curve("val_acc")[48] == pytest.approx(project.accuracy, abs=1e-6)
    assert project.accuracy > 0.5


def test_the_report_of_it_is_small_and_says_how_large(project: Any) -> None:
    assert project.reported.returncode == 0, project.reported.stderr
    page = project.folder / "report.html"
    assert f"report.html: 1 run, {page.stat().st_size / 1e6:.2f} MB" in project.reported.stdout
    assert "film.gif: version_0, 2 frames" in project.reported.stdout
    assert page.stat().st_size < 1_000_000


@pytest.fixture(scope="module")
def browser() -> Any:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        chromium = launched(started)
        yield chromium
        chromium.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_from_disk_without_a_network(project: Any, browser: Any, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme, offline=True, viewport={"width": 390, "height": 800})
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto((project.folder / "report.html").as_uri())
    outside = [url for url in asked if not url.startswith("data:")]
    assert outside == [(project.folder / "report.html").as_uri()]
    assert not said
    # every picture is there, and the page is no wider than the screen
    assert page.locator("img").count() > 60
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    colours = page.evaluate(CONTRASTS)
    assert len(colours) > 100
    assert min(ratio for _, ratio in colours) >= 4.5, min(colours, key=lambda found: found[1])
    headings = page.get_by_role("heading", level=2).all_inner_texts()
    assert headings == ["Overview", "What it looks at", "Which neurons it uses", "Which way it decides"]
    # the policy holds even against markup that would get in
    page.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))")
    page.wait_for_timeout(100)
    assert any("Content Security Policy" in words for words in said)
    context.close()


CONTRASTS = """() => {
  const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (rgb) => 0.2126 * channel(rgb[0]) + 0.7152 * channel(rgb[1]) + 0.0722 * channel(rgb[2]);
  const numbers = (words) => words.match(/[\\d.]+/g).map(Number);
  const below = (node) => {
    for (; node; node = node.parentElement) {
      const colour = numbers(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll("h1, h2, h3, h4, p, a, th, td, li, small, caption, summary, svg text")) {
    if (!node.textContent.trim()) continue;
    const style = getComputedStyle(node);
    const [a, b] = [light(numbers(node instanceof SVGElement ? style.fill : style.color)), light(below(node))];
    found.push([node.tagName + " " + node.textContent.slice(0, 20), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]);
  }
  return found;
}"""


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({}, "has no section `model`"),
        ({"model": {"width": 5}}, "--model my_project.MyClass"),
        ({"model": {"class_path": "no_such_project.Net"}}, "no_such_project"),
        ({"model": {"class_path": f"{HOME}.Net", "init_args": {"depth": 5}}}, "depth"),
        ({"model": {"class_path": "torch.nn.Linear"}}, "Linear"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_said(
    tmp_path: Path, sections: dict[str, Any], words: str, capsys: Any
) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(sections))
    assert main(["replay", "--ckpt-dir", str(tmp_path), "--config", str(tmp_path / "config.yaml")]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert said.startswith("lightning-explain replay: ")
    assert "Traceback" not in said


def test_without_jsonargparse_it_says_what_to_install(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setitem(sys.modules, "jsonargparse", None)
    assert main(["replay", "--ckpt-dir", ".", "--config", "config.yaml"]) == 1
    assert 'pip install "lightning-explain[cli]"' in capsys.readouterr().err


def test_nothing_that_fits_leaves_with_1(project: Any, tmp_path: Path, capsys: Any) -> None:
    torch.save({"elsewhere": torch.zeros(1)}, tmp_path / "a.pt")
    config = str(project.folder / "config.yaml")
    assert main(["replay", "--ckpt-dir", str(tmp_path), "--config", config, "--monitors", "attribution"]) == 1
    said = capsys.readouterr().err
    assert "None of 1 checkpoints can be explained" in said
    assert "elsewhere" in said
    assert main(["replay", "--ckpt-dir", str(tmp_path / "no"), "--config", config]) == 1
    assert "no does not exist" in capsys.readouterr().err
