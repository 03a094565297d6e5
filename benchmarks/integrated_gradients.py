"""Integrated gradients against captum, on trained networks, for logits and for softmax probabilities.

    OMP_NUM_THREADS=1 python benchmarks/integrated_gradients.py
    OMP_NUM_THREADS=1 python benchmarks/integrated_gradients.py --real efficientnet minilm resnet50 vit --repeats 3

For every network captum first gets the chunk (rows in one pass) that is fastest for it. Runs of both then alternate, so
that a busy machine slows both alike; ratios are of medians of processor time. Errors are L1 errors relative to 2,048
points, the average and the 95th percentile over the samples.
"""

import argparse
import copy
import warnings
from dataclasses import dataclass

import torch
from captum.attr import IntegratedGradients as Captum
from measuring import peak_megabytes, ratio, seconds
from networks import BLACK, NETWORKS, WITHOUT_KINKS, trained
from real_networks import REAL, Task
from torch import Tensor, nn

from lightning_explain import Attribution, IntegratedGradients

N_STEPS = 50
CHUNKS = (16, 32, 64, 128, 256, 512)
BARS = {
    "adaptive": {"MLP": 0.30, "ViT": 0.30, "CNN": 0.30, "ResNet": 0.55},
    "equal": {("CNN", "softmax"): 0.5, ("ResNet", "softmax"): 0.5},
}


@dataclass(frozen=True)
class Case:
    """A network, what is explained, and captum's own best chunk."""

    name: str
    kind: str
    model: nn.Module
    inputs: Tensor
    target: Tensor
    chunk: int = 64

    @property
    def baseline(self) -> Tensor:
        return torch.full_like(self.inputs[:1], BLACK)

    def captum(self, *, n_steps: int = N_STEPS, chunk: int | None = None) -> Tensor:
        return Captum(self.model).attribute(
            self.inputs, self.baseline, target=self.target, n_steps=n_steps, internal_batch_size=chunk or self.chunk
        )

    def ours(self, **options: object) -> Attribution:
        return IntegratedGradients(baseline=self.baseline, **options)(self.model, self.inputs, self.target)


def cases(name: str, n_samples: int) -> list[Case]:
    net, x, y = trained(name)
    found: list[Case] = []
    for kind, model in (("logits", net), ("softmax", nn.Sequential(net, nn.Softmax(1)).eval())):
        case = Case(name, kind, model, x[:n_samples], y[:n_samples])
        best = min(CHUNKS, key=lambda chunk: min(seconds(lambda: case.captum(chunk=chunk)) for _ in range(2)))  # noqa: B023
        found.append(Case(name, kind, model, x[:n_samples], y[:n_samples], best))
    return found


def errors(values: Tensor, reference: Tensor) -> Tensor:
    return (values - reference).flatten(1).abs().sum(1) / reference.flatten(1).abs().sum(1)


def mean_error(case: Case, reference: Tensor, **options: object) -> float:
    values = case.ours(**options).values
    assert isinstance(values, Tensor)
    return float(errors(values, reference).mean())


def fewest_points(case: Case, reference: Tensor, error: float, rule: str) -> dict[str, object]:
    """Return the options of a fixed rule that is on average as accurate as asked for."""
    low, high = 4, 2 * N_STEPS
    while low < high:
        middle = (low + high) // 2
        good = mean_error(case, reference, n_steps=middle, rule=rule) <= error
        low, high = (low, middle) if good else (middle + 1, high)
    return {"n_steps": low, "rule": rule}


def largest_tolerance(case: Case, reference: Tensor, error: float) -> dict[str, object]:
    """Return the options of the adaptive rule that is on average as accurate as asked for."""
    low, high = 1e-5, 0.1
    smooth = {"smooth": True} if case.name == "ViT" else {}
    for _ in range(10):
        middle = (low * high) ** 0.5
        good = mean_error(case, reference, tolerance=middle, max_steps=1025, **smooth) <= error
        low, high = (middle, high) if good else (low, middle)
    return {"tolerance": low, "max_steps": 1025, **smooth}


def as_accurate(case: Case, reference: Tensor, error: float) -> dict[str, object]:
    """Return the options that are as accurate as asked for in the least time, as captum has its best chunk."""
    candidates = [fewest_points(case, reference, error, rule) for rule in ("midpoint", "gauss_legendre")]
    candidates.append(largest_tolerance(case, reference, error))
    return min(candidates, key=lambda options: min(seconds(lambda: case.ours(**options)) for _ in range(3)))


def report(what: str, measured: tuple[float, float, float], bar: float, note: str) -> None:
    middle, low, high = measured
    verdict = "holds" if middle <= bar else "OVER"
    print(f"  {what:<34}{middle:6.3f} ({low:.3f}-{high:.3f})  bar {bar:.2f} {verdict:<6} {note}", flush=True)


def measure(case: Case, repeats: int) -> None:
    reference = case.captum(n_steps=2048, chunk=512)
    print(f"{case.name}, {case.kind}: {len(case.inputs)} samples, captum's best chunk {case.chunk}")
    result = case.ours()
    assert isinstance(result.values, Tensor)
    assert result.convergence_delta is not None
    error = errors(result.values, reference)
    change = (result.values.flatten(1).sum(1) - result.convergence_delta).abs()
    gap = (result.convergence_delta.abs() / torch.maximum(change, 0.01 * result.values.flatten(1).abs().sum(1))).max()
    note = f"{result.n_evaluations.float().mean():.1f} points, p95 L1 {error.quantile(0.95):.3f}, worst gap {gap:.3f}"
    report("tolerance=0.05 : 50 points", ratio(case.ours, case.captum, repeats), BARS["adaptive"][case.name], note)
    theirs = float(errors(case.captum(), reference).mean())
    options = as_accurate(case, reference, theirs)
    bar = BARS["equal"].get((case.name, case.kind), 0.7)
    note = f"{', '.join(f'{k}={v:.4g}' if isinstance(v, float) else f'{k}={v}' for k, v in options.items())}"
    note += f", {case.ours(**options).n_evaluations.float().mean():.1f} points, L1 {theirs:.2g}"
    report("equal error : 50 points", ratio(lambda: case.ours(**options), case.captum, repeats), bar, note)
    report("50 points : 50 points", ratio(lambda: case.ours(n_steps=N_STEPS), case.captum, repeats), 1.0, "")


def compare_memory(case: Case) -> None:
    """Print the peak of allocated memory with the same number of points."""
    ours = peak_megabytes(lambda: case.ours(n_steps=N_STEPS))
    # captum's passes hold whole steps of all samples
    rows = max(1, case.chunk // len(case.inputs)) * len(case.inputs)
    same = peak_megabytes(lambda: case.ours(n_steps=N_STEPS, chunk_size=rows))
    best = peak_megabytes(case.captum)
    default = peak_megabytes(lambda: case.captum(chunk=N_STEPS * len(case.inputs)))
    print(
        f"  peak memory: ours {ours:.1f} MiB, with captum's best chunk {same:.1f}, captum with it {best:.1f} (ratio "
        f"{same / best:.2f}, bar 1.00; ours by default {ours / best:.2f}), captum by default {default:.0f} (ratio "
        f"{ours / default:.2f}, bar 0.10)"
    )


def report_without_kinks(n_samples: int) -> None:
    """Print points and error of the adaptive rule for networks without kinks, with and without saying so."""
    print("softmax of networks without kinks: points (95th percentile of the true L1 error)")
    for name in WITHOUT_KINKS:
        net, x, y = trained(name)
        case = Case(name, "softmax", nn.Sequential(net, nn.Softmax(1)).eval(), x[:n_samples], y[:n_samples])
        exact = Case(name, "softmax", copy.deepcopy(case.model).double(), case.inputs.double(), case.target)
        reference = exact.captum(n_steps=200, chunk=800).float()
        for tolerance in (0.05, 0.01, 0.003, 0.001, 0.0001):
            told: list[str] = []
            for smooth in (True, False):
                result = case.ours(tolerance=tolerance, smooth=smooth, max_steps=1025)
                assert isinstance(result.values, Tensor)
                error = errors(result.values, reference).quantile(0.95)
                told.append(f"{result.n_evaluations.float().mean():6.1f} ({error:.1e})")
            print(f"  {name:<10} tolerance {tolerance:<7} smooth=True {told[0]}, without {told[1]}", flush=True)


EQUAL_POINTS = {True: 50, False: 50}
"""Points of both, for trained networks and for large ones with random weights."""

MOST_POINTS = 200
"""Most points of captum that are tried to be as accurate as ours."""


def captum_points(task: Task, rows: int, exact: Tensor, error: float) -> int:
    """Return the fewest points with which captum is as accurate; errors fall with points, by and large."""
    low, high = 4, MOST_POINTS
    while low < high:
        middle = (low + high) // 2
        good = float(errors(task.theirs(middle, rows), exact).mean()) <= error
        low, high = (low, middle) if good else (middle + 1, high)
    return low


def measure_real(task: Task, repeats: int) -> None:
    """Print a row for a network that users have: equal points, and captum's points at our error."""
    n, rows = EQUAL_POINTS[task.is_trained], (4, 8, 16, 32)
    best = min(rows, key=lambda k: seconds(lambda: task.theirs(n // 5, k)))
    middle, low, high = ratio(lambda: task.ours(n_steps=n), lambda: task.theirs(n, best), repeats)
    row = f"| {task.name} | {middle:.2f} ({low:.2f}-{high:.2f}), {n} points |"
    if not task.is_trained:
        print(f"{row} | | |", flush=True)
        return
    exact = task.theirs(400, best)
    result = task.ours()
    values = next(part for part in result.parts if part.is_floating_point())
    error = float(errors(values, exact).mean())
    points = captum_points(task, best, exact, error)
    middle, low, high = ratio(task.ours, lambda: task.theirs(points, best), repeats)
    assert result.error is not None
    print(
        f"{row} {middle:.2f} ({low:.2f}-{high:.2f}) | {result.n_evaluations.float().mean():.0f} : {points} | "
        f"{error:.1%}, stated {float(result.error.mean()):.1%} |",
        flush=True,
    )


def report_real(names: list[str], repeats: int) -> None:
    """Print the table of networks that users have; ratios to captum at its best chunk."""
    print(
        "| network | equal points | tolerance 0.05 : captum at our error | points | true error |\n|---|---|---|---|---|"
    )
    for name in names:
        measure_real(REAL[name](4 if name == "minilm" else 2), repeats)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--repeats", type=int, default=9)
    options.add_argument("--samples", type=int, default=40)
    options.add_argument("--networks", nargs="*", choices=list(NETWORKS), default=list(NETWORKS))
    options.add_argument("--real", nargs="+", choices=list(REAL), default=[], help="these instead of trained ones")
    chosen = options.parse_args()
    # captum raises its own chunk to one row per sample, which is in its favour
    warnings.filterwarnings("ignore", message="Internal batch size cannot be less")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of {chosen.repeats} repeats")
    if chosen.real:
        report_real(chosen.real, chosen.repeats)
        return
    for name in chosen.networks:
        both = cases(name, chosen.samples)
        for case in both:
            measure(case, chosen.repeats)
        compare_memory(both[0])
    report_without_kinks(chosen.samples)


if __name__ == "__main__":
    main()
