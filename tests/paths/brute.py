"""Contribution graphs by loops and enumeration, independent of the package, in float64."""

from itertools import product
from typing import Any

import numpy as np

Layers = list[tuple[np.ndarray, np.ndarray]]


def mlp(x: np.ndarray, layers: Layers, target: int) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Relevance of every layer (inputs first), messages [target, source] and bias shares, unit by unit."""
    activations, pre = [x], []
    for place, (w, b) in enumerate(layers):
        z = np.array([sum(w[j, i] * activations[-1][i] for i in range(w.shape[1])) + b[j] for j in range(len(w))])
        pre.append(z)
        activations.append(z if place == len(layers) - 1 else np.maximum(z, 0))
    relevance = np.zeros(len(layers[-1][0]))
    relevance[target] = pre[-1][target]
    all_relevance, all_messages, all_biases = [relevance], [], []
    for place in reversed(range(len(layers))):
        w, b = layers[place]
        messages = np.zeros_like(w)
        biases = np.zeros(len(w))
        for j in range(len(w)):
            for i in range(w.shape[1]):
                messages[j, i] = activations[place][i] * w[j, i] / pre[place][j] * relevance[j]
            biases[j] = b[j] / pre[place][j] * relevance[j]
        relevance = np.array([sum(messages[j, i] for j in range(len(w))) for i in range(w.shape[1])])
        all_relevance.insert(0, relevance)
        all_messages.insert(0, messages)
        all_biases.insert(0, biases)
    return all_relevance, all_messages, all_biases


def flow_paths(messages: list[np.ndarray], biases: list[np.ndarray], target: int) -> dict[tuple[int, ...], float]:
    """Share of every path (units from the output down to an input): the product of the shares at each of its units."""
    found = {}
    sizes = [m.shape[1] for m in reversed(messages)]
    for units in product(*(range(size) for size in sizes)):
        share, above = 1.0, target
        for m, b, unit in zip(reversed(messages), reversed(biases), units, strict=True):
            total = sum(abs(m[above, i]) for i in range(m.shape[1])) + abs(b[above])
            share *= abs(m[above, unit]) / total if total else 0.0
            above = unit
        found[units] = share
    return found


def conv_messages(a: np.ndarray, w: np.ndarray, s: np.ndarray, pad: int) -> np.ndarray:
    """Messages between the channels of an undivided 2-D convolution with stride 1: every product, added up in loops."""
    n_out, n_in, k, _ = w.shape
    padded = np.pad(a, ((0, 0), (pad, pad), (pad, pad)))
    found = np.zeros((n_out, n_in))
    for j, i, y, x in product(range(n_out), range(n_in), range(s.shape[1]), range(s.shape[2])):
        found[j, i] += (padded[i, y : y + k, x : x + k] * w[j, i]).sum() * s[j, y, x]
    return found


def as_layers(net: Any) -> Layers:
    return [(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in net if type(m).__name__ == "Linear"]
