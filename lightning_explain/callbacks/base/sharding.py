"""One probe explained by all processes of a run: each takes a share, and all have the whole afterwards."""

from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lightning_explain.attribution import IntegratedGradients, LayerConductance
from lightning_explain.attribution.baselines import Baseline
from lightning_explain.attribution.integrated_gradients.passes import in_halves
from lightning_explain.attribution.result import Attribution, joined, parts_of, shaped_like
from lightning_explain.batches import Inputs
from lightning_explain.callbacks.base.distributed import Ranks, listening
from lightning_explain.callbacks.base.forward import Question, undisturbed
from lightning_explain.callbacks.base.methods import AnyMethod
from lightning_explain.callbacks.base.samplewise import (
    answers_alike,
    fixed_baseline,
    is_sample_by_sample,
    passes_alike,
    with_equal_memory,
    with_fixed_baseline,
)

T = TypeVar("T")


def _by_method(method: AnyMethod, module: nn.Module, inputs: Inputs, target: Tensor | None) -> Attribution:
    """Explain all samples, or halves of them where memory runs out and the method has no passes of its own."""
    n_samples = len(parts_of(inputs)[0])

    def explain(rows: slice) -> Attribution:
        # clones: a method that works in place must not reach the probe
        parts = tuple(part[rows].clone() for part in parts_of(inputs))
        return method(module, shaped_like(parts, inputs), None if target is None else target[rows])

    if isinstance(method, IntegratedGradients | LayerConductance):
        return explain(slice(0, n_samples))
    return joined(in_halves(n_samples, explain))


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one process is asked about the probe by one method.

    Attributes:
        method: The method; a baseline that depends on the whole probe is worked out.
        inputs: The samples of this process.
        target: Explained output of each of them.
        rows: Which samples of the probe they are.
        whole: The inputs of the whole probe.
        ranks: The processes.
        is_split: Whether the others explain other samples; otherwise all explain the whole probe.
    """

    method: AnyMethod
    inputs: Inputs
    target: Tensor | None
    rows: list[int]
    whole: tuple[Tensor, ...]
    ranks: Ranks
    is_split: bool

    def explained(self, module: nn.Module) -> Attribution:
        """Explain this process's samples."""
        return _by_method(self.method, module, self.inputs, self.target)

    def baseline(self, baseline: Baseline) -> Baseline:
        """Return a baseline for this process's samples, the one they have among all."""
        return fixed_baseline(baseline, self.whole, self.rows)

    def gathered(self, own: T) -> T:
        """Make the whole probe's answer out of those of all processes; a collective call if the probe is split."""
        return self.ranks.gathered(own, len(self.whole[0])) if self.is_split else own


@dataclass
class Sharing:
    """Decides how a probe is shared, and remembers what was found out; alike in all processes.

    Attributes:
        talks: Whether the model talks to other processes in its forward, so that all must call it equally often; None
            until it was run.
        sample_by_sample: For methods of others: whether a share is explained as it is among the whole probe.
    """

    talks: bool | None = None
    sample_by_sample: dict[str, bool] = field(default_factory=dict[str, bool])

    def forget(self) -> None:
        """Begin anew, for another module."""
        self.talks, self.sample_by_sample = None, {}

    def scores(
        self, question: Question, pl_module: nn.Module, inputs: tuple[Tensor, ...], ranks: Ranks
    ) -> tuple[nn.Module, Tensor]:
        """Return the module to ask, and its scores for the whole probe, on the CPU; isolated.

        The first time every process runs the whole probe, and listens whether the model talks.
        """
        alone = self.talks is not False or ranks.count == 1
        rows = list(range(len(inputs[0]))) if alone else ranks.rows(len(inputs[0]))

        def run() -> tuple[nn.Module, Tensor, bool]:
            with undisturbed(pl_module), torch.no_grad(), listening() as heard:
                module, scores = question.module(pl_module, tuple(part[rows].clone() for part in inputs))
                return module, scores.detach().cpu(), heard()

        module, scores, heard = ranks.agreed(run)
        if not alone:
            return module, ranks.gathered(scores, len(inputs[0]))
        self.talks = any(ranks.exchanged(heard)) if self.talks is None else self.talks
        return module, scores

    def share(
        self,
        name: str,
        method: AnyMethod,
        inputs: tuple[Tensor, ...],
        target: Tensor | None,
        *,
        single: bool,
        ranks: Ranks,
    ) -> Share:
        """Say what this process is to explain.

        Args:
            name: The method's name.
            method: The method.
            inputs: The whole probe on the model's device.
            target: Explained output of each sample.
            single: Whether the probe's inputs are one tensor rather than a tuple.
            ranks: The processes.

        Raises:
            ConfigurationError: The method's baseline does not fit the probe.
        """
        n_samples = len(inputs[0])
        is_split = ranks.count > 1 and self._may_split(name, method)
        rows = ranks.rows(n_samples) if is_split else list(range(n_samples))
        if ranks.count > 1 and self.talks:
            method = with_equal_memory(method, ranks, inputs[0].device)
        parts = tuple(part[rows] for part in inputs) if is_split else inputs
        return Share(
            method=with_fixed_baseline(method, inputs, rows),
            inputs=parts[0] if single else parts,
            target=target[rows] if is_split and target is not None else target,
            rows=rows,
            whole=inputs,
            ranks=ranks,
            is_split=is_split,
        )

    def _may_split(self, name: str, method: AnyMethod) -> bool:
        if self.talks and not passes_alike(method):
            return False
        known = is_sample_by_sample(method)
        return self.sample_by_sample.get(name, False) if known is None else known

    def is_unknown(self, name: str, method: AnyMethod) -> bool:
        """Say whether it must be tried once if a method may explain a share of the probe."""
        return is_sample_by_sample(method) is None and not self.talks and name not in self.sample_by_sample

    def learn(self, name: str, share: Share, module: nn.Module, found: Attribution) -> bool:
        """Find out whether a method that nobody knows may be given a share; all processes must agree.

        Args:
            name: The method's name.
            share: The whole probe.
            module: What is explained.
            found: The explanation of the whole probe.
        """
        rows = share.ranks.rows(len(share.whole[0]))
        parts = tuple(part[rows] for part in parts_of(share.inputs))
        few: dict[str, Any] = {
            "inputs": shaped_like(parts, share.inputs),
            "target": None if share.target is None else share.target[rows],
        }
        alike = answers_alike(found, lambda: replace(share, **few).explained(module), rows)
        self.sample_by_sample[name] = all(share.ranks.exchanged(alike))
        return self.sample_by_sample[name]
