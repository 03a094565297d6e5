"""The explanations of the larger sample: a cheap pass for each, of which only attributions by place are kept."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.attribution import AtEmbedding, InputXGradient
from lightning_explain.attribution.contrast import contrast_of
from lightning_explain.attribution.result import Method
from lightning_explain.attribution.traits import method_name
from lightning_explain.callbacks.attribution.explainer import Examiner, Explanation
from lightning_explain.callbacks.attribution.methods import full_name
from lightning_explain.callbacks.base.contrast_choice import chosen_contrast
from lightning_explain.callbacks.base.default_probe import to_device
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.base.output_choice import explained_targets
from lightning_explain.probe import Probe
from lightning_explain.render.modalities import drawn_as, modality_of
from lightning_explain.render.modality import Shown
from lightning_explain.render.shown_inputs import shown_inputs

CHUNK = 128
"""Samples of one pass."""

OfInput = tuple[Shown, Tensor, Tensor]
"""How an input is shown, an example of its attributions, and the attributions of all samples by place."""


class SampleExplainer:
    """Explains the larger sample.

    Args:
        method: The attribution method; None for input x gradient, at the embedding where a sample holds only integers.
        question: How the explained function is reached.
        guard: The monitor's error handling.
    """

    def __init__(self, method: Method | None, *, question: Question, guard: Guard) -> None:
        self._question = question
        self._guard = guard
        self._is_given = method is not None
        self._contrasts: dict[int, Tensor] = {}
        self._use(InputXGradient() if method is None else method)

    def _use(self, method: Method) -> None:
        self._method = method
        self._examiner = Examiner(
            methods={method_name(method): method},
            measures=(),
            question=self._question,
            guard=self._guard,
            subject="the sample for strategies",
        )

    def _use_default(self, sample: Probe) -> None:
        """Choose the method, once: at the embedding where a sample holds nothing but integers."""
        if not any(part.is_floating_point() for part in sample.parts):
            self._use(AtEmbedding(InputXGradient()))
        self._is_given = True

    @property
    def method(self) -> str:
        """Full name of the attribution method."""
        return full_name(method_name(self._method), self._method)

    def begin(self) -> None:
        """Begin a fit, with contrasts of its own."""
        self._examiner.sharing.forget()
        self._contrasts.clear()

    def explain(
        self, trainer: Any, pl_module: nn.Module, sample: Probe, *, step: int, ranks: Ranks
    ) -> tuple[Tensor, list[OfInput]] | None:
        """Explain the sample, pass by pass; None if that fails.

        A collective call in a distributed run: each process explains a share of each pass.

        Returns:
            The scores; and of each explained input how it is shown, an example of its attributions, and those of all
            samples by place.
        """
        if not self._is_given:
            self._use_default(sample)
        shown = shown_inputs(sample)
        scores: list[Tensor] = []
        heats: list[list[Tensor]] = [[] for _ in shown]
        examples: list[Tensor] = []
        for start in range(0, len(sample), CHUNK):
            rows = slice(start, start + CHUNK)
            explanation = self._chunk(trainer, pl_module, sample, rows, step=step, ranks=ranks)
            if explanation is None:
                return None
            parts = explanation.attribution.parts
            scores.append(explanation.scores)
            examples = [parts[each.index][:1] if each.index < len(parts) else parts[0][:1] for each in shown]
            for heat, each in zip(heats, shown, strict=True):
                heat.append(_heat(each, parts[each.index] if each.index < len(parts) else parts[0]))
        return torch.cat(scores), [
            (each, example, torch.cat(heat)) for each, example, heat in zip(shown, examples, heats, strict=True)
        ]

    def _chunk(
        self, trainer: Any, pl_module: nn.Module, sample: Probe, rows: slice, *, step: int, ranks: Ranks
    ) -> Explanation | None:
        inputs = to_device(trainer, tuple(part[rows] for part in sample.parts))
        labels = None if sample.labels is None else sample.labels[rows]
        part = Probe(inputs=torch.zeros(len(inputs[0])), targets=labels, class_names=sample.class_names)

        def targets(scores: Tensor) -> Tensor | None:
            return explained_targets(part, scores, "predicted" if labels is None else "label")

        def contrasts(name: str, scores: Tensor) -> Tensor | None:
            del name
            contrast = contrast_of(self._method)
            if contrast is None:
                return None
            if rows.start not in self._contrasts:
                own = contrast[rows] if isinstance(contrast, Tensor) else contrast
                self._contrasts[rows.start] = chosen_contrast(own, part, targets(scores), scores)[0]
            return self._contrasts[rows.start]

        return self._examiner.explain(
            pl_module,
            inputs,
            single=not isinstance(sample.inputs, tuple),
            targets=targets,
            step=step,
            ranks=ranks,
            contrasts=contrasts,
        )


def _heat(shown: Shown, values: Tensor) -> Tensor:
    """Return attributions by place [n, places...]; of entities with features, by entity."""
    drawn = drawn_as(shown, values)
    if drawn.form is None:
        return values.flatten(1)
    kind = modality_of(drawn)
    return values.flatten(2).sum(2) if not kind.is_grid and values.ndim > 2 else kind.heat(values)
