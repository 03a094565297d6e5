import captum.attr
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from lightning_explain.attribution import GradCAM
from lightning_explain.errors import ConfigurationError
from tests.attribution.nets import convnet, drawn, mlp

X = drawn(4, 2, 8, 8)
TARGET = torch.tensor([0, 2, 1, 1])


@pytest.mark.parametrize("layer", ["0", "1", "3", "4"])
def test_agrees_with_captum(layer):
    net = convnet()
    small = captum.attr.LayerGradCam(net, net.get_submodule(layer)).attribute(X, TARGET, relu_attributions=True)
    expected = functional.interpolate(small, size=(8, 8), mode="bilinear").detach()
    found = GradCAM(layer)(net, X, TARGET)
    assert bool(expected.any())
    torch.testing.assert_close(found.values, expected)
    assert found.values.shape == (4, 1, 8, 8)
    assert (found.convergence_delta, found.error, found.baseline) == (None,) * 3


def test_closed_form():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.maps = nn.Identity()

        def forward(self, x):
            a = self.maps(x)
            return torch.stack([2 * a[:, 0].mean((1, 2)) - a[:, 1].mean((1, 2)), a[:, 1].sum((1, 2))], 1)

    x = torch.tensor([[[[4.0, 8.0], [0.0, 0.0]], [[0.0, 4.0], [4.0, 0.0]]]])
    # dF0/da is 2/4 everywhere in channel 0 and -1/4 in channel 1
    assert GradCAM()(Net(), x, 0).values.tolist() == [[[[2.0, 3.0], [0.0, 0.0]]]]
    assert GradCAM()(Net(), x, 1).values.tolist() == [[[[0.0, 4.0], [4.0, 0.0]]]]


def test_finds_the_last_map_before_pooling():
    net = convnet()
    torch.testing.assert_close(GradCAM()(net, X, 1).values, GradCAM("4")(net, X, 1).values)


def test_in_place_activation_gives_the_same():
    torch.testing.assert_close(
        GradCAM()(convnet(in_place=True), X, 1).values, GradCAM()(convnet(in_place=False), X, 1).values
    )


def test_a_map_the_score_does_not_use_is_passed_over():
    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = convnet()
            self.auxiliary = nn.Conv2d(2, 3, 3, dtype=torch.float64)

        def forward(self, x):
            scores = self.body(x)
            self.auxiliary(x)
            return scores

    net = TwoHeads()
    torch.testing.assert_close(GradCAM()(net, X, 1).values, GradCAM()(net.body, X, 1).values)
    with pytest.raises(ConfigurationError, match="depends on none"):
        GradCAM("auxiliary")(net, X, 1)


def test_a_module_that_runs_twice_can_be_named_by_call():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 3, 3)
            self.relu = nn.ReLU()

        def forward(self, x):
            return self.relu(self.b(self.relu(self.a(x)))).mean((2, 3))

    from tests.attribution.nets import seeded

    net = seeded(Shared())
    torch.testing.assert_close(GradCAM("relu")(net, X, 1).values, GradCAM("relu#1")(net, X, 1).values)
    assert not torch.equal(GradCAM("relu")(net, X, 1).values, GradCAM("a")(net, X, 1).values)
    with pytest.raises(ConfigurationError, match="relu#2"):
        GradCAM("relu#2")(net, X, 1)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(4)))
def test_permuting_the_batch_permutes_the_explanation(order):
    net = convnet()
    torch.testing.assert_close(GradCAM()(net, X[order], TARGET[order]).values, GradCAM()(net, X, TARGET).values[order])


def test_works_where_all_parameters_are_frozen():
    expected = GradCAM()(convnet(), X, 0).values
    net = convnet().requires_grad_(requires_grad=False)
    assert torch.equal(GradCAM()(net, X, 0).values, expected) and expected.any()


@pytest.mark.parametrize(
    ("method", "model", "x", "message"),
    [
        (GradCAM("9.conv"), convnet(), X, "matches no module"),
        (GradCAM("7"), convnet(), X, "does not give a feature map"),
        (GradCAM(), nn.Sequential(nn.Flatten(), nn.Linear(128, 2)).double(), X, "No layer gives a feature map"),
        (GradCAM(), mlp(), drawn(2, 4), "expected one batch of images"),
        (GradCAM(), lambda z: z.sum((1, 2, 3)), X, "needs an nn.Module"),
    ],
)
def test_errors(method, model, x, message):
    with pytest.raises(ConfigurationError, match=message):
        method(model, x, 0)


def by_definition(z, rest, *, channels=1, target=1, size=(8, 8)):
    """Apply the definition to a layer's output `z` and the rest of the model, with channels at a dimension."""
    z = z.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(rest(z)[:, target].sum(), z)
    places = tuple({1, 2, 3} - {channels % 4})
    cam = functional.relu((gradient.mean(places, keepdim=True) * z).sum(channels, keepdim=True))
    cam = cam.movedim(channels, 1)
    return functional.interpolate(cam, size=size, mode="bilinear", align_corners=False).detach()


class After(nn.Module):
    """A layer, something that is done with its output, and a linear head."""

    def __init__(self, layer, then, width=3):
        super().__init__()
        self.layer, self.then, self.head = layer, then, nn.Linear(width, 3)

    def rest(self, z):
        return self.head(self.then(z, z.sin() if z.requires_grad else z).mean((2, 3)))

    def forward(self, x):
        return self.rest(self.layer(x))


def added(z, other):
    z += other
    return z


def part_zeroed(z, other):
    z[:, :, 0] = 0
    return z * other.detach().clone()


WRITES = {
    "relu": (lambda z, o: functional.relu(z, inplace=True), lambda z, o: functional.relu(z)),
    "relu_ without its result": (lambda z, o: (z.relu_(), z)[1], lambda z, o: functional.relu(z)),
    "+=": (added, lambda z, o: z + o),
    "mul_": (lambda z, o: z.mul_(3.0).sigmoid(), lambda z, o: (z * 3).sigmoid()),
    "a part": (
        part_zeroed,
        lambda z, o: torch.cat([torch.zeros_like(z[:, :, :1]), z[:, :, 1:]], 2) * 0 + part_of(z, o),
    ),
    "through a view": (lambda z, o: (z.transpose(1, 2).mul_(2.0), z)[1].tanh(), lambda z, o: (2 * z).tanh()),
}


def part_of(z, other):
    mask = torch.ones_like(z)
    mask[:, :, 0] = 0
    return z * mask * other.detach()


class Turned(nn.Module):
    """A layer that gives a view: of a map [batch, channels, columns, rows]."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)

    def forward(self, x):
        return self.conv(x).transpose(2, 3)


class Chunked(nn.Module):
    """A layer that gives a part of what a convolution gave."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 7, 3)

    def forward(self, x):
        return self.conv(x)[:, 4:]


@pytest.mark.parametrize("layer", [lambda: nn.Conv2d(2, 3, 3), Chunked])
@pytest.mark.parametrize("write", WRITES)
def test_what_is_written_into_the_layers_output_does_not_count(write, layer):
    torch.manual_seed(0)
    in_place, plain = WRITES[write]
    net = After(layer(), in_place).double()
    z = net.layer(X).detach()
    frozen = z.sin()

    class Rest(nn.Module):
        def __init__(self, then):
            super().__init__()
            self.layer, self.head, self.then = net.layer, net.head, then

        def rest(self, z):
            return self.head(self.then(z, frozen).mean((2, 3)))

        def forward(self, x):
            return self.rest(self.layer(x))

    expected = by_definition(z, Rest(plain).rest)
    assert bool(expected.any())
    torch.testing.assert_close(GradCAM("layer")(Rest(in_place), X, 1).values, expected)
    torch.testing.assert_close(GradCAM("layer")(Rest(plain), X, 1).values, expected)


class ChannelsLast(nn.Module):
    """Feature maps [batch, rows, columns, channels], with as many rows as channels."""

    def __init__(self, end):
        super().__init__()
        self.patch, self.norm, self.mix = nn.Conv2d(2, 8, 2), nn.LayerNorm(8), nn.Linear(8, 8)
        self.act, self.end, self.head = nn.GELU(), end, nn.Linear(8, 3)

    def maps(self, x):
        return self.act(self.mix(self.norm(functional.pad(self.patch(x), (0, 1, 0, 1)).permute(0, 2, 3, 1))))

    def rest(self, z):
        return self.head(self.end(z).mean((1, 2)))

    def forward(self, x):
        return self.rest(self.maps(x))


@pytest.mark.parametrize("layer", ["norm", "mix", "act", None])
def test_channels_that_come_last_are_known_by_what_made_the_map(layer):
    torch.manual_seed(0)
    net = ChannelsLast(nn.Identity()).double()
    z, rest = net.maps(X), net.rest
    if layer in ("norm", "mix"):
        z = net.norm(functional.pad(net.patch(X), (0, 1, 0, 1)).permute(0, 2, 3, 1))
        z, rest = (z, lambda z: net.rest(net.act(net.mix(z)))) if layer == "norm" else (
            net.mix(z), lambda z: net.rest(net.act(z)))  # fmt: skip
    expected = by_definition(z, rest, channels=-1)
    assert z.shape == (4, 8, 8, 8) and bool(expected.any())
    torch.testing.assert_close(GradCAM(layer)(net, X, 1).values, expected)
    torch.testing.assert_close(GradCAM(layer, channel_dim=-1)(net, X, 1).values, expected)
    if layer is not None:
        assert not torch.allclose(GradCAM(layer, channel_dim=1)(net, X, 1).values, expected)


class Opaque(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        return z.permute(0, 2, 3, 1).contiguous()

    @staticmethod
    def backward(ctx, gradient):
        return gradient.permute(0, 3, 1, 2)


class Hidden(nn.Module):
    """What moves the dimensions cannot be seen: an autograd function of the user's own."""

    def __init__(self):
        super().__init__()
        self.conv, self.act, self.head = nn.Conv2d(2, 6, 3), nn.Sigmoid(), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.act(Opaque.apply(self.conv(x))).mean((1, 2)))


def test_where_nothing_tells_it_is_asked_for():
    torch.manual_seed(0)
    net = Hidden().double()
    with pytest.raises(ConfigurationError, match=r"'act' \[4, 6, 6, 6\] tells which .*channel_dim=-1"):
        GradCAM("act")(net, X, 1)
    expected = by_definition(net.act(Opaque.apply(net.conv(X))), lambda z: net.head(z.mean((1, 2))), channels=-1)
    torch.testing.assert_close(GradCAM("act", channel_dim=-1)(net, X, 1).values, expected)
    with pytest.raises(ConfigurationError, match="channel_dim=2; expected 1"):
        GradCAM(channel_dim=2)


def test_images_whose_channels_come_last_are_refused():
    class Permuting(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = convnet()

        def forward(self, x):
            return self.body(x.permute(0, 3, 1, 2))

    with pytest.raises(ConfigurationError, match=r"takes rows or columns of the inputs \[4, 8, 8, 2\] for channels"):
        GradCAM()(Permuting(), X.permute(0, 2, 3, 1).contiguous(), 1)


class Transformer(nn.Module):
    """A small vision transformer; `before` and `after` tokens stand around those of the patches."""

    def __init__(self, before=1, after=0, pooled=False, frozen=False):
        super().__init__()
        self.patches = nn.Conv2d(2, 6, (4, 2), stride=(4, 2))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(6, 2, 8, 0.0, batch_first=True, norm_first=True) for _ in range(2)
        )
        self.before, self.after = (nn.Parameter(torch.randn(1, n, 6)) for n in (before, after))
        self.places = nn.Parameter(torch.randn(1, 8 + before + after, 6))
        self.norm, self.head, self.pooled = nn.LayerNorm(6), nn.Linear(6, 3), pooled
        self.requires_grad_(requires_grad=not frozen)

    def start(self, x):
        patches = self.patches(x).flatten(2).transpose(1, 2)
        extra = [tokens.expand(len(x), -1, -1) for tokens in (self.before, self.after)]
        tokens = [part for part in (extra[0], patches, extra[1]) if part.shape[1]]
        return self.blocks[0](torch.cat(tokens, 1) + self.places)

    def rest(self, z):
        block = self.blocks[1]
        normed = block.norm1(z)
        return self.after_norm(normed, z)

    def after_norm(self, normed, z):
        block = self.blocks[1]
        z = z + block.self_attn(normed, normed, normed, need_weights=False)[0]
        z = self.norm(z + block.linear2(functional.relu(block.linear1(block.norm2(z)))))
        return self.head(z.mean(1) if self.pooled else z[:, 0])

    def forward(self, x):
        z = self.blocks[1](self.start(x))
        z = self.norm(z)
        return self.head(z.mean(1) if self.pooled else z[:, 0])


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(("before", "after"), [(1, 0), (3, 0), (0, 1), (0, 0)])
def test_tokens_of_a_vision_transformer_go_back_to_their_patches(before, after, frozen):
    """The class token comes first, registers may come last."""
    torch.manual_seed(0)
    net = Transformer(before, after, pooled=before == 0, frozen=frozen).double().eval()
    stream = net.start(X).detach()
    z = net.blocks[1].norm1(stream).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(net.after_norm(z, stream)[:, 1].sum(), z)
    grid = [part[:, before : before + 8].reshape(4, 2, 4, 6).permute(0, 3, 1, 2) for part in (z, gradient)]
    cam = functional.relu((grid[1].mean((2, 3), keepdim=True) * grid[0]).sum(1, keepdim=True))
    expected = functional.interpolate(cam, size=(8, 8), mode="bilinear", align_corners=False).detach()
    assert bool(expected.any())
    torch.testing.assert_close(GradCAM("blocks.1.norm1")(net, X, 1).values, expected)
    if not net.pooled:
        # behind the last attention the score depends on the class token alone
        torch.testing.assert_close(GradCAM()(net, X, 1).values, expected)
        with pytest.raises(ConfigurationError, match="depends on none .* class token alone"):
            GradCAM("norm")(net, X, 1)
    else:
        torch.testing.assert_close(GradCAM()(net, X, 1).values, GradCAM("norm")(net, X, 1).values)
