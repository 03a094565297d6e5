"""The inputs of a probe that are drawn, each with its kind, its name and its words."""

from collections.abc import Sequence

from torch import Tensor

from lightning_explain.display import Display, is_mask
from lightning_explain.probe import Probe
from lightning_explain.render.modalities import form_of, modality
from lightning_explain.render.modality import Shown


def shown_input(inputs: Tensor, *, display: Display | None = None, feature_names: Sequence[str] = ()) -> Shown:
    """Return a single input [batch, ...] as it is shown."""
    chosen = display or Display()
    form = form_of(chosen, inputs)
    kept = None if form is None else modality(form).kept(inputs, chosen, ())
    return Shown(inputs=inputs, form=form, display=chosen, feature_names=feature_names, kept=kept, parts=(inputs,))


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
    drawn = [(i, p) for i, p in parts if p.is_floating_point() or (explains_tokens and not is_mask(p))]
    masks = [part for _, part in parts if is_mask(part)]
    found: list[Shown] = []
    for index, part in drawn or parts[:1]:
        names = _feature_names(probe, part)
        form = form_of(display, part, index, has_names=bool(names))
        found.append(
            Shown(
                inputs=part,
                form=form,
                index=index,
                name=display.input_name(index) if len(drawn) > 1 else "",
                display=display,
                feature_names=names,
                kept=None if form is None else modality(form).kept(part, display, masks),
                parts=probe.parts,
            )
        )
    return found
