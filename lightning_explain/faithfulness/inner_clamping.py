"""Attention heads and units of recurrent layers held at fixed values: both work on inside their module."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from lightning_explain.capture import Call, Layer
from lightning_explain.capture.outside import forget_keyword_hook
from lightning_explain.faithfulness.clamping import Clamp, MeantCall, is_part_of_output
from lightning_explain.neurons.views import AttentionHeads, HeadsBeforeProjection, HiddenUnits

RECURRENT: tuple[type[nn.RNNBase], ...] = (nn.LSTM, nn.GRU, nn.RNN)


def can_clamp(layer: Layer) -> bool:
    """Return True if one unit of a layer can be set alone."""
    if is_part_of_output(layer):
        return True
    if layer.left_alone:
        return False  # a hook on the module would have it compiled
    if isinstance(layer.view, HiddenUnits):
        return any(type(layer.module).forward is kind.forward for kind in RECURRENT)
    return isinstance(layer.view, AttentionHeads | HeadsBeforeProjection)


def shares_a_pass(layer: Layer) -> bool:
    """Return False if the units of a layer must be set one by one, in passes of their own."""
    return not isinstance(layer.view, HiddenUnits)


def with_held_state(module: nn.RNNBase, unit: int, value: float) -> nn.RNNBase:
    """Return a recurrent layer in which one hidden unit of the last layer counts as a constant at each step.

    What the unit passes on to the next step, its column of the recurrent weights times its value, becomes a part of the
    recurrent bias. The unit itself still comes out as it is computed.

    Args:
        module: The layer.
        unit: Which of the features of its output.
        value: The constant.
    """
    kind: Any = next(kind for kind in RECURRENT if isinstance(module, kind))
    options: dict[str, Any] = {"bias": True, "batch_first": module.batch_first, "bidirectional": module.bidirectional}
    if kind is nn.LSTM:
        options["proj_size"] = module.proj_size
    if kind is nn.RNN:
        options["nonlinearity"] = vars(module)["nonlinearity"]
    given = module.weight_ih_l0
    # initial values would be drawn at random
    made: Any = kind(
        module.input_size, module.hidden_size, module.num_layers, device="meta", dtype=given.dtype, **options
    )
    held: Any = made.to_empty(device=given.device)
    size = module.proj_size or module.hidden_size
    last = f"l{module.num_layers - 1}" + ("_reverse" if unit >= size else "")
    with torch.no_grad():
        for name, parameter in held.named_parameters():
            own: Tensor | None = getattr(module, name, None)
            parameter.zero_() if own is None else parameter.copy_(own)
        column = getattr(held, f"weight_hh_{last}")[:, unit % size]
        getattr(held, f"bias_hh_{last}").add_(column * value)
        column.zero_()
    return held.train(module.training)


@dataclass
class InnerClamp:
    """Sets units inside a layer's call, and records that it did.

    Attributes:
        happened: True once the units were set.
    """

    layer: Layer
    clamps: Sequence[Clamp]
    call: MeantCall
    happened: bool = False

    def before_projection(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        """Exchange heads in the input of the output projection."""
        del module
        view: Any = self.layer.view
        found = view.vectors(Call(args, kwargs, None)) if self.call.is_now() else None
        if found is None:
            return None
        heads = found[0].clone()
        for clamp in self.clamps:
            heads[clamp.rows, :, clamp.unit] = _as(clamp.value, heads)
        self.happened = True
        return (heads.flatten(-2), *args[1:]), kwargs

    def after_attention(self, module: nn.MultiheadAttention, args: Any, kwargs: Any, output: Any) -> Any:
        """Exchange heads in the output of an attention, whose projection is linear."""
        view: Any = self.layer.view
        found = view.vectors(Call(args, kwargs, output)) if self.call.is_now() else None
        if found is None:
            return None
        given = output[0] if module.batch_first else output[0].transpose(0, 1)
        changed = given.clone()
        heads = found[0]
        weights = module.out_proj.weight.unflatten(1, (heads.shape[2], -1))
        for clamp in self.clamps:
            moved = _as(clamp.value, heads) - heads[clamp.rows, :, clamp.unit]
            changed[clamp.rows] += moved @ weights[:, clamp.unit].T
        self.happened = True
        return (changed if module.batch_first else changed.transpose(0, 1), *output[1:])

    def after_recurrence(self, module: nn.RNNBase, args: Any, kwargs: Any, output: Any) -> Any:
        """Run the layer again with a unit of its state held."""
        del output
        if not self.call.is_now() or len(self.clamps) != 1:
            return None
        unit, value = self.clamps[0].unit, float(self.clamps[0].value)
        sequence, state = with_held_state(module, unit, value)(*args, **kwargs)
        (sequence.data if isinstance(sequence, PackedSequence) else sequence)[..., unit] = value
        hidden: Tensor = state[0] if isinstance(state, tuple) else state
        size, n_directions = hidden.shape[-1], 2 if module.bidirectional else 1
        hidden[unit // size - n_directions, ..., unit % size] = value
        self.happened = True
        return sequence, state


def _as(value: float | Tensor, like: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=like.dtype, device=like.device)


@contextmanager
def held_inside(layer: Layer, key: str, clamps: Sequence[Clamp]) -> Generator[InnerClamp, None, None]:
    """Hold heads of an attention, or a unit of a recurrent layer, in the forward pass made inside.

    A head is held in what the output projection is given; a recurrent unit at every step, in all rows.

    Args:
        layer: A layer that `can_clamp` allows.
        key: The call: `name`, `name#1`, ...
        clamps: The units and their values; of recurrent layers one.

    Yields:
        An object whose `happened` is True once the units were set.
    """
    clamp = InnerClamp(layer, clamps, MeantCall(layer, key))
    module: Any = layer.module
    if isinstance(layer.view, HeadsBeforeProjection):
        handle = module.register_forward_pre_hook(clamp.before_projection, with_kwargs=True)
    else:
        after = clamp.after_attention if isinstance(layer.view, AttentionHeads) else clamp.after_recurrence
        handle = module.register_forward_hook(after, with_kwargs=True)
    try:
        yield clamp
    finally:
        handle.remove()
        forget_keyword_hook(handle)
