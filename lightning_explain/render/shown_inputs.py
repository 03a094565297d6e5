"""What of a probe is drawn: its explained inputs, each with its form, its name and its words."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_explain.display import Display, Form, is_mask
from lightning_explain.probe import Probe
from lightning_explain.render.canvas import shortened

LONGEST_WORD = 24


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """One explained input of a probe, and how it is drawn.

    Attributes:
        inputs: The input [batch, ...].
        form: How it is drawn; None where there is no picture for it.
        index: Its place among the probe's inputs.
        name: Its name; empty where the probe has no other explained input.
        display: How samples are shown.
        feature_names: Names of its features, for tables.
        kept: For tokens: which are shown [batch, tokens]; padding is not.
    """

    inputs: Tensor
    form: Form | None
    index: int = 0
    name: str = ""
    display: Display
    feature_names: Sequence[str] = ()
    kept: Tensor | None = None

    @classmethod
    def of(cls, inputs: Tensor, *, display: Display | None = None, feature_names: Sequence[str] = ()) -> "Shown":
        """Show a single input, by its shape unless the display says how."""
        chosen = display or Display()
        form = chosen.form_of(inputs)
        kept = _kept(inputs, chosen, ()) if form == "tokens" else None
        return cls(inputs=inputs, form=form, display=chosen, feature_names=feature_names, kept=kept)

    def places(self, row: int) -> list[int]:
        """Return the places of a sample's tokens, without padding."""
        every = range(self.inputs.shape[1])
        return list(every) if self.kept is None else self.kept[row].nonzero().flatten().tolist()

    def word(self, row: int, place: int) -> str:
        """Return a token's word, on one line; a middle dot for one that cannot be seen."""
        word = self.display.word(int(self.inputs[row, place]))
        visible = "".join(letter if letter.isprintable() else " " for letter in word)
        return shortened(visible, LONGEST_WORD) or "·"


def _kept(ids: Tensor, display: Display, masks: Sequence[Tensor]) -> Tensor:
    kept = torch.ones(ids.shape, dtype=torch.bool)
    if display.padding is not None:
        kept &= ids != display.padding
    for mask in masks:
        if mask.shape == ids.shape:
            kept &= mask != 0
    # a text of nothing but padding is shown as it is
    return kept | ~kept.any(1, keepdim=True)


def _feature_names(probe: Probe, inputs: Tensor) -> Sequence[str]:
    return probe.feature_names if len(probe.feature_names) == inputs[0].numel() else ()


def shown_inputs(probe: Probe, *, explains_tokens: bool = True) -> list[Shown]:
    """List a probe's explained inputs. What is carried along only (masks, ids that no method explains) is left out.

    Args:
        probe: The probe.
        explains_tokens: Whether some method explains integers, as `AtEmbedding` does.
    """
    display = probe.display or Display()
    parts = list(enumerate(probe.parts))
    drawn = [(i, p) for i, p in parts if p.is_floating_point() or (explains_tokens and not is_mask(p))]
    masks = [part for _, part in parts if is_mask(part)]
    found: list[Shown] = []
    for index, part in drawn or parts[:1]:
        form = display.form_of(part, index)
        names = _feature_names(probe, part)
        found.append(
            Shown(
                inputs=part,
                # whoever names the features of a row wants to read these names
                form="table" if names and form == "signal" and not display.form else form,
                index=index,
                name=display.input_name(index) if len(drawn) > 1 else "",
                display=display,
                feature_names=names,
                kept=_kept(part, display, masks) if form == "tokens" else None,
            )
        )
    return found


def is_of_units(shown: Shown, values: Tensor) -> bool:
    """Say whether attributions are of a layer's units, which have no place in a picture of the input."""
    return shown.form != "table" and values.ndim == 2 < shown.inputs.ndim


def spread_rows(labels: Tensor | None, n_samples: int, most: int) -> list[int]:
    """Choose at most so many samples, the same number of each class as far as that goes.

    Example:
        >>> spread_rows(torch.tensor([0, 0, 0, 1, 1, 1]), 6, 4)
        [0, 1, 3, 4]
    """
    if n_samples <= most or labels is None:
        return list(range(min(n_samples, most)))
    classes = labels.unique().tolist()[:most]
    per_class = max(1, most // len(classes))
    chosen = [(labels == c).nonzero().flatten().tolist()[:per_class] for c in classes]
    return sorted(row for rows in chosen for row in rows)
