"""Watching layers with forward hooks: which layers, which of their dimensions is the neuron, what they gave."""

from lightning_explain.capture.compiled import is_compiled, names_inside_compiled
from lightning_explain.capture.hooks import CallHook, Hook
from lightning_explain.capture.layers import ACTIVATIONS, Call, Layer, View, select_layers
from lightning_explain.capture.recorder import Recorder, recording_paused, watched

__all__ = [
    "ACTIVATIONS",
    "Call",
    "CallHook",
    "Hook",
    "Layer",
    "Recorder",
    "View",
    "is_compiled",
    "names_inside_compiled",
    "recording_paused",
    "select_layers",
    "watched",
]
