"""Messages of a neuron monitor about what it does not count, and what to do about it."""

from collections.abc import Sequence

from torch import Tensor

from lightning_explain.capture import Layer

MOST_NAMED = 8


def _listed(layers: Sequence[str]) -> str:
    return ", ".join(layers[:MOST_NAMED]) + (f" and {len(layers) - MOST_NAMED} more" * (len(layers) > MOST_NAMED))


def silent_layers_message(layers: Sequence[str], stage: str) -> str:
    """Return the message on watched layers that never fired in a stage."""
    where = "training" if stage == "train" else "validation"
    return (
        f"these watched layers never fired: {_listed(layers)} (in {where}). Is the layer unused, replaced by another "
        "module or by a function (F.relu), called through another method than forward, or inside a compiled or traced "
        "region, into which hooks cannot see? Or does it return no tensor of real numbers, but a dict, say? Watch "
        "another layer with layers=, or compile after the callbacks are attached."
    )


def compiled_layers_message(layers: Sequence[str], *, named_by_user: bool) -> str:
    """Return the message on layers that run inside compiled code in 16 bits, watched only if the user names them."""
    cost = (
        f"{', '.join(layers)} run inside code that torch.compile made, and a hook on them makes the compiler write "
        "down, in 16 bits, what it would have kept in 32"
    )
    if named_by_user:
        return (
            f"{cost}. They are watched, since layers= names them; the run may differ in its last bits from one that "
            "is not watched."
        )
    return (
        f"{cost}; so they are not watched, and the run stays as it is. To watch them all the same, name them with "
        "layers=."
    )


def unseen_attention_message(modules: Sequence[str]) -> str:
    """Return the message on attention modules whose heads cannot be watched."""
    return (
        f"the attention heads of {', '.join(modules)} cannot be seen: no linear layer called proj, out_proj, o_proj, "
        "to_out or the like in it takes them side by side. Its other layers are watched as usual."
    )


def not_finite_message(layers: Sequence[str], stage: str) -> str:
    """Return the message on layers whose neurons gave NaN or infinity."""
    return (
        f"the neurons of {', '.join(layers)} gave NaN or infinity ({stage}), which counts as not active. Has training "
        "diverged? Look at the loss, lower the learning rate, or clip gradients."
    )


def unknown_units_message(layer: Layer, key: str, given: Tensor) -> str:
    """Return the message on an output of which nothing indicates where its units are."""
    return (
        f"nothing indicates which dimension of what layer {key!r} gives, of the shape {list(given.shape)}, holds the "
        "units, so it is not counted: no layer whose type says it made that dimension, or not through operations that "
        f"can be followed. Say where they are with unit_dims={{{layer.name!r}: 1}} (-1 for the last dimension), or "
        "leave the layer out with layers=."
    )


def reordered_message(layers: Sequence[str]) -> str:
    """Return the message on layers whose rows are not the batch's samples in their order."""
    return (
        f"not counted: {_listed(layers)} get the batch's samples in another order, or some of them (the step or "
        "the module's forward sorts them by length, flips or indexes them, or sends them to experts), so that nothing "
        "says which label a row has. Sort in the collate function, or by "
        "pack_padded_sequence(enforce_sorted=False); or leave "
        "such layers out with layers=."
    )


def wrong_rows_message(key: str, n_rows: int, n_labels: int) -> str:
    """Return the message on an output that has other rows than there are samples."""
    return (
        f"layer {key!r} gave {n_rows} rows for a batch of {n_labels} labels (patches, tokens or pairs folded into the "
        "batch?), so it is not counted. Leave it out with layers=, or say with target= where the labels are."
    )


def too_large_label_message(label: int, most: int) -> str:
    """Return the message on labels that are too large for classes."""
    return (
        f"label {label} was found. Labels from {most:,} on are not treated as classes and not counted. If "
        "they are regression targets, say target=lambda batch: batch[1].float(); if there are that many classes, give "
        "class_names."
    )


def no_room_message(label: int, room: int) -> str:
    """Return the message on labels on an accelerator for which no room was made in time."""
    return (
        f"label {label} was met, while room was made for {room} classes: nothing had said that there are more, and a "
        f"look at the labels would make each step wait for the device. Samples of the classes from {room} on are "
        "missing in this report; from now on they are counted. With class_names= all are counted from the first step."
    )


def not_ablated_message(layers: Sequence[str]) -> str:
    """Return the message on layers of which no unit could be set to its mean."""
    return (
        f"ablation= measures nothing for {', '.join(layers)}: layers that the explained forward does not run have no "
        "effect to measure, and recurrent layers with a forward of their own, or such that a compiler leaves alone, "
        "cannot have one unit held at its mean. Name other layers with layers=, or give ablation=0."
    )
