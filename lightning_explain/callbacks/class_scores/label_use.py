"""Labels that a loss uses, beside those that batches hold: the same, other numbers for them, or other samples'."""

from collections.abc import Iterable, Set
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import Tensor
from torch.autograd.graph import Node

IGNORED = -100
"""Target of a sample that a loss leaves out, as torch has it by default."""

KEPT = "lightning_explain.target"
"""Where a node keeps the target that was taken: one hook is all that a saved tensor can have."""

PLACE = "batch[1]"
"""Where a batch usually holds its labels, as an expression."""

SHOWN = 3
"""Labels of which the class that the loss takes them for is told."""


class LabelUse(NamedTuple):
    """Labels of a batch, and what the losses of a step took for the class of each sample; nothing was read of either.

    Attributes:
        labels: Class of each sample [batch], as the batch holds it; None where that is unknown.
        place: Where the batch holds them, as an expression.
        taken: Classes [batch] that losses by label took, for each of the tensors that were returned.
    """

    labels: Tensor | None = None
    place: str = PLACE
    taken: tuple[tuple[Tensor, ...], ...] = ()

    @classmethod
    def of(cls, labels: Tensor | None, by_label: Iterable[Set[Node]], place: str = PLACE) -> "LabelUse":
        """Gather the classes that losses took.

        Args:
            labels: Class of each sample [batch]; None where that is unknown.
            by_label: The losses by label that read each of the tensors that were returned.
            place: Where the batch holds the labels, as an expression.
        """
        if labels is None:
            return cls()
        flat = labels.detach().reshape(-1).clone()
        groups = [map(_target, nodes) for nodes in by_label]
        # samples that were left out, and chunks, have no place in the batch that could be known
        fitting = [tuple(target for target in group if _is_one_each(target, flat)) for group in groups]
        return cls(flat, place, tuple(group for group in fitting if group))

    @property
    def waits(self) -> bool:
        """True if comparing would wait for a device."""
        return self.labels is not None and self.labels.device.type != "cpu"

    def compared(self) -> "Relabelling | None":
        """Compare; None where nothing is known, or something that was returned was read with these very labels alone.

        What was returned beside that (for unlabelled samples, say) has classes of its own.
        """
        if self.labels is None or self.labels.is_meta:
            return None
        labels = self.labels.cpu()
        if not self.taken and set(labels.tolist()) == {-1, 1}:
            return Relabelling({-1: 0, 1: 1}, self.place, is_of_loss=False)
        found = [_pairs(labels, group) for group in self.taken]
        if any(pairs is None for pairs in found):
            return None
        return next((Relabelling(pairs, self.place) for pairs in found if pairs is not None), None)


def _is_one_each(target: Tensor | None, labels: Tensor) -> TypeGuard[Tensor]:
    return target is not None and target.shape == labels.shape


def _pairs(labels: Tensor, taken: Iterable[Tensor]) -> dict[int, int] | None:
    """Return the class for which each label was taken; empty where there are several, None if for themselves."""
    pairs: dict[int, int] = {}
    are_signs = set(labels.tolist()) == {-1, 1}
    for target in taken:
        for label, own in zip(labels.tolist(), target.cpu().tolist(), strict=True):
            # negative ones are left out, by the loss or here
            if own >= 0 and (label >= 0 or are_signs) and pairs.setdefault(label, own) != own:
                return {}
    return None if all(label == own for label, own in pairs.items()) else pairs


def _as_it_is(saved: Tensor) -> Tensor:
    return saved


def _target(node: Any) -> Tensor | None:
    """Return a copy of the target that a loss saved for its backward pass; None where it was packed away.

    It is taken by a hook that hands it on: reading it would run again what activation checkpointing drops.
    """
    kept = node.metadata.get(KEPT)
    if kept is None:
        found: list[Tensor] = []

        def keep(saved: Tensor) -> Tensor:
            found.append(saved)
            return saved

        try:
            node._raw_saved_target.register_hooks(keep, _as_it_is)
        except (AttributeError, RuntimeError):
            return None
        target = found[0].detach().reshape(-1)
        ignored = getattr(node, "_saved_ignore_index", IGNORED)
        kept = node.metadata[KEPT] = torch.where(target == ignored, IGNORED, target)
    return kept


class Relabelling(NamedTuple):
    """Labels that a loss took for other classes.

    Attributes:
        pairs: Label of the batch -> class that the loss took it for; empty where samples with one label have several,
            as in batches that were mixed or reordered within the step.
        place: Where the batch holds the labels, as an expression.
        is_of_loss: False for labels of -1 and 1 whose loss tells nothing, as a hinge loss does not.
    """

    pairs: dict[int, int]
    place: str = PLACE
    is_of_loss: bool = True

    @property
    def in_words(self) -> str:
        """A clause that says it, with the first pairs.

        Example:
            >>> Relabelling({2: 1, 1: 0}).in_words
            'the loss of the first training step takes label 1 for class 0, label 2 for class 1'
        """
        if not self.is_of_loss:
            return "the labels are -1 and 1, and samples with a negative one are left out"
        listed = [f"label {label} for class {self.pairs[label]}" for label in sorted(self.pairs)]
        more = ", ..." if len(listed) > SHOWN else ""
        return f"the loss of the first training step takes {', '.join(listed[:SHOWN])}{more}"

    @property
    def remedy(self) -> str:
        """The option that gives the classes of the loss.

        Example:
            >>> Relabelling({2: 1, 1: 0}).remedy, Relabelling({-1: 0, 1: 1}, "batch['y']").remedy
            ('target=lambda batch: batch[1] - 1', "target=lambda batch: (batch['y'] > 0).long()")
        """
        shifts = {own - label for label, own in self.pairs.items()}
        if len(shifts) == 1:
            (shift,) = shifts
            return f"target=lambda batch: {self.place} {'-' if shift < 0 else '+'} {abs(shift)}"
        if self.pairs == {-1: 0, 1: 1}:
            return f"target=lambda batch: ({self.place} > 0).long()"
        return "target=lambda batch: ... with the classes of the loss"
