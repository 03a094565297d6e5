"""The exemplars of units from when they last fired: a unit that died is shown by them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lightning_explain.exemplars.layer_exemplars import LayerExemplars


@dataclass(frozen=True, eq=False)
class LastFired:
    """The exemplars of each unit of a layer from the last report in which a sample excited it.

    Attributes:
        exemplars: Of all units; those of a unit that never fired are of the first report.
        epochs: Epoch of each unit's: int64 [units]; -1 if it never fired.
    """

    exemplars: LayerExemplars
    epochs: Tensor

    @classmethod
    def of(cls, found: LayerExemplars, before: "LastFired | None") -> "LastFired":
        """Take up a report.

        Args:
            found: Its exemplars.
            before: What was kept until then; of other units or positions it is given up.
        """
        fired = found.excited
        if before is None or before.exemplars.positions.shape != found.positions.shape:
            return cls(found, torch.where(fired, found.epoch, -1))
        kept = _rows(before.exemplars, found, fired)
        return cls(kept, torch.where(fired, found.epoch, before.epochs))

    def shown(self, found: LayerExemplars, units: Sequence[int]) -> LayerExemplars:
        """Return exemplars in which some units have those from when they last fired.

        Args:
            found: Of the current report.
            units: The units, such as those that died since.
        """
        earlier = {unit: int(self.epochs[unit]) for unit in units if 0 <= int(self.epochs[unit]) < found.epoch}
        if not earlier:
            return found
        chosen = torch.zeros(len(self.epochs), dtype=torch.bool)
        chosen[list(earlier)] = True
        return replace(_rows(found, self.exemplars, chosen), earlier=earlier)


def _rows(these: LayerExemplars, others: LayerExemplars, of_others: Tensor) -> LayerExemplars:
    """Return exemplars with the rows of others for some units: boolean [units]."""
    rows = of_others[:, None]
    return replace(
        these,
        samples=torch.where(rows, others.samples, these.samples),
        values=torch.where(rows, others.values, these.values),
        labels=torch.where(rows, others.labels, these.labels),
        positions=torch.where(rows[:, :, None], others.positions, these.positions),
    )
