"""Class labels of the batches that a neuron monitor counts."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lightning_explain.batches import (
    LabelForm,
    Selector,
    describe,
    label_form,
    label_oddities,
    labels_as,
    target_of,
)
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.errors import ConfigurationError

ALL_SAMPLES = "all samples"
"""The name of the only class where there are no labels."""

WHERE = "target=1, target='label' or target=lambda batch: ..."


def without_wait(values: Tensor) -> NDArray[np.generic] | None:
    """Return a tensor's values if they can be read without waiting for a device; None if they cannot.

    Example:
        >>> import torch
        >>> without_wait(torch.tensor([3, 1])).max()
        np.int64(3)
    """
    # a subclass may hold no values at all, as the tensors have with which a step is only planned
    on_host = type(values) is Tensor and values.device.type == "cpu" and not values.requires_grad
    return values.numpy() if on_host else None


class LabelEvidence(NamedTuple):
    """The evidence of the targets of one stage so far.

    Attributes:
        form: Their form; None where they hold no labels, or no batch has passed.
        none: True if they are known to hold no labels.
        odd: True if some target has no label of this form.
        beyond: True if some target has no label at all.
    """

    form: LabelForm | None = None
    none: bool = False
    odd: bool = False
    beyond: bool = False


def without_labels(own: Sequence[LabelEvidence], other: Sequence[LabelEvidence]) -> bool:
    """Return True if a stage holds no labels, by the evidence of all processes.

    Targets of 0 and 1 may look like labels by chance. What speaks against labels in one stage speaks against those of
    the same form in the other; softened labels do not, as mixup is for training alone.

    Args:
        own: Of the stage, by process.
        other: Of the other stage.
    """
    forms = {each.form for each in own} - {None, "index"}
    return any(each.none or each.odd for each in own) or any(each.beyond and each.form in forms for each in other)


class Labels:
    """Reads class labels off batches; says once where there are none, and then counts all samples as one class.

    Integers are labels. Real values of 0 and 1 are read as labels as long as no batch speaks against it: whether one
    has is noted on the device, batch by batch, and read when a report is made.

    Args:
        target: Where a batch holds the target; None to find it.
        guard: For saying so.
        stage: Whose batches they are, for messages.
    """

    def __init__(self, target: Selector, guard: Guard, stage: Literal["train", "val"]) -> None:
        self._target = target
        self._stage = "training" if stage == "train" else "validation"
        self._guard = guard
        self._form: LabelForm | None = None
        self._oddities: Tensor | None = None
        self.refuted = ""
        """What speaks against them beside the targets; empty where nothing does."""
        self.classes: bool | None = None
        """True if batches hold class labels; None before the first batch."""

    def forget(self) -> None:
        """Begin a run."""
        self._form, self._oddities, self.classes, self.refuted = None, None, None, ""

    def of(self, batch: Any) -> Tensor | None:
        """Return the class of each sample [batch]; None where batches hold no classes.

        Does not wait for the device: where values there speak against labels, `evidence` says so later.

        Raises:
            ConfigurationError: The first batch held classes, this one is of another form.
        """
        if self.classes is False:
            return None
        target = target_of(batch, self._target)
        form = label_form(target)
        if self.classes is None:
            self.classes = self._may_hold_classes(form, target)
            self._form = form if self.classes else None
            # whoever gives a callable that returns None has said that there are none
            if not self.classes and not (target is None and callable(self._target)):
                self._tell_none(batch)
        if not self.classes or target is None:
            return self._missing(batch) if self.classes else None
        if form is None or form != self._form:
            return self._missing(batch)
        if form != "index":
            odd = label_oddities(form, target)
            self._oddities = odd if self._oddities is None else self._oddities.to(odd.device) | odd
        return labels_as(form, target)

    @staticmethod
    def _may_hold_classes(form: LabelForm | None, target: Tensor | None) -> bool:
        if form is None or target is None or form == "index":
            return form is not None
        odd = without_wait(label_oddities(form, target)) if target.numel() else None
        return bool(target.numel()) and (odd is None or not odd[0])

    def _tell_none(self, batch: Any) -> None:
        self._guard.note(
            f"no class labels were found in a {self._stage} batch of the form {describe(batch)}, so all samples of "
            "that stage count as one class, and metrics that compare classes are left out. If there are labels, say "
            f"where: {WHERE}",
            # once for training and validation, whose batches may differ in form
            about="no class labels",
        )

    def _missing(self, batch: Any) -> None:
        raise ConfigurationError(
            f"Earlier batches held class labels, but none were found in one of the form {describe(batch)}. Say "
            "where they are, in training and in validation, with target=lambda batch: ..."
        )

    def evidence(self) -> LabelEvidence:
        """Return the evidence of the targets; waits for the device."""
        odd, beyond = (False, False) if self._oddities is None else self._oddities.tolist()
        return LabelEvidence(self._form, self.classes is False, odd or bool(self.refuted), beyond)

    def give_up(self, stages: str, why: str = "") -> None:
        """Read no labels from here on; say so if batches were read as holding some.

        Args:
            stages: The stages without labels, as text.
            why: The evidence against labels, if not the targets' values.
        """
        if self.classes is not False and self._form is not None:
            seen = (
                why
                or self.refuted
                or (
                    "targets that looked like one label for each sample were followed by others that do not (several "
                    "labels for a sample, softened labels, or real values)"
                )
            )
            self._guard.note(
                f"{seen}, so all samples of {stages} count as one class, those counted before included, and metrics "
                f"that compare classes are left out. If there are labels, say where: {WHERE}",
                about="no class labels",
            )
        self.classes, self._form, self._oddities = False, None, None
