"""Log directories for the tab: real runs, and made-up ones for what real runs rarely hold."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter

from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, Display, Probe
from lightning_explain.attribution import Attribution
from lightning_explain.callbacks.attribution.explainer import Explanation
from lightning_explain.callbacks.attribution.tab import attribution_tab, probe_tab
from lightning_explain.drift import drift
from lightning_explain.log.tab_events import tab_summary
from tests.models import DigitData, DigitNet

HTML = '<img src=x onerror="window.top.hacked=1"><script>window.top.hacked=1</script>'
HOSTILE_NAMES = [HTML, "x" * 10_000, "數字 ☃ \u202e إيه 🐈", "a\nb\tc", "'\"`&amp;</script>"]


def trained_run(folder: Path, version: int, *, epochs: int = 3) -> Path:
    """Train on real digits with both monitors, as a user would: `folder/version_N`."""
    pl.seed_everything(version, verbose=False)
    data = DigitData()
    trainer = pl.Trainer(
        max_epochs=epochs,
        logger=TensorBoardLogger(folder, name="", version=version),
        callbacks=[AttributionMonitor(every_n_epochs=1), ActiveNeuronMonitor()],
        accelerator="cpu",
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(DigitNet(), datamodule=data)
    return Path(trainer.logger.log_dir)


def attribution(values: torch.Tensor) -> Attribution:
    """An attribution as a method returns it."""
    n = len(values)
    return Attribution(
        values=values,
        convergence_delta=torch.zeros(n),
        error=torch.full((n,), 0.02),
        target=None,
        baseline=None,
        n_evaluations=torch.ones(n, dtype=torch.long),
        coarse=values + 0.02 * values.abs().roll(1, 0),
    )


class Log:
    """Writes events for the tab by hand."""

    def __init__(self, folder: Path) -> None:
        self.writer = SummaryWriter(str(folder))

    def put(self, tag: str, header: dict[str, Any], sprite: Any = None, *, step: int = 0) -> None:
        self.raw(tab_summary(tag, header, sprite), step)

    def raw(self, summary: Summary, step: int) -> None:
        self.writer._get_file_writer().add_summary(summary, step)
        self.writer.flush()

    def blobs(self, tag: str, kind: str, *blobs: bytes, step: int = 0) -> None:
        """An event that holds just these bytes."""
        summary = tab_summary(tag, {"kind": kind}, None)
        tensor = summary.value[0].tensor
        del tensor.string_val[:]
        tensor.string_val.extend(blobs)
        tensor.tensor_shape.dim[0].size = len(blobs)
        self.raw(summary, step)

    def explanation(
        self,
        probe: Probe,
        values: torch.Tensor,
        *,
        step: int,
        name: str = "attribution",
        before: Any = None,
        named: Mapping[str, Attribution] | None = None,
        alert: str | None = None,
        contrast: torch.Tensor | None = None,
        **more: Any,
    ) -> Attribution:
        """An event as AttributionMonitor writes it, and the probe's if this is the first step.

        The contrast is that of the second method.
        """
        explained = attribution(values)
        generator = torch.Generator().manual_seed(step)
        scores = 3 * torch.randn(len(probe), max(len(probe.class_names), 10), generator=generator)
        references = {**({} if before is None else {"previous": before}), **(named or {})}
        drifts = {reference: drift(explained, earlier, ["cosine"]) for reference, earlier in references.items()}
        if step == 0:
            header, sprite = probe_tab(probe)
            self.put(f"explain/{name}/probe", header, sprite.picture if sprite else None)
        absolute = replace(attribution(values.abs()), contrast=contrast)
        methods = {"IntegratedGradients": explained, "Saliency": absolute}
        attributions = {"IG": explained, "Saliency": absolute}
        explanation = Explanation(step=step, scores=scores, attributions=attributions, faithfulness={}, primary="IG")
        header, sprite = attribution_tab(probe, explanation, drifts, methods)
        if alert is not None:
            header["curve"]["alert"] = alert
        header |= {"name": name, "step": step, "epoch": step // 10, "count": more.pop("count", 1), **more}
        self.put(f"explain/{name}/tab", header, sprite.picture if sprite else None, step=step)
        return explained


def image_probe(n: int = 40, size: int = 28) -> Probe:
    images = torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(0))
    return Probe(inputs=images, targets=torch.arange(n) % 10)


def long_run(folder: Path, n_steps: int = 500) -> None:
    """500 explanations of 40 samples."""
    log, probe, before = Log(folder), image_probe(), None
    for i in range(n_steps):
        values = torch.randn(40, 1, 28, 28, generator=torch.Generator().manual_seed(i)) * (probe.parts[0] > 0.8)
        before = log.explanation(probe, values, step=10 * i, before=before, count=i + 1)


def known_run(folder: Path) -> None:
    """Two samples of 2 x 3 pixels at two steps, with values that a test can name."""
    log = Log(folder)
    probe = Probe(inputs=torch.rand(2, 1, 2, 3), targets=torch.tensor([0, 1]))
    first = torch.tensor([[[[1.0, 0.0, -1.0], [0.5, 0.0, 0.0]]], [[[0.0, 0.0, 2.0], [0.0, 0.0, 0.0]]]])
    named = {"pretrained": attribution(first), HTML: attribution(-first)}
    before = log.explanation(probe, first, step=0, named=named, contrast=torch.tensor([7, 3]))
    log.explanation(probe, -first, step=5, before=before, named=named, count=2)


def alerted_run(folder: Path) -> None:
    """An alert, whose words hold the name of a class, where drift is within its error."""
    log, probe, before = Log(folder), image_probe(4, 4), None
    for step in (0, 1, 2):
        values = torch.ones(4, 1, 4, 4) + 0.01 * step
        before = log.explanation(probe, values, step=step, before=before, alert=HTML if step == 1 else None)


def hostile_run(folder: Path) -> None:
    """Names of classes, features, layers and methods that try to be more than names."""
    log = Log(folder)
    n = len(HOSTILE_NAMES)
    probe = Probe(
        inputs=torch.rand(n, n), targets=torch.arange(n), class_names=HOSTILE_NAMES, feature_names=HOSTILE_NAMES
    )
    for step in (0, 1):
        log.explanation(probe, torch.randn(n, n), step=step, name="table", count=step + 1)
    pictures = Probe(inputs=torch.rand(n, 1, 4, 4), targets=torch.arange(n), class_names=HOSTILE_NAMES)
    log.explanation(pictures, torch.randn(n, 1, 4, 4), step=0)
    for step in (0, 1):
        # written past our own writer, which would have cut the names
        raw = {"v": 1, "kind": "neurons", "classes": list(range(n)), "class_names": dict(enumerate(HOSTILE_NAMES))}
        raw |= {"caveat": HTML, "never_fired": HOSTILE_NAMES}
        layer = {"name": HTML, "n_neurons": 3, "neurons": None, "rates": "AAAA" * n, "selectivity": "AAAA"}
        fed = [[0, HTML, [[name, 1.0] for name in HOSTILE_NAMES]]]
        log.put("explain/neurons/tab", {**raw, "layers": [{**layer, "feeding": fed}], "step": step}, step=step)
    names = [{"id": name, "layer": name, "unit": 0, "label": name, "contribution": 1} for name in HOSTILE_NAMES]
    edges = [{"source": HTML, "target": HOSTILE_NAMES[2], "share": 0.5, "contribution": 1}]
    log.put("explain/path/tab", {"kind": "paths", "graphs": [{"title": HTML, "nodes": names, "edges": edges}]})


def malformed_run(folder: Path) -> None:
    """Events that are not what a monitor writes; the last step is whole."""
    log, probe = Log(folder), image_probe(4, 6)
    tag = "explain/attribution/tab"
    values = torch.randn(4, 1, 6, 6)
    log.explanation(probe, values, step=0)
    whole = {"v": 1, "kind": "attribution"}
    wrong: list[tuple[bytes, ...]] = [
        (b"\xff\xfe no JSON",), (b"[1, 2]",), (b"null",), (b"[" * 100_000,), (),
        (json.dumps({**whole, "v": 99}).encode(),), (json.dumps({"kind": "neurons", "v": 1}).encode(),),
        (json.dumps({**whole, "methods": 7, "labels": "no", "tile": [-1, 1e99], "class_names": [1]}).encode(),),
        (json.dumps({**whole, "methods": [{"scales": [None]}], "form": "image", "tile": [6, 6]}).encode(), b"no PNG"),
        (json.dumps({**whole, "methods": [{}], "form": "image", "tile": [6, 6]}).encode(), b"\x89PNG\r\n\x1a\nbroken"),
        (b"{}" * 3, b"", b"more"),
    ]  # fmt: skip
    for step, blobs in enumerate(wrong, start=1):
        log.blobs(tag, "attribution", *blobs, step=step)
    log.explanation(probe, values, step=len(wrong) + 1, count=2)
    log.blobs("explain/neurons/tab", "neurons", json.dumps({"v": 1, "kind": "neurons", "layers": [3, {}]}).encode())
    log.blobs("explain/path/tab", "paths", json.dumps({"v": 1, "kind": "paths", "graphs": [{"nodes": [1]}]}).encode())
    log.blobs("explain/else/tab", "something new", json.dumps({"v": 1, "kind": "something new"}).encode())


def path_graph(edges: list[tuple[str, str, float]]) -> dict[str, Any]:
    """A graph after the contract between the path monitor and the tab."""
    ids = list(dict.fromkeys([end for edge in edges for end in edge[:2]]))
    layers = {"x": "input", "h": "net.0", "r": "net.0", "o": "net.2"}  # r: the rest of a layer, in one node
    nodes = [
        {
            "id": i,
            "layer": layers[i[0]],
            "unit": None if i[0] == "r" else int(i[1:]),
            "label": i,
            "contribution": (-1) ** int(i[1:]) * 0.5,
        }
        for i in sorted(ids, key=lambda i: "xhro".index(i[0]))
    ]
    drawn = [{"source": s, "target": t, "share": share, "contribution": share * 2} for s, t, share in edges]
    title = {"title": "class setosa", "class": "setosa", "sample": None, "output": 2.5, "shown_share": 0.8}
    return {**title, "nodes": nodes, "edges": drawn}


def new_path_graph(shares: tuple[float, ...], **changes: Any) -> dict[str, Any]:
    """A graph in the second form: two patches of an image, two units each of two layers of a block, the output."""
    columns = [("input", ["input"]), ("net.block", ["net.block.a", "net.block.b"]), ("output", ["output"])]
    passed = [shares[0], shares[1] + shares[2], shares[0] + shares[1], shares[2], 1.0]
    nodes = [(0, 0, "row 0", 1.0), (0, 3, "row 1", -1.0), (1, 7, "", 2.0), (2, 4, "", -0.5), (3, 0, "cat", 2.5)]
    edges = [(0, 2, shares[0]), (1, 2, shares[1]), (1, 3, shares[2]), (2, 4, passed[2]), (3, 4, passed[3])]
    return {
        "title": "class cat", "class": "cat", "sample": None, "output": 2.5, "shown_share": sum(shares),
        "absorbed_share": 0.3, "threshold": 0.1, "is_spread": False, "ablation": 0.62, "ablation_random": 0.08,
        "columns": [{"name": n, "layers": ls, "n_units": 9, "contribution": 2.0} for n, ls in columns],
        "nodes": [[*node, passed[k], 1] for k, node in enumerate(nodes)],
        "edges": [[source, target, share, 1.0 if source != 3 else -0.5] for source, target, share in edges],
        "tile": 0, "boxes": {"0": [0, 0, 0.5, 0.5], "3": [0.5, 0.5, 0.5, 0.5]}, **changes,
    }  # fmt: skip


def new_path_run(folder: Path) -> None:
    """Two steps of the second form; a hidden edge, one that is new at the second step, and a class of ranked units."""
    log = Log(folder)
    spread = {"title": "class dog", "is_spread": True, "edges": []}
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    image[:2, :2] = 250
    for step, shares in ((0, (0.5, 0.3, 0.0)), (10, (0.5, 0.3, 0.05))):
        graphs = [new_path_graph(shares), new_path_graph(shares, **spread)]
        if step == 0:
            graphs[0]["edges"] = [edge for edge in graphs[0]["edges"] if edge[:2] != [1, 2]]
        header = {"v": 2, "kind": "paths", "name": "path", "step": step, "epoch": step // 10, "graphs": graphs}
        log.put("explain/path/tab", {**header, "tile": [4, 4]}, image, step=step)


def path_run(folder: Path) -> None:
    """Two steps of a path: three edges stay (one from the rest of a layer), one is lost, two are won."""
    log = Log(folder)
    graphs = {
        0: path_graph([("x0", "h1", 0.5), ("x1", "h1", 0.2), ("h1", "o0", 0.7), ("r5", "o0", 0.1)]),
        10: path_graph([("x0", "h1", 0.6), ("x2", "h3", 0.3), ("h3", "o0", 0.3), ("h1", "o0", 0.6), ("r9", "o0", 0.1)]),
    }
    for step, graph in graphs.items():
        header = {"kind": "paths", "name": "path", "step": step, "epoch": step // 10, "graphs": [graph]}
        header["caveat"] = f"Restarts: {HTML}" if step else ""
        log.put("explain/path/tab", header, step=step)


def table_run(folder: Path) -> None:
    """A tabular probe with names."""
    log = Log(folder)
    names = ["sepal length", "sepal width", "petal length", "petal width"]
    classes, labels = ["setosa", "versicolor", "virginica"], torch.tensor([0, 0, 1, 1, 2, 2])
    probe = Probe(inputs=torch.rand(6, 4), targets=labels, class_names=classes, feature_names=names)
    for count, step in enumerate((0, 3), start=1):
        values = torch.tensor(np.linspace(-1, 1, 24).reshape(6, 4), dtype=torch.float32) * (1 + step)
        log.explanation(probe, values, step=step, count=count)


def text_run(folder: Path) -> None:
    """Two texts, the second one filled up, with words that want to be more than words."""
    log, display = Log(folder), Display(tokens=["<pad>", HTML, "good", "數字", "film"], padding=0)
    ids, labels = torch.tensor([[1, 2, 3, 4], [2, 4, 0, 0]]), torch.tensor([0, 1])
    probe = Probe(inputs=ids, targets=labels, class_names=["one", "two"], display=display)
    for count, step in enumerate((0, 3), start=1):
        values = torch.tensor([[0.0, 1.0, -1.0, 0.5], [-0.5, 1.0, 9.0, 9.0]]) * (1 if step else -1)
        log.explanation(probe, values, step=step, count=count)


def signal_run(folder: Path) -> None:
    """Two signals of two channels."""
    log = Log(folder)
    probe = Probe(inputs=torch.rand(2, 2, 64), targets=torch.tensor([0, 1]), class_names=["one", "two"])
    values = torch.zeros(2, 2, 64)
    values[0, 1, 10], values[0, 0, 20] = 1.0, -1.0
    for count, step in enumerate((0, 3), start=1):
        log.explanation(probe, values, step=step, count=count)


def newer_run(folder: Path) -> None:
    """Events of a kind of input that only a newer version knows, with a layout that this one knows."""
    entities_run(folder, form="newer")


def entities_run(folder: Path, **more: Any) -> None:
    """Two graphs of at most four atoms, one of them with a name that wants to be more than a name."""
    log = Log(folder)
    adjacency = torch.zeros(2, 4, 4)
    for start, end in ((0, 1), (1, 2), (2, 3)):
        adjacency[0, start, end] = adjacency[0, end, start] = 1
    adjacency[1, 0, 1] = adjacency[1, 1, 0] = 1
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    names = [["C", "N", HTML, "C"], ["O", "數字"]]
    probe = Probe(
        inputs=(torch.rand(2, 4, 3), adjacency.bool(), mask),
        targets=torch.tensor([0, 1]),
        class_names=["one", "two"],
        entity_names=names,
        display=Display(form="entities", edges=1),
    )
    sums = torch.tensor([[0.0, 1.0, -1.0, 0.5], [-0.5, 1.0, 9.0, 9.0]])
    for count, step in enumerate((0, 3), start=1):
        values = torch.stack([sums, torch.zeros(2, 4), torch.zeros(2, 4)], dim=2) * (1 if step else -1)
        log.explanation(probe, values, step=step, count=count, **more)


def other_data(folder: Path) -> None:
    """A run without anything of ours."""
    writer = SummaryWriter(str(folder))
    writer.add_scalar("loss", 1.0, 0)
    writer.add_text("words", "of somebody else", 0)
    writer.close()
