"""Every Python block of the documentation runs, those of a page one after the other."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.demos.boring_classes import BoringModel

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"^(?:<!-- needs (?P<needs>\w+) -->\n)?```python\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE)
YAML = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = [path for path in sorted(DOCS.rglob("*.md")) if "```python" in path.read_text()]


def blocks_of(page: Path) -> list[tuple[int, str, str | None]]:
    """Give each block with its line and the package without which it cannot run."""
    text = page.read_text()
    return [(text[: found.start("code")].count("\n"), found["code"], found["needs"]) for found in BLOCK.finditer(text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_found(page: Path):
    assert len(blocks_of(page)) == page.read_text().count("```python")


@pytest.mark.filterwarnings("ignore:.*unusual attributions")  # an alert, which a page shows
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run_in_order(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": page.stem}
    missing: set[str] = set()
    for line, code, needs in blocks_of(page):
        if needs is not None and importlib.util.find_spec(needs) is None:
            missing.add(needs)
            continue
        # the padding makes a traceback name the line of the page
        exec(compile("\n" * line + code, str(page), "exec"), names)
    assert missing <= {"zennit", "pytorch_tabular"}, f"{missing} should be installed for the tests"


CONFIGURATIONS = [(path.name, found) for path in sorted(DOCS.rglob("*.md")) for found in YAML.findall(path.read_text())]


@pytest.mark.filterwarnings("ignore")  # what jsonargparse and LightningCLI say is not ours
@pytest.mark.parametrize(("page", "words"), CONFIGURATIONS, ids=[page for page, _ in CONFIGURATIONS])
def test_configurations_make_what_they_say(page: str, words: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["program"])  # which it would take for its own
    configuration = yaml.safe_load(words)
    trainer = {"logger": False, "enable_checkpointing": False, **configuration["trainer"]}
    cli = LightningCLI(BoringModel, args={"trainer": trainer}, run=False, seed_everything_default=0)
    made = {type(callback).__name__ for callback in cli.trainer.callbacks}
    assert {entry["class_path"].rpartition(".")[2] for entry in trainer["callbacks"]} <= made
