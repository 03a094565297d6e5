"""What the monitors cost where there is much of everything: processes, classes, neurons, samples.

    python benchmarks/scale.py [--rows processes hosts classes samples block]

`processes`: one probe explained by 1, 2 and 4 gloo processes on the CPU: rows that each process sent through the model
forward, wall time, and the largest difference from what one process finds. On fewer cores than processes the time
cannot fall; the rows say what it would do.
`hosts`: the same by two hosts, one torchrun each: network namespaces with a wire between them where this user may
make some (root, iproute2), otherwise two agents on this host.
`classes`: ActiveNeuronMonitor with 1,000 classes and a layer of 10,000 neurons, through a real fit: time of a step
beside the bare one, memory, time of a report, bytes of event file and checkpoint, sizes of the pictures.
`samples`: memory of the counts after an epoch of 1,000, 10,000 and 100,000 samples.
`block`: what a pass through a transformer's layers keeps in memory and costs, for the plan in docs/scale.md.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from measuring import ratio
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import ActiveNeuronMonitor, IntegratedGradients
from lightning_explain.attribution.integrated_gradients.passes import counting_kept_bytes
from lightning_explain.callbacks.attribution.explainer import Examiner
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import Question

N_CLASSES, N_NEURONS, N_FEATURES = 1000, 10_000, 64


class Wide(pl.LightningModule):
    """Many classes, many neurons."""

    def __init__(self, n_neurons: int = N_NEURONS, n_classes: int = N_CLASSES) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(N_FEATURES, n_neurons), nn.ReLU(), nn.Linear(n_neurons, n_classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any) -> None:
        self(batch[0])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.01)


class Clock(pl.Callback):
    """Times steps, and what happens between the last validation batch and the next step."""

    def __init__(self) -> None:
        self.marks: list[float] = []
        self.report = 0.0
        self._began = 0.0

    def on_train_batch_end(self, *args: Any) -> None:
        self.marks.append(time.perf_counter())

    def median_step(self) -> float:
        steps = [b - a for a, b in zip(self.marks[2:], self.marks[3:], strict=False)]
        return statistics.median(steps)


def synthetic(n_samples: int, n_classes: int) -> TensorDataset:
    """Make samples that lie around a centre of their class."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(n_classes, N_FEATURES, generator=generator)
    labels = torch.arange(n_samples) % n_classes
    return TensorDataset(centres[labels] + 0.5 * torch.randn(n_samples, N_FEATURES, generator=generator), labels)


def resident() -> float:
    """Return the memory that the process has taken at its peak, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fit(model: pl.LightningModule, monitors: list[pl.Callback], folder: Path | None, n_train: int, n_val: int) -> Clock:
    n_classes = model.net[-1].out_features
    clock = Clock()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False if folder is None else TensorBoardLogger(folder, ""),
        callbacks=[*monitors, clock],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    train, val = synthetic(n_train, n_classes), synthetic(n_val, n_classes)
    trainer.fit(model, DataLoader(train, batch_size=256), DataLoader(val, batch_size=256))
    if folder is not None:
        trainer.save_checkpoint(folder / "model.ckpt")
    return clock


def classes() -> None:
    print(f"{N_CLASSES:,} classes x {N_NEURONS:,} neurons, batch 256")
    n_train, n_val = 16 * 256, 4 * 1000
    bare, peak = fit(Wide(), [], None, n_train, n_val).median_step(), resident()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        monitor = ActiveNeuronMonitor()
        spent: dict[str, float] = {}
        reporter = monitor._reporter
        for part in ("_published", "_features", "_write", "_draw_maps"):
            _timed(reporter, part, spent)
        clock = fit(Wide(), [monitor], folder, n_train, n_val)
        print(f"  step: bare {bare * 1e3:.0f} ms, watched {clock.median_step() * 1e3:.0f} ms")
        print(f"  memory at the peak: bare {peak:.0f} MiB, watched {resident():.0f} MiB")
        for part, seconds in spent.items():
            print(f"  report, {part.strip('_')}: {seconds:.2f} s")
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                print(f"  {path.name[:40]}: {path.stat().st_size / 1e6:.2f} MB")
        states = torch.load(folder / "model.ckpt", weights_only=True)
        torch.save(states["callbacks"], folder / "callbacks.pt")
        print(f"  of the checkpoint, the monitor's part: {(folder / 'callbacks.pt').stat().st_size / 1e6:.2f} MB")
        _pictures(folder)


def _timed(owner: Any, part: str, spent: dict[str, float]) -> None:
    inner = getattr(owner, part)

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return inner(*args, **kwargs)
        finally:
            spent[part] = spent.get(part, 0.0) + time.perf_counter() - start

    setattr(owner, part, timed)


def _pictures(folder: Path) -> None:

    events = EventAccumulator(str(next(folder.rglob("events*")).parent), size_guidance={"images": 0, "tensors": 0})
    events.Reload()
    for tag in events.Tags()["images"]:
        image = events.Images(tag)[-1]
        print(f"  {tag}: {image.width} x {image.height}, {len(image.encoded_image_string) / 1e3:.0f} kB")
        if out := os.environ.get("PICTURES"):
            (Path(out) / (tag.replace("/", "_") + ".png")).write_bytes(image.encoded_image_string)
    for tag in events.Tags()["tensors"]:
        size = len(events.Tensors(tag)[-1].tensor_proto.SerializeToString())
        if size > 20_000:
            print(f"  {tag}: {size / 1e3:.0f} kB")
    print(f"  curves: {len(events.Tags()['scalars'])}, other tags: {len(events.Tags()['tensors'])}")


def samples() -> None:
    """Print the bytes that the counts take after epochs of different length."""
    for n_samples in (1000, 10_000, 100_000):
        monitor = ActiveNeuronMonitor(feeding=0, maps=0)
        fit(Wide(256, 10), [monitor], None, n_samples, 100)
        held = sum(t.numel() * t.element_size() for t in _tensors(monitor.state_dict()))
        print(f"{n_samples:>8,} samples: {held / 1e3:.1f} kB of counts and histories")


def _tensors(state: Any) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    if isinstance(state, dict | list):
        return [t for part in (state.values() if isinstance(state, dict) else state) for t in _tensors(part)]
    return []


def processes() -> None:
    """Explain one probe by several processes, started by torchrun."""
    for count in (1, 2, 4):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        subprocess.run([*command, __file__, "--member"], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


HOSTS = ("explain_a", "explain_b")


def hosts() -> None:
    """Explain one probe by two hosts."""
    try:
        addresses = _wired()
    except (OSError, subprocess.CalledProcessError) as problem:
        print(f"no network namespaces here ({problem}); two agents on this host")
        _agents([[], []], "127.0.0.1")
        return
    try:
        print(f"two network namespaces, {' and '.join(addresses)}")
        names = {"GLOO_SOCKET_IFNAME": "wire"}
        _agents([["ip", "netns", "exec", name] for name in HOSTS], addresses[0], names)
    finally:
        _unwired()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _wired() -> list[str]:
    """Make two network namespaces with a wire between them; return their addresses."""
    addresses = ["10.123.0.1", "10.123.0.2"]
    _unwired()
    for name in HOSTS:
        _ip("netns", "add", name)
    _ip("link", "add", "wire", "netns", HOSTS[0], "type", "veth", "peer", "name", "wire", "netns", HOSTS[1])
    for name, address in zip(HOSTS, addresses, strict=True):
        _ip("-n", name, "address", "add", f"{address}/24", "dev", "wire")
        for device in ("lo", "wire"):
            _ip("-n", name, "link", "set", device, "up")
    return addresses


def _unwired() -> None:
    for name in HOSTS:
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def _agents(hosts_of: list[list[str]], address: str, names: dict[str, str] | None = None) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    where = ["--master-addr", address, "--master-port", "29517"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(names or {})}
    running = [
        subprocess.Popen([*host, *torchrun, f"--node-rank={rank}", *where, __file__, "--member"], env=environment)
        for rank, host in enumerate(hosts_of)
    ]
    if any(process.wait() for process in running):
        raise SystemExit("an agent failed")


def member() -> None:
    """Explain a probe as one of several processes."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    ranks = Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * 64, 128), nn.ReLU(), nn.Linear(128, 10)),
    )
    probe, target = torch.rand(64, 3, 32, 32), torch.arange(64) % 10
    rows = [0]
    net.register_forward_hook(lambda _module, args, _output: rows.__setitem__(0, rows[0] + len(args[0])))
    examiner = Examiner(
        methods={"IntegratedGradients": IntegratedGradients()},
        measures=(),
        question=Question(),
        guard=Guard("benchmark", "raise"),
    )

    def explain(who: Ranks) -> tuple[Tensor, float, int]:
        before, start = rows[0], time.perf_counter()
        found = examiner.explain(net, (probe,), single=True, targets=lambda _: target, step=0, ranks=who)
        assert found is not None
        return found.attribution.parts[0], time.perf_counter() - start, rows[0] - before

    explain(ranks)  # finds out whether the model talks to other processes
    times: list[float] = []
    for _ in range(5):
        torch.distributed.barrier()
        values, seconds, own_rows = explain(ranks)
        times.append(seconds)
    all_rows = ranks.exchanged(own_rows)
    if ranks.rank == 0:
        alone = values if ranks.count == 1 else explain(Ranks())[0]
        gap = float((values - alone).abs().max() / alone.abs().max())
        print(
            f"{ranks.count} processes: {statistics.median(times) * 1e3:.0f} ms (of {len(times)}: "
            f"{min(times) * 1e3:.0f}-{max(times) * 1e3:.0f}), rows of each {all_rows}, largest difference {gap:.0e}",
            flush=True,
        )
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


class Block(nn.Module):
    """A layer of a transformer, with fused attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.before(x)).unflatten(2, (3, 8, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down(nn.functional.gelu(self.up(self.between(x))))


def block() -> None:
    """Print what three layers of width 512 keep for a sequence of 512 tokens, and what passes cost."""
    net, x = nn.Sequential(*(Block(512) for _ in range(3))), torch.randn(1, 512, 512)
    with counting_kept_bytes() as kept:
        net(x.clone().requires_grad_())
    print(f"a pass keeps {kept() / 4 / x.numel() / 3:.1f} numbers for each token, unit of width and layer")

    def forward() -> None:
        with torch.no_grad():
            net(x)

    def gradient() -> None:
        inputs = x.clone().requires_grad_()
        torch.autograd.grad(net(inputs).sum(), inputs)

    for name, run in (("gradient at the input", gradient), ("training step", lambda: net(x).sum().backward())):
        median, low, high = ratio(run, forward, 7)
        print(f"{name} : forward pass = {median:.2f} ({low:.2f}-{high:.2f}), processor time")


def main() -> None:
    """Print the rows that were asked for."""
    rows = {"processes": processes, "hosts": hosts, "classes": classes, "samples": samples, "block": block}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=list(rows), default=list(rows))
    parser.add_argument("--member", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    if given.member:
        member()
        return
    for row in given.rows:
        rows[row]()


if __name__ == "__main__":
    main()
