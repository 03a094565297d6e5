"""What several processes find when they share a probe, beside what each finds alone; called by test_sharding."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from captum.attr import DeepLift, NoiseTunnel
from captum.attr import Saliency as CaptumSaliency
from sklearn.datasets import load_digits
from torch import Tensor, nn

from lightning_explain import (
    LRP,
    GradCAM,
    InputXGradient,
    IntegratedGradients,
    LayerConductance,
    Saliency,
    SmoothGrad,
)
from lightning_explain.attribution import AtEmbedding, from_captum
from lightning_explain.attribution.result import Attribution
from lightning_explain.callbacks.attribution.explainer import Examiner, Explanation
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.errors import ConfigurationError
from lightning_explain.faithfulness import FAITHFULNESS
from lightning_explain.probe import Probe
from tests.callbacks.attribution.own_method import shared

Method = Callable[..., Attribution]


def digits(n_samples: int) -> Probe:
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images[:n_samples], dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    return Probe(inputs=x, targets=torch.tensor(labels[:n_samples]))


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten())
    return nn.Sequential(body, nn.Sequential(nn.Linear(144, 12), nn.ReLU(), nn.Linear(12, 10)))


class Pair(nn.Module):
    """Two inputs, one of them token ids."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tokens, self.numbers, self.last = nn.Embedding(7, 5), nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, numbers: Tensor, ids: Tensor) -> Tensor:
        return self.last(torch.tanh(self.tokens(ids).mean(1) + self.numbers(numbers)))


class Talking(nn.Module):
    """Averages its scores over the processes in its forward, as a model does whose weights are spread."""

    def __init__(self) -> None:
        super().__init__()
        self.net = convolutional()

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.ones(1)
        torch.distributed.all_reduce(scale)
        return self.net(x) * scale / torch.distributed.get_world_size()


class Counter:
    rows = 0


class Rows(nn.Module):
    """A network that counts the rows it is asked about; raises when asked about a sample it dislikes."""

    def __init__(self, net: nn.Module, disliked: Tensor | None = None) -> None:
        super().__init__()
        self.net, self.disliked = net, disliked
        self.counter = Counter()  # no plain number: explanations put attributes back

    def forward(self, *inputs: Tensor) -> Tensor:
        self.counter.rows += len(inputs[0])
        if self.disliked is not None and inputs[0].requires_grad and inputs[0].ndim == 4:
            same = (inputs[0] == self.disliked.to(inputs[0])).flatten(1).all(1)
            if bool(same.any()):
                raise ValueError("this sample is disliked")
        return self.net(*inputs)


def mean_of_the_batch(inputs: Tensor) -> Tensor:
    return inputs.mean(0) + 0.1


def of_images(n_samples: int) -> dict[str, Method]:
    own = torch.linspace(0, 1, n_samples).reshape(-1, 1, 1, 1)
    candidates = digits(20).parts[0][n_samples:]
    return {
        "adaptive": IntegratedGradients(),
        "fixed": IntegratedGradients(n_steps=6),
        "mean": IntegratedGradients(baseline="mean"),
        "noise": IntegratedGradients(baseline="noise", seed=3),
        "blur": IntegratedGradients(baseline="blur"),
        "callable": IntegratedGradients(baseline=mean_of_the_batch),
        "own": IntegratedGradients(baseline=own.expand(n_samples, 1, 8, 8)),
        "several noises": IntegratedGradients(baseline="noise", n_draws=3, seed=5),
        "candidates": IntegratedGradients(baseline=candidates, n_draws=4, seed=7),
        "conductance": LayerConductance("net.0.1", baseline="mean", n_steps=5),
        "saliency": Saliency(),
        "input x gradient": InputXGradient(),
        "smooth": SmoothGrad(n_draws=5),
        "lrp": LRP(),
        "cam": GradCAM(),
        "deep lift": from_captum(DeepLift),
        "tunnel": from_captum(lambda model: NoiseTunnel(CaptumSaliency(model)), nt_samples=3),
        "tunnel by sample": from_captum(
            lambda model: NoiseTunnel(CaptumSaliency(model)), nt_samples=3, one_by_one=True
        ),
        "own function": ours_is_last_of_batch,
    }


def ours_is_last_of_batch(model: Any, inputs: Tensor, target: Any = None) -> Attribution:
    found = Saliency()(model, inputs, target)
    return Attribution(**{**vars(found), "values": found.values - inputs[-1]})


def explained(
    net: nn.Module, probe: Probe, methods: dict[str, Method], ranks: Ranks, *, times: int = 2, measures: Any = ()
) -> tuple[Explanation | None, list[int], list[str]]:
    """Explain several times; return the last explanation, the rows of each time, and what was warned of."""
    rows_of = Rows(net) if not isinstance(net, Rows) else net
    guard = Guard("Monitor", "warn")
    guard.begin_shared_work(speaks=ranks.rank == 0)
    examiner = Examiner(methods=methods, measures=measures, question=Question(), guard=guard)
    found, rows = None, list[int]()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(times):
            before = rows_of.counter.rows
            found = examiner.explain(
                rows_of,
                probe.parts,
                single=not isinstance(probe.inputs, tuple),
                targets=lambda scores: probe.labels,
                step=0,
                ranks=ranks,
            )
            rows.append(rows_of.counter.rows - before)
    return found, rows, [str(warning.message) for warning in caught]


def numbers(found: Explanation | None) -> dict[str, Any]:
    """Write an explanation as lists of plain numbers."""
    if found is None:
        return {}
    fields = ("values", "coarse", "convergence_delta", "error", "baseline", "target", "n_evaluations")
    result: dict[str, Any] = {"scores": found.scores.flatten().tolist()}
    for name, attribution in found.attributions.items():
        for field in fields:
            value = getattr(attribution, field)
            parts = value if isinstance(value, tuple) else (value,)
            for place, part in enumerate(parts):
                result[f"{name}/{field}/{place}"] = None if part is None else part.double().flatten().tolist()
        for metric, values in found.faithfulness[name].items():
            result[f"{name}/{metric}"] = values.flatten().tolist()
    return result


def share_everything(rank: int, count: int, n_samples: int, measured: bool) -> dict[str, Any]:
    """Explain by every method, alone and together."""
    probe, methods = digits(n_samples), of_images(n_samples)
    ranks = Ranks(rank, count)
    one, own_rows, _ = explained(convolutional(), probe, methods, Ranks())
    all_of_us, shared_rows, words = explained(convolutional(), probe, methods, ranks)
    result = {"one": numbers(one), "together": numbers(all_of_us), "rows": [own_rows, shared_rows], "words": words}
    if measured:
        few = {name: methods[name] for name in ("mean", "lrp", "tunnel by sample")}
        for key, who in (("one", Ranks()), ("together", ranks)):
            found, _, _ = explained(convolutional(), probe, few, who, times=1, measures=tuple(FAITHFULNESS))
            result[key] |= {f"measured {name}": value for name, value in numbers(found).items()}
    return result


def share_several_inputs(rank: int, count: int) -> dict[str, Any]:
    torch.manual_seed(4)
    probe = Probe(inputs=(torch.rand(5, 3), torch.randint(0, 7, (5, 6))), targets=torch.tensor([0, 1, 1, 0, 1]))
    methods: dict[str, Method] = {
        "numbers": IntegratedGradients(baseline="mean"),
        "several": IntegratedGradients(baseline="noise", n_draws=2),
        "tokens": AtEmbedding(IntegratedGradients(n_steps=4), layer="net.tokens", baseline_token=2),
        "mean tokens": AtEmbedding(IntegratedGradients(baseline="mean", n_steps=4), layer="net.tokens"),
    }
    alone, _, _ = explained(Pair(), probe, methods, Ranks())
    together, _, words = explained(Pair(), probe, methods, Ranks(rank, count))
    return {"one": numbers(alone), "together": numbers(together), "words": words}


def share_a_model_that_communicates(rank: int, count: int) -> dict[str, Any]:
    """Explain with numbers of passes that differ by sample: processes that share would wait for each other for ever."""
    methods: dict[str, Method] = {"adaptive": IntegratedGradients(), "fixed": IntegratedGradients(n_steps=3)}
    alone, _, _ = explained(convolutional(), digits(5), methods, Ranks())
    together, rows, _ = explained(Talking(), digits(5), methods, Ranks(rank, count))
    return {"one": numbers(alone), "together": numbers(together), "rows": rows}


def fail_in_one(rank: int, count: int) -> dict[str, Any]:
    """One process cannot explain its share; then all can again."""
    probe = digits(5)
    disliked = probe.parts[0][1:2]  # of the second process
    methods: dict[str, Method] = {"saliency": Saliency(), "fixed": IntegratedGradients(n_steps=4)}
    net = Rows(convolutional(), disliked)
    found, _, words = explained(net, probe, methods, Ranks(rank, count), times=3)
    net.disliked = None
    after, _, _ = explained(net, probe, methods, Ranks(rank, count))
    return {
        "found": None if found is None else list(found.attributions),
        "words": words,
        "after": None if after is None else list(after.attributions),
        "refused": refusal(Ranks(rank, count)),
    }


def refusal(ranks: Ranks) -> str:
    """Return the kind of error that all see when one refuses its configuration."""

    def refuse() -> None:
        if ranks.rank == ranks.count - 1:
            raise ConfigurationError("not like this")

    try:
        ranks.agreed(refuse)
    except ConfigurationError as error:
        return str(error)
    return ""


def of_two() -> dict[str, Any]:
    rank = torch.distributed.get_rank()
    torch.manual_seed(rank)  # whatever is drawn must not come from here
    return {
        "everything": share_everything(rank, 2, 7, True),
        "inputs": share_several_inputs(rank, 2),
        "failure": fail_in_one(rank, 2),
        "communicating": share_a_model_that_communicates(rank, 2),
        "run": shared(),
    }


def of_four() -> dict[str, Any]:
    rank = torch.distributed.get_rank()
    return {"few": share_everything(rank, 4, 3, False), "inputs": share_several_inputs(rank, 4)}
