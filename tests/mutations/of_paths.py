"""Errors made on purpose in the code of decision paths: each is noticed by its check."""

import pytest

import tests.paths.propagation.test_expansion as expansion
import tests.paths.propagation.test_feeds as feeds
import tests.paths.propagation.test_samples as samples
import tests.paths.propagation.test_unit_places as unit_places
import tests.paths.test_ablation as ablation
import tests.paths.test_coarser as coarser
import tests.paths.test_contributions as tests_of_contributions
import tests.paths.test_drawn_flow as drawn_flow
import tests.paths.test_flow_matrix as flow_matrix
import tests.paths.test_selection as selection
from lightning_explain.attribution import EpsilonRule, GammaRule
from lightning_explain.paths import top_paths
from tests.mutations.mutation import Mutation
from tests.paths.graphs import all_paths, random_graph, with_bundles
from tests.paths.propagation import test_flow as flow
from tests.paths.propagation import test_messages as messages


def transformer_by_hand() -> None:
    expansion.test_graphs_equal_those_by_hand_and_their_paths_full_enumeration("transformer")


def channels_by_hand() -> None:
    messages.test_messages_between_channels_equal_the_loops()


def mlp_by_hand() -> None:
    messages.test_messages_of_an_mlp_equal_the_loops(0)


def closed_forms() -> None:
    with pytest.MonkeyPatch.context() as patch:
        messages.test_closed_forms_equal_one_walk_back_for_each_unit("tokens", GammaRule(0.3), patch)


def dilated() -> None:
    with pytest.MonkeyPatch.context() as patch:
        messages.test_closed_forms_equal_one_walk_back_for_each_unit("dilated", GammaRule(0.3), patch)


def outer_products() -> None:
    with pytest.MonkeyPatch.context() as patch:
        flow.test_messages_too_many_to_be_kept_make_the_same_graphs("mlp", EpsilonRule(0.01), patch)


def in_chunks() -> None:
    with pytest.MonkeyPatch.context() as patch:
        flow.test_messages_too_many_to_be_kept_make_the_same_graphs("mlp", GammaRule(0.3), patch)


def bound() -> None:
    for seed in range(30):
        graph = random_graph(seed, 3, 5, 5)
        hidden = [share for units, share in all_paths(graph).items() if any(p == 2 and u >= 2 for p, u in units)]
        searched = top_paths(with_bundles(graph, 2, 2), 200)
        assert max(hidden, default=0.0) <= searched.others_at_most + 1e-12
        assert all(u < 2 for path in searched.paths for p, u in path.units if p == 2)


def gamma_equals_lrp() -> None:
    tests_of_contributions.test_units_equal_lrp_and_messages_add_up_to_them(GammaRule(0.3), True)


def bound_of_the_selection() -> None:
    with pytest.MonkeyPatch.context() as patch:
        selection.test_the_bound_is_the_share_of_the_strongest_edges_and_of_all_alike(patch)


def merged_heads() -> None:
    unit_places.test_heads_are_told_by_what_they_become_however_they_are_arranged("merged")


places = expansion.test_units_that_carry_most_on_the_mean_of_their_group_have_places
gathered = expansion.test_values_are_gathered_by_place
concatenated = feeds.test_concatenated_elements_keep_the_units_they_come_from
rows_without_relevance = samples.test_rows_without_relevance_belong_to_no_sample_unless_all_others_are_in_order
common_places = coarser.test_the_mean_of_graphs_with_places_for_different_units_bundles_what_they_do_not_share
set_to_means = ablation.test_units_are_set_to_their_mean_layer_by_layer
others_at_random = ablation.test_random_units_are_others_and_the_same_for_the_same_seed

growing_share = selection.test_the_share_that_grows_with_each_unit_is_that_of_the_ways_through_them
best_units = selection.test_the_best_unit_of_a_block_is_the_one_with_which_most_is_drawn
rows_of_the_flow = flow_matrix.test_rows_and_columns_are_those_of_the_links
drawn_share = drawn_flow.test_the_drawn_share_is_that_of_the_paths_along_units_and_edges_drawn

P = "paths.propagation."
MUTATIONS = [
    Mutation(P + "messages._dense_by_feature", "s[:, :, None]", "s[:, :, None].abs()", mlp_by_hand),
    Mutation(P + "messages._dense_by_feature", "(s.mT @ part).mul_(weight)", "s.mT @ part", closed_forms),
    Mutation(
        P + "messages._convolution_by_channel",
        "(out @ read.mT).mul_(weight[(slice(None),) * 3 + place])",
        "out @ read.mT",
        channels_by_hand,
    ),
    Mutation(P + "messages._offsets", "at * step", "at", dilated),
    Mutation(P + "messages.ClosedMessages.row_sums", "sizes * term.s.abs()", "sizes", outer_products),
    Mutation(P + "messages.ClosedMessages.column_sums", "term.s.abs() * per_size", "per_size", outer_products),
    Mutation(P + "flow._sums", "each.abs().sum(-1)", "each.sum(-1)", in_chunks),
    Mutation(P + "flow.Flow._divide", "contribution - signed", "contribution", transformer_by_hand),
    Mutation(P + "flow.Flow._store", "found.abs()", "found.clamp_min(0)", transformer_by_hand),
    Mutation(P + "cuts.Cut.back", "self.leaf", "self.leaf * 2", gamma_equals_lrp),
    Mutation(P + "way_back.WayBack._walk", "place not in stops", "True", transformer_by_hand),
    Mutation(P + "way_back.WayBack._walk", "at[end] + more", "more", transformer_by_hand),
    Mutation(P + "expansion.by_source", "way.cuts[place].leaf.detach() * gradient", "gradient", transformer_by_hand),
    Mutation(P + "expansion.chosen_places", "signed >= 0", "signed < 0", places),
    Mutation(P + "expansion.Places.largest_in_bundles", "self.bundles.any(1, keepdim=True)", "True", gathered),
    Mutation(P + "feeds.feed_of", "value * codes[key]", "value", concatenated),
    Mutation(
        P + "unit_places._heads_of_features",
        "features.long().div(size, rounding_mode='floor')",
        "features.long() % size",
        merged_heads,
    ),
    Mutation(P + "samples._by_gradient", "torch.where(strongest > 0, whose, -1)", "whose", rows_without_relevance),
    Mutation("paths.search.largest_in_bundles", "link.bundled_share * kept", "link.bundled_share * 0", bound),
    Mutation("paths.search.remaining", "layer.is_single", "1", bound),
    Mutation(
        "paths.selection.bound_of_edges", "int(np.diff(ends, prepend=-1).max(initial=1))", "1", bound_of_the_selection
    ),
    Mutation("paths.selection._Expansion._send_on", "own + own[self._inner] @ self._reach", "own", growing_share),
    Mutation("paths.selection._best_of_block", "arriving * arrived", "arriving", best_units),
    Mutation(
        "paths.flow_matrix.FlowMatrix.onward", "self.share[targets][:, None]", "np.ones((1, 1))", rows_of_the_flow
    ),
    Mutation("paths.drawn_flow._passed_on", "total += step", "total = step", drawn_share),
    Mutation("paths.coarser._membership", "layer.contribution >= 0", "layer.contribution < 0", common_places),
    Mutation("paths.ablation._lost", "sums[0] / sums[1]", "sums[0]", set_to_means),
    Mutation("paths.ablation._Runs.look", "value.mean(units.dims[0], keepdim=True)", "value * 0", set_to_means),
    Mutation("paths.ablation._at_random", "unit not in units", "True", others_at_random),
]
