"""Products and quotients: with constants layers or scalings; for those of several activations `gates` has the rule."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from lightning_explain.attribution.lrp.maps import Contraction, Dense
from lightning_explain.attribution.lrp.operations.activations import activation
from lightning_explain.attribution.lrp.operations.gates import Rank, shares_of_factors
from lightning_explain.attribution.lrp.operations.handler import Handler, Operation, Tracer
from lightning_explain.attribution.lrp.steps import shared

Shares = dict[int, float]
"""Share of each factor that is none with all of the relevance, by the identity of its tensor."""


def _with_shares(value: Any, shares: Shares) -> Any:
    if isinstance(value, Tensor):
        return shared(value, shares[id(value)]) if id(value) in shares else value
    if isinstance(value, list | tuple):
        return type(value)(_with_shares(part, shares) for part in cast("Sequence[Any]", value))
    if isinstance(value, dict):
        return {key: _with_shares(part, shares) for key, part in cast("dict[str, Any]", value).items()}
    return value


def product(tracer: Tracer, operation: Operation, factors: Sequence[Any], *, is_contraction: bool) -> Any:
    """Run a function that is linear in each of its factors, of which each gets its share of the relevance."""
    explained = [factor for factor in factors if tracer.depends(factor)]
    ranks = [tracer.rank(factor) for factor in explained]
    shares: Shares = {}
    if len(explained) > 1:
        for factor, share in zip(
            explained, shares_of_factors(ranks, tracer.choices, is_contraction=is_contraction), strict=True
        ):
            shares[id(factor)] = share
    with tracer.trusted():
        args, kwargs = _with_shares(operation.args, shares), _with_shares(operation.kwargs, shares)
        result = operation.function(*args, **kwargs)
    if is_contraction and Rank.WEIGHTS in ranks and isinstance(result, Tensor):
        result = tracer.heads(result)
    signals = [rank for factor, rank in zip(explained, ranks, strict=True) if shares.get(id(factor), 1.0) > 0]
    tracer.note_rank(result, min(signals, default=Rank.SIGNAL))
    return result


def _mul(tracer: Tracer, operation: Operation) -> Any:
    return product(tracer, operation, operation.tensors(), is_contraction=False)


def _div(tracer: Tracer, operation: Operation) -> Any:
    dividend, divisor = cast("tuple[Any, Any]", (*operation.args, operation.kwargs.get("other"))[:2])
    if not tracer.depends(divisor):
        return product(tracer, operation, operation.tensors(), is_contraction=False)
    if not tracer.depends(dividend):
        # one over something
        return activation(Rank.STATISTIC)(tracer, operation)
    with tracer.trusted():
        result = operation.function(dividend, divisor.detach(), *operation.args[2:])
    tracer.note_rank(result, tracer.rank(dividend))
    return result


def _by_constant(
    tracer: Tracer,
    left: Tensor,
    right: Tensor,
    function: Callable[[Tensor, Tensor], Tensor],
    equation_back: str | None = None,
) -> Tensor:
    """Multiply by a constant from either side, by the rule that the composite has for linear layers."""
    back = None if equation_back is None else partial(torch.einsum, equation_back)
    if tracer.depends(left):
        read, layer = left, Contraction(right.detach(), function, back=back)
    else:
        read, layer = right, Contraction(left.detach(), lambda a, weight: function(weight, a), back=back)
    return tracer.layer(read, layer, nn.Linear, [left, right])


def _matmul(tracer: Tracer, operation: Operation) -> Any:
    left, right = (*operation.args, *operation.kwargs.values())[:2]
    if tracer.depends(left) and tracer.depends(right):
        return product(tracer, operation, (left, right), is_contraction=True)
    if tracer.depends(left) and right.ndim == 2:
        layer = Dense(right.detach().mT, None)
        return tracer.layer(left, layer, nn.Linear, [right])
    return _by_constant(tracer, left, right, torch.matmul)


def transposed_equation(equation: str, operands: Sequence[Tensor], *, is_first: bool) -> str | None:
    """Return the equation that takes what comes back and the constant to the operand that is explained.

    None where it is not that simple: with an ellipsis, an index that is repeated or summed over in one operand alone,
    or a size of 1 that stands for others.

    Example:
        >>> transposed_equation("ij,kj->ki", [torch.ones(2, 3), torch.ones(4, 3)], is_first=True)
        'ki,kj->ij'
    """
    parts, arrow, after = equation.replace(" ", "").partition("->")
    terms = parts.split(",")
    if not arrow or "." in equation or len(terms) != 2:
        return None
    sizes: dict[str, set[int]] = {}
    for term, operand in zip(terms, operands, strict=True):
        for index, size in zip(term, operand.shape, strict=True):
            sizes.setdefault(index, set()).add(size)
    read, constant = terms if is_first else terms[::-1]
    is_plain = all(len(set(term)) == len(term) for term in (*terms, after)) and all(len(n) == 1 for n in sizes.values())
    return f"{after},{constant}->{read}" if is_plain and set(read) <= set(after + constant) else None


def _einsum(tracer: Tracer, operation: Operation) -> Any:
    operands = operation.tensors()
    explained = [operand for operand in operands if tracer.depends(operand)]
    equation = operation.args[0]
    if len(operands) == 2 and len(explained) == 1 and isinstance(equation, str):
        back = transposed_equation(equation, operands, is_first=tracer.depends(operands[0]))
        return _by_constant(tracer, operands[0], operands[1], partial(torch.einsum, equation), back)
    return product(tracer, operation, operands, is_contraction=True)


def _contraction(tracer: Tracer, operation: Operation) -> Any:
    return product(tracer, operation, operation.tensors(), is_contraction=True)


def _sum_and_product(tracer: Tracer, operation: Operation) -> Any:
    """Take apart `beta * input + alpha * (one @ two)`."""

    def run(
        input: Tensor,  # noqa: A002 - torch's own argument name
        one: Tensor,
        two: Tensor,
        *,
        beta: float = 1,
        alpha: float = 1,
    ) -> Tensor:
        if alpha == beta == 1 and input.ndim == 1 and two.ndim == 2 and not any(map(tracer.depends, (input, two))):
            return tracer.layer(one, Dense(two.detach().mT, input.detach()), nn.Linear, [two])
        with tracer.inside():
            found = one @ two
            found = found.sum(0) if operation.name == "addbmm" else found
            found = found if alpha == 1 else alpha * found
            # with 0 torch does not even read the summand
            return found if beta == 0 else found + (input if beta == 1 else beta * input)

    names = {"mat1": "one", "batch1": "one", "mat": "one", "mat2": "two", "batch2": "two", "vec": "two"}
    return run(*operation.args, **{names.get(key, key): value for key, value in operation.kwargs.items()})


def _addcmul(tracer: Tracer, operation: Operation) -> Any:
    def run(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:  # noqa: A002
        with tracer.inside():
            both = tensor1 / tensor2 if operation.name == "addcdiv" else tensor1 * tensor2
            return input + (both if value == 1 else value * both)

    return run(*operation.args, **operation.kwargs)


def _glu(tracer: Tracer, operation: Operation) -> Any:
    def run(input: Tensor, dim: int = -1) -> Tensor:  # noqa: A002
        with tracer.inside():
            signal, gate = input.chunk(2, dim)
            return signal * torch.sigmoid(gate)

    return run(*operation.args, **operation.kwargs)


def _lerp(tracer: Tracer, operation: Operation) -> Any:
    def run(input: Tensor, end: Tensor, weight: Any) -> Tensor:  # noqa: A002
        with tracer.inside():
            return input + weight * (end - input)

    return run(*operation.args, **operation.kwargs)


def _cosine_similarity(tracer: Tracer, operation: Operation) -> Any:
    """Take apart a comparison by angle: both are normalised, and their products summed."""

    def run(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
        with tracer.inside():
            left, right = (x / x.norm(dim=dim, keepdim=True).clamp_min(eps) for x in (x1, x2))
            return (left * right).sum(dim)

    return run(*operation.args, **operation.kwargs)


def _grid_sample(tracer: Tracer, operation: Operation) -> Any:
    """Read an image at places; where these are computed, they count as constants."""
    image, grid, *others = operation.args
    with tracer.trusted():
        return operation.function(image, grid.detach(), *others, **operation.kwargs)


HANDLERS: dict[str, Handler] = {
    "mul": _mul,
    "div": _div,
    "addcmul": _addcmul,
    "addcdiv": _addcmul,
    "lerp": _lerp,
    "glu": _glu,
    "einsum": _einsum,
    "cosine_similarity": _cosine_similarity,
    "grid_sample": _grid_sample,
    "grid_sampler": _grid_sample,
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "rmatmul"), _matmul),
    **dict.fromkeys(
        ("tensordot", "dot", "inner", "outer", "vdot", "kron", "bilinear", "grouped_mm", "_grouped_mm"), _contraction
    ),
    **dict.fromkeys(("addmm", "baddbmm", "addmv", "addbmm"), _sum_and_product),
}
"""Products by the name of their function."""
