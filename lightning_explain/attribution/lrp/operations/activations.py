"""Elementwise activations hand their relevance on, whatever they are."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lightning_explain.attribution.lrp.operations.gates import Rank
from lightning_explain.attribution.lrp.operations.handler import Handler, Operation, Tracer, works_in_place
from lightning_explain.attribution.lrp.steps import PassedActivation


def _passed_on(rank: Rank, tracer: Tracer, operation: Operation) -> Any:
    explained = [tensor for tensor in operation.tensors() if tracer.depends(tensor)]
    if len(explained) != 1:
        # of two activations at once: what the graph shows decides
        return operation.run()
    (z,) = explained

    def compute(read: Tensor) -> Tensor:
        args = tuple(read if part is z else part for part in operation.args)
        kwargs = {key: read if part is z else part for key, part in operation.kwargs.items()}
        return operation.function(*args, **kwargs)

    kept = tracer.kept(z) if works_in_place(operation) else None
    result: Any = PassedActivation.apply(z, compute, RATIOS.get(operation.name), kept)
    # weights without NaN, or sharpened, still are weights
    tracer.note_rank(result, max(rank, tracer.rank(z)))
    return result


def activation(rank: Rank) -> Handler:
    """Return the handler of an activation: relevance passes unchanged.

    Source: Bach et al. (2015); for activations that are not monotonous Achtibat et al. (2024), AttnLRP, section 3.3.1.
    """
    return partial(_passed_on, rank)


def _power(tracer: Tracer, operation: Operation) -> Any:
    exponent = (*operation.args, operation.kwargs.get("exponent"))[1]
    is_inverse = isinstance(exponent, int | float) and exponent < 0
    return activation(Rank.STATISTIC if is_inverse else Rank.ACTIVATED)(tracer, operation)


def _sign(tracer: Tracer, operation: Operation) -> Any:
    """Run a sign, which no factor of a product can get relevance for: the other one, its size, gets all."""
    result = operation.run()
    tracer.note_rank(result, Rank.STATISTIC)
    return result


RATIOS: dict[str, Callable[[Tensor], Tensor]] = {"silu": torch.sigmoid, "hardswish": functional.hardsigmoid}
"""Output over input, where that is a function of its own."""

UNBOUNDED = (
    "silu", "gelu", "mish", "elu", "selu", "celu", "hardswish", "softplus", "softshrink", "hardshrink", "tanhshrink",
    "threshold", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "square", "sinh", "cosh",
    "asinh", "arcsinh", "logit", "tan", "logsigmoid", "log_sigmoid", "nan_to_num", "lgamma", "digamma",
    "special_erfcx", "special_log1p", "special_expm1", "erfinv", "acosh", "atanh", "frac", "clamp_min", "clamp_max",
)  # fmt: skip
BOUNDED = ("tanh", "erf", "softsign", "hardtanh", "relu6", "clamp", "sin", "cos", "sinc", "atan", "asin", "acos")
FROM_0_TO_1 = ("sigmoid", "hardsigmoid", "erfc", "special_ndtr")
INVERSE = ("rsqrt", "reciprocal")

HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(UNBOUNDED, activation(Rank.ACTIVATED)),
    **dict.fromkeys(BOUNDED, activation(Rank.SQUASHED)),
    **dict.fromkeys(FROM_0_TO_1, activation(Rank.GATE)),
    **dict.fromkeys(INVERSE, activation(Rank.STATISTIC)),
    "pow": _power,
    "sign": _sign,
    "sgn": _sign,
}
"""Activations by the name of their function; ReLU and its leaky kin need none: their gradient is output / input."""
