"""Errors made on purpose in the code of gradient methods and Grad-CAM: each is noticed by its check."""

import math

import captum.attr
import torch
from torch import Tensor, nn

from lightning_explain.attribution import (
    AtEmbedding,
    GradCAM,
    InputXGradient,
    Saliency,
    SmoothGrad,
    from_captum,
)
from lightning_explain.feeding import input_weights
from lightning_explain.neurons import unit_layers
from tests.attribution.nets import drawn, mlp, seeded
from tests.mutations.checking import close
from tests.mutations.mutation import Mutation


def tokens() -> None:
    net = seeded(nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 1)))
    ids = torch.tensor([[1, 4], [0, 2]])
    close(AtEmbedding()(net, ids).values.sum(1), net(ids)[:, 0].detach() - net[2].bias.detach())


def grad_cam() -> None:
    net = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(8, 1, bias=False))
    x = torch.tensor([[[[1.0, -2.0], [0.0, 4.0]], [[2.0, 2.0], [-1.0, 3.0]]]])
    w = torch.tensor([[4.0, 0.0, 0.0, 0.0, -1.0, -1.0, -1.0, -1.0]])
    net[2].weight.data = w
    # means of the gradient 1 and -1, so the rectified difference of the channels
    close(GradCAM("0")(net, x).values, [0.0, 0.0, 1.0, 1.0])


class _Patches(nn.Module):
    """Patches [1, 2, 2, 2] as tokens after another one; the score is twice the first channel of the patches."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.tokens = nn.Conv2d(2, 2, 1, bias=False), nn.Identity()
        self.patches.weight.data = torch.eye(2)[:, :, None, None]

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = self.tokens(torch.cat([torch.full((1, 1, 2), 9.0), patches], 1))
        return 4 * tokens[:, 1:, 0].mean(1, keepdim=True)


def grad_cam_of_tokens() -> None:
    x = torch.tensor([[[[1.0, -2.0], [0.0, 4.0]], [[2.0, 2.0], [-1.0, 3.0]]]])
    close(GradCAM("tokens")(_Patches(), x).values, [1.0, 0.0, 0.0, 4.0])


class _Overwritten(nn.Module):
    def __init__(self, turned: bool) -> None:
        super().__init__()
        self.layer, self.turned = nn.Identity(), turned
        self.inner = nn.Conv2d(1, 1, 1, bias=False)
        self.inner.weight.data.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        z = self.inner(x)
        z = self.layer(z[:, :, 1:] if self.turned else z)
        z *= -3.0
        return z.relu().mean((2, 3))


def grad_cam_of_an_overwritten_output() -> None:
    x = torch.tensor([[[[5.0, 5.0], [-1.0, -1.0]]]])
    # dF/dz is -3/2 where -3 z is positive, half of a view's places or all of them
    close(GradCAM("layer")(_Overwritten(turned=True), x).values, [1.5] * 4)
    close(GradCAM("layer")(_Overwritten(turned=False), x).values, [0.0, 0.0, 0.375, 0.375])


def weights_of_layers_that_read_the_input() -> None:
    net = nn.Sequential(
        nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False), nn.ReLU(inplace=True), nn.Linear(1, 1)
    )
    net[0].weight.data, net[1].weight.data = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0, 6.0]])
    x = torch.ones(1, 2)
    found = input_weights(net, lambda: net(x), x, unit_layers(net, ["2", "3"]))
    assert list(found) == ["2"]
    close(found["2"], [23.0, 34.0])


def delta_of_captum() -> None:
    net, x = nn.Sequential(nn.Linear(2, 1)), torch.tensor([[1.0, 2.0]])
    net[0].weight.data, net[0].bias.data = torch.tensor([[3.0, 1.0]]), torch.tensor([4.0])
    found = from_captum(captum.attr.LRP)(net, x)
    close(found.convergence_delta, [float(found.values.sum()) - 9.0])


def gradient_methods() -> None:
    x = torch.tensor([[2.0, 1.0], [-1.0, 4.0]])

    def model(z: Tensor) -> Tensor:
        return z[:, 0] ** 2 - 3 * z[:, 1]

    close(Saliency()(model, x).values, [4.0, 3.0, 2.0, 3.0])
    close(InputXGradient()(model, x).values, [8.0, -3.0, 2.0, -12.0])


def smooth_grad() -> None:
    x, noise = torch.tensor([[2.0, 0.0]]), 0.5
    draws = torch.randn((3, 1, 2), generator=torch.Generator().manual_seed(0))[:, 0]
    gradients = 3 * (x + noise * 2 * draws) ** 2
    found = SmoothGrad(noise=noise, n_draws=3, seed=0)(lambda z: (z**3).sum(1), x)
    close(found.values, gradients.mean(0, keepdim=True))
    error = math.sqrt(2 / math.pi) * gradients.std(0).sum() / math.sqrt(3) / gradients.mean(0).sum()
    close(found.error, error[None])


def captum_by_seed() -> None:
    noisy = from_captum(lambda model: captum.attr.NoiseTunnel(captum.attr.Saliency(model)), nt_samples=2)
    first = noisy(mlp(), drawn(2, 4), 1).values
    torch.rand(5)
    close(noisy(mlp(), drawn(2, 4), 1).values, first)


MUTATIONS = [
    Mutation(
        "attribution.grad_cam.method._class_map",
        "(weights * feature_map).sum(dim=1, keepdim=True).relu()",
        "(weights * feature_map).relu().sum(dim=1, keepdim=True)",
        grad_cam,
    ),
    Mutation("attribution.grad_cam.method._class_map", "gradient.mean(dim=(2, 3), keepdim=True)", "gradient", grad_cam),
    Mutation(
        "attribution.grad_cam.feature_map.FeatureMap.of",
        "values[..., self.first:self.first + self.n_places]",
        "values[..., :self.n_places]",
        grad_cam_of_tokens,
    ),
    Mutation(
        "attribution.grad_cam.tensor_axes._joined",
        "shape[dim] - sized(along[place]) - sum(after)",
        "0",
        grad_cam_of_tokens,
    ),
    Mutation(
        "attribution.grad_cam.method.GradCAM.__call__",
        "seen[key].is_overwritten",
        "False",
        grad_cam_of_an_overwritten_output,
    ),
    Mutation(
        "attribution.grad_cam.layer_output.LayerOutput.gradient", "base.offset", "0", grad_cam_of_an_overwritten_output
    ),
    Mutation("feeding.weights._weight", "weight @ product", "weight", weights_of_layers_that_read_the_input),
    Mutation(
        "feeding.weights._Given.is_read_by",
        "self.tensor._version == self.version",
        "True",
        weights_of_layers_that_read_the_input,
    ),
    Mutation(
        "attribution.foreign.CaptumMethod._of",
        "-delta if _is_relevance(explainer) else delta",
        "delta",
        delta_of_captum,
    ),
    Mutation("attribution.gradients.Saliency.__call__", "g.abs()", "g", gradient_methods),
    Mutation("attribution.gradients.InputXGradient.__call__", "x * g", "g", gradient_methods),
    Mutation("attribution.gradients.SmoothGrad._moments", "step / done", "step", smooth_grad),
    Mutation("attribution.gradients.SmoothGrad._error", "self.n_draws - 1", "self.n_draws", smooth_grad),
    Mutation("attribution.gradients.SmoothGrad._error", "MEAN_ABSOLUTE_NORMAL * spread", "spread", smooth_grad),
    Mutation(
        "attribution.grad_cam.tensor_axes._joined",
        "shape[dim] - sized(along[place]) - sum(after)",
        "0",
        grad_cam_of_tokens,
    ),
    Mutation("attribution.captum_access.seed_streams", "torch.manual_seed(seed)", "None", captum_by_seed),
]
