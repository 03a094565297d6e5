"""Recurrent layers, gone through by their own equations: torch runs all steps in one operation.

Source: Arras et al. (2017), Explaining recurrent neural network predictions in sentiment analysis; the equations are
those in torch's documentation of LSTM, GRU and RNN.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lightning_explain.attribution.lrp.operations.handler import Handler, Operation, Tracer

State = tuple[Tensor, ...]
"""Hidden state [batch, hidden], of an LSTM the cell state behind it."""


@dataclass(frozen=True)
class Weights:
    """Weights of one layer in one direction: input, hidden, and the biases of both or None; of a projection or None."""

    input: Tensor
    hidden: Tensor
    input_bias: Tensor | None = None
    hidden_bias: Tensor | None = None
    projection: Tensor | None = None

    def of_input(self, x: Tensor) -> Tensor:
        """Map the input of one or of all steps."""
        return functional.linear(x, self.input, self.input_bias)

    def of_hidden(self, h: Tensor) -> Tensor:
        """Map the hidden state."""
        return functional.linear(h, self.hidden, self.hidden_bias)


Step = Callable[[Tensor, State, Weights], State]
"""From what the input brings to one step, the state before it and the weights to the state after it."""

Noted = Callable[[State], State]
"""Takes note of the state after a step, and returns what to go on with."""


def _gated(gate: Tensor, signal: Tensor) -> Tensor:
    """Multiply; a signal that is an offset, as before the first step, keeps its share."""
    return (gate if signal.requires_grad else gate.detach()) * signal


def _lstm_step(x: Tensor, state: State, weights: Weights) -> State:
    h, c = state
    i, f, g, o = (x + weights.of_hidden(h)).chunk(4, -1)
    c = _gated(torch.sigmoid(f), c) + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return (h if weights.projection is None else functional.linear(h, weights.projection)), c


def _gru_step(x: Tensor, state: State, weights: Weights) -> State:
    (h,) = state
    (x_r, x_z, x_n), (h_r, h_z, h_n) = x.chunk(3, -1), weights.of_hidden(h).chunk(3, -1)
    update = torch.sigmoid(x_z + h_z)
    new = torch.tanh(x_n + _gated(torch.sigmoid(x_r + h_r), h_n))
    return ((1 - update) * new + _gated(update, h),)


def _tanh_step(x: Tensor, state: State, weights: Weights) -> State:
    return (torch.tanh(x + weights.of_hidden(state[0])),)


def _relu_step(x: Tensor, state: State, weights: Weights) -> State:
    return (torch.relu(x + weights.of_hidden(state[0])),)


def _one_way(
    x: Tensor, sizes: Sequence[int], state: State, weights: Weights, step: Step, noted: Noted, *, backward: bool
) -> tuple[Tensor, State]:
    """Run one layer in one direction.

    Args:
        x: The inputs of all steps, one step after the other [sum(sizes), features].
        sizes: How many samples each step has; they never grow.
        state: At the beginning.
        weights: The layer's.
        step: The equations.
        noted: Takes note of the state after each step.
        backward: Whether the last step comes first.

    Returns:
        The hidden states of all steps, laid out as the inputs, and the state of each sample at its end.
    """
    inputs = weights.of_input(x).split(list(sizes))
    outputs: list[Tensor] = [x] * len(sizes)
    # the states of samples that have ended (or, going backward, have not begun)
    aside: list[State] = []
    now = tuple(part[: sizes[-1] if backward else sizes[0]] for part in state)
    for at in reversed(range(len(sizes))) if backward else range(len(sizes)):
        size = sizes[at]
        if backward and size > len(now[0]):
            now = tuple(torch.cat([part, first[len(part) : size]]) for part, first in zip(now, state, strict=True))
        elif size < len(now[0]):
            aside.append(tuple(part[size:] for part in now))
            now = tuple(part[:size] for part in now)
        now = noted(step(inputs[at], now, weights))
        outputs[at] = now[0]
    last = tuple(torch.cat([now[k], *(ended[k] for ended in reversed(aside))]) for k in range(len(now)))
    return torch.cat(outputs), last


def _layers(
    tracer: Tracer,
    x: Tensor,
    sizes: Sequence[int],
    states: State,
    weights: Sequence[Weights],
    step: Step,
    *,
    bidirectional: bool,
) -> tuple[Tensor, State]:
    n_ways = 2 if bidirectional else 1
    ends: list[State] = []
    for first in range(0, len(weights), n_ways):
        outputs: list[Tensor] = []
        for way in range(n_ways):
            at = first + way
            begin = tuple(part[at] for part in states)
            noted = _noted(tracer, f"l{first // n_ways}{'_reverse' if way else ''}")
            found, end = _one_way(x, sizes, begin, weights[at], step, noted, backward=way == 1)
            outputs.append(found)
            ends.append(end)
        x = torch.cat(outputs, -1)
    return x, tuple(torch.stack([end[k] for end in ends]) for k in range(len(states)))


def _weights(flat: Sequence[Tensor], n: int, *, has_biases: bool) -> list[Weights]:
    """Sort the flat list of torch's recurrent functions into layers and directions."""
    size = len(flat) // n
    groups = [list(flat[first : first + size]) for first in range(0, len(flat), size)]
    if has_biases:
        return [Weights(*group) for group in groups]
    return [Weights(*group[:2], projection=group[2] if len(group) > 2 else None) for group in groups]


def _noted(tracer: Tracer, part: str) -> Noted:
    def note(state: State) -> State:
        return tracer.state(state[0], part), *state[1:]

    return note


def _unrolled(step: Step, *, has_cell: bool) -> Handler:
    def as_states(hx: Any) -> State:
        return tuple(hx) if has_cell else (hx,)

    def answer(output: Tensor, states: State) -> tuple[Tensor, ...]:
        return (output, *states)

    def packed(  # noqa: PLR0917 - torch's own arguments
        tracer: Tracer, data: Tensor, batch_sizes: Tensor, hx: Any, params: Any, has_biases: bool, num_layers: int,
        dropout: float, train: bool, bidirectional: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        del dropout, train
        weights = _weights(params, num_layers * (2 if bidirectional else 1), has_biases=has_biases)
        sizes = batch_sizes.tolist()
        return answer(*_layers(tracer, data, sizes, as_states(hx), weights, step, bidirectional=bidirectional))

    def padded(  # noqa: PLR0917
        tracer: Tracer, input: Tensor, hx: Any, params: Any, has_biases: bool, num_layers: int, dropout: float,  # noqa: A002
        train: bool, bidirectional: bool, batch_first: bool,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        x = input.transpose(0, 1) if batch_first else input
        sizes = torch.full((len(x),), x.shape[1])
        output, *states = packed(
            tracer, x.flatten(0, 1), sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional
        )
        output = output.unflatten(0, (len(x), -1))
        return answer(output.transpose(0, 1) if batch_first else output, tuple(states))

    def run(tracer: Tracer, operation: Operation) -> Any:
        # packed sequences come with the number of samples of each step
        is_packed = isinstance(operation.args[3], list | tuple)
        with tracer.inside():
            return (packed if is_packed else padded)(tracer, *operation.args, **operation.kwargs)

    return run


def _cell(step: Step, *, has_cell: bool) -> Handler:
    def run(tracer: Tracer, operation: Operation) -> Any:
        def cell(x: Tensor, hx: Any, *weights: Any) -> Any:
            found = Weights(*weights)
            states = _noted(tracer, "")(step(found.of_input(x), tuple(hx) if has_cell else (hx,), found))
            return states if has_cell else states[0]

        with tracer.inside():
            return cell(*operation.args, **operation.kwargs)

    return run


STEPS: dict[str, tuple[Step, bool]] = {
    "lstm": (_lstm_step, True),
    "gru": (_gru_step, False),
    "rnn_tanh": (_tanh_step, False),
    "rnn_relu": (_relu_step, False),
}

HANDLERS: dict[str, Handler] = {
    **{name: _unrolled(step, has_cell=has_cell) for name, (step, has_cell) in STEPS.items()},
    **{f"{name}_cell": _cell(step, has_cell=has_cell) for name, (step, has_cell) in STEPS.items()},
}
"""Recurrent layers and their cells by the name of their function."""
