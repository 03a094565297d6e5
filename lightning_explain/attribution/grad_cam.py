"""Grad-CAM: which places of the last feature map speak for the target."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.attribution.result import Attribution, Forward, Target
from lightning_explain.attribution.scores import attached_score, check_finite, prepared
from lightning_explain.batches import Inputs
from lightning_explain.capture import Layer, select_layers, watched
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import explaining


@dataclass(frozen=True)
class GradCAM:
    """Channels of a feature map, weighted by their mean gradient, summed, rectified and enlarged to the input.

    Values have one channel, [batch, 1, height, width]: the map does not tell colour channels apart. They are
    never negative and their sum promises nothing. An image in which nothing speaks for the target is all 0.

    Source: Selvaraju et al. (2017), Grad-CAM, Eq. 1 (weights) and Eq. 2 (rectified sum).

    Args:
        layer: Name of the layer whose output [batch, channels, h, w] is used (`name#1` for the second call of a
            module that runs several times; without it, the last). None: the last layer in running order that gives
            a map larger than 1 x 1 on which the score depends, in convnets the one before global pooling or
            flattening.

    Cost: one forward and one backward pass, the latter only down to the layer.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        >>> GradCAM()(net, torch.rand(5, 3, 16, 16), target=1).values.shape
        torch.Size([5, 1, 16, 16])
    """

    layer: str | None = None

    def __call__(self, model: Forward, inputs: Inputs, target: Target = None) -> Attribution:
        """Explain `target` of `model` at the images `inputs` [batch, channels, height, width].

        Raises:
            ConfigurationError: The model is no `nn.Module`, the inputs are no images, the layer does not exist or
                gives no map, or no layer gives one.
            ExplanationError: NaN or infinite values, or an output that does not depend on the inputs.
        """
        if not isinstance(model, nn.Module):
            raise ConfigurationError(
                f"GradCAM got a {type(model).__name__}; it needs an nn.Module, to find the layer's feature map."
            )
        with explaining(model):
            parts, indices = prepared(inputs, target)
            image = _single_image(parts)
            layers = select_layers(model, "*" if self.layer is None else self.layer.partition("#")[0])
            with watched(layers, differentiable=True) as recorder:
                recorder.start()
                score = attached_score(model, (image.requires_grad_(),), indices)
                maps = self._maps(recorder.stop(), layers, len(image))
            feature_map, gradient = _last_in_use(score, maps)
            values = _class_map(feature_map, gradient, size=image.shape[2:])
            check_finite((values,), score.detach())
        return Attribution(
            values=values,
            convergence_delta=None,
            error=None,
            target=indices,
            baseline=None,
            n_evaluations=torch.ones(len(image), dtype=torch.long),
        )

    def _maps(self, seen: dict[str, Any], layers: list[Layer], n_samples: int) -> list[Tensor]:
        """Keep the feature maps that may be used, in running order."""
        # a glob stays a glob; `name#1` asks for one call of one module
        wanted = seen if self.layer is None or "#" not in self.layer else {k: seen[k] for k in seen if k == self.layer}
        maps = [output for output in wanted.values() if _is_map(output, n_samples)]
        if maps:
            return maps
        shapes = ", ".join(f"{name} {list(output.shape)}" for name, output in list(seen.items())[-20:])
        which = "No layer gives" if self.layer is None else f"layer={self.layer!r} does not give"
        raise ConfigurationError(
            f"{which} a feature map [batch={n_samples}, channels, h, w] larger than 1 x 1, which GradCAM needs. "
            f"Outputs of the {len(layers)} layers watched: {shapes or 'none was called'}. Name a convolution or an "
            "activation after one with GradCAM(layer=...), or use IntegratedGradients where there is no such layer."
        )


def _single_image(parts: tuple[Tensor, ...]) -> Tensor:
    if len(parts) != 1 or parts[0].ndim != 4:
        shapes = ", ".join(str(list(part.shape)) for part in parts)
        raise ConfigurationError(
            f"GradCAM got inputs of shape {shapes}; expected one batch of images [batch, channels, height, width]."
        )
    return parts[0]


def _is_map(output: Tensor, n_samples: int) -> bool:
    return output.ndim == 4 and len(output) == n_samples and output.shape[2:].numel() > 1 and output.requires_grad


def _last_in_use(score: Tensor, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the last map on which the score depends (an auxiliary head may run later), and its gradient."""
    for feature_map in reversed(maps):
        found: list[Tensor | None] = list(
            torch.autograd.grad(score.sum(), feature_map, retain_graph=True, allow_unused=True)
        )
        gradient = found[0]
        if gradient is not None:
            return feature_map.detach(), gradient
    raise ConfigurationError(
        "The explained score depends on none of the feature maps found. Name a layer on the way from the input to "
        "the score with GradCAM(layer=...)."
    )


def _class_map(feature_map: Tensor, gradient: Tensor, *, size: torch.Size) -> Tensor:
    """Weigh, sum, rectify and enlarge: [batch, 1, height, width]."""
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    summed = (weights * feature_map).sum(dim=1, keepdim=True).relu()
    return functional.interpolate(summed, size=list(size), mode="bilinear", align_corners=False)
