"""Every operation's rule against a form of its own in float64, and networks of attention, gates and recurrence."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, rnn
from torch.utils.checkpoint import checkpoint

from lightning_explain.attribution import (
    LRP,
    AtEmbedding,
    Epsilon,
    EpsilonRule,
    GammaRule,
    ZeroRule,
    ZPlusRule,
)
from lightning_explain.attribution.lrp.choices import Choices
from lightning_explain.attribution.lrp.operations.gates import Rank, shares_of_factors
from lightning_explain.errors import ConfigurationError

RULES = Epsilon(0.0)


class Apply(nn.Module):
    """A function whose output is summed with fixed weights, so that all of it carries relevance."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        out = self.function(*inputs).flatten(1)
        return (out * weights(out.shape[1])).sum(1)


def weights(n: int) -> Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(5), dtype=torch.double)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-10)


def conserves(net: nn.Module, x: Tensor | tuple[Tensor, ...], rules: Epsilon = RULES) -> None:
    assert float(LRP(rules, attention="cp")(net, x).convergence_delta.abs().max()) < 1e-9


# ---- activations, by all of their names

ACTIVATIONS = {
    "softplus": functional.softplus, "gelu": lambda x: functional.gelu(x, approximate="tanh"), "sigmoid": torch.sigmoid,
    "method": Tensor.sigmoid, "expit": torch.special.expit, "square": torch.square, "power": lambda x: x**3,
    "by hand": lambda x: x * torch.sigmoid(1.7 * x), "tanh by hand": lambda x: 0.5 * x * (1 + torch.tanh(x)),
    "hardswish by hand": lambda x: x * functional.relu6(x + 3) / 6, "clamp": lambda x: x.clamp(-1, 1),
    "clip in place": lambda x: x.clone().clip_(-1, 1), "silu in place": lambda x: functional.silu(x.clone(), True),
    "hardsigmoid": functional.hardsigmoid, "squared relu": lambda x: torch.relu(x).square(), "erf": torch.erf,
    "log": lambda x: torch.log1p(x.square()), "sin": torch.sin, "celu": functional.celu, "exp": torch.exp,
    "logsigmoid": functional.logsigmoid, "gelu by hand": lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
    "module": nn.Softplus(), "shrink": functional.softshrink, "of torch.ops": torch.ops.aten.silu,
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_hand_relevance_on_by_any_name(name: str):
    x, function = drawn(3, 5) + 0.01, ACTIVATIONS[name]
    close(LRP(RULES)(Apply(function), x).values, function(x) * weights(5))


# ---- normalisations


def linear_part(function: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> Tensor:
    """Relevance of a function that is linear in its second argument for a first one that stands for its statistics."""
    rows: list[Tensor] = []
    for sample in x:
        unit = torch.eye(sample.numel(), dtype=torch.double).reshape(-1, *sample.shape)
        zero = torch.zeros_like(unit)
        columns = (function(sample[None], unit) - function(sample[None], zero)).flatten(1)
        rows.append((sample.flatten() * (columns * weights(columns.shape[1])).sum(1)).reshape(sample.shape))
    return torch.stack(rows)


def spread(x: Tensor, dims: tuple[int, ...], *, centred: bool = True) -> Tensor:
    return (
        (x.var(dims, correction=0, keepdim=True) if centred else x.square().mean(dims, keepdim=True)).add(1e-5).sqrt()
    )


SCALE, SHIFT = drawn(4, seed=1), drawn(4, seed=2)
NORMS = {
    "layer": (
        lambda x: functional.layer_norm(x, (4,), SCALE, SHIFT),
        lambda s, x: (x - x.mean(-1, keepdim=True)) / spread(s, (-1,)) * SCALE + SHIFT,
        (3, 4),
    ),
    "layer without scale": (
        lambda x: functional.layer_norm(x, (3, 4)),
        lambda s, x: (x - x.mean((-2, -1), keepdim=True)) / spread(s, (-2, -1)),
        (3, 4),
    ),
    "by hand": (
        lambda x: (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt() * SCALE,
        lambda s, x: (x - x.mean(-1, keepdim=True)) / spread(s, (-1,)) * SCALE,
        (3, 4),
    ),
    "root mean square": (
        lambda x: functional.rms_norm(x, (4,), SCALE, 1e-5),
        lambda s, x: x / spread(s, (-1,), centred=False) * SCALE,
        (3, 4),
    ),
    "root mean square by hand": (
        lambda x: SCALE * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)),
        lambda s, x: x / spread(s, (-1,), centred=False) * SCALE,
        (3, 4),
    ),
    "group": (
        lambda x: functional.group_norm(x, 2, SCALE, SHIFT),
        lambda s, x: (
            (
                (x.unflatten(1, (2, 2)) - x.unflatten(1, (2, 2)).mean((2, 3), keepdim=True))
                / spread(s.unflatten(1, (2, 2)), (2, 3))
            ).flatten(1, 2)
            * SCALE[:, None]
            + SHIFT[:, None]
        ),
        (4, 5),
    ),
    "instance": (
        lambda x: functional.instance_norm(x, weight=SCALE, bias=SHIFT),
        lambda s, x: (x - x.mean(2, keepdim=True)) / spread(s, (2,)) * SCALE[:, None] + SHIFT[:, None],
        (4, 5),
    ),
    "length": (
        lambda x: functional.normalize(x, dim=-1),
        lambda s, x: x / s.norm(dim=-1, keepdim=True),
        (3, 4),
    ),
}


@pytest.mark.parametrize("name", NORMS)
def test_the_spread_of_a_normalisation_is_a_constant(name: str):
    function, form, shape = NORMS[name]
    x = drawn(2, *shape)
    close(form(x, x), function(x))
    close(LRP(RULES)(Apply(function), x).values, linear_part(form, x))


# ---- products


@pytest.mark.parametrize(
    ("function", "signal"),
    [
        (lambda x, y: x * torch.sigmoid(y), 1.0),
        (lambda x, y: functional.hardsigmoid(y).mul(x), 1.0),
        (lambda x, y: x.clone().mul_(y.softmax(1)), 1.0),
        (lambda x, y: torch.addcmul(torch.zeros(()).double(), x, torch.tanh(y)), 1.0),
        (lambda x, y: x * functional.silu(y), 1.0),
        (lambda x, y: functional.glu(torch.cat([x, y], 1)), 1.0),
        (lambda x, y: x * (1 - torch.sigmoid(y))[:, None].squeeze(1), 1.0),
        (lambda x, y: torch.tanh(x) * torch.sigmoid(y), 1.0),
        (lambda x, y: x * y, 0.5),
        (lambda x, y: x * (3 * y), 0.5),
        (lambda x, y: x / (1 + y.square()), 1.0),
    ],
)
def test_products_go_by_what_is_a_gate(function, signal: float):
    x, y = drawn(3, 4), drawn(3, 4, seed=1)
    relevance = function(x, y) * weights(4)
    found = LRP(RULES)(Apply(function), (x, y))
    close(found.parts[0], signal * relevance)
    close(found.parts[1], (1 - signal) * relevance)


def test_uniform_gates_share_evenly():
    x, y = drawn(3, 4), drawn(3, 4, seed=1)
    found = LRP(RULES, gates="uniform")(Apply(lambda a, b: a * torch.sigmoid(b)), (x, y))
    for part in found.parts:
        close(part, x * torch.sigmoid(y) * weights(4) / 2)


def test_shares_of_factors_add_up():
    for attention in ("attnlrp", "cp"):
        for gates in ("signal", "uniform"):
            for first in Rank:
                for second in Rank:
                    for is_contraction in (False, True):
                        shares = shares_of_factors(
                            [first, second], Choices(attention, gates), is_contraction=is_contraction
                        )
                        assert abs(sum(shares) - 1) < 1e-12
    with pytest.raises(ConfigurationError, match="attention='lrp'; expected 'attnlrp' or 'cp'"):
        LRP(attention="lrp")
    with pytest.raises(ConfigurationError, match="gates='all'"):
        LRP(gates="all")


CONSTANT = drawn(4, 5, seed=3)
BY_CONSTANT = {
    "matmul": lambda x: x @ CONSTANT,
    "einsum": lambda x: torch.einsum("bi,io->bo", x, CONSTANT),
    "from the left": lambda x: (CONSTANT.T @ x[:, :, None])[:, :, 0],
    "addmm": lambda x: torch.addmm(torch.zeros(5).double(), x, CONSTANT),
    "bmm": lambda x: torch.bmm(x[:, None], CONSTANT.expand(len(x), 4, 5))[:, 0],
    "mm": lambda x: x.mm(CONSTANT),
}


@pytest.mark.parametrize("name", BY_CONSTANT)
@pytest.mark.parametrize("rule", [ZeroRule(), EpsilonRule(0.3), ZPlusRule(), GammaRule(0.5)])
def test_a_product_with_a_constant_has_the_rule_of_linear_layers(name: str, rule):
    layer = nn.Linear(4, 5, bias=False).double()
    layer.weight.data = CONSTANT.T.contiguous()
    x, method = drawn(3, 4), LRP({nn.Linear: rule})
    close(method(Apply(BY_CONSTANT[name]), x).values, method(Apply(layer), x).values)


OTHERS = {
    "roll": lambda x: x.roll(1, 1),
    "scatter": lambda x: torch.zeros(3, 6).double().scatter(1, torch.arange(4).expand(3, 4), x),
    "circular padding": lambda x: functional.pad(x[:, None], (2, 1), mode="circular")[:, 0],
    "written into a part": lambda x: torch.cat([x, x], 1).clone().index_fill(1, torch.tensor([2]), 0.0),
    "cumulative sum": lambda x: x.cumsum(1),
    "gather": lambda x: x[:, [3, 1, 1]],
    "top k": lambda x: x.topk(2, 1).values,
    "interpolation": lambda x: functional.interpolate(x[:, None], 7)[:, 0],
    "masked": lambda x: x.masked_fill(x < 0, 0.0),
    "largest": lambda x: x.max(1, keepdim=True).values,
    "spread": lambda x: x.std(1, keepdim=True),
    "norm": lambda x: x.norm(dim=1, keepdim=True),
    "two of one": lambda x: torch.maximum(x, 2 * x),
    "einsum of two": lambda x: torch.einsum("bi,bj->bij", x, torch.relu(x)),
    "lerp": lambda x: torch.lerp(x, 2 * x, 0.3),
    "wave": lambda x: torch.fft.irfft(torch.fft.rfft(x), n=4),
    "where": lambda x: torch.where(x > 0, x, 0.1 * x),
    "cosine": lambda x: functional.cosine_similarity(x, x.flip(1))[:, None],
    "baddbmm": lambda x: torch.baddbmm(x[:, None], x[:, None, :1], x[:, None]),
    "in place sum": lambda x: x.clone().add_(x),
    "chunks": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
}


def _set(x: Tensor) -> Tensor:
    out = torch.zeros(len(x), 6, dtype=x.dtype)
    out[:, 1:5] = x
    out[:, 2] *= 3
    return out


OTHERS["set item"] = _set


@pytest.mark.parametrize("name", OTHERS)
def test_other_operations_conserve(name: str):
    conserves(Apply(OTHERS[name]), drawn(3, 4))


# ---- attention


def softmax_taylor(scores: Tensor, weight: Tensor, relevance: Tensor) -> Tensor:
    """`R_i = x_i (R_i - s_i sum_j R_j)`, row by row."""
    out = torch.zeros_like(scores)
    for place in range(len(scores)):
        for i in range(scores.shape[1]):
            if weight[place, i] > 0:
                out[place, i] = scores[place, i] * (relevance[place, i] - weight[place, i] * relevance[place].sum())
    return out


def dense_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """AttnLRP for one head of one sample, one product at a time: [tokens, dimensions] each."""
    scores = q @ k.T / q.shape[1] ** 0.5 + mask
    weight = scores.softmax(1)
    out = weight @ v
    of_weight, of_v = torch.zeros_like(weight), torch.zeros_like(v)
    for t in range(len(q)):
        for s in range(len(k)):
            for d in range(v.shape[1]):
                message = weight[t, s] * v[s, d] / out[t, d] * relevance[t, d] / 2
                of_weight[t, s] += message
                of_v[s, d] += message
    of_scores = softmax_taylor(scores, weight, of_weight)
    of_q, of_k = torch.zeros_like(q), torch.zeros_like(k)
    for t in range(len(q)):
        for s in range(len(k)):
            if weight[t, s] > 0:
                for d in range(q.shape[1]):
                    message = q[t, d] * k[s, d] / q.shape[1] ** 0.5 / scores[t, s] * of_scores[t, s] / 2
                    of_q[t, d] += message
                    of_k[s, d] += message
    return of_q, of_k, of_v


def fused(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(q, k, v, mask)


def eager(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    scores = torch.matmul(q, k.transpose(-2, -1)) / q.shape[-1] ** 0.5 + mask
    return functional.dropout(functional.softmax(scores, dim=-1), 0.1, training=False) @ v


def by_einsum(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    scores = torch.einsum("bhtd,bhsd->bhts", q * q.shape[-1] ** -0.5, k)
    return torch.einsum("bhts,bhsd->bhtd", (scores + mask).softmax(-1), v)


MASKS = {
    "none": torch.zeros(4, 4).double(),
    "causal": torch.zeros(4, 4).double().masked_fill(torch.ones(4, 4).triu(1).bool(), -torch.inf),
    "bias": drawn(4, 4, seed=8),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("attention", [fused, eager, by_einsum])
def test_attention_equals_its_dense_form(attention, mask: str):
    q, k, v = (drawn(2, 2, 4, 3, seed=seed) for seed in (1, 2, 3))
    net = Apply(lambda a, b, c: attention(a, b, c, MASKS[mask]))
    out = attention(q, k, v, MASKS[mask])
    relevance = out * weights(out[0].numel()).reshape(out[0].shape)
    found = LRP(RULES, attention="attnlrp")(net, (q, k, v))
    for sample in range(2):
        for head in range(2):
            wanted = dense_attention(
                q[sample, head], k[sample, head], v[sample, head], MASKS[mask], relevance[sample, head]
            )
            for part, expected in zip(found.parts, wanted, strict=True):
                close(part[sample, head], expected)
    constant = LRP(RULES, attention="cp")(net, (q, k, v))
    weight = (q @ k.mT / 3**0.5 + MASKS[mask]).softmax(-1)
    close(constant.parts[2], v * (weight.mT @ (relevance / out)))
    assert not constant.parts[0].any()
    assert not constant.parts[1].any()


class Attending(nn.Module):
    def __init__(self, **options) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, **options)
        self.head = nn.Linear(8, 1, bias=False)
        self.options: dict = {}

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(x, x, x, **self.options)[0].mean(1))


PADDING = torch.tensor([[False] * 5, [False, False, False, True, True]])


@pytest.mark.parametrize(
    ("made", "called"),
    [
        ({"bias": False}, {}),
        ({"bias": False}, {"need_weights": False}),
        ({"bias": False}, {"key_padding_mask": PADDING}),
        ({"bias": False}, {"attn_mask": torch.ones(5, 5).triu(1).bool(), "is_causal": True, "need_weights": False}),
        ({"bias": False}, {"average_attn_weights": False}),
    ],
)
def test_attention_of_torch_conserves_with_any_masks(made, called):
    net = Attending(**made).double().eval()
    net.options = called
    conserves(net, drawn(2, 5, 8))
    values = [LRP(RULES)(net, drawn(2, 5, 8)).values]
    net.options = {**called, "need_weights": not called.get("need_weights", True)}
    values.append(LRP(RULES)(net, drawn(2, 5, 8)).values)
    close(*values)
    if "key_padding_mask" in called:
        # as keys they count for nothing, as queries (whose outputs the mean reads) they would
        assert not LRP(RULES, attention="cp")(net, drawn(2, 5, 8)).values[1, 3:].any()


def test_rules_by_name_reach_the_projections_of_an_attention():
    net, x = Attending().double(), drawn(2, 5, 8)
    plain = LRP({nn.Linear: ZeroRule()})(net, x).values
    for name in ("attention", "attention.out_proj", "head"):
        assert not torch.allclose(LRP({name: ZPlusRule(), nn.Linear: ZeroRule()})(net, x).values, plain)


def test_heads_add_up_to_what_their_attention_gave():
    net, x = Attending(bias=False).double().eval(), drawn(3, 5, 8)
    method = LRP(RULES)
    heads = method.head_relevance(net, x)
    assert {name: tuple(part.shape) for name, part in heads.items()} == {"attention": (3, 2, 5)}
    close(heads["attention"].sum((1, 2)), net(x)[:, 0].detach())


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_an_encoder_of_torch_conserves(norm_first: bool, activation: str):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(
        8, 2, 16, activation=activation, norm_first=norm_first, batch_first=True, bias=False
    )
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    net = nn.Sequential(encoder, nn.Flatten(), nn.Linear(40, 1, bias=False)).double().eval()
    conserves(net, drawn(3, 5, 8))


# ---- recurrence

RECURRENT = {
    "lstm": lambda **options: nn.LSTM(4, 3, batch_first=True, **options),
    "gru": lambda **options: nn.GRU(4, 3, batch_first=True, **options),
    "rnn": lambda **options: nn.RNN(4, 3, batch_first=True, **options),
    "relu": lambda **options: nn.RNN(4, 3, nonlinearity="relu", batch_first=True, **options),
}


class Reading(nn.Module):
    def __init__(self, layer: nn.Module, *, packed: bool) -> None:
        super().__init__()
        self.layer, self.packed = layer, packed

    def forward(self, x: Tensor) -> Tensor:
        if self.packed:
            lengths = torch.tensor([3, 5, 2])
            out, h = self.layer(rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
            out, _ = rnn.pad_packed_sequence(out, batch_first=True)
        else:
            out, h = self.layer(x)
        h = h[0] if isinstance(h, tuple) else h
        return out.sum((1, 2)) + 2 * h[-1].sum(1)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"bidirectional": True}, {"num_layers": 2, "bidirectional": True}, {"bias": False}]
)
@pytest.mark.parametrize("kind", RECURRENT)
def test_recurrent_layers_give_the_same_output_and_conserve(kind: str, options, packed: bool):
    torch.manual_seed(0)
    net, x = Reading(RECURRENT[kind](**options), packed=packed).double(), drawn(3, 5, 4)
    found = LRP(RULES)(net, x)
    close(found.values.sum((1, 2)) - found.convergence_delta, net(x).detach())
    for name, parameter in net.named_parameters():
        if "bias" in name:
            nn.init.zeros_(parameter)
    conserves(net, x)
    if packed:
        assert not LRP(RULES)(net, x).values[0, 3:].any()


def test_a_cell_equals_the_layer_and_a_form_of_its_own():
    torch.manual_seed(0)
    layer, cell = nn.GRU(4, 3, batch_first=True).double(), nn.GRUCell(4, 3).double()
    for name, parameter in cell.named_parameters():
        parameter.data = getattr(layer, f"{name}_l0").data
    x = drawn(2, 1, 4)
    close(LRP(RULES)(Apply(lambda a: layer(a)[1][0]), x).values, LRP(RULES)(Apply(lambda a: cell(a[:, 0])), x).values)
    # from a state of 0 a GRU gives (1 - z) tanh(W x + b + r c), of which gates get nothing
    i_r, i_z, i_n = (x[:, 0] @ cell.weight_ih.T + cell.bias_ih).chunk(3, 1)
    h_r, h_z, h_n = cell.bias_hh.chunk(3)
    inner = i_n + torch.sigmoid(i_r + h_r) * h_n
    out = (1 - torch.sigmoid(i_z + h_z)) * torch.tanh(inner)
    per_unit = out * weights(3) / inner
    wanted = (per_unit @ cell.weight_ih[6:]) * x[:, 0]
    close(LRP(RULES)(Apply(cell), x[:, 0]).values, wanted.detach())


# ---- how networks are run


class Block(nn.Module):
    def __init__(self, *, checkpointed: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(4, 6), nn.SiLU(), nn.LayerNorm(6), nn.Linear(6, 4), nn.ReLU())
        self.head, self.checkpointed = nn.Linear(4, 2), checkpointed

    def forward(self, x: Tensor) -> Tensor:
        return self.head(checkpoint(self.body, x, use_reentrant=False) if self.checkpointed else self.body(x))


@pytest.mark.parametrize("rules", [None, {nn.Linear: ZPlusRule()}, {nn.Linear: GammaRule()}])
def test_activation_checkpointing_changes_nothing(rules):
    x = drawn(3, 4)
    plain, saved = (LRP(rules)(Block(checkpointed=how).double(), x, 1).values for how in (False, True))
    close(plain, saved)


def test_rules_by_name_apply_to_the_call_whatever_its_weight_is():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
            self.second.weight = self.first.weight
            self.last = parametrizations.weight_norm(nn.Linear(4, 2))

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.second(self.first(x).relu()).relu())

    net, x = Tied().double(), drawn(3, 4)
    plain = LRP({nn.Linear: ZeroRule()})(net, x, 0).values
    found = [LRP({name: ZPlusRule(), nn.Linear: ZeroRule()})(net, x, 0).values for name in ("first", "second", "last")]
    for one in found:
        assert not torch.allclose(one, plain)
    assert not torch.allclose(found[0], found[1])
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_what_is_no_number_is_carried_along():
    class Picking(nn.Module):
        def forward(self, x: Tensor, places: Tensor, mask: Tensor) -> Tensor:
            return (x.gather(1, places) * mask).sum(1)

    x, places, mask = drawn(2, 4), torch.tensor([[0, 3], [1, 1]]), torch.tensor([[True, True], [True, False]])
    found = LRP()(Picking(), (x, places, mask))
    close(found.parts[0], torch.tensor([[x[0, 0], 0, 0, x[0, 3]], [0, x[1, 1], 0, 0]]).double())
    assert not found.parts[1].any()
    assert not found.parts[2].any()


def test_a_model_may_write_into_its_input():
    x = drawn(3, 4)
    layer = nn.Linear(4, 2, bias=False).double()
    inside = LRP(RULES)(Apply(lambda a: layer(a.sub_(0.5).mul_(2.0))), x).values
    close(inside, LRP(RULES)(Apply(lambda a: layer((a - 0.5) * 2)), x).values)


def test_offsets_absorb_and_their_share_is_told():
    layer = nn.Linear(3, 1)
    layer.weight.data.fill_(1.0)
    layer.bias.data.fill_(2.0)
    found = LRP(Epsilon(0.0))(layer, torch.tensor([[1.0, 2.0, 3.0], [1.0, 0.0, -3.0]]), 0)
    torch.testing.assert_close(found.absorbed_share, torch.tensor([0.25, torch.nan]), equal_nan=True)


def test_tokens_are_explained_at_their_embedding():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, bias=False)
    body = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    class Text(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.body, self.head = nn.Embedding(9, 8), body, nn.Linear(8, 2, bias=False)

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.body(self.embedding(ids)).mean(1))

    net, ids = Text().double().eval(), torch.tensor([[1, 5, 5, 0], [2, 0, 8, 3]])
    found = AtEmbedding(LRP(RULES, attention="cp"))(net, ids, 1)
    assert found.values.shape == ids.shape
    close(found.values.sum(1), net(ids)[:, 1].detach())
    named = AtEmbedding(LRP({"head": ZPlusRule(), "*": ZeroRule()}, attention="cp"))(net, ids, 1)
    assert not torch.allclose(named.values, found.values)
