"""One probe explained by all processes of a run: each explains a share, and all have the whole result."""

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from lightning_explain.attribution.baselines import Baseline, fixed_baseline
from lightning_explain.attribution.integrated_gradients.passes import in_halves, memory_budget, memory_limited
from lightning_explain.attribution.result import Attribution, Method, joined, parts_of, shaped_like
from lightning_explain.attribution.traits import for_rows, may_be_split, traits_of
from lightning_explain.batches import Inputs
from lightning_explain.callbacks.base.distributed import Ranks, communicating
from lightning_explain.callbacks.base.forward import Question, undisturbed

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Share:
    """The part of a probe that this process explains by one method.

    Attributes:
        method: The method; a baseline that depends on the whole probe is resolved.
        inputs: The samples of this process.
        target: Explained output of each of them.
        rows: Their places in the probe.
        whole: The inputs of the whole probe.
        ranks: The processes.
        is_split: True if the other processes explain other samples; False if all explain the whole probe.
        memory: Bytes that one pass may keep for its backward pass; None for what the device has free.
    """

    method: Method
    inputs: Inputs
    target: Tensor | None
    rows: list[int]
    whole: tuple[Tensor, ...]
    ranks: Ranks
    is_split: bool
    memory: int | None = None

    def explained(self, module: nn.Module) -> Attribution:
        """Explain this process's samples.

        Where memory runs out, a samplewise method without a baseline explains halves of them; methods with one cut
        their passes themselves.
        """
        traits = traits_of(self.method)
        with memory_limited(self.memory):
            if traits.is_samplewise and traits.baseline is None:
                return joined(in_halves(len(self.rows), lambda rows: self._of(module, rows)))
            return self._of(module, slice(None))

    def _of(self, module: nn.Module, rows: slice) -> Attribution:
        # clones: a method that works in place must not reach the probe
        parts = tuple(part[rows].clone() for part in parts_of(self.inputs))
        target = None if self.target is None else self.target[rows]
        return self.method(module, shaped_like(parts, self.inputs), target)

    def baseline(self, baseline: Baseline) -> Baseline:
        """Return a baseline for this process's samples, the one they have among all."""
        return fixed_baseline(baseline, self.whole, self.rows)

    def gathered(self, own: T) -> T:
        """Put together the whole probe's result from those of all processes; a collective call if it is split."""
        return self.ranks.gathered(own, len(self.whole[0])) if self.is_split else own


@dataclass
class Sharing:
    """Assigns the samples of a probe to the processes that explain them; all processes decide alike.

    Attributes:
        talks: True if the model communicates with other processes in its forward, so that all must call it equally
            often; None until it was run.
    """

    talks: bool | None = None

    def forget(self) -> None:
        """Start anew, for another module."""
        self.talks = None

    def scores(
        self, question: Question, pl_module: nn.Module, inputs: tuple[Tensor, ...], ranks: Ranks
    ) -> tuple[nn.Module, Tensor]:
        """Return the module to explain, and its scores for the whole probe, on the CPU; isolated.

        The first time every process runs the whole probe, and counts the collective operations of the model.
        """
        alone = self.talks is not False or ranks.count == 1
        rows = list(range(len(inputs[0]))) if alone else ranks.rows(len(inputs[0]))

        def run() -> tuple[nn.Module, Tensor]:
            return question.module(pl_module, tuple(part[rows].clone() for part in inputs))

        def isolated() -> tuple[tuple[nn.Module, Tensor], bool]:
            with undisturbed(pl_module), torch.no_grad():
                return communicating(run)

        (module, scores), talks = ranks.agreed(isolated)
        scores = scores.detach().cpu()
        if not alone:
            return module, ranks.gathered(scores, len(inputs[0]))
        if self.talks is None:
            self.talks = ranks.count > 1 and any(ranks.exchanged(talks))
        return module, scores

    def share(
        self, method: Method, inputs: tuple[Tensor, ...], target: Tensor | None, *, single: bool, ranks: Ranks
    ) -> Share:
        """Return the samples of this process: a share of the probe if the method is samplewise, all of it otherwise.

        Args:
            method: The method.
            inputs: The whole probe on the model's device.
            target: Explained output of each sample.
            single: True if the probe's inputs are one tensor rather than a tuple.
            ranks: The processes.

        Raises:
            ConfigurationError: The method's baseline does not fit the probe.
        """
        is_split = ranks.count > 1 and may_be_split(method, equal_passes=bool(self.talks))
        rows = ranks.rows(len(inputs[0])) if is_split else list(range(len(inputs[0])))
        parts = tuple(part[rows] for part in inputs) if is_split else inputs
        return Share(
            method=for_rows(method, inputs, rows),
            inputs=parts[0] if single else parts,
            target=target[rows] if is_split and target is not None else target,
            rows=rows,
            whole=inputs,
            ranks=ranks,
            is_split=is_split,
            # passes of equal size in all processes
            memory=min(ranks.exchanged(memory_budget(inputs[0].device))) if ranks.count > 1 and self.talks else None,
        )
