"""A monitor's alerts: what is read off an explanation for them, and how they are told."""

from dataclasses import replace

import torch
from torch import Tensor

from lightning_explain.attribution.result import flat, parts_of
from lightning_explain.callbacks.attribution.comparison import Comparison
from lightning_explain.callbacks.attribution.history import Memory
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.drift import Drift
from lightning_explain.drift.error import DistanceErrors, error_share
from lightning_explain.drift_alert import EVERYTHING, LEAST_DRIFT, MASS, Alert, DriftAlert, Excess, Reading, judge
from lightning_explain.errors import ConfigurationError
from lightning_explain.faithfulness import mass_in_mask
from lightning_explain.probe import Probe

MOST_SAMPLES = 8
FULL = 1 - 1e-6


def _relative(share: Tensor) -> Tensor:
    """Return the odds of a share inside a mask; a share of 1 would be infinite."""
    share = share.clamp(max=FULL)
    return share / (1 - share)


def check_alert(rule: DriftAlert, measures: tuple[str, ...]) -> None:
    """Refuse a rule about drift that is not measured.

    Raises:
        ConfigurationError: It is not.
    """
    if rule.measure != MASS and rule.measure not in measures:
        raise ConfigurationError(
            f"DriftAlert(measure={rule.measure!r}) needs a drift that measures={list(measures)!r} leaves out; add it."
        )


class Alarm:
    """Looks at each explanation of a monitor's first method for what was not usual.

    Args:
        rule: What counts as unusual.
        name: The monitor's name.
        guard: Of the monitor; warns.
    """

    def __init__(self, rule: DriftAlert, *, name: str, guard: Guard) -> None:
        self.rule = rule
        self._name = name
        self._guard = guard

    @property
    def words(self) -> str:
        """Describe the metrics that count as unusual."""
        return f"{self.rule.measure} more than {self.rule.times:g} times beyond its error and what was usual"

    def check(self, probe: Probe) -> None:
        """Refuse a rule that this probe cannot answer.

        Raises:
            ConfigurationError: It is about masks and the probe has none, or about images and the inputs are none.
        """
        if self.rule.measure == MASS and probe.masks is None:
            raise ConfigurationError(
                f"DriftAlert(measure={MASS!r}) needs to know where to look: give Probe(masks=...), 1 inside, 0 outside."
            )
        if self.rule.measure == "ssim" and probe.parts[0].ndim != 4:
            raise ConfigurationError(
                f"DriftAlert(measure='ssim') needs images [batch, channels, height, width]; the probe's inputs are "
                f"{list(probe.parts[0].shape)}. Choose another measure."
            )

    def look(self, found: Comparison, probe: Probe, memory: Memory, *, method: str, epoch: int) -> Alert | None:
        """Judge an explanation, and remember its metrics.

        Args:
            found: The explanation, with its drift.
            probe: What was explained.
            memory: What is remembered of the method.
            method: Its full name.
            epoch: The epoch.

        Returns:
            An alert if one is due.
        """
        measured = self._measured(found, probe)
        if measured is None:
            return None
        members = _groups(probe)
        readings = {group: self._reading(measured, rows) for group, rows in members.items()}
        verdict = judge(self.rule, readings, memory.past, at_least=self._least(probe))
        memory.past = verdict.past
        if not verdict.is_new:
            return None
        values = measured.values[self.rule.measure]
        samples = self._furthest(values, [(members[group], excess) for group, excess in verdict.excesses.items()])
        return Alert(
            monitor=self._name,
            method=method,
            measure=self.rule.measure,
            step=found.explanation.step,
            epoch=epoch,
            excesses=tuple(
                replace(excess, group="all samples" if group == EVERYTHING else f"class {probe.class_name(int(group))}")
                for group, excess in verdict.excesses.items()
            ),
            samples=samples,
            indices=tuple(probe.indices[sample] for sample in samples) if probe.indices else (),
        )

    def tell(self, alert: Alert) -> None:
        """Warn of an alert, and call whoever wants to know."""
        self._guard.note(str(alert))
        if self.rule.on_alert is not None:
            with self._guard.doing("calling on_alert"):
                self.rule.on_alert(alert)

    def _measured(self, found: Comparison, probe: Probe) -> Drift | None:
        """Return the measure of each sample and its errors; None where there is none yet."""
        if self.rule.measure == MASS:
            return _shares(found, probe)
        drift = found.primary_drifts.get("previous")
        return drift if drift is not None and self.rule.measure in drift.values else None

    def _reading(self, measured: Drift, members: Tensor) -> Reading:
        value, error = measured.mean(self.rule.measure, members), measured.error(self.rule.measure, members)
        if self.rule.measure == MASS:
            # of the mean, not the mean of it: a single sample that is all inside would drown the others
            inside, beyond = _relative(torch.tensor([value, value + error])).tolist()
            value, error = inside, beyond - inside
        return Reading(value=value, error=error, n_samples=int(members.sum()))

    def _least(self, probe: Probe) -> float:
        """Return the least value that counts as usual: of masks, what an even spread over the input would give."""
        if self.rule.measure != MASS or probe.masks is None:
            return LEAST_DRIFT
        return float(_relative(torch.broadcast_to(probe.masks, probe.parts[0].shape).mean()))

    def _furthest(self, values: Tensor, beyond: list[tuple[Tensor, Excess]]) -> tuple[int, ...]:
        """Choose the samples that are themselves beyond the factor, the furthest first."""
        size = (_relative(values) if self.rule.measure == MASS else values).tolist()
        rows = {
            row
            for members, each in beyond
            for row in members.nonzero().flatten().tolist()
            if size[row] > self.rule.times * each.usual
        }
        return tuple(sorted(rows, key=size.__getitem__, reverse=True)[:MOST_SAMPLES])


def _shares(found: Comparison, probe: Probe) -> Drift | None:
    """Return each sample's share inside the masks, as if it were a distance."""
    attribution = found.explanation.attributions.get(found.explanation.primary)
    if attribution is None or probe.masks is None:
        return None
    values = mass_in_mask(attribution.parts[0], probe.masks)
    if attribution.coarse is None:
        return Drift(values={MASS: values}, errors=None)
    share = error_share(attribution.error, flat(attribution.values), flat(attribution.coarse))
    shift = share * (mass_in_mask(parts_of(attribution.coarse)[0], probe.masks) - values)
    return Drift(values={MASS: values}, errors={MASS: DistanceErrors(spread=shift.abs(), shift=shift)})


def _groups(probe: Probe) -> dict[str, Tensor]:
    """Mark the samples of each class where there are several, and all."""
    labels = probe.labels
    classes = {} if labels is None else {str(c): labels == c for c in labels.unique().tolist()}
    return classes if len(classes) == 1 else {EVERYTHING: torch.ones(len(probe), dtype=torch.bool), **classes}
