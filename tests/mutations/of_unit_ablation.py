"""Errors made on purpose in the ablation of units: each is noticed by its check."""

import torch
from torch import nn

from lightning_explain.faithfulness.clamping import Clamp
from lightning_explain.faithfulness.inner_clamping import held_inside, with_held_state
from lightning_explain.faithfulness.unit_ablation import ablated_effects
from lightning_explain.faithfulness.unit_effects import UnitEffects, paired_standard_error
from lightning_explain.neurons import unit_layers
from tests.mutations.checking import close
from tests.mutations.mutation import Mutation


def error_of_a_change() -> None:
    lost, gained, n = torch.tensor([0, 3]), torch.tensor([0, 5]), torch.tensor([4, 20])
    close(paired_standard_error(lost, gained, n), [1 / 6, ((3 + 5 + 1) - (5 - 3) ** 2 / 22) ** 0.5 / 22])


def network() -> tuple[nn.Sequential, torch.Tensor, torch.Tensor]:
    """Class 0 where the input is positive, by unit 0; unit 1 tells nothing."""
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [0.0]]))
        net[0].bias.copy_(torch.tensor([0.0, 1.0]))
        net[2].weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
        net[2].bias.zero_()
    return net, torch.tensor([[3.0], [1.0], [-1.0], [-2.0]]), torch.tensor([0, 0, 1, 1])


def effects_by_hand() -> None:
    net, x, y = network()
    found: UnitEffects = ablated_effects(net, x, y, unit_layers(net), {"1": [1, 0]}).effects["1"]
    # unit 0 is 3, 1, 0, 0: at its mean 1 every sample scores 2 against 1, so both of class 1 are lost
    close(found.change, [[0.0, 0.0], [0.0, -1.0]])
    close(found.lost, [[0.0, 0.0], [0.0, 2.0]])
    close(found.gained, [[0.0, 0.0], [0.0, 0.0]])
    own = torch.tensor([[6.0, 1.0], [2.0, 1.0], [0.0, 1.0], [0.0, 1.0]]).softmax(1)[range(4), y]
    without = torch.tensor([[2.0, 1.0]]).softmax(1)[0]
    moved = torch.stack([without[0] - own[:2], without[1] - own[2:]])
    close(found.probability[1], moved.mean(1).tolist())
    close(found.probability_error[1], (moved.std(1) / 2**0.5).tolist())


def held_state_by_hand() -> None:
    layer = nn.RNN(1, 2, nonlinearity="relu", batch_first=True)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(torch.tensor([[1.0], [1.0]]))
        layer.weight_hh_l0.copy_(torch.tensor([[0.0, 3.0], [1.0, 0.0]]))
        layer.bias_ih_l0.zero_()
        layer.bias_hh_l0.copy_(torch.tensor([1.0, 0.0]))
        held = with_held_state(layer, 1, 2.0)
        found, _ = held(torch.tensor([[[1.0], [4.0]]]))
    # unit 0: 1 + 1 + 3 * 2, then 4 + 1 + 3 * 2; unit 1, as computed: 1 + 0, then 4 + 8
    close(found.flatten(), [8.0, 1.0, 11.0, 12.0])


def held_head_by_hand() -> None:
    own = nn.MultiheadAttention(2, 2, bias=False, batch_first=True).eval()
    with torch.no_grad():
        own.in_proj_weight.zero_()
        own.in_proj_weight[4:] = torch.eye(2)
        own.out_proj.weight.copy_(torch.tensor([[1.0, 10.0], [0.0, 1.0]]))
        (layer,) = unit_layers(nn.Sequential(own), "0")
        x = torch.tensor([[[1.0, 3.0]], [[5.0, 7.0]]])
        with held_inside(layer, "0", [Clamp(slice(1, 2), 1, torch.tensor([2.0]))]):
            found, _ = own(x, x, x)
    close(found.flatten(), [31.0, 3.0, 25.0, 2.0])


INNER = "faithfulness.inner_clamping"

MUTATIONS = [
    Mutation(f"{INNER}.with_held_state", "column * value", "column", held_state_by_hand),
    Mutation(f"{INNER}.with_held_state", "parameter.zero_() if own is None else parameter.copy_(own)",
             "parameter.zero_()", held_state_by_hand),
    Mutation(f"{INNER}.InnerClamp.after_attention", "moved @ weights[:, clamp.unit].T", "moved @ weights[:, 0].T",
             held_head_by_hand),
    Mutation(f"{INNER}.InnerClamp.after_attention", "_as(clamp.value, heads) - heads[clamp.rows, :, clamp.unit]",
             "_as(clamp.value, heads) + heads[clamp.rows, :, clamp.unit]", held_head_by_hand),
    Mutation("faithfulness.unit_effects.paired_standard_error", "n_samples.double() + 2", "n_samples.double()",
             error_of_a_change),
    Mutation("faithfulness.unit_effects.paired_standard_error", "lost + gained + 1 - difference.square() / total",
             "lost + gained - difference.square() / total", error_of_a_change),
    Mutation("faithfulness.unit_effects.paired_standard_error", "difference.square() / total", "difference / total",
             error_of_a_change),
    Mutation("faithfulness.unit_effects.UnitEffects.change", "self.gained - self.lost", "self.lost - self.gained",
             effects_by_hand),
    Mutation("faithfulness.unit_ablation._effects", "right * (1 - still)", "right * still", effects_by_hand),
    Mutation("faithfulness.unit_ablation._effects", "(1 - right) * still", "right * still", effects_by_hand),
    Mutation("faithfulness.unit_ablation._effects", "n_samples - 1", "n_samples", effects_by_hand),
    Mutation("faithfulness.unit_ablation._effects", "n_samples * mean.square()", "mean.square()", effects_by_hand),
    Mutation("faithfulness.unit_ablation._Runner.without", "self.sums[key].total / max(1.0, self.sums[key].n_values)",
             "self.sums[key].total", effects_by_hand),
    Mutation("faithfulness.unit_ablation._Runner.without", "slice(i * n, (i + 1) * n)", "slice(0, n)", effects_by_hand),
]  # fmt: skip
