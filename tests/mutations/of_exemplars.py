"""Errors made on purpose in the search for exemplars and in what is shown of them: each is noticed by its check."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from lightning_explain.attribution.gradients import InputXGradient
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.neurons.exemplars.card_maker import CardMaker
from lightning_explain.callbacks.neurons.exemplars.sample_numbers import DataNumbers
from lightning_explain.capture import Call
from lightning_explain.exemplars import Exemplars, LayerExemplars
from lightning_explain.exemplars.batch_samples import BatchSamples
from lightning_explain.exemplars.candidates import Candidates, _keys, batch_threshold
from lightning_explain.exemplars.excitation import heatmaps, values_at
from lightning_explain.exemplars.layer_exemplars import Remembered, purity, settled, stayed
from lightning_explain.exemplars.peaks import as_places, joint_shape, peaks_of, positions_at
from lightning_explain.exemplars.receptive_field import ReceptiveFields, flat_place, pieces
from lightning_explain.exemplars.top_samples import (
    EMPTY,
    LAST_NUMBER,
    TopSamples,
    keys_of,
    merged,
    merged_once,
    values_of,
)
from lightning_explain.exemplars.unit_outputs import UnitOutputs
from lightning_explain.exemplars.unit_relevance import _of_attention, _of_states, unit_relevance
from lightning_explain.neurons.views import AttentionHeads, HiddenUnits, Units
from tests.callbacks.neurons.exemplars.small_data import trainer_of
from tests.exemplars.followed_layers import followed_layers
from tests.mutations.checking import close
from tests.mutations.mutation import Mutation

CPU = torch.device("cpu")

N = 400
"""So many samples that candidates are sorted several times."""


def order_of_keys() -> None:
    values = torch.tensor([-2.0, 3.0, -0.0, 0.0, -1.0, 3.0, torch.inf, torch.nan, 9.0, -1e-40])
    keys = keys_of(values, torch.tensor([0, 6, 3, 4, 1, 5, 2, 7, -1, 8]))
    assert keys.argsort(descending=True, stable=True).tolist()[:7] == [5, 1, 2, 3, 9, 4, 0]
    assert (keys == EMPTY).tolist() == [False] * 6 + [True] * 3 + [False]
    close(values_of(keys)[:6], values[:6])
    first, last = keys_of(torch.ones(2), torch.tensor([0, LAST_NUMBER])).tolist()
    assert first > last


def best_of_two() -> None:
    def top(values: list[float], numbers: list[int]) -> TopSamples:
        of = torch.tensor([numbers])
        return TopSamples(keys_of(torch.tensor([values]), of), of * 10, of * 100)

    found = merged(top([5.0, -4.0], [1, 2]), top([-5.0, 5.0, -4.0], [3, 0, 4]))
    assert found.numbers.tolist() == [[0, 1]] and found.labels.tolist() == [[0, 10]]
    assert found.places.tolist() == [[0, 100]] and found.values.tolist() == [[5.0, 5.0]]
    once = merged_once(top([5.0, 4.0], [1, 2]), top([5.0, 3.0], [1, 3]))
    assert once.numbers.tolist() == [[1, 2]]
    empty = TopSamples.none(1, 2, CPU)
    assert empty.numbers.tolist() == [[-1, -1]] and bool(empty.values.isnan().all())


def threshold_of_a_batch() -> None:
    values = np.array([[1.0, 2.0], [5.0, 2.0], [4.0, -1.0]], dtype=np.float32)
    assert batch_threshold(values, 2).tolist() == [4.0, 2.0] and batch_threshold(values, 3).tolist() == [1.0, -1.0]
    assert np.isneginf(batch_threshold(values, 4)).all()
    values[0, 0] = np.nan
    assert batch_threshold(values, 2).tolist() == [-np.inf, 2.0]


def positions_none(rows: npt.NDArray[np.int64], units: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.zeros_like(rows)


def candidates_equal_a_sort() -> None:
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        most = (3, 200)[seed // 3]  # many ties, or few
        values = torch.randint(-most, most + 1, (N, 3), generator=generator).float()
        numbers, labels = torch.randperm(N, generator=generator), torch.arange(N)
        found = Candidates(3, 4)
        size = (3, 10)[seed % 2]
        for start, stop in pairwise([0, 2, *range(4, N, size), N]):
            part = slice(start, stop)
            found.add(values[part], BatchSamples.of(numbers[part], labels[part], None, after=N), positions_none, (1,))
        top = found.top()
        for unit in range(3):
            best = sorted(range(N), key=lambda row: (-float(values[row, unit]), int(numbers[row])))[:4]
            assert top.labels[unit].tolist() == best and top.numbers[unit].tolist() == numbers[best].tolist()
    few = Candidates(1, 4)
    for numbers in (torch.arange(4), torch.tensor([4])):
        few.add(
            torch.tensor([9.0, 8.0, 7.0, 1.0, 5.0])[numbers, None], BatchSamples.of(numbers, numbers, None, after=N)
        )
        few.top()
    assert few.top().numbers.tolist() == [[0, 1, 2, 4]]
    none = Candidates(1, 4)
    for numbers in (torch.arange(2), torch.arange(2, 4)):
        values = torch.tensor([9.0, 8.0, -7.0, -1.0])[numbers, None]
        none.add(values, BatchSamples.of(numbers, numbers, None, after=N), positions_none, (1,))
        none.top()
    assert none.top().numbers.tolist() == [[0, 1, 3, 2]]


def samples_that_count() -> None:
    found = BatchSamples.of(
        torch.tensor([0, -1, 6, 5]), torch.arange(4), torch.tensor([True, True, True, False]), after=0
    )
    assert found.numbers.tolist() == [0, 6] and found.labels.tolist() == [0, 2] and found.last == 6
    assert not found.are_later


def later_ties_are_passed_over() -> None:
    kept = Candidates(1, 2)
    for start in range(0, 40, 4):
        numbers = torch.arange(start, start + 4)
        kept.add(torch.zeros(4, 1), BatchSamples.of(numbers, numbers, None, after=start - 1), positions_none, (1,))
    assert kept.top().numbers.tolist() == [[0, 1]]
    largest = torch.tensor([[1.0], [5.0], [5.0]])
    numbers = torch.tensor([41, 42, 43])
    kept.add(largest, BatchSamples.of(numbers, numbers, None, after=39), positions_none, (1,))
    assert kept.top().numbers.tolist() == [[42, 43]]


def blocks_of_rows() -> None:
    values = torch.randn(10 + 8 * 700, 3, generator=torch.Generator().manual_seed(0))
    values[17, 0] = values[4001, 0] = values[:, 0].max() + 1
    values[4000, 0] = torch.nan
    values[8 * 700 + 9, 2] = 99.0
    kept, labels = Candidates(3, 4), torch.arange(len(values))
    for part in (slice(0, 10), slice(10, None)):
        samples = BatchSamples.of(labels[part], labels[part], None, after=int(labels[part][0]) - 1)
        kept.add(values[part], samples, positions_none, (1,))
    best = values.nan_to_num(-9.0).t().topk(4).indices
    assert kept.top().labels.sort().values.tolist() == best.sort().values.tolist()


def silent_units_keep_the_first() -> None:
    # a unit that fires for few samples, one for none, one for all
    values = torch.zeros(8 * 700, 3)
    values[5000, 0], values[5001, 0], values[17, 0] = 3.0, 4.0, 1.0
    values[:, 2] = torch.arange(8 * 700) % 1000 + 1.0
    for parts in ((slice(0, None),), (slice(0, 16), slice(16, None))):
        kept, numbers = Candidates(3, 4), torch.arange(len(values))
        for part in parts:
            samples = BatchSamples.of(numbers[part], numbers[part], None, after=int(numbers[part][0]) - 1)
            kept.add(values[part], samples, positions_none, (1,))
        assert kept.top().numbers.tolist() == [[5001, 5000, 17, 0], [0, 1, 2, 3], [999, 1999, 2999, 3999]]


def keys_on_a_processor() -> None:
    values = torch.tensor([-3.4e38, -1.0, -1e-45, -0.0, 0.0, 1e-45, 1.0, torch.nan, torch.inf])
    numbers = torch.arange(9).flip(0)
    assert _keys(values.numpy(), numbers.numpy()).tolist() == keys_of(values, numbers).tolist()


def shares_by_hand() -> None:
    close(purity(torch.tensor([[0, 0, 0, 2], [2, 1, -1, -1]])), [0.75, 0.5])
    assert bool(purity(torch.tensor([[-1, -1]])).isnan())
    close(stayed(torch.tensor([[7, 2, 9, -1], [0, 1, 2, 3]]), torch.tensor([[2, 7, 1, -1], [3, 2, 1, 0]])), [2 / 3, 1])
    found = settled(torch.tensor([-1, 2, 2, 0]), torch.tensor([0.75, 1.0, 0.5, 0.875]), 4)
    assert found.tolist() == [4, 2, -1, 0]


def reports_compared() -> None:
    samples = torch.tensor([[4, 5], [6, -1]])
    top = TopSamples(keys_of(torch.tensor([[2.0, 1.0], [0.0, 0.0]]), samples), samples, as_places(samples, (9,)))
    before = Remembered(samples, torch.tensor([-1, -1]), 1, "activation")
    found = LayerExemplars.of(top, samples, shape=(9,), by="activation", epoch=3, before=before)
    assert found.settled.tolist() == [1, 1] and found.excited.tolist() == [True, False]
    assert found.positions.tolist() == [[[4], [5]], [[6], [-1]]] and found.labels.tolist() == [[4, 5], [6, -1]]
    other = LayerExemplars.of(top, samples, shape=(9,), by="relevance", epoch=3, before=before)
    assert bool(other.stayed.isnan().all())
    assert other.scalars() == {"purity": 0.5}


def peaks_by_hand() -> None:
    values = torch.tensor([[[0.0, 3, 1], [2, 3, 3]], [[-5, -1, -2], [-4, -3, -9]]])[None]
    found = peaks_of(Units(values, unit_dim=1))
    assert found.values.tolist() == [[3.0, -1.0]]
    assert positions_at(found.places, 2).tolist() == [[[0, 1], [0, 1]]]
    padded = Units(torch.tensor([[[9.0], [1.0], [2.0]]]), torch.tensor([[False, True, True]]))
    assert peaks_of(padded).values.tolist() == [[2.0]]
    assert positions_at(as_places(torch.tensor([17]), (2, 3, 4)), 3).tolist() == [[1, 1, 1]]
    assert joint_shape((5, 9), (7, 8)) == (7, 9) and flat_place((1, 2), (4, 5)) == 7


def fields(net: nn.Module, x: Tensor, places: list[int]) -> list[tuple[tuple[int, int], ...]]:
    axes = tuple(range(1, x.ndim - 1))
    found = ReceptiveFields(axes, x.shape[2:])
    with torch.no_grad():
        found.look("net", lambda given: {"net": net(*given).flatten(2)}, [x], 0, places)
    return [found.box(place) for place in places]


def receptive_fields() -> None:
    torch.manual_seed(0)
    # one unit of a rectifier that is off: it shows what raises it only
    off = nn.Sequential(nn.Conv1d(1, 1, 2), nn.ReLU())
    off[0].weight.data.fill_(1.0)  # type: ignore[union-attr]
    off[0].bias.data.fill_(-50.0)  # type: ignore[union-attr]
    assert fields(off, torch.randn(2, 1, 12), list(range(11))) == [((p, p + 2),) for p in range(11)]
    maps = nn.Conv2d(1, 2, (2, 3))
    assert fields(maps, torch.randn(2, 1, 4, 6), [0, 7]) == [((0, 2), (0, 3)), ((1, 3), (3, 6))]
    # longer than what is tried step by step
    strided = nn.Conv1d(1, 2, 8, stride=5)
    assert fields(strided, torch.randn(1, 1, 300), [0, 7, 30]) == [((5 * p, 5 * p + 8),) for p in (0, 7, 30)]
    assert pieces(3) == [(0, 1), (1, 2), (2, 3)] and pieces(257)[::128] == [(0, 2), (256, 257)]


def excited_by_hand() -> None:
    net = nn.Sequential(nn.Conv1d(1, 2, 2, bias=False), nn.Identity())
    net[0].weight = nn.Parameter(torch.tensor([[[1.0, -2.0]], [[3.0, 5.0]]]))
    x, units, places = torch.tensor([[[1.0, 2.0, 3.0]], [[4.0, -1.0, 6.0]]]), torch.tensor([1, 0]), torch.tensor([0, 1])
    (layer,) = followed_layers(net, x, names=["1"])
    wider = UnitOutputs(net, net, layer, "1", 3)
    for outputs in (UnitOutputs(net, net, layer, "1", 2), wider):
        (found,) = heatmaps(outputs, [x], units, places, method=InputXGradient())
        close(found.flatten(), [3.0, 10.0, 0.0, 0.0, -1.0, -12.0])
    assert values_at(net(x), units, places).tolist() == [13.0, -13.0]


def relevance_by_hand() -> None:
    net = nn.Sequential(nn.Conv1d(1, 2, 1, bias=False), nn.Identity(), nn.Flatten(), nn.Linear(4, 2, bias=False))
    net[0].weight = nn.Parameter(torch.tensor([[[1.0]], [[2.0]]]))
    net[3].weight = nn.Parameter(torch.tensor([[1.0, -3.0, 0.0, 1.0], [5.0, 1.0, -1.0, 0.5]]))
    x = torch.tensor([[[1.0, 2.0]], [[3.0, 1.0]], [[1.0, 1.0]]])
    # the third sample has no class, so that it is taken by its largest score, that of class 1
    (peaks, shape) = unit_relevance(net, [x], torch.tensor([0, 1, -1]), followed_layers(net, x, names=["1"]))["1"]
    assert shape == (2,)
    close(peaks.values.flatten(), [1.0 - 6.0, 4.0, 15.0 + 1.0, -6.0 + 1.0, 5.0 + 1.0, -2.0 + 1.0])
    assert positions_at(peaks.places, 1)[:, :, 0].tolist() == [[0, 1], [0, 1], [0, 1]]


class Rows(torch.utils.data.Dataset[tuple[Tensor, int]]):
    X = torch.arange(1.0, 31.0).reshape(2, 1, 3, 5)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.X[index], index

    def __len__(self) -> int:
        return 2


def crops_by_hand() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 2, bias=False), nn.Identity())
    net[0].weight = nn.Parameter(torch.tensor([1.0, -1.0])[:, None, None, None].expand(2, 1, 2, 2).contiguous())
    samples = torch.tensor([[1, 0], [0, -1]])
    positions = torch.tensor([[[1, 3], [0, 1]], [[0, 2], [-1, -1]]])
    with torch.no_grad():
        first, second = net(Rows.X)
    values = torch.stack([second[0, 1, 3], first[0, 0, 1], first[1, 0, 2], first[1, 0, 2]]).reshape(2, 2)
    exemplars = LayerExemplars(
        samples=samples, values=values, labels=samples, positions=positions, shape=(2, 4), by="activation", epoch=0,
        stayed=torch.zeros(2), settled=torch.zeros(2),
    )  # fmt: skip
    maker = CardMaker(Exemplars(k=2, shown=2), Question(), Guard("exemplars", "raise"))
    loader = torch.utils.data.DataLoader(Rows(), 2)
    found = maker.cards(
        trainer_of(loader, module=net), net, DataNumbers((2,), (True,), 10), {"1": exemplars},
        followed_layers(net, Rows.X, names=["1"]), {"1": {0: "a", 1: "b"}}, {},
    )["1"]  # fmt: skip
    assert {unit: len(each.exemplars) for unit, each in found.items()} == {0: 2, 1: 1}
    for unit, rank, (top, left) in ((0, 0, (1, 3)), (0, 1, (0, 1)), (1, 0, (0, 2))):
        each = found[unit].exemplars[rank]
        assert each.box == ((top, top + 2), (left, left + 2)) and each.position == (top, left)
        crop = Rows.X[int(samples[unit, rank]), :, top : top + 2, left : left + 2]
        assert torch.equal(each.crop, crop) and each.heatmap is not None
        close(each.heatmap, crop[0] * (1 if unit == 0 else -1))
        close(each.heatmap.sum(), [each.value])
    assert found[0].limits == (1.0, 30.0)


def relevance_of_states() -> None:
    view, steps = HiddenUnits(batch_first=True), torch.zeros(2, 3, 4)
    packed = pack_padded_sequence(steps, torch.tensor([3, 2]), batch_first=True)
    state = torch.tensor([[[1.0, 2], [3, 4]], [[5, 6], [7, 8]]])
    found = _of_states(view, Call((), {}, (packed, state)), [packed.data, state])
    assert found is not None
    assert found.values[0].tolist() == [[0.0, 0, 5, 6], [0, 0, 0, 0], [1, 2, 0, 0]]
    assert found.values[1].tolist() == [[0.0, 0, 7, 8], [3, 4, 0, 0], [0, 0, 0, 0]]


def relevance_of_heads() -> None:
    own = nn.MultiheadAttention(2, 2, bias=False, batch_first=True).eval()
    x = torch.tensor([[[2.0, 3.0]]])
    with torch.no_grad():
        own.in_proj_weight[4:] = torch.eye(2)
        own.out_proj.weight.copy_(torch.tensor([[1.0, 10.0], [0.0, 1.0]]))
        found = _of_attention(AttentionHeads(own), Call((x, x, x), {}, None), torch.tensor([[[1.0, 5.0]]]))
    assert found is not None
    close(found.values.flatten(), [2.0, 3.0 * (10 + 5)])


TOP, KEPT, BATCH = "exemplars.top_samples", "exemplars.candidates", "exemplars.batch_samples"
LAYER, FIELD = "exemplars.layer_exemplars", "exemplars.receptive_field"
CARDS = "callbacks.neurons.exemplars.card_maker"

MUTATIONS = [
    # order: larger values first, of equal ones the lower number
    Mutation(f"{TOP}.keys_of", "LAST_NUMBER - numbers", "numbers", order_of_keys),
    Mutation(f"{TOP}.keys_of", "values + 0.0", "values", order_of_keys),
    Mutation(f"{TOP}.keys_of", "values.isfinite() & (numbers >= 0)", "numbers >= 0", order_of_keys),
    Mutation(f"{TOP}.keys_of", "numbers >= 0", "numbers > 0", order_of_keys),
    Mutation(f"{TOP}._swapped", "bits ^ 0x7FFFFFFF", "bits", order_of_keys),
    Mutation(f"{TOP}._swapped", "bits < 0", "bits > 0", order_of_keys),
    Mutation(f"{TOP}.values_of", "keys >> 32", "keys >> 31", order_of_keys),
    Mutation(f"{TOP}.merged", "TopSamples(found, labels.gather(1, order), places.gather(1, order))",
             "TopSamples(found, labels[:, : order.shape[1]], places.gather(1, order))", best_of_two),
    Mutation(f"{TOP}.merged", "TopSamples(found, labels.gather(1, order), places.gather(1, order))",
             "TopSamples(found, labels.gather(1, order), places[:, : order.shape[1]])", best_of_two),
    Mutation(f"{TOP}.merged", "a.keys.shape[1]", "b.keys.shape[1]", best_of_two),
    Mutation(f"{TOP}.TopSamples.numbers", "self.keys == EMPTY", "self.keys == 0", best_of_two),
    Mutation(f"{TOP}.TopSamples.numbers", "LAST_NUMBER - (self.keys & LAST_NUMBER)", "self.keys & LAST_NUMBER",
             best_of_two),
    Mutation(f"{TOP}.merged_once", "b.keys.masked_fill(repeated, EMPTY)", "b.keys", best_of_two),
    # candidates
    Mutation(f"{KEPT}.batch_threshold", "n_groups < k", "n_groups <= k", threshold_of_a_batch),
    Mutation(f"{KEPT}.batch_threshold", "best[:, 0]", "best[:, -1]", threshold_of_a_batch),
    Mutation(f"{KEPT}.batch_threshold", "np.isfinite(best).all(1)", "np.isfinite(best[:, 0])", threshold_of_a_batch),
    Mutation(f"{BATCH}.BatchSamples.of", "(given >= 0) & of_class.numpy()", "(given > 0) & of_class.numpy()",
             samples_that_count),
    Mutation(f"{BATCH}.BatchSamples.of", "int(first) > after", "int(last) > after", samples_that_count),
    Mutation(f"{KEPT}.Candidates._look", "self._above if samples.are_later else self._lowest", "self._above",
             candidates_equal_a_sort),
    Mutation(f"{KEPT}.Candidates._look", "~(blocks < least)", "blocks >= least", blocks_of_rows),
    Mutation(f"{KEPT}.Candidates._look", "blocks >= least if rows == 1 else ~(blocks < least)", "blocks > least",
             candidates_equal_a_sort),
    Mutation(f"{KEPT}.Candidates._look", "at + self._n_samples", "at", candidates_equal_a_sort),
    Mutation(f"{KEPT}._entries", "block[which] * rows + row", "block[which] + row", blocks_of_rows),
    Mutation(f"{KEPT}._entries", "found >= least[unit]", "found > least[unit]", silent_units_keep_the_first),
    Mutation(f"{KEPT}._without_late_ties", "reached.cumsum(0) <= k", "reached.cumsum(0) < k",
             silent_units_keep_the_first),
    Mutation(f"{KEPT}._without_late_ties", "~tied | (reached.cumsum(0) <= k)", "reached.cumsum(0) <= k",
             silent_units_keep_the_first),
    Mutation(f"{KEPT}.Candidates._sort", "np.nextafter(self._lowest, np.float32(np.inf))",
             "np.nextafter(self._lowest, np.float32(np.inf)) + 6", later_ties_are_passed_over),
    Mutation(f"{KEPT}._keys", "values + np.float32(0)", "values", keys_on_a_processor),
    Mutation(f"{KEPT}._keys", "np.where(finite, keys, EMPTY)", "keys", keys_on_a_processor),
    Mutation(f"{KEPT}._keys", "LAST_NUMBER - numbers", "numbers", keys_on_a_processor),
    Mutation(f"{KEPT}._swapped", "bits >> 31", "bits >> 30", keys_on_a_processor),
    Mutation(f"{KEPT}._values", "keys == EMPTY", "keys == 0", candidates_equal_a_sort),
    Mutation(f"{KEPT}.Candidates._sort", "self._top.keys[:, -1]", "self._top.keys[:, -2]", candidates_equal_a_sort),
    Mutation(f"{KEPT}._merged", "row * k + column", "column", candidates_equal_a_sort),
    Mutation(f"{KEPT}.by_unit", "keys[order], order", "keys, order", candidates_equal_a_sort),
    # purity, what stayed, what settled
    Mutation(f"{LAYER}.purity", "labels >= 0", "labels > 0", shares_by_hand),
    Mutation(f"{LAYER}.purity", "same.amax(1)", "same.float().mean(1)", shares_by_hand),
    Mutation(f"{LAYER}.purity", "known.sum(1)", "torch.full_like(known.sum(1), labels.shape[1])", shares_by_hand),
    Mutation(f"{LAYER}.stayed", "now >= 0", "now >= -1", shares_by_hand),
    Mutation(f"{LAYER}.stayed", "kept / there.sum(1)", "kept / now.shape[1]", shares_by_hand),
    Mutation(f"{LAYER}.stayed", "(now[:, :, None] == before[:, None]).any(2)", "now == before", shares_by_hand),
    Mutation(f"{LAYER}.settled", "stayed_share >= SETTLED_SHARE", "stayed_share > SETTLED_SHARE", shares_by_hand),
    Mutation(f"{LAYER}.settled", "before >= 0", "before > 0", shares_by_hand),
    Mutation(f"{LAYER}.settled", "torch.where(before >= 0, before, epoch)", "epoch", shares_by_hand),
    Mutation(f"{LAYER}.LayerExemplars.of", "before.epoch", "epoch", reports_compared),
    Mutation(f"{LAYER}.LayerExemplars.of", "before.by == by", "True", reports_compared),
    Mutation(f"{LAYER}.LayerExemplars.of", "samples >= 0", "samples >= -1", reports_compared),
    Mutation(f"{LAYER}.LayerExemplars.excited", "self.values[:, 0] > 0", "self.values[:, 0] >= 0", reports_compared),
    # positions
    Mutation("exemplars.peaks.as_places", "flat // size", "flat", peaks_by_hand),
    Mutation("exemplars.peaks.as_places", "reversed(shape)", "shape", peaks_by_hand),
    Mutation("exemplars.peaks.positions_at", "reversed(range(n_dimensions))", "range(n_dimensions)", peaks_by_hand),
    Mutation("exemplars.peaks.by_position", "~units.valid[:, None]", "units.valid[:, None]", peaks_by_hand),
    Mutation("exemplars.peaks.peaks_of", "values.max(2)", "values.abs().max(2)", peaks_by_hand),
    Mutation("exemplars.peaks.joint_shape", "max(pair)", "min(pair)", peaks_by_hand),
    Mutation(f"{FIELD}.flat_place", "place * size + part", "place + size * part", peaks_by_hand),
    # receptive fields
    Mutation(f"{FIELD}._replacements", "[base + noise, base - noise]", "[base + noise]", receptive_fields),
    Mutation(f"{FIELD}._replacements", "[base + noise, base - noise]", "[base + noise, base + noise / 2]",
             receptive_fields),
    Mutation(f"{FIELD}._note", "marks[axis][: values.shape[2], number] |= changed[row]",
             "marks[axis][: values.shape[2], number] = changed[row]",
             receptive_fields),
    Mutation(f"{FIELD}._ends", "(hits[0], hits[-1])", "(hits[0], hits[0])", receptive_fields),
    Mutation(f"{FIELD}._ends", "(hits[0], hits[-1])", "(max(0, hits[0] - 1), hits[-1])", receptive_fields),
    Mutation(f"{FIELD}._ends", "(hits[0], hits[-1])", "(hits[0], min(len(mark) - 1, hits[-1] + 1))", receptive_fields),
    Mutation(f"{FIELD}.pieces", "-(-size // MOST_SLICES)", "max(1, size // MOST_SLICES)", receptive_fields),
    Mutation(f"{FIELD}.pieces", "min(size, start + step)", "start + step", receptive_fields),
    Mutation(f"{FIELD}._trials",
             "sample.narrow(axis, start, stop - start).copy_(replaced.narrow(axis, start, stop - start))",
             "sample.narrow(axis, start, 1).copy_(replaced.narrow(axis, start, 1))", receptive_fields),
    Mutation(f"{FIELD}.ReceptiveFields.look", "self._width(axis, n) > 1", "self._width(axis, n) > 2",
             receptive_fields),
    Mutation(f"{FIELD}.ReceptiveFields._interval", "start + first[0]", "start", receptive_fields),
    Mutation(f"{FIELD}.ReceptiveFields._interval", "self._slices[axis][ends[1]][0] + last[1] + 1",
             "self._slices[axis][ends[1]][0] + last[1]", receptive_fields),
    Mutation(f"{FIELD}.ReceptiveFields._interval", "self._slices[axis][ends[1]][0]", "start", receptive_fields),
    # what excites a unit
    Mutation("exemplars.excitation.heatmaps", "units * outputs.n_positions + places",
             "places * outputs.n_positions + units", excited_by_hand),
    Mutation("exemplars.excitation.heatmaps", "units * outputs.n_positions + places", "units * outputs.n_positions",
             excited_by_hand),
    Mutation("exemplars.excitation.heatmaps", "part.detach()", "part.detach().abs()", excited_by_hand),
    Mutation("exemplars.excitation.heatmaps", "part.detach()", "-part.detach()", excited_by_hand),
    Mutation("exemplars.excitation.values_at",
             "values[rows, units.to(values.device), places.to(values.device)]",
             "values[rows, places.to(values.device), units.to(values.device)]", excited_by_hand),
    Mutation("exemplars.unit_outputs.UnitOutputs.forward", "(0, self.n_positions - values.shape[2])",
             "(self.n_positions - values.shape[2], 0)", excited_by_hand),
    Mutation("exemplars.unit_relevance._relevance", "value.detach() * gradient", "gradient", relevance_by_hand),
    Mutation("exemplars.unit_relevance._peaks", "values.masked_fill(values.isneginf(), 0.0).sum(2)", "values.amax(2)",
             relevance_by_hand),
    Mutation("exemplars.unit_relevance._peaks", "values.argmax(2)", "values.abs().argmax(2)", relevance_by_hand),
    Mutation("exemplars.unit_relevance._of_states", "valid.sum(1) - 1", "valid.sum(1) - 2", relevance_of_states),
    Mutation("exemplars.unit_relevance._of_states", "-1 if values.shape[2] == size else -2", "-1", relevance_of_states),
    Mutation("exemplars.unit_relevance._of_states", "values[:, 0, size:] += parts[1][-1]",
             "values[:, -1, size:] += parts[1][-1]", relevance_of_states),
    Mutation("exemplars.unit_relevance._of_attention", "gradient @ view.module.out_proj.weight",
             "gradient @ view.module.out_proj.weight.T", relevance_of_heads),
    Mutation("exemplars.unit_relevance._targets", "labels >= 0", "labels > 0", relevance_by_hand),
    Mutation("exemplars.unit_relevance._targets", "scores.detach().argmax(1)", "scores.detach().argmin(1)",
             relevance_by_hand),
    # crops
    Mutation(f"{CARDS}._cut", "part.narrow(axis, start, stop - start)", "part.narrow(axis, 0, stop - start)",
             crops_by_hand),
    Mutation(f"{CARDS}._cut", "stop - start", "max(1, stop - start - 1)", crops_by_hand),
    Mutation(f"{CARDS}._cut", "zip(axes, box, strict=True)", "zip(axes[:1], box[:1], strict=True)", crops_by_hand),
    Mutation(f"{CARDS}.CardMaker._fetch", "sample >= 0", "sample > 0", crops_by_hand),
]  # fmt: skip
