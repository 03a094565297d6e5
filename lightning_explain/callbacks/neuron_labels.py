"""Class labels of the batches that a neuron monitor counts."""

from typing import Any

from torch import Tensor

from lightning_explain.batches import Selector, class_labels, describe, target_of
from lightning_explain.callbacks.guard import Guard
from lightning_explain.errors import ConfigurationError

ALL_SAMPLES = "all samples"
"""The name of the only class where there are no labels."""


class Labels:
    """Reads class labels off batches; says once where there are none, and then counts all samples as one class.

    Args:
        target: Where a batch holds the target; None to find it.
        guard: For saying so.
    """

    def __init__(self, target: Selector, guard: Guard) -> None:
        self._target = target
        self._guard = guard
        self.classes: bool | None = None
        """Whether batches hold class labels; None before the first batch."""

    def of(self, batch: Any) -> Tensor | None:
        """Return the class of each sample [batch]; None where batches hold no classes.

        What the first batch holds decides for the whole run: real values of a small regression batch could look
        like labels by chance.

        Raises:
            ConfigurationError: The first batch held classes, this one holds none.
        """
        if self.classes is False:
            return None
        labels = class_labels(target_of(batch, self._target))
        if self.classes is None:
            self.classes = labels is not None
            if labels is None:
                self._guard.note(
                    f"no class labels were found in a batch of the form {describe(batch)}, so all samples count as one "
                    "class, and figures that compare classes are left out. If there are labels, say where: "
                    "target=1, target='label' or target=lambda batch: ...",
                    # once for training and validation, whose batches may differ in form
                    about="no class labels",
                )
        elif labels is None:
            raise ConfigurationError(
                f"Earlier batches held class labels, but none were found in one of the form {describe(batch)}. Say "
                "where they are, in training and in validation, with target=lambda batch: ..."
            )
        return labels
