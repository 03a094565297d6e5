"""Grad-CAM: which places of the last feature map speak for the target."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.attribution.contrast import Contrast, check_contrast, with_contrast_option
from lightning_explain.attribution.grad_cam.feature_map import FeatureMap, channels_at, find_feature_map
from lightning_explain.attribution.grad_cam.layer_output import LayerOutput
from lightning_explain.attribution.grad_cam.tensor_axes import reads_channels_last
from lightning_explain.attribution.result import Attribution, Forward, Target
from lightning_explain.attribution.scores import attached_score, check_finite, prepared
from lightning_explain.batches import Inputs
from lightning_explain.capture import Layer, select_layers, watched
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import explaining
from lightning_explain.options.value_types import BY_NAME, check_fields


@dataclass(frozen=True)
class GradCAM:
    """Channels of a feature map, weighted by their mean gradient, summed, rectified and enlarged to the input.

    Values have one channel, [batch, 1, height, width]: the map does not tell colour channels apart. They are
    never negative and their sum promises nothing. An image in which nothing speaks for the target is all 0.

    Which dimension of the layer's output counts channels, and which the places, is read off the operations that made
    it: maps [batch, channels, h, w] and [batch, h, w, channels] are told apart by the convolutions, permutations and
    linear layers before them, never by their sizes. Tokens [batch, tokens, channels] of a vision transformer are put
    back where their patches were; a class token or registers among them are left out.

    Source: Selvaraju et al. (2017), Grad-CAM, Eq. 1 (weights) and Eq. 2 (rectified sum).

    Args:
        layer: Name of the layer whose output is used (`name#1` for the second call of a module that runs several
            times; without it, the last), as the layer gave it: what is written into it afterwards does not count. None:
            the last layer in running order that gives a map larger than 1 x 1 on which the score depends, in convnets
            the one before global pooling or flattening; in a vision transformer the last norm at which the score
            depends on the patches, which is the one before the last attention where a class token is classified, and
            without norms the last such tokens.
        channel_dim: Dimension of the layer's output [batch, ...] with four dimensions that counts channels, 1 or -1,
            where the operations before it do not tell. None: they do.
        contrast: Class whose score is subtracted from that of the explained one: an index, one for each sample
            (LongTensor [batch]), `"strongest"` for the other class with the highest score, or (in monitors) a name;
            None for the score of the explained class alone.

    Cost: one forward and one backward pass, the latter only down to the layer; a second forward pass where something
    writes into the layer's output afterwards.

    Raises:
        ConfigurationError: `channel_dim` is neither None, 1, 3 nor -1.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        >>> GradCAM()(net, torch.rand(5, 3, 16, 16), target=1).values.shape
        torch.Size([5, 1, 16, 16])
    """

    baseline = None
    is_samplewise = True
    n_passes = 1
    accepts_integers = False
    needs_module = True

    layer: str | None = None
    channel_dim: int | None = None
    contrast: Contrast | None = None

    def __post_init__(self) -> None:
        check_contrast(self.contrast)
        check_fields(self, GradCAM, {"layer": BY_NAME})
        if self.channel_dim not in (None, 1, 3, -1):
            raise ConfigurationError(
                f"channel_dim={self.channel_dim}; expected 1 for [batch, channels, h, w], -1 for [batch, h, w, "
                "channels], or None to have it found."
            )

    @with_contrast_option
    def __call__(self, model: Forward, inputs: Inputs, target: Target = None) -> Attribution:
        """Explain `target` of `model` at the images `inputs` [batch, channels, height, width].

        Raises:
            ConfigurationError: The model is no `nn.Module`, the inputs are no images, the layer does not exist or
                gives no map, nothing indicates which of its dimensions counts channels, or no layer gives a map.
            ExplanationError: NaN or infinite values, or an output that does not depend on the inputs.
        """
        if not isinstance(model, nn.Module):
            raise ConfigurationError(
                f"GradCAM got a {type(model).__name__}; it needs an nn.Module, to find the layer's feature map."
            )
        with explaining(model):
            parts, indices = prepared(inputs, target)
            image = _single_image(parts).requires_grad_()
            seen, score = self._run(model, image, indices, copied=())
            if reads_channels_last(score, image):
                raise ConfigurationError(
                    f"A convolution of the model takes rows or columns of the inputs {list(image.shape)} for channels; "
                    "GradCAM expects images [batch, channels, height, width]. Give the model such images, and permute "
                    "them before they are given to it, or use IntegratedGradients."
                )
            key, feature_map, gradient = self._last_in_use(seen, score, image)
            if seen[key].is_overwritten:
                # what it was is found by running the model again with a copy
                values = self._run(model, image, indices, copied=(key,))[0][key].values
            else:
                values = seen[key].values
            values = _class_map(feature_map.of(values), feature_map.of(gradient), size=image.shape[2:])
            check_finite((values,), score.detach(), (image,))
        return Attribution(
            values=values,
            convergence_delta=None,
            error=None,
            target=indices,
            baseline=None,
            n_evaluations=torch.ones(len(image), dtype=torch.long),
        )

    def _run(
        self, model: nn.Module, image: Tensor, indices: Tensor | None, *, copied: tuple[str, ...]
    ) -> tuple[dict[str, LayerOutput], Tensor]:
        """Run the model: the outputs of the layers that may be used, in running order, and the score [batch]."""
        layers = select_layers(model, "*" if self.layer is None else self.layer.partition("#")[0])

        def tap(output: Tensor, layer: Layer, key: str) -> LayerOutput:
            return LayerOutput.of(output, layer.module, copied=key in copied)

        with watched(layers, reduce=tap, differentiable=True) as recorder:
            recorder.start()
            # a copy: a model that writes into what it is given cannot write into a leaf
            score = attached_score(model, (image.clone(),), indices)
            seen = recorder.stop()
        # a glob stays a glob; `name#1` asks for one call of one module
        wanted = self.layer is None or "#" not in self.layer
        return (seen if wanted else {key: seen[key] for key in seen if key == self.layer}), score

    def _last_in_use(
        self, seen: Mapping[str, LayerOutput], score: Tensor, image: Tensor
    ) -> tuple[str, FeatureMap, Tensor]:
        """Find the last map on which the score depends (an auxiliary head may run later), and its gradient."""
        shaped = [key for key, output in seen.items() if output.may_be_map(len(image))]
        unclear: list[str] = []
        unused, tokens = False, None
        for key in reversed(shaped):
            found = self._feature_map(seen[key], image)
            if found is None:
                unclear.append(key)
                continue
            if found.n_places < 2 or (tokens is not None and found.grid is not None and not seen[key].is_norm):
                continue
            gradient = seen[key].gradient(score)
            if gradient is None or found.is_bypassed(gradient):
                unused = True
            elif found.grid is None or self.layer is not None or seen[key].is_norm:
                # a map before the tokens that the score depends on is not the last one
                return tokens if tokens is not None and found.grid is None else (key, found, gradient)
            else:
                tokens = key, found, gradient
        if tokens is not None:
            return tokens
        raise self._refusal(seen, unclear, n_samples=len(image), unused=unused)

    def _feature_map(self, output: LayerOutput, image: Tensor) -> FeatureMap | None:
        if self.channel_dim is not None and output.values.ndim == 4:
            return channels_at(self.channel_dim, output.values.shape)
        return find_feature_map(output.axes(image))

    def _refusal(
        self, seen: Mapping[str, LayerOutput], unclear: list[str], *, n_samples: int, unused: bool
    ) -> ConfigurationError:
        if unused:
            return ConfigurationError(
                "The explained score depends on none of the feature maps found (behind the last attention of a vision "
                "transformer it depends on the class token alone). Name a layer on the way from the input to the score "
                "with GradCAM(layer=...)."
            )
        named = {name: list(output.values.shape) for name, output in seen.items()}
        if unclear and (self.layer is not None or any(len(named[key]) == 4 for key in unclear)):
            told = ", ".join(f"{name!r} {named[name]}" for name in unclear[:8])
            return ConfigurationError(
                f"No operation behind the output of {told} tells which of its dimensions counts channels and which the "
                "places of a feature map. Name another layer with GradCAM(layer=...): one that gives [batch, channels, "
                "h, w], [batch, h, w, channels], or the tokens of patches; or say where channels are in one with four "
                "dimensions with channel_dim=1 or channel_dim=-1. IntegratedGradients needs no such layer."
            )
        shapes = ", ".join(f"{name} {shape}" for name, shape in list(named.items())[-20:])
        which = "No layer gives" if self.layer is None else f"layer={self.layer!r} does not give"
        return ConfigurationError(
            f"{which} a feature map [batch={n_samples}, channels, h, w] larger than 1 x 1, which GradCAM needs. "
            f"Outputs of the layers watched: {shapes or 'none was called'}. Name a convolution or an "
            "activation after one with GradCAM(layer=...), or use IntegratedGradients where there is no such layer."
        )


def _single_image(parts: tuple[Tensor, ...]) -> Tensor:
    if len(parts) != 1 or parts[0].ndim != 4:
        shapes = ", ".join(str(list(part.shape)) for part in parts)
        raise ConfigurationError(
            f"GradCAM got inputs of shape {shapes}; expected one batch of images [batch, channels, height, width]."
        )
    return parts[0]


def _class_map(feature_map: Tensor, gradient: Tensor, *, size: torch.Size) -> Tensor:
    """Weigh, sum, rectify and enlarge: [batch, 1, height, width]."""
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    summed = (weights * feature_map).sum(dim=1, keepdim=True).relu()
    return functional.interpolate(summed, size=list(size), mode="bilinear", align_corners=False)
