"""Attention: weighted sums whose weights are the softmax of products of queries and keys.

By `attnlrp` the sum's relevance is halved between weights and values, the softmax hands it on by its first-order
Taylor expansion, `R_i = x_i (R_i - s_i sum_j R_j)`, which is its own gradient times input, and what arrives at the
scores is halved between queries and keys. So the modified gradient is attention's own one, times 1/2 at the values and
1/4 at queries and keys, and fused kernels stay fused. The Taylor expansion does not conserve relevance. By `cp` the
weights are constants, and nothing is lost.

Source: Achtibat et al. (2024), AttnLRP, Prop. 3.1 to 3.3; Ali et al. (2022), XAI for Transformers, section 3.1.
"""

from typing import Any

from torch import Tensor

from lightning_explain.attribution.lrp.operations.gates import Rank
from lightning_explain.attribution.lrp.operations.handler import Handler, Operation, Tracer
from lightning_explain.attribution.lrp.steps import shared


def _shares(tracer: Tracer, query: Tensor, key: Tensor, value: Tensor, mask: Any) -> tuple[float, float, float, float]:
    """Return the share of its own gradient that each operand gets."""
    weights = [tracer.depends(part) for part in (query, key, mask)]
    is_constant = tracer.choices.attention == "cp"
    of_weights = (0.0 if is_constant else 0.5) if tracer.depends(value) else 1.0
    of_product = of_weights / 2 if weights[0] and weights[1] else of_weights
    return of_product, of_product, 1 - of_weights if any(weights) else 1.0, of_weights


def scaled_dot_product_attention(tracer: Tracer, operation: Operation) -> Tensor:
    """Run a fused attention, with masks, grouped queries and whatever else torch knows."""

    def run(query: Tensor, key: Tensor, value: Tensor, attn_mask: Any = None, *args: Any, **kwargs: Any) -> Any:
        shares = _shares(tracer, query, key, value, attn_mask)
        with tracer.trusted():
            query, key, value = (shared(part, share) for part, share in zip((query, key, value), shares, strict=False))
            mask = shared(attn_mask, shares[3]) if tracer.depends(attn_mask) else attn_mask
            return operation.function(query, key, value, mask, *args, **kwargs)

    return tracer.heads(run(*operation.args, **operation.kwargs))


def _softmax(tracer: Tracer, operation: Operation) -> Tensor:
    """Run a softmax by its own gradient, and remember what it is for the product that may follow."""
    with tracer.trusted():
        result: Tensor = operation.run()
    tracer.note_rank(result, Rank.WEIGHTS)
    return result


HANDLERS: dict[str, Handler] = {
    "softmax": _softmax,
    "_safe_softmax": _softmax,
    "scaled_dot_product_attention": scaled_dot_product_attention,
}
"""Attention by the name of its function."""
