"""Selection of the layers whose units are watched: activations, recurrent layers, attention heads, feeding layers."""

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, cast

from torch import Tensor, nn

from lightning_explain.capture import CallUse, Layer, select_layers
from lightning_explain.capture.watched_layers import ACTIVATIONS, PRODUCERS
from lightning_explain.errors import ConfigurationError
from lightning_explain.neurons.forward_trace import ForwardTrace
from lightning_explain.neurons.functional import FunctionalUse
from lightning_explain.neurons.views import AttentionHeads, HeadsBeforeProjection, HiddenUnits, TokenFeatures

RECURRENT = (nn.LSTM, nn.GRU, nn.RNN)
NEVER_NEGATIVE = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Hardsigmoid, nn.Softplus)
N_HEADS = ("num_heads", "n_heads", "n_head", "num_attention_heads", "heads", "nhead")
PROJECTIONS = ("proj", "out_proj", "c_proj", "o_proj", "to_out", "out", "wo", "out_lin", "dense", "o")


def never_negative(layer: Layer) -> bool:
    """Return True if the counted values of a layer cannot be negative."""
    return isinstance(layer.module, NEVER_NEGATIVE) and layer.view is None and layer.then is None and not layer.fed


def _n_heads(module: nn.Module) -> int:
    """Return the number of heads that a custom attention module declares; 0 for other modules."""
    if isinstance(module, nn.MultiheadAttention | nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
        return 0
    is_attention = "attention" in type(module).__name__.lower() or "attn" in type(module).__name__.lower()
    if not is_attention:
        return 0
    counts = [vars(module)[name] for name in N_HEADS if name in vars(module)]
    if not counts and any(name in vars(module)["_modules"] for name in PROJECTIONS):
        # some of transformers' leave it to the configuration
        counts = [getattr(vars(module).get("config"), "num_attention_heads", 0)]
    return counts[0] if counts and isinstance(counts[0], int) else 0


def _n_read(module: nn.Module | None) -> int:
    """Return the number of features that a linear layer reads, also one of transformers' `Conv1D`; 0 for others."""
    if isinstance(module, nn.Linear):
        return module.in_features
    weight = None if module is None else vars(module)["_parameters"].get("weight")
    return weight.shape[0] if weight is not None and type(module).__name__ == "Conv1D" and weight.ndim == 2 else 0


def _projection(name: str, modules: Mapping[str, nn.Module], n_heads: int) -> nn.Module | None:
    """Find the layer, in an attention module or the `output` beside it, that reads its concatenated heads."""
    beside = name.rpartition(".")[0]
    places = [f"{name}.{projection}" for projection in PROJECTIONS]
    # as BERT and what came of it have it in transformers: attention.self and attention.output.dense
    places += [f"{beside}.output.dense"] if beside else []
    for place in places:
        child = modules.get(place)
        # some keep a dropout beside it
        child = child[0] if isinstance(child, nn.Sequential) and len(child) else child
        n_read = _n_read(child)
        if n_read and n_read % n_heads == 0:
            return child
    return None


def unobservable_attention(model: nn.Module) -> list[str]:
    """Name modules that look like attention, but whose heads cannot be observed."""
    modules = dict(model.named_modules())
    found = {name: _n_heads(module) for name, module in modules.items()}
    return [name for name, n in found.items() if n and _projection(name, modules, n) is None]


def _enclosing(name: str, modules: Mapping[str, nn.Module], kinds: tuple[type[nn.Module], ...]) -> nn.Module | None:
    """Return the innermost module of some type that contains a named one."""
    parts = name.split(".")[:-1]
    for length in range(len(parts), 0, -1):
        module = modules[".".join(parts[:length])]
        if isinstance(module, kinds):
            return module
    return None


def _with_view(layer: Layer, modules: Mapping[str, nn.Module]) -> Layer:
    """Give a layer the view that its type of module needs."""
    module: Any = layer.module
    if isinstance(module, nn.TransformerEncoderLayer):
        return replace(layer, view=TokenFeatures(module.self_attn.batch_first), host=module, unit_dim=-1)
    host = _enclosing(layer.name, modules, (nn.TransformerEncoderLayer,))
    if isinstance(module, RECURRENT):
        return replace(layer, view=HiddenUnits(module.batch_first), unit_dim=-1)
    if isinstance(module, nn.MultiheadAttention):
        return replace(layer, view=AttentionHeads(module), host=host, unit_dim=-1)
    n_heads = _n_heads(module)
    projection = _projection(layer.name, modules, n_heads) if n_heads else None
    if projection is not None:
        return replace(layer, module=projection, view=HeadsBeforeProjection(n_heads), unit_dim=-1)
    block = _enclosing(layer.name, modules, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer))
    if block is not None:
        batch_first = cast(Any, block).self_attn.batch_first
        then = functional_of(block) if layer.name.endswith(".linear1") else None
        return replace(layer, view=TokenFeatures(batch_first), host=host, unit_dim=-1, then=then)
    return layer


def functional_of(block: nn.Module) -> Any:
    """Return the function that follows `linear1` in a transformer layer; None if it is a module."""
    activation = vars(block).get("activation")
    return activation if callable(activation) else None


def _default(modules: Mapping[str, nn.Module]) -> list[str]:
    blocks = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
    fed = {f"{name}.linear1" for name, block in modules.items() if isinstance(block, blocks) and functional_of(block)}
    kinds = (*ACTIVATIONS, *RECURRENT, nn.MultiheadAttention)
    return [
        name
        for name, module in modules.items()
        if isinstance(module, kinds)
        or name in fed
        or ((n_heads := _n_heads(module)) and _projection(name, modules, n_heads) is not None)
    ]


def unit_layers(model: nn.Module, layers: str | Sequence[str] | None = None) -> list[Layer]:
    """Resolve names and globs to layers whose units can be counted, in the model's own order.

    Recurrent layers give their hidden units, attention modules their heads, layers inside transformer layers their
    features token by token, without padding. In a transformer layer with a functional activation, `linear1` stands
    for that activation.

    Args:
        model: The model to watch.
        layers: A name or glob, several of them, or None for activation modules, recurrent layers, attention modules
            and what feeds the functional activation of a transformer layer; for a model with none of these, the
            linear, convolution and normalisation layers but the last.

    Raises:
        ConfigurationError: A glob matches nothing, or the model has nothing to watch.

    Example:
        >>> net = nn.Sequential(nn.LSTM(3, 4), nn.TransformerEncoderLayer(4, 2, 8))
        >>> [layer.name for layer in unit_layers(net)]
        ['0', '1.self_attn', '1.linear1']
    """
    modules = {name: module for name, module in model.named_modules() if name}
    if layers is not None:
        # a layer requested by name is counted itself, not the result of a function
        return [replace(_with_view(layer, modules), then=None) for layer in select_layers(model, layers)]
    # names are taken as they are, not as globs; None lets select_layers choose, or say that there is nothing to watch
    names = [name.replace("[", "[[]") for name in _default(modules)] or None
    return [_with_view(layer, modules) for layer in select_layers(model, names)]


def with_functional(model: nn.Module, layers: Sequence[Layer], use: FunctionalUse) -> list[Layer]:
    """Add custom activations and the layers that feed functional ones to the layers watched by default.

    Where the model has no activation module at all, so that the choice was a guess, they take its place.

    Args:
        model: The model.
        layers: As `unit_layers` chose them by default.
        use: Where the model applies functions.
    """
    modules = {name: module for name, module in model.named_modules() if name}
    guessed = all(isinstance(layer.module, PRODUCERS) and layer.view is None for layer in layers)
    wanted = [*use.fed, *use.wrapped]
    kept = {} if guessed and wanted else {layer.name: layer for layer in layers}
    missing = [name.replace("[", "[[]") for name in wanted if name not in kept]
    found = [_with_view(layer, modules) for layer in select_layers(model, missing)] if missing else []
    added = {layer.name: replace(layer, fed=layer.name in use.fed) for layer in found}
    return [layer for name in modules for layer in (kept | added).values() if layer.name == name]


def described(
    layers: Sequence[Layer],
    trace: ForwardTrace,
    use: FunctionalUse,
    unit_dims: Mapping[str, int] = MappingProxyType({}),
) -> list[Layer]:
    """Add to each layer the facts that a traced pass showed of its calls: unit dimension, next function, padding.

    Args:
        layers: Watched layers.
        trace: The pass.
        use: Functional activations in it.
        unit_dims: Names or globs of layers -> the dimension that counts units there, whatever was seen.
    """
    requested = {
        layer.name: dim for layer in layers for glob, dim in unit_dims.items() if fnmatch.fnmatchcase(layer.name, glob)
    }
    return [
        _described(layer, trace, use.fed.get(layer.name, {}) if layer.fed else {}, requested.get(layer.name))
        for layer in layers
    ]


def check_unit_dims(unit_dims: Mapping[str, int], layers: Sequence[Layer]) -> None:
    """Refuse names that match no watched layer.

    Raises:
        ConfigurationError: A name or glob matches none.
    """
    names = [layer.name for layer in layers]
    for glob in unit_dims:
        if not any(fnmatch.fnmatchcase(name, glob) for name in names):
            raise ConfigurationError(
                f"unit_dims={dict(unit_dims)!r}: {glob!r} matches no watched layer. Watched are: {', '.join(names)}. "
                "Use their names or a glob."
            )


def _described(
    layer: Layer, trace: ForwardTrace, functions: Mapping[int, Callable[[Tensor], Tensor]], unit_dim: int | None
) -> Layer:
    if layer.host is not None or isinstance(layer.view, AttentionHeads):
        # these know all of it themselves, but for the order of the samples
        took = [
            CallUse(None if call.took is None else trace.roles(call.took)) for call in trace.calls.get(layer.module, ())
        ]
        uses = [use if use.is_reordered else CallUse() for use in took]
        return replace(layer, calls=tuple(uses) if any(use.is_reordered for use in uses) else ())
    heads = isinstance(layer.view, HeadsBeforeProjection)
    calls: list[CallUse] = []
    for number, call in enumerate(trace.calls.get(layer.module, ())):
        dims = call.took if heads else call.gave
        if call.countable or layer.view is not None:
            then = functions.get(number, layer.then)
            counted = not layer.fed or then is not None
            layout = None if dims is None else trace.roles(dims, unit_dim)
            calls.append(CallUse(layout, then, counted, None if dims is None else trace.mask_of(dims)))
    return replace(layer, calls=tuple(calls), unit_dim=layer.unit_dim if unit_dim is None else unit_dim)
