"""The exemplars of all watched layers, collected in their hooks while a validation passes."""

from functools import partial

import torch
from torch import Tensor

from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.exemplars.candidates import BatchSamples, Candidates
from lightning_explain.exemplars.peaks import Peaks, joint_shape, peak_positions, peaks_of, positions_of
from lightning_explain.exemplars.top_samples import TopSamples, merged_layers, merged_once, of_batch
from lightning_explain.neurons import Activity
from lightning_explain.neurons.views import Units

Shape = tuple[int, ...]


class ExemplarCollector:
    """The top samples of every unit of the watched layers, over one validation pass.

    Nothing waits for an accelerator: what layers give there is sorted wholly, at the end of a batch, and all layers
    together. On a processor candidates are picked out in the hook, while the output is in its cache.

    Args:
        k: Samples of each unit.
        by_activation: Collect what is the largest in the hooks; otherwise `add_peaks` is given something else.

    Attributes:
        shapes: Sizes of the dimensions of positions by layer, the largest met.
    """

    def __init__(self, k: int, *, by_activation: bool = True) -> None:
        self.k = k
        self.by_activation = by_activation
        self.shapes: dict[str, Shape] = {}
        self._candidates: dict[str, Candidates] = {}
        self._tops: dict[str, TopSamples] = {}
        self._batch: dict[str, TopSamples] = {}
        self._numbers = torch.zeros(0, dtype=torch.long)
        self._labels = self._numbers
        self._of_class: Tensor | None = None
        self._on_device: tuple[Tensor, Tensor] | None = None
        self._on_cpu: BatchSamples | None = None
        self._last_number = -1

    def begin_batch(self, numbers: Tensor, labels: Tensor | None, of_class: Tensor | None) -> None:
        """Begin a batch.

        Args:
            numbers: Of its samples, on the CPU: int64 [batch]; -1 to leave one out.
            labels: Class of each: int64 [batch]; None for none.
            of_class: Which of them have a class that counts: boolean [batch]; None where there are no classes.
        """
        self._labels = torch.full_like(numbers, -1) if labels is None else labels
        self._numbers, self._of_class = numbers, of_class
        self._on_device, self._on_cpu = None, None
        # an accelerator is not asked
        if self._labels.device.type == "cpu" and (of_class is None or of_class.device.type == "cpu"):
            self._on_cpu = BatchSamples.of(numbers, self._labels, of_class, after=self._last_number)
            self._last_number = max(self._last_number, self._on_cpu.last)

    def add(self, key: str, units: Units, activity: Activity) -> None:
        """Add a layer's output for the samples of the batch; called in its hook."""
        if not self.by_activation or len(units.values) != len(self._numbers):
            return  # patches or pairs folded into the batch are no samples
        shape = positions_of(units)
        if self.shapes.get(key) != shape:
            self.shapes[key] = joint_shape(self.shapes.get(key), shape)
        peak = activity.peak
        if peak is not None and peak.device.type == "cpu" and self._on_cpu is not None:
            own = self._candidates.get(key)
            if own is None:
                own = self._candidates[key] = Candidates(peak.shape[1], self.k)
            own.add(peak, self._on_cpu, partial(peak_positions, units) if shape else None, shape)
        else:
            self.add_values(key, *peaks_of(units))

    def add_values(self, key: str, values: Tensor, places: Tensor) -> None:
        """Add values [batch, units] of a layer, and the flat position of each; merged at the end of the batch."""
        if self._on_device is None or self._on_device[0].device != values.device:
            numbers = self._numbers.to(values.device)
            if self._of_class is not None:
                numbers = torch.where(self._of_class.to(values.device), numbers, -1)
            self._on_device = numbers, self._labels.to(values.device).long()
        self._batch[key] = of_batch(values, places, *self._on_device)
        if key not in self._tops:
            self._tops[key] = TopSamples.none(values.shape[1], self.k, values.device)

    def add_peaks(self, key: str, peaks: Peaks, shape: Shape) -> None:
        """Add something else than the activation of a layer's units, and where it is largest."""
        if len(peaks.values) == len(self._numbers):
            self.shapes[key] = joint_shape(self.shapes.get(key), shape)
            self.add_values(key, *peaks)

    def end_batch(self) -> None:
        """Merge the outputs of the layers."""
        batch, self._batch = self._batch, {}
        by_device: dict[torch.device, dict[str, TopSamples]] = {}
        for key, found in batch.items():
            by_device.setdefault(found.keys.device, {})[key] = found
        for found in by_device.values():
            self._tops |= merged_layers(self._tops, found)

    def current(self) -> dict[str, TopSamples]:
        """Return the top samples of this process so far, by layer; waits for an accelerator."""
        own = {key: top.cpu() for key, top in self._tops.items()}
        return own | {key: candidates.top() for key, candidates in self._candidates.items()}

    def tops(self, ranks: Ranks) -> tuple[dict[str, TopSamples], dict[str, Shape]]:
        """Return the top samples by layer, over all processes, and the shapes; a collective call."""
        own = self.current()
        found: dict[str, TopSamples] = {}
        shapes: dict[str, Shape] = {}
        for tops, their_shapes in ranks.exchanged((own, self.shapes)):
            for key, top in tops.items():
                found[key] = merged_once(found[key], top) if key in found else top
                shapes[key] = joint_shape(shapes.get(key), their_shapes[key])
        return found, shapes
