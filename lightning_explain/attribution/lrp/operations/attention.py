"""Attention: weighted sums whose weights are the softmax of products of queries and keys.

By `attnlrp` the sum's relevance is halved between weights and values, the softmax hands it on by its first-order
Taylor expansion, `R_i = x_i (R_i - s_i sum_j R_j)`, which is its own gradient times input, and what arrives at the
scores is halved between queries and keys. So the modified gradient is attention's own one, times 1/2 at the values and
1/4 at queries and keys, and fused kernels stay fused. The Taylor expansion does not conserve relevance. By `cp` the
weights are constants, and nothing is lost.

Source: Achtibat et al. (2024), AttnLRP, Prop. 3.1 to 3.3; Ali et al. (2022), XAI for Transformers, section 3.1.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lightning_explain.attribution.lrp.operations.gates import Rank
from lightning_explain.attribution.lrp.operations.handler import Handler, Operation, Tracer
from lightning_explain.attribution.lrp.softmax_losses import (
    Lost,
    lost_by_log_softmax,
    lost_by_logsumexp,
    lost_by_softmax,
)
from lightning_explain.attribution.lrp.steps import shared
from lightning_explain.attribution.sample_places import saved_dims


def _shares(tracer: Tracer, query: Tensor, key: Tensor, value: Tensor, mask: Any) -> tuple[float, float, float, float]:
    """Return the share of its own gradient that each operand gets."""
    weights = [tracer.depends(part) for part in (query, key, mask)]
    is_constant = tracer.choices.attention == "cp"
    of_weights = (0.0 if is_constant else 0.5) if tracer.depends(value) else 1.0
    of_product = of_weights / 2 if weights[0] and weights[1] else of_weights
    return of_product, of_product, 1 - of_weights if any(weights) else 1.0, of_weights


def _is_mask(mask: Any) -> bool:
    """Return True for no mask, or one that only hides: what it adds to scores is nothing, or leaves no weight."""
    if mask is None or mask.dtype == torch.bool:
        return True
    return bool(((mask == 0) | (mask < HIDES)).all())


def _lost_in_attention(  # noqa: PLR0917 - torch's own arguments
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Lost:
    """Return the function from the gradient at an attention's output to the loss of the softmax inside it."""
    del dropout_p
    if enable_gqa:
        key, value = (part.repeat_interleave(query.shape[-3] // part.shape[-3], -3) for part in (key, value))

    def lost(gradient: Tensor) -> Tensor:
        scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            scores.masked_fill_(torch.ones_like(scores, dtype=torch.bool).triu(1), -torch.inf)
        if attn_mask is not None:
            shown = attn_mask.dtype == torch.bool
            scores = scores.masked_fill(~attn_mask, -torch.inf) if shown else scores + attn_mask
        return lost_by_softmax(scores.softmax(-1).nan_to_num_(0.0), gradient @ value.mT, -1)

    return lost


def _note_loss(tracer: Tracer, operation: Operation, marked: Sequence[Tensor], out: Tensor, share: float) -> None:
    """Take note of what the softmax inside a fused attention loses, of which the weights have a share.

    Products of queries and keys are linear in each, so what the scores get is what queries (or keys) times their own
    gradients add up to, unless something else is added to the scores.
    """
    mask = operation.args[3] if len(operation.args) > 3 else operation.kwargs.get("attn_mask")
    products = [part for part in marked if tracer.depends(part)]
    if products and _is_mask(mask):
        (read, *_), value = products, out.detach()
        tracer.expands(out, lambda gradient: share * value * gradient)
        tracer.expands(read, lambda gradient: -share * read.detach() * gradient)
        return
    args: list[Any] = [part.detach() if isinstance(part, Tensor) else part for part in operation.args]
    kwargs: dict[str, Any] = {
        key: part.detach() if isinstance(part, Tensor) else part for key, part in operation.kwargs.items()
    }
    lost = _lost_in_attention(*args, **kwargs)
    tracer.expands(out, lambda gradient: share * lost(gradient))


def scaled_dot_product_attention(tracer: Tracer, operation: Operation) -> Tensor:
    """Run a fused attention, with masks, grouped queries and whatever else torch knows."""

    def run(query: Tensor, key: Tensor, value: Tensor, attn_mask: Any = None, *args: Any, **kwargs: Any) -> Any:
        shares = _shares(tracer, query, key, value, attn_mask)
        with tracer.trusted():
            marked = [shared(part, share, is_marked=True) for part, share in zip((query, key), shares, strict=False)]
            mask = shared(attn_mask, shares[3]) if tracer.depends(attn_mask) else attn_mask
            out = operation.function(*marked, shared(value, shares[2]), mask, *args, **kwargs)
        if shares[3] and any(map(tracer.depends, (query, key, attn_mask))):
            _note_loss(tracer, operation, marked, out, shares[3])
        return out

    return tracer.heads(run(*operation.args, **operation.kwargs))


def _softmax(tracer: Tracer, operation: Operation) -> Tensor:
    """Run a softmax by its own gradient, and remember what it is for the product that may follow."""
    with tracer.trusted():
        result: Tensor = operation.run()
    tracer.note_rank(result, Rank.WEIGHTS)
    tracer.expands(result, partial(lost_by_softmax, result.detach(), dim=_dim_of(result)))
    return result


def _log_softmax(tracer: Tracer, operation: Operation) -> Tensor:
    result: Tensor = operation.run()
    tracer.expands(result, partial(lost_by_log_softmax, result.detach(), dim=_dim_of(result)))
    return result


def _logsumexp(tracer: Tracer, operation: Operation) -> Tensor:
    result: Tensor = operation.run()
    node: Any = result.grad_fn
    dims = saved_dims(node._saved_dim, node._saved_self.ndim)
    with torch.no_grad():
        read, kept = node._saved_self, node._saved_result
        kept = kept if node._saved_keepdim else kept.reshape([1 if d in dims else n for d, n in enumerate(read.shape)])
        entropy = torch.special.entr((read - kept).exp()).sum(tuple(dims)).reshape(result.shape)
    tracer.expands(result, partial(lost_by_logsumexp, entropy))
    return result


def _dim_of(result: Tensor) -> int:
    node: Any = result.grad_fn
    (dim,) = saved_dims(node._saved_dim, result.ndim)
    return dim


HIDES = -1e4
"""Summands of scores from which on nothing is left of a weight, even in 64 bits."""

HANDLERS: dict[str, Handler] = {
    "softmax": _softmax,
    "_safe_softmax": _softmax,
    "log_softmax": _log_softmax,
    "logsumexp": _logsumexp,
    "scaled_dot_product_attention": scaled_dot_product_attention,
}
"""Attention by the name of its function."""
