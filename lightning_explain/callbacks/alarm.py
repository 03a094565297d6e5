"""A monitor's alerts: what is read off an explanation for them, and how they are told."""

from dataclasses import replace

import torch
from torch import Tensor

from lightning_explain.attribution.result import parts_of
from lightning_explain.callbacks.findings import Findings
from lightning_explain.callbacks.guard import Guard
from lightning_explain.callbacks.history import Memory
from lightning_explain.drift_alert import EVERYTHING, LEAST_DRIFT, MASS, Alert, DriftAlert, Excess, Reading, judge
from lightning_explain.errors import ConfigurationError
from lightning_explain.faithfulness import mass_in_mask
from lightning_explain.probe import Probe

MOST_SAMPLES = 8
FULL = 1 - 1e-6


def _relative(share: Tensor) -> Tensor:
    """Return what is inside relative to outside; a share of 1 would be infinite."""
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
        """Say what counts as unusual."""
        return f"{self.rule.measure} more than {self.rule.factor:g} times beyond its error and what was usual"

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

    def look(self, found: Findings, probe: Probe, memory: Memory, *, method: str, epoch: int) -> Alert | None:
        """Judge an explanation, and remember its figures.

        Args:
            found: The explanation, with its drift.
            probe: What was explained.
            memory: What is remembered of the method.
            method: Its full name.
            epoch: The epoch.

        Returns:
            An alert if one is due.
        """
        figures = self._figures(found, probe)
        if figures is None:
            return None
        values, errors = figures
        members = _groups(probe)
        readings = {group: self._reading(values[rows], errors[rows]) for group, rows in members.items()}
        verdict = judge(self.rule, readings, memory.past, at_least=self._least(probe))
        memory.past = verdict.past
        if not verdict.is_new:
            return None
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

    def _figures(self, found: Findings, probe: Probe) -> tuple[Tensor, Tensor] | None:
        """Return the measure of each sample [batch] and its error; None where there is none yet."""
        if self.rule.measure == MASS:
            return _shares(found, probe)
        drift = found.primary_drifts.get("previous")
        if drift is None or self.rule.measure not in drift.values:
            return None
        values = drift.values[self.rule.measure]
        coarse = values * torch.nan if drift.coarse is None else drift.coarse[self.rule.measure]
        return values, (values - coarse).abs()

    def _reading(self, values: Tensor, errors: Tensor) -> Reading:
        value, error = values.nanmean(), errors.nanmean()
        if self.rule.measure == MASS:
            # of the mean, not the mean of it: a single sample that is all inside would drown the others
            value, error = _relative(value), _relative(value + error) - _relative(value)
        return Reading(value=float(value), error=float(error))

    def _least(self, probe: Probe) -> float:
        """Return the least figure that counts as usual: of masks, what an even spread over the input would give."""
        if self.rule.measure != MASS or probe.masks is None:
            return LEAST_DRIFT
        return float(_relative(torch.broadcast_to(probe.masks, probe.parts[0].shape).mean()))

    def _furthest(self, values: Tensor, beyond: list[tuple[Tensor, Excess]]) -> tuple[int, ...]:
        """Choose the samples that are themselves beyond the factor, the furthest first."""
        size = (_relative(values) if self.rule.measure == MASS else values).tolist()
        rows = {
            row for members, each in beyond for row in members.tolist() if size[row] > self.rule.factor * each.usual
        }
        return tuple(sorted(rows, key=size.__getitem__, reverse=True)[:MOST_SAMPLES])


def _shares(found: Findings, probe: Probe) -> tuple[Tensor, Tensor] | None:
    attribution = found.explanation.attributions.get(found.explanation.primary)
    if attribution is None or probe.masks is None:
        return None
    values = mass_in_mask(attribution.parts[0], probe.masks)
    if attribution.coarse is None:
        return values, values * torch.nan
    return values, (values - mass_in_mask(parts_of(attribution.coarse)[0], probe.masks)).abs()


def _groups(probe: Probe) -> dict[str, Tensor]:
    """Return the rows of all samples, and of each class where there are several."""
    labels = probe.labels
    classes = {} if labels is None else {str(c): (labels == c).nonzero().flatten() for c in labels.unique().tolist()}
    return classes if len(classes) == 1 else {EVERYTHING: torch.arange(len(probe)), **classes}
