"""The input beside a path: an image with its patches, the values of features, the words of a text."""

from collections.abc import Sequence

from lightning_explain.callbacks.paths.explanation import PathExplanation
from lightning_explain.probe import Probe
from lightning_explain.render.modalities.image import input_pictures
from lightning_explain.render.modalities.tokens import word_at
from lightning_explain.render.paths import InputPicture
from lightning_explain.render.shown_inputs import shown_inputs

TOKENS = "tokens"


def shown_input(explanation: PathExplanation, probe: Probe, rows: Sequence[int]) -> InputPicture:
    """Return the first input as it is drawn beside a path: of one sample, or the mean of several.

    Args:
        explanation: Knows the units of the input.
        probe: The probe.
        rows: The samples of the probe that the path is of.
    """
    part, units = probe.parts[0], explanation.units[0]
    shown = shown_inputs(probe)[0]
    if shown.index == 0 and shown.form == TOKENS and len(units.names) == part.shape[1]:
        # the same place holds another word in every sample
        if len(rows) > 1:
            return InputPicture()
        kept = set(shown.places(rows[0]))
        words = [word_at(shown, rows[0], place) if place in kept else "" for place in range(len(units.names))]
        return InputPicture(words=words)
    mean = part[list(rows)].float().mean(0, keepdim=True)
    if units.boxes:
        return InputPicture(input_pictures(mean, probe.display)[0], units.boxes)
    if part[0].numel() != len(units.names):
        return InputPicture()
    return InputPicture(values=[f"{value:.3g}" for value in mean.flatten().tolist()])
