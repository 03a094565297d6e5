"""Normalisations: the spread of each sample counts as a constant, so what remains is linear.

Source: Ali et al. (2022), XAI for Transformers, section 3.2 (LayerNorm); Achtibat et al. (2024), AttnLRP, Prop. 3.4.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lightning_explain.attribution.lrp.operations.handler import Handler, Operation, Tracer
from lightning_explain.attribution.lrp.steps import Normalised


def _spread(x: Tensor, dims: tuple[int, ...], eps: float, *, centred: bool) -> Tensor:
    """Return one over the standard deviation, or over the root mean square."""
    x = x if x.dtype == torch.float64 else x.float()
    square = x.var(dims, correction=0, keepdim=True) if centred else x.square().mean(dims, keepdim=True)
    return torch.rsqrt(square + eps)


def _normalised(
    x: Tensor, y: Tensor, scale: Tensor | None, spread: Tensor, grouped: tuple[int, ...], centred: tuple[int, ...]
) -> Tensor:
    found: Any = Normalised.apply(x, lambda: y, None if scale is None else scale.detach(), spread, grouped, centred)
    return found


def _layer_norm(tracer: Tracer, operation: Operation) -> Tensor:
    def run(
        input: Tensor,  # noqa: A002 - torch's own argument names, by which users may call
        normalized_shape: Any,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
        cudnn_enable: bool = True,
    ) -> Tensor:
        del cudnn_enable
        dims = tuple(range(-len(tuple(normalized_shape)), 0))
        with torch.no_grad():
            if torch.is_autocast_enabled(input.device.type):
                y, spread = operation.run(), _spread(input, dims, eps, centred=True)
            else:
                # torch has the spread at hand; the variance once more would take as long as the rest
                y, _, spread = torch.native_layer_norm(input, normalized_shape, weight, bias, eps)
        return _normalised(input, y, weight, spread, tuple(input.shape), dims)

    del tracer
    return run(*operation.args, **operation.kwargs)


def _rms_norm(tracer: Tracer, operation: Operation) -> Tensor:
    def run(
        input: Tensor,  # noqa: A002
        normalized_shape: Any,
        weight: Tensor | None = None,
        eps: float | None = None,
    ) -> Tensor:
        dims = tuple(range(-len(tuple(normalized_shape)), 0))
        with torch.no_grad():
            y = operation.run()
            least = torch.finfo(input.dtype).eps if eps is None else eps
            spread = _spread(input, dims, least, centred=False)
        return _normalised(input, y, weight, spread, tuple(input.shape), ())

    del tracer
    return run(*operation.args, **operation.kwargs)


def _of_groups(x: Tensor, y: Tensor, n_groups: int, weight: Tensor | None, eps: float) -> Tensor:
    grouped = (len(x), n_groups, x.shape[1] // n_groups, *x.shape[2:])
    dims = tuple(range(2, len(grouped)))
    with torch.no_grad():
        spread = _spread(x.reshape(grouped), dims, eps, centred=True)
    scale = None if weight is None else weight.reshape(1, n_groups, -1, *[1] * (x.ndim - 2))
    return _normalised(x, y, scale, spread, grouped, dims)


def _group_norm(tracer: Tracer, operation: Operation) -> Tensor:
    def run(
        input: Tensor,  # noqa: A002
        num_groups: int,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
        cudnn_enabled: bool = True,
    ) -> Tensor:
        del bias, cudnn_enabled
        with torch.no_grad():
            y = operation.run()
        return _of_groups(input, y, num_groups, weight, eps)

    del tracer
    return run(*operation.args, **operation.kwargs)


def _instance_norm(tracer: Tracer, operation: Operation) -> Tensor:
    def run(  # noqa: PLR0917
        input: Tensor,  # noqa: A002
        running_mean: Tensor | None = None,
        running_var: Tensor | None = None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        use_input_stats: bool = True,
        momentum: float = 0.1,
        eps: float = 1e-5,
        cudnn_enabled: bool = True,
    ) -> Tensor:
        del cudnn_enabled, momentum
        if not use_input_stats:
            # with running statistics it is a batch norm, which a layer before it can take over
            with tracer.inside():
                return functional.batch_norm(input, running_mean, running_var, weight, bias, False, 0.0, eps)
        with torch.no_grad():
            y = operation.run()
        return _of_groups(input, y, input.shape[1], weight, eps)

    return run(*operation.args, **operation.kwargs)


HANDLERS: dict[str, Handler] = {
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
}
"""Normalisations by the name of their function."""
