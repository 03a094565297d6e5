"""The exemplars of one layer's units, and how they change from report to report."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_explain.exemplars.peaks import positions_at
from lightning_explain.exemplars.top_samples import TopSamples

SETTLED_SHARE = 0.75
"""A unit has settled as long as at least this share of its exemplars stays from report to report."""


def purity(labels: Tensor) -> Tensor:
    """Return the share of each unit's exemplars that have its commonest label: [units]; NaN without labels.

    Args:
        labels: Class indices [units, k]; negative for none, which do not count.

    Example:
        >>> purity(torch.tensor([[3, 3, 3, 5], [2, 1, -1, -1], [-1, -1, -1, -1]]))
        tensor([0.7500, 0.5000,    nan])
    """
    known = labels >= 0
    # [units, k, k] of a few samples each: how many of a unit have the label of each
    same = ((labels[:, :, None] == labels[:, None]) & known[:, None] & known[:, :, None]).sum(2)
    n_known = known.sum(1)
    return torch.where(n_known > 0, same.amax(1) / n_known, torch.nan)


def stayed(before: Tensor, now: Tensor) -> Tensor:
    """Return the share of each unit's exemplars that were exemplars before: [units]; NaN where there are none.

    Args:
        before: Numbers of samples [units, k before]; -1 for none.
        now: Numbers of samples [units, k].

    Example:
        >>> stayed(torch.tensor([[7, 2, 9, 4]]), torch.tensor([[2, 7, 1, 3]]))
        tensor([0.5000])
    """
    there = now >= 0
    kept = ((now[:, :, None] == before[:, None]).any(2) & there).sum(1)
    return torch.where(there.any(1), kept / there.sum(1), torch.nan)


def settled(before: Tensor, stayed_share: Tensor, epoch: int) -> Tensor:
    """Return the epoch since which each unit has kept its exemplars: int64 [units]; -1 while it has not.

    Args:
        before: The same at the report before.
        stayed_share: Share of exemplars that stayed since then.
        epoch: Of the report before: what has stayed was there by then.

    Example:
        >>> settled(torch.tensor([-1, 2, 2]), torch.tensor([1.0, 0.875, 0.5]), 4)
        tensor([ 4,  2, -1])
    """
    stays = stayed_share >= SETTLED_SHARE
    return torch.where(stays, torch.where(before >= 0, before, epoch), -1)


class Remembered(NamedTuple):
    """The history of a layer's exemplars, kept from report to report and in checkpoints.

    Attributes:
        samples: Numbers of samples [units, k]; -1 for none.
        settled: Epoch since which each unit has kept its exemplars [units]; -1 while it has not.
        epoch: Index of the epoch.
        by: What the samples are the largest of.
    """

    samples: Tensor
    settled: Tensor
    epoch: int
    by: str

    def state_dict(self) -> dict[str, Any]:
        """Return it as plain tensors and numbers, small ones."""
        return {**self._asdict(), "samples": self.samples.int(), "settled": self.settled.int()}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> "Remembered":
        """Rebuild it from `state_dict`."""
        return cls(state["samples"].long(), state["settled"].long(), int(state["epoch"]), str(state["by"]))


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerExemplars:
    """The samples of the validation that stand for each unit of a layer, best first.

    Attributes:
        samples: Number of each sample in the validation data: int64 [units, k]; several loaders are numbered through in
            their order. -1 where fewer samples were seen.
        values: Largest activation over positions, or relevance summed over positions: float32 [units, k]; NaN where
            there is no sample.
        labels: Class of each sample: int64 [units, k]; -1 for none.
        positions: Where in the layer's output: int64 [units, k, dimensions]; no dimensions for flat layers; -1 where
            there is no sample.
        shape: Sizes of the dimensions of positions.
        by: `"activation"` or `"relevance"`.
        epoch: Index of the epoch.
        stayed: Share of each unit's exemplars that were there in the report before: [units]; NaN in the first one.
        settled: Epoch since which at least three quarters have stayed from report to report: int64 [units]; -1 while
            they have not.
        earlier: Epoch by unit of those whose samples are of an earlier report, since nothing excites them now.
    """

    samples: Tensor
    values: Tensor
    labels: Tensor
    positions: Tensor
    shape: tuple[int, ...]
    by: str
    epoch: int
    stayed: Tensor
    settled: Tensor
    earlier: Mapping[int, int] = field(default_factory=dict[int, int])

    @classmethod
    def of(
        cls,
        top: TopSamples,
        samples: Tensor,
        *,
        shape: Sequence[int],
        by: str,
        epoch: int,
        before: Remembered | None = None,
    ) -> "LayerExemplars":
        """Create the exemplars of one report.

        Args:
            top: The top samples, on the CPU.
            samples: Their numbers in the validation data: int64 [units, k]; -1 for none.
            shape: Sizes of the dimensions of positions.
            by: What they are the largest of.
            epoch: Index of the epoch.
            before: Those of the report before.
        """
        n_units = len(samples)
        there = samples >= 0
        positions = positions_at(top.places, len(shape))
        share = torch.full((n_units,), torch.nan)
        epochs = torch.full((n_units,), -1)
        if before is not None and len(before.samples) == n_units and before.by == by:
            share = stayed(before.samples, samples)
            epochs = settled(before.settled, share, before.epoch)
        return cls(
            samples=samples,
            values=top.values,
            labels=torch.where(there, top.labels, -1),
            positions=torch.where(there[:, :, None], positions, -1),
            shape=tuple(shape),
            by=by,
            epoch=epoch,
            stayed=share,
            settled=epochs,
        )

    @property
    def purity(self) -> Tensor:
        """Share of each unit's exemplars that have its commonest label: [units]; NaN without labels."""
        return purity(self.labels)

    @property
    def excited(self) -> Tensor:
        """Units that some sample excites: boolean [units]. The exemplars of others are the first samples there are."""
        return self.values[:, 0] > 0

    def scalars(self) -> dict[str, float]:
        """Return the layer's metrics, means over the units that some sample excites; without those undefined."""
        of = self.excited
        means = {
            "purity": float(self.purity[of].nanmean()),
            "stayed": float(self.stayed[of].nanmean()),
            "settled": float(
                torch.where(self.stayed[of].isnan(), torch.nan, (self.settled[of] >= 0).float()).nanmean()
            ),
        }
        return {name: value for name, value in means.items() if not math.isnan(value)}

    def rows(self, class_names: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Return a row for each unit and exemplar: neuron, rank, sample, label, value, position.

        Args:
            class_names: Name of each class; numbers where they end.
        """
        table = zip(*(part.tolist() for part in (self.samples, self.labels, self.values, self.positions)), strict=True)
        return [
            {
                "neuron": unit,
                "rank": rank,
                "sample": sample,
                "label": "" if label < 0 else class_names[label] if label < len(class_names) else str(label),
                "value": value,
                "position": tuple(position),
            }
            for unit, columns in enumerate(table)
            for rank, (sample, label, value, position) in enumerate(zip(*columns, strict=True))
            if sample >= 0
        ]

    def record(self, units: Sequence[int]) -> dict[str, Any]:
        """Return some units as plain lists, for a machine-readable record; values in 4 digits."""
        columns = {"samples": self.samples, "labels": self.labels, "values": self.values, "positions": self.positions}
        of_units = {"purity": self.purity, "stayed": self.stayed, "settled": self.settled}
        return {
            "by": self.by,
            "shape": list(self.shape),
            "units": list(units),
            **{name: _plain(part[list(units)].tolist()) for name, part in (columns | of_units).items()},
        }

    @property
    def remembered(self) -> "Remembered":
        """The exemplars that the next report compares with."""
        return Remembered(self.samples, self.settled, self.epoch, self.by)


def _plain(values: Any) -> Any:
    if isinstance(values, list):
        return [_plain(value) for value in values]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(values, float):
        return None if math.isnan(values) else float(f"{values:.4g}")
    return values
