"""Watching layers with forward hooks: selection of layers, their unit dimension, recording of their outputs."""

from lightning_explain.capture.compiled import is_compiled, names_inside_compiled
from lightning_explain.capture.hooks import CallHook, Hook
from lightning_explain.capture.outside import Removable, hook_output
from lightning_explain.capture.padding_masks import MaskSource, PaddingMasks
from lightning_explain.capture.recorder import Recorder, is_recording_paused, recording_paused, watched
from lightning_explain.capture.watched_layers import (
    ACTIVATIONS,
    Call,
    CallUse,
    Layer,
    View,
    first_activations,
    select_layers,
)

__all__ = [
    "ACTIVATIONS",
    "Call",
    "CallHook",
    "CallUse",
    "Hook",
    "Layer",
    "MaskSource",
    "PaddingMasks",
    "Recorder",
    "Removable",
    "View",
    "first_activations",
    "hook_output",
    "is_compiled",
    "is_recording_paused",
    "names_inside_compiled",
    "recording_paused",
    "select_layers",
    "watched",
]
