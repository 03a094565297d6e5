"""One explanation of the probe by every method, and the measures of its faithfulness."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightning_explain.attribution.baselines import Baseline, baseline_name, resolve_baseline
from lightning_explain.attribution.contrast import of_differences
from lightning_explain.attribution.integrated_gradients.passes import ran_out_of_memory
from lightning_explain.attribution.result import Attribution, Method, parts_of
from lightning_explain.attribution.scores import AT_EMBEDDING, FLOATS, check_differentiable
from lightning_explain.attribution.traits import traits_of
from lightning_explain.batches import Inputs
from lightning_explain.callbacks.attribution.methods import Methods
from lightning_explain.callbacks.attribution.strategies.strategy_report import StrategyReport
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.error_handling import CALLING, Guard
from lightning_explain.callbacks.base.forward import Question, undisturbed
from lightning_explain.callbacks.base.sharding import Share, Sharing
from lightning_explain.errors import ConfigurationError, ExplanationError
from lightning_explain.faithfulness import Claim, examine
from lightning_explain.probe import Probe
from lightning_explain.weights.sharded import check_not_sharded


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The probe explained at one moment of training; everything on the CPU.

    Attributes:
        step: The step it is logged at.
        scores: The model's scores for the probe [batch, classes] or [batch].
        attributions: The attributions by the name of the method; one that failed is missing.
        faithfulness: For each method its measures of faithfulness, per sample [batch].
        primary: Name of the first method.
        strategies: The strategies found in a larger sample; None where they are not looked for.
    """

    step: int
    scores: Tensor
    attributions: dict[str, Attribution]
    faithfulness: dict[str, dict[str, Tensor]]
    primary: str
    strategies: StrategyReport | None = None

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

    @property
    def contrast(self) -> Tensor | None:
        """The class whose score the first method subtracts for each sample; None for none, or if it failed."""
        first = self.attributions.get(self.primary)
        return None if first is None else first.contrast

    @property
    def unit(self) -> Literal["output", "logits"]:
        """Unit of the attributions: a single output, whatever a sample's class, or the logit of its class."""
        return "output" if self.target is None else "logits"


def _cpu(values: Inputs | None) -> Any:
    if values is None:
        return None
    if isinstance(values, tuple):
        return tuple(_cpu(part) for part in values)
    values = values.detach().cpu()
    # drift and pictures are computed on the CPU, which is at home in 32 and 64 bits
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
        absorbed_share=_cpu(attribution.absorbed_share),
        softmax_share=_cpu(attribution.softmax_share),
        contrast=_cpu(attribution.contrast),
    )


@dataclass(frozen=True, kw_only=True)
class Examiner:
    """Explains the probe by every method and measures the faithfulness of each explanation.

    Attributes:
        methods: The attribution methods by name.
        measures: Names of measures of faithfulness, as for `examine`.
        question: How the explained function is reached.
        guard: A failure ends that one method or measure, with one warning.
        sharing: How several processes share the probe.
        subject: The explained samples, in words.
    """

    methods: Methods
    measures: tuple[str, ...]
    question: Question
    guard: Guard
    sharing: Sharing = field(default_factory=Sharing)
    subject: str = "the probe"

    def explain(
        self,
        pl_module: nn.Module,
        inputs: tuple[Tensor, ...],
        *,
        single: bool,
        targets: Callable[[Tensor], Tensor | None],
        step: int,
        ranks: Ranks,
        contrasts: Callable[[str, Tensor], Tensor | None] | None = None,
    ) -> Explanation | None:
        """Explain the probe by every method, leaving the module as found; None if none succeeds.

        In a distributed run every process must call it; each explains a share of the samples where it can.

        Args:
            pl_module: The module.
            inputs: The probe's inputs on the module's device.
            single: True if the probe's inputs are one tensor rather than a tuple.
            targets: From scores to the explained output of each sample.
            step: The step it is logged at.
            ranks: The processes of the run.
            contrasts: From the name of a method and the scores to the class that is subtracted for each sample; None
                for none.

        Cost: that of the methods and measures, and one forward pass; divided by the number of processes.
        """
        attributions: dict[str, Attribution] = {}
        tested: dict[str, dict[str, Tensor]] = {}
        with self.guard.doing(f"explaining {self.subject}", cure=CALLING):
            module, scores = self.sharing.scores(self.question, pl_module, inputs, ranks)
            scores = _cpu(scores)
            target = targets(scores)
            indices = None if target is None else target.to(inputs[0].device)
            for name, method in self.methods.items():
                # each isolated for itself: what one method leaves behind must not reach the next
                blame = partial(blamed_baseline, method, pl_module, module, inputs)
                with self.guard.doing(self._task(name), cure=CALLING, blame=blame), undisturbed(pl_module):
                    others = None if contrasts is None else contrasts(name, scores)
                    plain, explained, index = of_differences(method, module, indices, others)
                    share = self.sharing.share(plain, inputs, index, single=single, ranks=ranks)
                    own = ranks.agreed(partial(share.explained, explained))
                    found = share.gathered(on_cpu(own))
                    attributions[name] = found if others is None else replace(found, target=target, contrast=others)
                    tested[name] = self._tested(name, explained, share, own)
                    self._note_unshared(name, method, ranks)
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
        return f"explaining {self.subject}" if len(self.methods) == 1 else f"explaining {self.subject} with {name}"

    def _note_unshared(self, name: str, method: Method, ranks: Ranks) -> None:
        if ranks.count > 1 and traits_of(method).is_samplewise is None:
            self.guard.note(
                f"each of the {ranks.count} processes explains the whole probe with {name}, which does not declare "
                "that it explains every sample independently of the others. If it does, say so to share the work: "
                "as_method(..., is_samplewise=True), from lightning_explain.attribution, or is_samplewise = True on "
                "the method. from_captum(..., one_by_one=True) asks captum's methods about one sample at a time."
            )

    def _tested(self, name: str, module: nn.Module, share: Share, own: Attribution) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for measure in self.measures:
            with self.guard.doing(f"measuring {measure} of {name}"):
                claim = Claim(
                    method=share.method,
                    model=module,
                    inputs=parts_of(share.inputs)[0],
                    target=share.target,
                    attribution=own,
                    removal_baseline=share.baseline(removal_baseline(self.methods)),
                )
                metrics = share.ranks.agreed(partial(examine, claim, measure))
                found |= share.gathered({metric: _cpu(values) for metric, values in metrics.items()})
        return found

    def check_weights(self, pl_module: nn.Module) -> None:
        """Refuse methods that read weights in the backward pass where these are given up after the forward pass.

        Raises:
            ConfigurationError: There is such a method, and `fully_shard` was applied to a large model.
        """
        for name, method in self.methods.items():
            if traits_of(method).rereads_weights:
                check_not_sharded(pl_module, name)

    def check_probe(self, probe: Probe) -> None:
        """Refuse methods and measures that cannot explain the probe.

        Raises:
            ConfigurationError: No input is of floating-point type, and a method accepts no others; or measures of
                faithfulness are given for several inputs.
        """
        if any(traits_of(method).accepts_integers is False for method in self.methods.values()):
            check_differentiable(probe.parts)
        if self.measures and len(probe.parts) > 1:
            raise ConfigurationError(
                f"faithfulness={list(self.measures)!r} measures explanations of one input, but a probe sample has "
                f"{len(probe.parts)}. Leave faithfulness= out, or explain one input: input= says which."
            )

    def try_integers(
        self, pl_module: nn.Module, inputs: tuple[Tensor, ...], target: Tensor | None, *, single: bool
    ) -> None:
        """Try methods that do not declare whether they accept integers, if no input is of floating-point type.

        Args:
            pl_module: The module.
            inputs: The probe's inputs on the module's device.
            target: Explained output of each sample.
            single: True if the probe's inputs are one tensor rather than a tuple.

        Raises:
            ConfigurationError: A method fails.

        Cost: an explanation by each of these methods.
        """
        if any(part.is_floating_point() for part in inputs):
            return
        indices = None if target is None else target.to(inputs[0].device)
        for name, method in self.methods.items():
            if traits_of(method).accepts_integers is not None:
                continue
            try:
                with undisturbed(pl_module):
                    module, _ = self.question.module(pl_module, inputs)
                    Sharing().share(method, inputs, indices, single=single, ranks=Ranks()).explained(module)
            except Exception as error:
                if ran_out_of_memory(error):
                    continue
                remedy = "" if AT_EMBEDDING in str(error) else f". If they are token ids: {AT_EMBEDDING} {FLOATS}"
                raise ConfigurationError(
                    f"{name} does not explain the probe, whose inputs are integers ({inputs[0].dtype}): "
                    f"{type(error).__name__}: {error}{remedy}"
                ) from error


def blamed_baseline(method: Method, pl_module: nn.Module, module: nn.Module, inputs: tuple[Tensor, ...]) -> str:
    """Return a message if the network, which accepts the probe, fails at the baseline of a method; empty otherwise."""
    baseline, found = traits_of(method).baseline, ""
    if baseline is None:
        return ""
    try:
        with undisturbed(pl_module), torch.no_grad():
            copies = tuple(part.clone() for part in inputs)
            filled = zip(resolve_baseline(baseline, copies), copies, strict=True)
            scores = module(*(part.expand_as(like).clone() for part, like in filled))
        if not bool(scores.isfinite().all()):
            found = "its output there is NaN or infinite"
    except Exception as error:  # noqa: BLE001 - whatever the network raises there is what was to be found out
        found = f"{type(error).__name__}: {error}"
    return found and (
        f"The network takes the probe, but not the method's baseline={baseline_name(baseline)!r} ({found}). Give the "
        "method another baseline=, e.g. 'mean' or a tensor of an ordinary sample."
    )


def removal_baseline(methods: Methods) -> Baseline:
    """Return the baseline of deleted features, for every method: that of the first one, or zeros."""
    baseline = traits_of(next(iter(methods.values()))).baseline
    return "zeros" if baseline is None else baseline
