"""The sample in whose explanations strategies are looked for: drawn once, as the probe is, but larger."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from lightning_explain.callbacks.base.default_probe import flat_loaders, probe_from_loader
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.errors import ConfigurationError
from lightning_explain.probe import Probe
from lightning_explain.sampling import NotPickableError
from lightning_explain.strategies.class_strategies import FEWEST_SAMPLES
from lightning_explain.strategies.strategy_options import Strategies

MOST_BYTES = 256 << 20
READ_PER_SAMPLE = 4
"""Items read while looking for samples of all classes, for each sample that there may be."""


class LargerSample:
    """Finds the sample and keeps it for the run.

    Args:
        options: The options of strategies.
        question: Where batches hold input and target.
        guard: The monitor's, for messages.
    """

    def __init__(self, options: Strategies, *, question: Question, guard: Guard) -> None:
        self._options = options
        self._question = question
        self._guard = guard
        self._is_sought = True
        self.probe: Probe | None = None
        """The sample; None before it is found, and where none can be drawn."""

    def forget(self) -> None:
        """Begin a run with other data: draw anew."""
        self._is_sought, self.probe = True, None

    def find(self, trainer: Any, ranks: Ranks, *, like: Probe) -> None:
        """Draw the sample, once; a collective call, after which all processes have the first one's.

        Args:
            trainer: The Trainer.
            ranks: Its processes.
            like: The probe: names, kind and display of the sample are its.
        """
        if not self._is_sought:
            return
        self._is_sought = False
        with self._guard.doing("drawing the sample for strategies", cure="Give Strategies(samples=Probe(...))."):
            drawn = self._options.samples or ranks.agreed(lambda: self._drawn(trainer, like))
            prints = ranks.exchanged(None if drawn is None else drawn.fingerprint)
            if len(set(prints)) > 1:
                state = ranks.exchanged(None if drawn is None or ranks.rank else drawn.state_dict())[0]
                drawn = None if state is None else Probe.from_state_dict(state)
            if drawn is None:
                self._guard.note(
                    "no sample could be drawn to look for strategies in, since neither training nor validation samples "
                    "can be picked by index, so none are looked for. Give Strategies(samples=Probe(...))."
                )
                return
            self.probe = named_like(drawn, like)
            self._tell_few(self.probe)

    def _loaders(self, trainer: Any) -> Iterator[tuple[bool, Any]]:
        """Iterate over the loaders to draw from in order of preference, each with True if it is that of validation."""
        if self._options.data == "training":
            yield from ((False, loader) for loader in flat_loaders(trainer.train_dataloader)[:1])
        yield from ((True, loader) for loader in flat_loaders(trainer.val_dataloaders)[:1])

    def _drawn(self, trainer: Any, like: Probe) -> Probe | None:
        for is_validation, loader in self._loaders(trainer):
            try:
                first = self._from(trainer, loader, like, per_class=1, max_samples=1, max_scan=1)
            except (NotPickableError, ConfigurationError):
                continue
            size = sum(part.numel() * part.element_size() for part in first.parts)
            most = max(1, min(self._options.max_samples, MOST_BYTES // max(1, size)))
            per_class = self._options.per_class
            scan = READ_PER_SAMPLE * most + 256
            if self._options.data == "training" and is_validation:
                self._guard.note(
                    "the sample for strategies is drawn from the validation data: there are no training data here, or "
                    "their samples cannot be picked by index. What marks training samples alone is not found in it. "
                    'Give training data, Strategies(samples=Probe(...)), or say Strategies(data="validation").'
                )
            return self._from(trainer, loader, like, per_class=per_class, max_samples=most, max_scan=scan)
        return None

    def _from(
        self, trainer: Any, loader: Any, like: Probe, *, per_class: int, max_samples: int, max_scan: int
    ) -> Probe:
        return probe_from_loader(
            trainer,
            loader,
            self._question,
            # another stream than the probe's
            seed=self._options.seed + 1,
            per_class=per_class,
            max_samples=max_samples,
            max_scan=max_scan,
            display=like.display,
        )

    def _tell_few(self, sample: Probe) -> None:
        if sample.labels is None:
            self._guard.note(
                "the sample for strategies has no class labels, so its samples are grouped by the class that the "
                "network predicts (with one output, all are one group), and nothing is said of their accuracy."
            )
            return
        counts = torch.bincount(sample.labels)
        few = int(((counts > 0) & (counts < FEWEST_SAMPLES)).sum())
        if few:
            self._guard.note(
                f"{few} of {int((counts > 0).sum())} classes have fewer than {FEWEST_SAMPLES} samples in the sample "
                "for strategies, too few to look for them there. Give a larger max_samples, or "
                "Strategies(samples=Probe(...)) with samples of the classes that matter."
            )


def named_like(sample: Probe, probe: Probe) -> Probe:
    """Give a sample the names and the display of a probe where it has none, and no classes where the probe has none."""
    are_values = probe.targets is not None and probe.labels is None
    return replace(
        sample,
        targets=None if are_values else sample.targets,
        class_names=sample.class_names or probe.class_names,
        feature_names=sample.feature_names or probe.feature_names,
        display=sample.display or probe.display,
    )
