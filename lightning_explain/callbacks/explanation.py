"""One explanation of the probe: what it is, and how it is made."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.attribution import IntegratedGradients, LayerConductance
from lightning_explain.attribution.baselines import Baseline
from lightning_explain.attribution.passes import in_halves
from lightning_explain.attribution.result import Attribution, joined, parts_of, shaped_like
from lightning_explain.attribution.scores import check_target
from lightning_explain.batches import Inputs
from lightning_explain.callbacks.attribution_methods import AnyMethod, Methods, baseline_of
from lightning_explain.callbacks.guard import CALLING, Guard
from lightning_explain.callbacks.question import Question, undisturbed
from lightning_explain.errors import ConfigurationError, ExplanationError
from lightning_explain.faithfulness import Claim, examine
from lightning_explain.probe import Probe


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The probe explained at one moment of training; everything on the CPU.

    Attributes:
        step: The step it is logged at.
        scores: The model's scores for the probe [batch, classes] or [batch].
        attributions: The attributions by the name of the method; one that failed is missing.
        faithfulness: For each method the measures of faithfulness that were asked for, per sample [batch].
        primary: Name of the first method.
    """

    step: int
    scores: Tensor
    attributions: dict[str, Attribution]
    faithfulness: dict[str, dict[str, Tensor]]
    primary: str

    @property
    def attribution(self) -> Attribution:
        """The first method's attributions.

        Raises:
            ExplanationError: That method failed; there are others in `attributions`.
        """
        if self.primary not in self.attributions:
            raise ExplanationError(
                f"{self.primary} failed at step {self.step}; attributions= has {', '.join(self.attributions)}."
            )
        return self.attributions[self.primary]

    @property
    def target(self) -> Tensor | None:
        """The explained output of each sample, the same for every method; None for a single output."""
        return next((found.target for found in self.attributions.values()), None)


def _cpu(values: Inputs | None) -> Any:
    if values is None:
        return None
    if isinstance(values, tuple):
        return tuple(_cpu(part) for part in values)
    values = values.detach().cpu()
    # drift and pictures are worked out on the CPU, which is at home in 32 and 64 bits
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def on_cpu(attribution: Attribution) -> Attribution:
    """Bring an attribution to the CPU."""
    return Attribution(
        values=_cpu(attribution.values),
        convergence_delta=_cpu(attribution.convergence_delta),
        error=_cpu(attribution.error),
        target=_cpu(attribution.target),
        baseline=_cpu(attribution.baseline),
        n_evaluations=attribution.n_evaluations.cpu(),
        coarse=_cpu(attribution.coarse),
    )


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


def probe_scores(pl_module: nn.Module, inputs: tuple[Tensor, ...], question: Question) -> Tensor:
    """Return the model's scores for the probe, on the CPU; one forward pass, isolated."""
    with undisturbed(pl_module), torch.no_grad():
        return _cpu(question.module(pl_module, inputs)[1])


def explained_targets(probe: Probe, scores: Tensor, explained: str) -> Tensor | None:
    """Decide which output is explained for each probe sample: LongTensor [batch]; None for a single output.

    Args:
        probe: The probe, with its labels.
        scores: The model's scores for it.
        explained: `"label"` or `"predicted"`.

    Raises:
        ConfigurationError: The probe has no labels though the model has several outputs, a label is beyond the
            model's outputs, or the scores are no [batch, classes].
    """
    if scores.numel() == len(scores):
        return None
    if scores.ndim != 2:
        raise ConfigurationError(
            f"The model gives scores of shape {list(scores.shape)} for the probe; expected [batch, classes]. Choose a "
            "scalar per sample with output=, e.g. output=lambda scores: scores.mean(dim=(2, 3))."
        )
    if explained == "predicted":
        return scores.argmax(1)
    labels = probe.labels
    if labels is None:
        raise ConfigurationError(
            f"The model gives {scores.shape[1]} outputs, but the probe has no class labels that say which to explain. "
            "Give target= to say where a batch holds them (where a sample has several, a callable that chooses one: "
            "target=lambda batch: batch[1].argmax(1)), Probe(targets=...), output=lambda scores: scores[:, 0] for one "
            "output of all samples, or explained='predicted'."
        )
    check_target(labels, scores.shape[1])
    return labels


@dataclass(frozen=True, kw_only=True)
class Examiner:
    """Explains the probe by every method and puts each explanation to the tests that were asked for.

    Attributes:
        methods: The attribution methods by name.
        measures: Names of measures of faithfulness, as for `examine`.
        question: How the explained function is reached.
        guard: What fails ends that one method or measure, and is told once.
    """

    methods: Methods
    measures: tuple[str, ...]
    question: Question
    guard: Guard

    def explain(
        self,
        pl_module: nn.Module,
        inputs: tuple[Tensor, ...],
        *,
        single: bool,
        targets: Callable[[Tensor], Tensor | None],
        step: int,
    ) -> Explanation | None:
        """Explain the probe by every method, leaving the module as found; None if none succeeds.

        Args:
            pl_module: The module.
            inputs: The probe's inputs on the module's device.
            single: Whether the probe's inputs are one tensor rather than a tuple.
            targets: Says, given the scores, which output is explained for each sample.
            step: The step it is logged at.

        Cost: that of the methods and measures, and one forward pass.
        """
        attributions: dict[str, Attribution] = {}
        tested: dict[str, dict[str, Tensor]] = {}
        with self.guard.doing("explaining the probe", cure=CALLING):
            with undisturbed(pl_module), torch.no_grad():
                module, scores = self.question.module(pl_module, inputs)
            scores = _cpu(scores)
            target = targets(scores)
            indices = None if target is None else target.to(inputs[0].device)
            asked = inputs[0] if single else inputs
            for name, method in self.methods.items():
                # each isolated for itself: what one method leaves behind must not reach the next
                with self.guard.doing(self._task(name), cure=CALLING), undisturbed(pl_module):
                    attribution = _by_method(method, module, asked, indices)
                    attributions[name] = on_cpu(attribution)
                    tested[name] = self._tested(name, module, asked, indices, attribution)
            if attributions:
                return Explanation(
                    step=step,
                    scores=scores,
                    attributions=attributions,
                    faithfulness=tested,
                    primary=next(iter(self.methods)),
                )
        return None

    def _task(self, name: str) -> str:
        return "explaining the probe" if len(self.methods) == 1 else f"explaining the probe with {name}"

    def _tested(
        self, name: str, module: nn.Module, inputs: Inputs, target: Tensor | None, attribution: Attribution
    ) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for measure in self.measures:
            with self.guard.doing(f"measuring {measure} of {name}"):
                claim = Claim(
                    method=self.methods[name],
                    model=module,
                    inputs=parts_of(inputs)[0],
                    target=target,
                    attribution=attribution,
                    removal_baseline=removal_baseline(self.methods),
                )
                found |= {figure: _cpu(values) for figure, values in examine(claim, measure).items()}
        return found

    def check_measurable(self, probe: Probe) -> None:
        """Refuse measures of faithfulness for a probe of several inputs.

        Raises:
            ConfigurationError: There are both.
        """
        if self.measures and len(probe.parts) > 1:
            raise ConfigurationError(
                f"faithfulness={list(self.measures)!r} measures explanations of one input, but a probe sample has "
                f"{len(probe.parts)}. Leave faithfulness= out, or explain one input: input= says which."
            )


def removal_baseline(methods: Methods) -> Baseline:
    """Choose what a deleted feature becomes, whichever method is measured: the first one's baseline, or zeros."""
    baseline = baseline_of(next(iter(methods.values())))
    return "zeros" if baseline is None else baseline
