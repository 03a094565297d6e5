"""Every Python block of the documentation and the README runs, those of a page one after the other."""

import importlib.util
import re
from pathlib import Path

import lightning as L
import pytest
import torch
import yaml
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.demos.boring_classes import BoringModel
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from docs.generated import pages

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^(?:<!-- needs (?P<needs>\w+) -->\n)?```python\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE)
YAML = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = [path for path in (*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))) if "```python" in path.read_text()]


def blocks_of(page: Path) -> list[tuple[int, str, str | None]]:
    """Give each block with its line and the package without which it cannot run."""
    text = page.read_text()
    return [(text[: found.start("code")].count("\n"), found["code"], found["needs"]) for found in BLOCK.finditer(text)]


class Readers(L.LightningModule):
    """A network with the layers that the README names."""

    def __init__(self) -> None:
        super().__init__()
        layer4 = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())
        self.backbone, self.head = nn.ModuleDict({"layer4": layer4}), nn.Sequential(nn.Flatten(), nn.Linear(144, 2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone["layer4"](images))

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
        self.log("val_loss", self.training_step(batch, _))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-3)


class ReadersData(L.LightningDataModule):
    """Data of a reader's own, small."""

    def __init__(self, samples: TensorDataset) -> None:
        super().__init__()
        self.samples = samples

    def train_dataloader(self) -> DataLoader[tuple[torch.Tensor, ...]]:
        return DataLoader(self.samples, batch_size=16)

    def val_dataloader(self) -> DataLoader[tuple[torch.Tensor, ...]]:
        return DataLoader(self.samples, batch_size=16)


def what_a_reader_has() -> dict[str, object]:
    """Return what the README takes for given: a model, its data, and names for parts of them."""
    torch.manual_seed(0)  # of the network: another may have a layer that never fires
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(16, 1, 6, 6, generator=generator), torch.arange(16) % 2
    held_out, watermark = TensorDataset(images, labels), torch.zeros(6, 6)
    watermark[:2, :2] = 1
    return {
        "model": Readers(),
        "data": ReadersData(held_out),
        "held_out": held_out,
        "images": images,
        "labels": labels,
        "mean_image": images.mean(0),
        "watermark": watermark,
        "send_a_mail": print,
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_found(page: Path):
    assert len(blocks_of(page)) == page.read_text().count("```python")


@pytest.mark.filterwarnings("ignore:.*(unusual attributions|a new strategy)")  # alerts, which pages show
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run_in_order(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PL_TRAINER_MAX_EPOCHS", "1")  # where a block leaves it to the Trainer
    names: dict[str, object] = {"__name__": page.stem, **(what_a_reader_has() if page.name == "README.md" else {})}
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


def test_what_is_written_from_the_code_is_up_to_date() -> None:
    for path, text in pages().items():
        assert path.read_text() == text, f"{path.name} is not up to date: run python -m docs.generated"


def test_every_page_is_in_the_navigation() -> None:
    # the builder says nothing of a page that is not
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text().partition("nav:")[2]))
    assert listed == {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}


@pytest.mark.parametrize(
    "words", ["feature_names", "Hugging Face", "resume", "storage", "what does it cost", "glossary"]
)
def test_what_people_search_for_is_a_heading(words: str) -> None:
    headings = [line for page in DOCS.rglob("*.md") for line in page.read_text().splitlines() if line.startswith("#")]
    assert any(words.lower() in line.lower() for line in headings)
