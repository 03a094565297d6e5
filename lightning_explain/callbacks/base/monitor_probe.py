"""The probe of one monitor over a run: given, restored from a checkpoint, drawn, or collected as batches pass."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from lightning_explain.batches import class_labels
from lightning_explain.callbacks.base.default_probe import PassingProbe, flat_loaders, probe_from_loader
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.display import Display
from lightning_explain.errors import ConfigurationError
from lightning_explain.probe import Probe
from lightning_explain.sampling import NotPickableError


class ProbeKeeper:
    """Finds a probe and keeps it for the whole run.

    Args:
        probe: The user's own, or None for one drawn from the validation data.
        question: Where batches hold input and target.
        guard: The monitor's, for messages.
        class_names: Given to the probe if it has none.
        feature_names: Given to the probe if it has none.
        display: Given to the probe if it has none.
    """

    def __init__(
        self,
        probe: Probe | None,
        *,
        question: Question,
        guard: Guard,
        class_names: Sequence[str] = (),
        feature_names: Sequence[str] = (),
        display: Display | None = None,
    ) -> None:
        self._display = display
        self._class_names = tuple(class_names)
        self._feature_names = tuple(feature_names)
        self._question = question
        self._guard = guard
        self._passing: PassingProbe | None = None
        self._given = None if probe is None else self._named(probe)
        self.probe = self._given
        self.data_changed = False
        """True if the validation data are not those that a checkpoint's probe was drawn from."""
        self._to_compare = False

    def forget(self) -> None:
        """Go back to the probe the user gave, or to none: a drawn one belonged to another run."""
        self.probe, self._passing = self._given, None
        self.data_changed = self._to_compare = False

    def _named(self, probe: Probe) -> Probe:
        return replace(
            probe,
            class_names=probe.class_names or self._class_names,
            feature_names=probe.feature_names or self._feature_names,
            display=probe.display or self._display,
        )

    @property
    def display(self) -> Display:
        """The display of samples."""
        return (None if self.probe is None else self.probe.display) or self._display or Display()

    @property
    def feature_names(self) -> Sequence[str]:
        """Names of the features of tabular samples; empty for none."""
        return self._feature_names if self.probe is None else self.probe.feature_names

    def find(self, trainer: Any) -> None:
        """Draw the probe once validation data are there, or get ready to collect it as batches pass.

        Raises:
            ConfigurationError: There are no validation data, or no input is recognised in them.
        """
        if self._to_compare and self.probe is not None:
            self._compare(trainer, self.probe)
        if self.probe is not None or self._passing is not None:
            return
        loaders = flat_loaders(trainer.val_dataloaders)
        if not loaders:
            if trainer.enable_validation and trainer.val_dataloaders is None:
                self._guard.note(
                    "Lightning loads the validation data in the first epoch that validates, so there is no probe "
                    "before it, and what is compared with the first explanation (drift/first) is compared with that "
                    "epoch's. To have one before training, give probe=, or leave the Trainer its "
                    "num_sanity_val_steps=2."
                )
                return
            raise ConfigurationError(
                f"{self._guard.owner} explains a held-out probe, drawn from the validation data by default, but this "
                "Trainer has no validation data (no val_dataloader or an empty one, no validation_step, or "
                "limit_val_batches=0). Give probe=Probe.from_dataset(my_held_out_dataset)."
            )
        try:
            self.probe = self._named(probe_from_loader(trainer, loaders[0], self._question, display=self._display))
        except NotPickableError as error:
            self._passing = PassingProbe(self._question, self._display)
            if str(error):  # nothing is said of data that have no index, as iterable ones
                self._guard.note(
                    f"no probe could be drawn before training, so it is collected in the first validation, and the "
                    f"first explanation is that validation's. {error}"
                )

    @property
    def collecting(self) -> bool:
        """True while the probe is being collected from validation batches."""
        return self._passing is not None

    def collect(self, batch: Any) -> None:
        """Take the samples that are still missing from a validation batch, while collecting."""
        if self._passing is not None:
            self._passing.add(batch)

    def finish_collecting(self) -> None:
        """Make the probe of what was collected."""
        if self._passing is not None:
            probe, shapes, self._passing = self._passing.probe(), self._passing.shapes, None
            self.probe = None if probe is None else self._named(probe)
            if len(shapes) > 1:
                self._guard.note(
                    f"validation samples have several shapes ({', '.join(shapes[:4])}{', ...'[: 5 * (len(shapes) > 4)]}"
                    f"); the probe holds those of shape {shapes[0]}. Give probe= to explain others."
                )

    def agree(self, ranks: Ranks) -> None:
        """Take the first process's probe where processes have different ones; a collective call.

        Each may read data of its own, or have seen other batches pass.
        """
        fingerprints = ranks.exchanged(None if self.probe is None else self.probe.fingerprint)
        if len(set(fingerprints)) > 1:
            state = ranks.exchanged(self.state_dict() if ranks.rank == 0 else None)[0]
            self.probe = None if state is None else self._named(Probe.from_state_dict(state))

    def without_classes(self) -> None:
        """Take the probe's labels for real values; nothing is left of those that may still look like labels."""
        if self.probe is not None and self.probe.labels is not None and self.probe.targets is not None:
            real = self.probe.targets.float()
            self.probe = replace(self.probe, targets=real if class_labels(real) is None else None)

    def state_dict(self) -> dict[str, Any] | None:
        """Return the probe as plain tensors and lists."""
        return None if self.probe is None else self.probe.state_dict()

    def take_up(self, saved: Probe) -> bool:
        """Take up a checkpoint's probe; return True if it asks the same question as the probe there was."""
        if self.probe is not None:
            return _is_same(self.probe, saved)
        self.probe, self._to_compare = self._named(saved), bool(saved.indices)
        return True

    def _compare(self, trainer: Any, restored: Probe) -> None:
        """Draw as at the beginning of the run: other samples mean that the validation data have changed since."""
        loaders = flat_loaders(trainer.val_dataloaders)
        if loaders:
            self._to_compare = False
            with suppress(NotPickableError):
                drawn = probe_from_loader(trainer, loaders[0], self._question, display=self._display)
                self.data_changed = not _is_same(drawn, restored)


def _is_same(probe: Probe, restored: Probe) -> bool:
    """Return True if a checkpoint's probe holds the same samples; its labels may have been taken for real values."""
    if probe.fingerprint == restored.fingerprint:
        return True
    if probe.targets is None or restored.targets is None or not restored.targets.is_floating_point():
        return False
    return replace(probe, targets=probe.targets.float()).fingerprint == restored.fingerprint
