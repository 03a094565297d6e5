"""Errors made on purpose in the code of relevance propagation: each is noticed by its check."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

import tests.attribution.lrp.dense as dense
import tests.attribution.lrp.operations.applied as applied
import tests.attribution.lrp.operations.test_activations as activations
import tests.attribution.lrp.operations.test_attention as attention
import tests.attribution.lrp.operations.test_normalisation as normalisation
import tests.attribution.lrp.operations.test_recurrent as recurrent
import tests.attribution.lrp.test_method as relevance_propagation
import tests.attribution.lrp.test_softmax_losses as softmax_losses
import tests.attribution.test_sample_places as sample_places
from lightning_explain.attribution import (
    LRP,
    AlphaBetaRule,
    EpsilonRule,
    FlatRule,
    GammaRule,
    WSquareRule,
    ZBoxRule,
    ZeroRule,
    ZPlusRule,
)
from lightning_explain.attribution.lrp.operations.products import transposed_equation
from tests.attribution.lrp import test_maps as maps
from tests.attribution.lrp import test_signs as signs
from tests.attribution.lrp.nets import read_beside, with_statistics
from tests.attribution.nets import drawn, mlp, seeded
from tests.mutations.checking import close
from tests.mutations.mutation import Mutation


class Weighed(nn.Module):
    """A layer whose outputs are summed with fixed weights, so that all of them carry relevance."""

    def __init__(self, layer: nn.Module, weights: Tensor) -> None:
        super().__init__()
        self.layer, self.weights = layer, weights

    def forward(self, x: Tensor) -> Tensor:
        return (self.layer(x) * self.weights).sum(1)


def rule_check(rule, oracle: dense.DenseRule) -> Callable[[], None]:
    def check() -> None:
        for nonnegative in (False, True):
            x, layer = drawn(5, 6, seed=3), seeded(nn.Linear(6, 4), seed=2)
            x = x.abs() if nonnegative else x
            weights = torch.tensor([1.0, -2.0, 0.5, 3.0]).double()
            matrix, bias = layer.weight.data, layer.bias.data
            wanted = [oracle(matrix, bias, a, weights * (matrix @ a + bias)) for a in x]
            close(LRP({nn.Linear: rule})(Weighed(layer, weights), x).values, torch.stack(wanted))

    return check


zero = rule_check(ZeroRule(), dense.epsilon(0.0))


epsilon = rule_check(EpsilonRule(0.3), dense.epsilon(0.3))


gamma = rule_check(GammaRule(0.7), dense.gamma(0.7))


alpha_beta = rule_check(AlphaBetaRule(2.0, 1.0), dense.alpha_beta(2.0, 1.0))


z_plus = rule_check(ZPlusRule(), dense.alpha_beta(1.0, 0.0))


flat = rule_check(FlatRule(), dense.flat(torch.ones(4, 6).double()))


w_square = rule_check(WSquareRule(), dense.w_square)


z_box = rule_check(ZBoxRule(-4.0, 5.0), dense.z_box(-4.0, 5.0))


def layer_read_beside_its_relu() -> None:
    for relu in (functional.relu, functional.relu_):
        close(*read_beside(relu, rule=GammaRule(0.4), norm=False))


def share_beyond_16_bits() -> None:
    signs.test_a_total_below_the_smallest_share_of_16_bits_gives_no_nan(nonnegative=True, signs=(1, 0))


def nothing_to_share() -> None:
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    close(LRP({nn.Linear: ZPlusRule()})(layer, torch.tensor([[1.0, 2.0]]), 0).values, [0.0, 0.0])
    layer.weight.data = torch.zeros(2, 2)
    close(LRP({nn.Linear: WSquareRule()})(layer, torch.tensor([[1.0, 2.0]]), 0).values, [0.0, 0.0])


def nothing_to_share_by_gamma() -> None:
    # the first output has no contributions at all, and a gradient
    layer = nn.Linear(2, 2, bias=False).double()
    layer.weight.data = torch.tensor([[0.0, 0.0], [1.0, -3.0]]).double()
    weights = torch.tensor([1.0, 1.0]).double()
    inputs = torch.tensor([[1.0, 2.0]]).double()
    found = LRP({nn.Linear: GammaRule(1.0)})
    assert bool(found(Weighed(layer, weights), inputs).values.isfinite().all())
    # an input whose only way is a dead output must not get relevance at the layer before
    both = nn.Sequential(nn.Linear(2, 2, bias=False).double(), layer)
    both[0].weight.data = torch.eye(2).double()
    layer.weight.data = torch.tensor([[0.0, 1.0], [0.0, 0.0]]).double()
    close(found(both, torch.tensor([[1.0, 0.0]]).double(), 0).values, [0.0, 0.0])


def relevance_of_a_convnet() -> None:
    """Without epsilon a ReLU network has input x gradient, here through BatchNorm, padding and a residual sum."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)
            self.second, self.head = nn.Conv2d(3, 3, (3, 1), padding=(1, 0)), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = (self.norm(self.first(0.5 * x)) + x.mean(1, keepdim=True)).relu()
            return self.head((self.second(y) + y).relu().mean((2, 3)))

    net, x = with_statistics(seeded(Net())), drawn(2, 2, 5, 5)
    rules = {kind: ZeroRule() for kind in (nn.Linear, nn.Conv2d, nn.BatchNorm2d)}
    leaf = x.clone().requires_grad_()
    score = net(leaf)[:, 1]
    (gradient,) = torch.autograd.grad(score.sum(), leaf)
    found = LRP(rules)(net, x, 1)
    close(found.values, x * gradient)
    close(found.convergence_delta, (x * gradient).sum((1, 2, 3)) - score.detach())


def rules_after_batch_norm() -> None:
    """Merged by hand: relevance by z+ of a convolution and its BatchNorm is that of one convolution."""
    conv, norm = nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2)
    apart = with_statistics(seeded(nn.Sequential(conv, norm, nn.Flatten())))
    merged = seeded(nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten()))
    scale = norm.weight.data / (norm.running_var + norm.eps).sqrt()
    merged[0].weight.data = conv.weight.data * scale.reshape(2, 1, 1, 1)
    merged[0].bias.data = (conv.bias.data - norm.running_mean) * scale + norm.bias.data
    x, rules = drawn(3, 1, 3, 3), {nn.Conv2d: ZPlusRule()}
    close(LRP(rules)(apart, x, 5).values, LRP(rules)(merged, x, 5).values)


def losses_of_softmaxes() -> None:
    softmax_losses.test_formulas_are_what_goes_in_without_what_comes_out()
    for name in ("bias", "in any order"):
        softmax_losses.test_losses_are_those_of_the_attention_in_plain_steps(name)
    softmax_losses.test_without_offsets_all_that_is_missing_was_lost_by_softmaxes(softmax_losses.fused, latent=False)


def transposed_equations() -> None:
    assert transposed_equation("btd,de->be", [drawn(2, 3, 4), drawn(4, 2)], is_first=True) is None


def ranks_of_sums() -> None:
    """A sum with a signal is a signal, whatever else is in it; weights without NaN still are weights."""
    attention.test_weights_still_are_weights_after("without NaN")
    x, y = drawn(3, 4), drawn(3, 4, seed=1)
    found = LRP(applied.RULES)(applied.Apply(lambda a, b: (a.sigmoid() + a) * b.sigmoid()), (x, y))
    assert not found.parts[1].any()


def convolution_as_large_as_the_image() -> None:
    maps.test_transposes_are_the_gradient_of_the_map("as large as the image")


def places_of_samples() -> None:
    for name in sample_places.MOVES:
        sample_places.test_samples_are_found_wherever_they_were_moved(name)


absorbed_share = relevance_propagation.test_offsets_absorb_and_their_share_is_reported


def rules_of_operations() -> None:
    activations.test_activations_hand_relevance_on_by_any_name("sin")
    for name in ("layer", "group", "root mean square"):
        normalisation.test_the_spread_of_a_normalisation_is_a_constant(name)
    x, y = drawn(3, 4), drawn(3, 4, seed=1)
    products = ((lambda a, b: a * b.sigmoid(), 1.0), (lambda a, b: a * b, 0.5), (lambda a, b: a / (b * b), 1.0))
    for function, of_x in products:
        relevance = function(x, y) * applied.weights(4)
        found = LRP({})(applied.Apply(function), (x, y))
        close(found.parts[0], of_x * relevance)
        close(found.parts[1], (1 - of_x) * relevance)
    attention.test_attention_equals_its_dense_form(attention.fused, "bias")
    for kind in ("lstm", "gru"):
        recurrent.test_recurrent_layers_give_the_same_output_and_conserve(kind, {"bidirectional": True}, packed=True)


def activations_hand_on() -> None:
    net, x = mlp(smooth=True), drawn(3, 4)
    relevance = LRP({nn.Linear: ZeroRule()}).layer_relevance(net, x, 1, layers=["2", "3"])
    close(relevance["2"], relevance["3"])
    close(relevance["3"].sum(1), net(x)[:, 1].detach() - net[4].bias[1].detach())


def scaled_input_of_an_input_rule() -> None:
    layer, x = seeded(nn.Linear(3, 2)), drawn(2, 3)

    class Halved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, v: Tensor) -> Tensor:
            return self.layer(v / 2 + 1)

    rules = {nn.Linear: WSquareRule()}
    close(LRP(rules)(Halved(), x, 1).values, LRP(rules)(layer, x / 2 + 1, 1).values)


MUTATIONS = [
    Mutation("attribution.lrp.rules.EpsilonRule.modified_gradient", "-self.epsilon", "self.epsilon", epsilon),
    Mutation("attribution.lrp.rules.EpsilonRule.modified_gradient", "z.abs().add_", "z.add", epsilon),
    Mutation(
        "attribution.lrp.signs.Favouring.back",
        "(self.for_positive, self.for_negative)",
        "(self.for_negative, self.for_positive)",
        z_plus,
    ),
    Mutation("attribution.lrp.signs.Favouring.bias", "_by_sign(bias, self.positive, self.negative)", "bias", gamma),
    Mutation("attribution.lrp.signs._by_sign", "below / above", "below", gamma),
    Mutation(
        "attribution.lrp.rules.GammaRule.modified_gradient",
        "Favouring(layer, 1 + self.gamma, 1)",
        "Favouring(layer, 1, 1 + self.gamma)",
        gamma,
    ),
    Mutation("attribution.lrp.signs.is_zero", "float(a.amin()) == 0 and float(a.amax()) == 0", "True", gamma),
    Mutation(
        "attribution.lrp.rules.GammaRule.modified_gradient",
        "where_positive(of_positive, z, out=of_positive)",
        "of_positive",
        nothing_to_share_by_gamma,
    ),
    Mutation("attribution.lrp.rules.GammaRule._of_negative", "where_negative(shares, z, out=shares)", "shares", gamma),
    Mutation("attribution.lrp.rules.GammaRule._of_negative", "2", "1", gamma),
    Mutation(
        "attribution.lrp.rules.GammaRule.modified_gradient",
        "layer.transpose(of_positive - of_negative, layer.weight * (1 + self.gamma / 2), a)",
        "layer.transpose(of_positive, layer.weight, a)",
        gamma,
    ),
    Mutation(
        "attribution.lrp.rules.GammaRule.modified_gradient",
        "layer.weight.abs() * (self.gamma / 2)",
        "layer.weight.abs() * self.gamma",
        gamma,
    ),
    Mutation(
        "attribution.lrp.rules.GammaRule.modified_gradient",
        "layer.transpose(of_positive.add_(of_negative), layer.weight.abs() * (self.gamma / 2), a)",
        "layer.transpose(of_positive, layer.weight.abs() * (self.gamma / 2), a)",
        gamma,
    ),
    Mutation(
        "attribution.lrp.rules.GammaRule.modified_gradient",
        "torch.addcmul(back, of_sizes, a.sign(), out=back)",
        "back.add_(of_sizes)",
        gamma,
    ),
    Mutation(
        "attribution.lrp.module_rules.Layers.settle",
        "readers.get(node, set()) - {'Relu'}",
        "set()",
        layer_read_beside_its_relu,
    ),
    Mutation(
        "attribution.lrp.rules.AlphaBetaRule.modified_gradient",
        "total -= self.beta * Favouring(layer, 0, 1).share_out(gradient, a, z)",
        "total += self.beta * Favouring(layer, 0, 1).share_out(gradient, a, z)",
        alpha_beta,
    ),
    Mutation(
        "attribution.lrp.rules.AlphaBetaRule.modified_gradient",
        "self.alpha * Favouring(layer, 1, 0).share_out(gradient, a, z)",
        "Favouring(layer, 1, 0).share_out(gradient, a, z)",
        alpha_beta,
    ),
    Mutation(
        "attribution.lrp.rules.ZPlusRule.modified_gradient", "Favouring(layer, 1, 0)", "Favouring(layer, 0, 1)", z_plus
    ),
    Mutation(
        "attribution.lrp.signs.Favouring.bias",
        "_by_sign(bias, self.positive, self.negative)",
        "_by_sign(bias, self.negative, self.positive)",
        z_plus,
    ),
    Mutation(
        "attribution.lrp.signs.Favouring.share_out", "shares if self.positive else shares.neg_()", "shares", alpha_beta
    ),
    Mutation(
        "attribution.lrp.signs.Favouring.share_out",
        "if not self.positive:\n    total.neg_()",
        "if not self.positive:\n    pass",
        alpha_beta,
    ),
    Mutation(
        "attribution.lrp.signs.Favouring.totals",
        "(self.positive - self.negative) / 2",
        "self.positive - self.negative",
        z_plus,
    ),
    Mutation("attribution.lrp.signs.Favouring.totals", "(self.positive + self.negative) / 2", "1", z_plus),
    Mutation(
        "attribution.lrp.signs.Favouring.share_out",
        "torch.div(z, total, out=total).clamp_(-largest, largest)",
        "torch.div(z, total, out=total)",
        share_beyond_16_bits,
    ),
    Mutation(
        "attribution.lrp.signs.Favouring.share_out",
        "functional.threshold(total, 0, math.inf, inplace=True)",
        "None",
        signs.test_what_rounding_leaves_of_a_total_hands_on_at_most_twice_what_arrived,
    ),
    Mutation("attribution.lrp.signs.Favouring.back", "by_sign(for_positive, for_negative, a)", "for_positive", z_plus),
    Mutation("attribution.lrp.signs.share", "total.sign().abs_().neg_().add_(1.0)", "0.0", nothing_to_share),
    Mutation("attribution.lrp.input_rules.FlatRule.relevance", "torch.ones_like(layer.weight)", "layer.weight", flat),
    Mutation("attribution.lrp.maps.Dense.spread", "s.sum", "s.mean", flat),
    Mutation("attribution.lrp.input_rules.WSquareRule.relevance", "layer.weight.square", "layer.weight.abs", w_square),
    Mutation(
        "attribution.lrp.input_rules.ZBoxRule.relevance",
        "(a - high) * by_weight + (high - low) * by_positive",
        "(a - low) * by_weight + (high - low) * by_positive",
        z_box,
    ),
    Mutation(
        "attribution.lrp.input_rules.ZBoxRule.relevance",
        "(a - high) * by_weight + (high - low) * by_positive",
        "(a - high) * by_weight + high * by_positive",
        z_box,
    ),
    Mutation(
        "attribution.lrp.input_rules.ZBoxRule.relevance",
        "layer.apply(low, above, layer.bias)",
        "layer.apply(low, above)",
        z_box,
    ),
    Mutation("attribution.lrp.calls.scaling_of", "-running_mean", "running_mean", relevance_of_a_convnet),
    Mutation("attribution.lrp.maps._shifted", "bias * scale", "bias", rules_after_batch_norm),
    Mutation(
        "attribution.lrp.method.LRP.__call__",
        "flat(values).sum(1) - change",
        "change - flat(values).sum(1)",
        relevance_of_a_convnet,
    ),
    Mutation("attribution.lrp.steps.ratio_of", "a / z", "a * z", activations_hand_on),
    Mutation("attribution.lrp.steps.Shared.backward", "gradients[0] * ctx.share", "gradients[0]", rules_of_operations),
    Mutation(
        "attribution.lrp.steps.PassedActivation.forward", "ratio_of(read, a)", "torch.ones_like(a)", rules_of_operations
    ),
    Mutation(
        "attribution.lrp.steps.Normalised.backward",
        "gradient = gradient - gradient.mean(ctx.centred, keepdim=True)",
        "pass",
        rules_of_operations,
    ),
    Mutation("attribution.lrp.steps.Normalised.backward", "gradient * spread", "gradient", rules_of_operations),
    Mutation("attribution.lrp.steps.Normalised.backward", "gradient * scale[0]", "gradient * 1", rules_of_operations),
    Mutation("attribution.lrp.operations.products._div", "divisor.detach()", "divisor", rules_of_operations),
    Mutation(
        "attribution.lrp.operations.gates.shares_of_factors",
        "rank == min(ranks)",
        "rank == max(ranks)",
        rules_of_operations,
    ),
    Mutation("attribution.lrp.operations.attention._shares", "of_weights / 2", "of_weights", rules_of_operations),
    Mutation(
        "attribution.lrp.operations.attention._shares",
        "0.0 if is_constant else 0.5",
        "0.5 if is_constant else 0.5",
        rules_of_operations,
    ),
    Mutation(
        "attribution.lrp.operations.recurrent._lstm_step",
        "_gated(torch.sigmoid(f), c) + torch.sigmoid(i) * torch.tanh(g)",
        "_gated(torch.sigmoid(f), c) + torch.sigmoid(i) * torch.sigmoid(g)",
        rules_of_operations,
    ),
    Mutation("attribution.lrp.operations.recurrent._gru_step", "1 - update", "update", rules_of_operations),
    Mutation(
        "attribution.lrp.operations.recurrent._one_way",
        "reversed(range(len(sizes)))",
        "range(len(sizes))",
        rules_of_operations,
    ),
    Mutation(
        "attribution.lrp.method.LRP.__call__",
        "1 - arrived / change",
        "arrived / change",
        absorbed_share,
    ),
    Mutation(
        "attribution.lrp.softmax_losses.lost_by_softmax",
        "arriving * (1 - surprise.sum(dim, keepdim=True)) + (surprise * gradient).sum(dim, keepdim=True)",
        "arriving * (1 - surprise.sum(dim, keepdim=True)) - (surprise * gradient).sum(dim, keepdim=True)",
        losses_of_softmaxes,
    ),
    Mutation(
        "attribution.lrp.softmax_losses.lost_by_softmax",
        "1 - surprise.sum(dim, keepdim=True)",
        "1 + surprise.sum(dim, keepdim=True)",
        losses_of_softmaxes,
    ),
    Mutation(
        "attribution.lrp.softmax_losses.lost_by_log_softmax",
        "-surprise.sum(dim, keepdim=True)",
        "surprise.sum(dim, keepdim=True)",
        losses_of_softmaxes,
    ),
    Mutation(
        "attribution.lrp.softmax_losses.lost_by_logsumexp",
        "entropy * gradient",
        "gradient",
        losses_of_softmaxes,
    ),
    Mutation(
        "attribution.lrp.softmax_losses.Expansion.by_sample",
        "(second / first).nan_to_num(1.0).round().long() - 1",
        "(second / first).nan_to_num(1.0).round().long() - 2",
        losses_of_softmaxes,
    ),
    Mutation(
        "attribution.lrp.operations.attention._note_loss",
        "-share * read.detach() * gradient",
        "share * read.detach() * gradient",
        losses_of_softmaxes,
    ),
    Mutation(
        "attribution.lrp.operations.attention._is_mask",
        "(mask == 0) | (mask < HIDES)",
        "(mask == 0) | (mask < 10)",
        losses_of_softmaxes,
    ),
    Mutation(
        "attribution.sample_places.SamplePlaces.sums",
        "by_place.reshape(self.outer, self.n_samples, self.inner).sum((0, 2))",
        "by_place.reshape(self.outer, self.n_samples, self.inner).sum((0, 1))",
        places_of_samples,
    ),
    Mutation(
        "attribution.sample_places.viewed",
        "stride // behind",
        "1",
        places_of_samples,
    ),
    Mutation(
        "attribution.sample_places._stacked",
        "places.dim + (new <= places.dim)",
        "places.dim + 1",
        places_of_samples,
    ),
    Mutation(
        "attribution.sample_places._permuted",
        "order.index(places.dim)",
        "order[places.dim]",
        places_of_samples,
    ),
    Mutation(
        "attribution.sample_places._reduced",
        "places.dim - sum(dim < places.dim for dim in dims)",
        "places.dim",
        places_of_samples,
    ),
    Mutation(
        "attribution.lrp.maps.Convolution.transpose",
        "s.flatten(1) @ weight.flatten(1)",
        "s.flatten(1) @ weight.flatten(1).abs()",
        convolution_as_large_as_the_image,
    ),
    Mutation(
        "attribution.lrp.trace.RelevanceTrace._carry_rank",
        "min(map(self.rank, explained))",
        "max(map(self.rank, explained))",
        ranks_of_sums,
    ),
    Mutation(
        "attribution.lrp.operations.activations._passed_on",
        "max(rank, tracer.rank(z))",
        "rank",
        ranks_of_sums,
    ),
    Mutation(
        "attribution.lrp.operations.products.transposed_equation",
        "set(read) <= set(after + constant)",
        "True",
        transposed_equations,
    ),
    Mutation(
        "attribution.lrp.propagation.Pass.relevance",
        "entry.value * next(gradients)",
        "next(gradients)",
        activations_hand_on,
    ),
    Mutation("attribution.autograd_graph.moved_back", "relevance / scale", "relevance", scaled_input_of_an_input_rule),
    Mutation(
        "attribution.lrp.rules.ZeroRule.modified_gradient",
        "layer.transpose(gradient, layer.weight, a)",
        "layer.transpose(gradient * 2, layer.weight, a)",
        zero,
    ),
]
