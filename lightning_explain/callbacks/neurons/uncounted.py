"""What a neuron monitor says of what it does not count, and what to do about it."""

from torch import Tensor

from lightning_explain.capture import Layer


def unknown_words(layer: Layer, key: str, given: Tensor) -> str:
    """Return what to say of an output of which nothing tells where its units are."""
    return (
        f"nothing tells which dimension of what layer {key!r} gives, of the shape {list(given.shape)}, holds the "
        "units, so it is not counted: no layer whose type says it made that dimension, or not through operations that "
        f"can be followed. Say where they are with unit_dims={{{layer.name!r}: 1}} (-1 for the last dimension), or "
        "leave the layer out with layers=."
    )


def row_words(key: str, n_rows: int, n_labels: int) -> str:
    """Return what to say of an output that has other rows than there are samples."""
    return (
        f"layer {key!r} gave {n_rows} rows for a batch of {n_labels} labels (patches, tokens or pairs folded into the "
        "batch?), so it is not counted. Leave it out with layers=, or say with target= where the labels are."
    )


def label_words(label: int, most: int) -> str:
    """Return what to say of labels that are too large for classes."""
    return (
        f"label {label} was met. Labels from {most:,} on are taken for something else than a class and not counted. If "
        "they are regression targets, say target=lambda batch: batch[1].float(); if there are that many classes, give "
        "class_names."
    )
