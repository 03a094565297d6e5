"""What decision paths cost and whether they are right: graphs, search, picture, the monitor in a training run.

    python benchmarks/paths.py [--repeats 5] [--rows cost exact ablation search lenet picture monitor bytes]

Times are medians of processor time in milliseconds, of samples one after the other on one thread. The monitor's row is
the ratio watched : bare of whole runs, interleaved in one process, as median and range over the pairs.
"""

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import networks
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import DecisionPathMonitor, Probe
from lightning_explain.attribution import LRP, Epsilon
from lightning_explain.demo import digits_data
from lightning_explain.paths import ablation, contributions, mean_graph, path_graph, ranking, top_paths
from lightning_explain.render.paths import path_picture

N_SAMPLES = 40
IMAGES_AN_EPOCH = 60_000


def mlp() -> nn.Module:
    """784-512-512-512-10."""
    return nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(),
        nn.Linear(512, 10),
    )  # fmt: skip


def lenet() -> nn.Module:
    """Convolutions of 6 and 16 channels, then 120, 84 and 10 units."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def trained(net: nn.Module, data: TensorDataset, epochs: int = 2) -> nn.Module:
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(data)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(data.tensors[0][rows]), data.tensors[1][rows]).backward()
            optimizer.step()
    return net


def milliseconds(work: Callable[[int], Any], n: int = N_SAMPLES) -> float:
    work(0)
    times: list[float] = []
    for sample in range(n):
        began = time.process_time()  # of this process alone: the machine may be busy
        work(sample)
        times.append(1000 * (time.process_time() - began))
    return statistics.median(times)


def line(name: str, metric: str, bar: str = "") -> None:
    print(f"{name:72} {metric:>24}  {bar}", flush=True)


def of_net(name: str, net: nn.Module, x: Tensor, y: Tensor, bar: str) -> Any:
    found = contributions(net, x, y)
    graphs = [found[sample] for sample in range(len(x))]
    pops = statistics.median(top_paths(graph, 10).n_pops for graph in graphs)
    many = statistics.median(top_paths(graph, 100).n_pops for graph in graphs)
    search = milliseconds(lambda sample: top_paths(graphs[sample], 10))
    wide = milliseconds(lambda sample: top_paths(graphs[sample], 100))
    line(f"{name}: 10 strongest paths, ms a sample ({pops:.0f} pops)", f"{search:.2f}", bar)
    line(f"{name}: 100 strongest paths, ms a sample ({many:.0f} pops)", f"{wide:.2f}")
    line(f"{name}: 30 units ranked, ms a sample", f"{milliseconds(lambda s: ranking(graphs[s])):.2f}")
    run = milliseconds(lambda _: contributions(net, x, y), 7) / len(x)
    line(f"{name}: forward and backward pass, ms a sample of {len(x)}", f"{run:.2f}")
    both = milliseconds(lambda sample: top_paths(found[sample], 10))
    line(f"{name}: contribution graph and 10 strongest paths, ms a sample", f"{both:.2f}", "<= 3" if bar else "")
    share = statistics.mean(top_paths(graph, 10).share for graph in graphs)
    line(f"{name}: share of the decision in the 10 strongest paths", f"{share:.2e}")
    return found, graphs


class Recurrent(nn.Module):
    """An LSTM over the rows of an image; its last state gives the scores."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.scores = nn.LSTM(28, 48, batch_first=True), nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.scores(self.rows(x[:, 0])[0][:, -1])


def networks_by_name() -> dict[str, nn.Module]:
    """Networks of digits: layers with closed forms, attention, gates, recurrence."""
    return {
        "LeNet": lenet(),
        "small ResNet": networks.resnet(),
        "ViT, 4 heads": networks.ViT(),
        "CNN with SiLU": networks.silu_cnn(),
        "LSTM over rows": Recurrent(),
    }


def cost(x: Tensor, y: Tensor, repeats: int) -> None:
    """Print what the graphs of all samples cost, in gradient passes of the same batch."""
    for name, net in networks_by_name().items():

        def gradient(net: nn.Module = net) -> None:
            leaf = x.clone().requires_grad_()
            torch.autograd.grad(net(leaf).gather(1, y[:, None]).sum(), leaf)

        def graphs(net: nn.Module = net) -> None:
            found = contributions(net, x, y)
            for sample in range(len(found)):
                _ = found[sample]

        net.eval()
        gradient()
        graphs()
        ratios = [seconds(graphs) / seconds(gradient) for _ in range(repeats)]
        bar = "<= 6" if name == "small ResNet" else ""
        line(f"{name}: graphs of {len(x)} samples : a gradient pass of them", f"{statistics.median(ratios):.1f}", bar)


def exact(x: Tensor, y: Tensor) -> None:
    """Print how far what units send up is from what they have, and inputs from LRP's, as shares of the output."""
    wide = x.double()
    for name, net in networks_by_name().items():
        net.double().eval()
        found = contributions(net, wide, y)
        values = LRP(Epsilon(), attention="cp")(net, wide, y).values
        assert isinstance(values, Tensor)
        sent: list[float] = []
        graphs = [found[sample] for sample in range(len(found))]
        for sample, graph in enumerate(graphs):
            size = max(float(np.abs(layer.contribution).max()) for layer in graph.layers)
            for place, layer in enumerate(graph.layers[:-1]):
                left = layer.contribution.copy()
                for link in graph.links:
                    left -= link.contribution.sum(0) if link.source == place else 0.0
                sent.append(float(np.abs(left).max()) / size)
            sent.append(abs(float(graph.layers[0].contribution.sum()) - float(values[sample].sum())) / size)
        bundled = max(top_paths(graph, 10).others_at_most for graph in graphs)
        share = statistics.mean(graph.absorbed_share for graph in graphs)
        line(f"{name}: largest error of what a unit sends, or of the inputs' sum", f"{max(sent):.0e}", "<= 1e-9")
        line(f"{name}: absorbed; most that a path through a bundle carries", f"{share:.0%}; {bundled:.1%}")


def is_it_the_way(data: tuple[TensorDataset, TensorDataset], x: Tensor, y: Tensor) -> None:
    """Print what trained networks lose without the units drawn, and without as many random ones."""
    flat = TensorDataset(data[0].tensors[0].flatten(1), data[0].tensors[1])
    nets = {"MLP": (mlp(), flat, x.flatten(1)), "LeNet": (lenet(), data[0], x), "ViT": (networks.ViT(), data[0], x)}
    for name, (net, samples, inputs) in nets.items():
        found = contributions(trained(net, samples, 6 if name == "ViT" else 3).eval(), inputs, y, groups=y)
        drawn: list[dict[str, list[int]]] = []
        for label in y.unique().tolist():
            of_class = [found[row] for row in (y == label).nonzero().flatten().tolist()]
            shown = path_graph(mean_graph(of_class), input_names=[unit.names for unit in found.units])
            own: dict[str, list[int]] = {}
            for node in shown.nodes:
                if node.unit is not None:
                    own.setdefault(node.layer, []).append(node.unit)
            drawn.append(own)
        measured = ablation(net, inputs, y, drawn, y)
        compared = [each for each in measured if each.n_units]
        if not compared:
            line(f"trained {name}: all units of the layers drawn are drawn", "nothing to compare")
            continue
        lost, random = (statistics.mean(getattr(each, key) for each in compared) for key in ("drawn", "random"))
        n_units = statistics.mean(each.n_units for each in compared)
        metric = f"{lost:.2f} : {random:.3f} = {lost / random:.1f}"
        line(f"trained {name}: score lost without {n_units:.0f} units drawn : random ones", metric, ">= 3")


def seconds(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def picture(found: Any, graphs: Any) -> None:
    shown = path_graph(mean_graph(graphs[:4]), input_names=[unit.names for unit in found.units])
    cost = milliseconds(lambda _: path_picture(shown, title="A title " * 40, output_lines=["3", "p 98 %"]), 15)
    line("picture of LeNet's graph, ms", f"{cost:.1f}", "<= 150")


def training_run(callbacks: list[pl.Callback], data: tuple[TensorDataset, TensorDataset], epochs: int = 2) -> float:
    """Train LeNet for epochs of MNIST's size, with validation and TensorBoard; return seconds."""
    pl.seed_everything(0, verbose=False)
    repeats = IMAGES_AN_EPOCH // len(data[0])
    many = TensorDataset(*(part.repeat(repeats, *(1,) * (part.ndim - 1)) for part in data[0].tensors))
    loaders = DataLoader(many, batch_size=128, shuffle=True), DataLoader(data[1], batch_size=250)
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_epochs=epochs, accelerator="cpu", logger=TensorBoardLogger(folder), callbacks=callbacks,
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, num_sanity_val_steps=0,
        )  # fmt: skip
        began = time.perf_counter()
        trainer.fit(networks.Classifier(lenet()), *loaders)
        return time.perf_counter() - began


def monitor(data: tuple[TensorDataset, TensorDataset], repeats: int) -> None:
    probe = Probe.from_dataset(data[1], per_class=4)
    ratios: list[float] = []
    shares: list[float] = []
    for turn in range(repeats):
        watching = DecisionPathMonitor(probe=probe)
        runs: dict[str, Callable[[], float]] = {
            "bare": lambda: training_run([], data),
            "watched": lambda watching=watching: training_run([watching], data),
        }
        order = ("bare", "watched") if turn % 2 == 0 else ("watched", "bare")
        seconds = {name: runs[name]() for name in order}
        ratios.append(seconds["watched"] / seconds["bare"])
        shares.append(watching.records[-1]["scalars"]["explain/path/overhead"])
    metric = f"{statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})"
    line(f"DecisionPathMonitor, LeNet, {IMAGES_AN_EPOCH:,} images an epoch, probe 40, watched : bare", metric)
    line("  its own share of the wall time, as it logs it", f"{statistics.median(shares):.1%}")


def bytes_per_explanation(data: tuple[TensorDataset, TensorDataset]) -> None:
    probe = Probe.from_dataset(data[1], per_class=4)
    with tempfile.TemporaryDirectory() as folder:
        logger, watching = TensorBoardLogger(folder), DecisionPathMonitor(probe=probe)
        trainer = pl.Trainer(
            max_epochs=3, accelerator="cpu", logger=logger, callbacks=[watching], enable_progress_bar=False,
            enable_model_summary=False, enable_checkpointing=False,
        )  # fmt: skip
        loaders = DataLoader(data[0], batch_size=250), DataLoader(data[1], batch_size=250)
        trainer.fit(networks.Classifier(lenet()), *loaders)
        events = sum(path.stat().st_size for path in Path(logger.log_dir).glob("events.*"))
        lines = (Path(logger.log_dir) / "explain" / "path" / "record.jsonl").stat().st_size
        n = len(watching.records)
    line("event file, kB per explanation with pictures of 10 classes", f"{events / 1000 / n:.0f}")
    line("record.jsonl, kB per explanation", f"{lines / 1000 / n:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    rows = ["cost", "exact", "ablation", "search", "lenet", "picture", "monitor", "bytes"]
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", nargs="+", choices=rows, default=rows)
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = digits_data(0)
    probe = Probe.from_dataset(data[1], per_class=4)
    x, y = probe.parts[0], probe.labels
    assert y is not None
    if "cost" in arguments.rows:
        cost(x, y, arguments.repeats)
    if "exact" in arguments.rows:
        exact(x[:8], y[:8])
    if "ablation" in arguments.rows:
        is_it_the_way(data, x, y)
    if "search" in arguments.rows:
        flat = TensorDataset(data[0].tensors[0].flatten(1), data[0].tensors[1])
        of_net("MLP 784-512x3-10", trained(mlp(), flat), x.flatten(1), y, "about 1")
    if {"lenet", "picture"} & set(arguments.rows):
        found, graphs = of_net("LeNet", trained(lenet(), data[0]), x, y, "")
        picture(found, graphs)
    if "monitor" in arguments.rows:
        monitor(data, arguments.repeats)
    if "bytes" in arguments.rows:
        bytes_per_explanation(data)


if __name__ == "__main__":
    main()
