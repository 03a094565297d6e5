"""The inputs of a probe that are drawn, each with its kind, its name and its words."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from lightning_explain.display import Display, is_mask
from lightning_explain.paths.path_units import InputUnits
from lightning_explain.probe import Probe
from lightning_explain.render.modalities import form_of, modality, modality_of
from lightning_explain.render.modality import Shown


def shown_input(inputs: Tensor, *, display: Display | None = None, feature_names: Sequence[str] = ()) -> Shown:
    """Return a single input [batch, ...] as it is shown."""
    chosen = display or Display()
    shown = Shown(
        inputs=inputs, form=form_of(chosen, inputs), display=chosen, feature_names=feature_names, parts=(inputs,)
    )
    return _without_padding(shown, ())


def _without_padding(shown: Shown, masks: Sequence[Tensor]) -> Shown:
    return shown if shown.form is None else replace(shown, kept=modality_of(shown).kept(shown, masks))


def _feature_names(probe: Probe, inputs: Tensor) -> Sequence[str]:
    return probe.feature_names if len(probe.feature_names) == inputs[0].numel() else ()


def shown_inputs(probe: Probe, *, explains_tokens: bool = True) -> list[Shown]:
    """List a probe's explained inputs. What is carried along only (masks, ids that no method explains) is left out.

    Args:
        probe: The probe.
        explains_tokens: Some method explains integers, as `AtEmbedding` does.
    """
    display = probe.display or Display()
    parts = list(enumerate(probe.parts))
    drawn = [
        (i, p) for i, p in parts if p.is_floating_point() or (explains_tokens and not is_mask(p) and i != display.edges)
    ]
    masks = [part for _, part in parts if is_mask(part)]
    found: list[Shown] = []
    for index, part in drawn or parts[:1]:
        names = _feature_names(probe, part)
        shown = Shown(
            inputs=part,
            form=form_of(display, part, index, has_names=bool(names)),
            index=index,
            name=display.input_name(index) if len(drawn) > 1 else "",
            display=display,
            feature_names=names,
            parts=probe.parts,
            position_names=probe.entity_names,
        )
        found.append(_without_padding(shown, masks))
    return found


def check_shown(probe: Probe, *, explains_tokens: bool = True) -> None:
    """Refuse a probe with an input that cannot be of the kind that it is declared to be.

    Raises:
        ConfigurationError: As said.
    """
    for shown in shown_inputs(probe, explains_tokens=explains_tokens):
        if shown.form is not None:
            modality_of(shown).check(shown)


def declared_units(probe: Probe) -> list[InputUnits | None]:
    """Return the units of each input whose kind is declared and says what they are; None for the others."""
    display = probe.display or Display()
    found: list[InputUnits | None] = []
    for index, part in enumerate(probe.parts):
        form = display.declared_form(index)
        shown = Shown(inputs=part, form=form, index=index, display=display, parts=probe.parts)
        found.append(None if form is None else modality_of(shown).units(shown))
    return found


def is_of_grid(probe: Probe) -> bool:
    """Return False if the first input is declared to be of a kind whose mean over samples makes no map."""
    form = (probe.display or Display()).declared_form()
    return form is None or modality(form).is_grid
