"""Errors made on purpose in the code of strategies, and of folders of runs: each is noticed by its check."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import tests.log.test_choice as choice
import tests.render.test_profiles as profiles
import tests.strategies.test_class_strategies as class_strategies
import tests.strategies.test_clustering as clustering
import tests.strategies.test_division as division
import tests.strategies.test_effect as effects
import tests.strategies.test_false_discoveries as false_discoveries
import tests.strategies.test_following as following
import tests.strategies.test_representation as representation
import tests.strategies.test_separation as separation
from tests.mutations.mutation import Mutation


def one_group() -> None:
    division.test_a_single_cloud_is_one_group()


def corners() -> None:
    profiles.test_places_of_an_image_have_names((0, 3), (13, 16), "the upper right corner")


def most_names() -> None:
    with pytest.MonkeyPatch.context() as patch:
        profiles.test_names_of_most_relevance_are_kept_whatever_its_sign(patch)


def with_a_folder(check: Callable[[Path], None]) -> Callable[[], None]:
    """Return a check that needs a folder as one that makes it."""

    def checked() -> None:
        with TemporaryDirectory() as folder:
            check(Path(folder))

    return checked


def a_mark_of_thirteen() -> None:
    class_strategies.test_a_planted_mark_is_found(13)


MUTATIONS = [
    Mutation(
        "strategies.representation.unit_rows",
        "rows.norm(dim=1, keepdim=True)",
        "1.0",
        representation.test_rows_have_length_one_whatever_the_scale,
    ),
    Mutation(
        "strategies.representation.centred",
        "maps.shape[axis] // 2",
        "maps.shape[axis]",
        representation.test_centring_undoes_shifts,
    ),
    Mutation(
        "strategies.clustering.affinity",
        "(near + near.T) / 2",
        "near",
        clustering.test_neighbours_are_those_of_scikit_learn,
    ),
    Mutation(
        "strategies.clustering.affinity",
        "furthest + ROUNDING",
        "furthest - ROUNDING",
        clustering.test_neighbours_are_those_of_scikit_learn,
    ),
    Mutation(
        "strategies.clustering.spectrum",
        "scale[:, None] * affinities * scale",
        "scale[:, None] * affinities",
        clustering.test_the_laplacian_has_the_eigenvalues_of_scipy,
    ),
    Mutation(
        "strategies.clustering.n_by_eigengap",
        "values[1:] - values[:-1]",
        "values[:-1] - values[1:]",
        clustering.test_separate_clouds_give_as_many_zeros_and_the_gap_after_them,
    ),
    Mutation(
        "strategies.clustering.likely_numbers",
        "values[2:] - values[1:-1]",
        "values[1:-1] - values[2:]",
        clustering.test_separate_clouds_give_as_many_zeros_and_the_gap_after_them,
    ),
    Mutation(
        "strategies.clustering.spectral_clusters",
        "(vectors @ (u @ v)).abs().argmax(1)",
        "(vectors @ u).abs().argmax(1)",
        clustering.test_clusters_are_those_of_scikit_learn,
    ),
    Mutation(
        "strategies.separation.held_out_positions",
        "squares[:, None] - member[..., None] * rows.square()",
        "squares[:, None]",
        separation.test_positions_are_those_of_lines_drawn_one_by_one,
    ),
    Mutation(
        "strategies.separation.held_out_positions",
        "counts[:, None] - member",
        "counts[:, None] + 0 * member",
        separation.test_positions_are_those_of_lines_drawn_one_by_one,
    ),
    Mutation(
        "strategies.separation.separation",
        "(a.var() + b.var()) / 2",
        "a.var() + b.var()",
        separation.test_separation_is_the_distance_of_means_over_the_spread,
    ),
    Mutation(
        "strategies.separation.separation",
        "UNIFORM * spread",
        "spread",
        separation.test_the_halves_of_a_uniform_cloud_are_one_apart,
    ),
    Mutation(
        "strategies.separation.mixed",
        "turned @ (fixed.T @ rows)",
        "rows - rows.mean(0)",
        separation.test_mixtures_keep_mean_and_covariance_and_lose_groups,
    ),
    Mutation(
        "strategies.false_discoveries.chance",
        "value - fmean(by_chance) + EULER * scale",
        "value - fmean(by_chance)",
        false_discoveries.test_chance_is_the_tail_of_a_gumbel_distribution,
    ),
    Mutation(
        "strategies.false_discoveries.discoveries",
        "rate * rank / len(ranked)",
        "rate",
        false_discoveries.test_discoveries_are_those_of_scipy,
    ),
    Mutation(
        "strategies.division.feature_splits",
        "(high - low) / (spread.clamp_min(0) / 2).sqrt().clamp_min(1e-9)",
        "(low - high) / (spread.clamp_min(0) / 2).sqrt().clamp_min(1e-9)",
        division.test_features_are_split_where_both_sides_are_furthest_apart,
    ),
    Mutation(
        "strategies.division.feature_splits",
        "variance >= variance.mean()",
        "variance >= 0",
        division.test_features_that_hardly_vary_are_passed_over,
    ),
    Mutation(
        "strategies.division.feature_splits",
        "squares[:-1] / counts - low.square() + (squares[-1] - squares[:-1]) / (n - counts) - high.square()",
        "squares[:-1] / counts - low.square()",
        division.test_features_are_split_where_both_sides_are_furthest_apart,
    ),
    Mutation(
        "strategies.division.refined",
        "held_out_positions(rows, inside) > 0",
        "inside",
        division.test_members_are_completed_from_a_part_of_them,
    ),
    Mutation("strategies.division.candidates", "~group", "group", division.test_a_group_is_the_smaller_side),
    Mutation("strategies.division.partition", "apart < least_separation", "False", one_group),
    Mutation(
        "strategies.division.partition",
        "relevance is None or counts(relevance, group)",
        "True",
        effects.test_words_that_merely_occur_or_not_are_no_strategies_and_a_marker_is,
    ),
    Mutation(
        "strategies.division.counts",
        "effect(relevance, ~group) >= LEAST_OF_OTHERS",
        "False",
        effects.test_a_mark_that_most_samples_have_counts_too,
    ),
    Mutation(
        "strategies.effect.effect",
        "a.var(0) / len(a) + b.var(0) / len(b)",
        "a.var(0) / len(a)",
        effects.test_effect_is_the_sum_of_clear_differences_in_shares_of_all_relevance,
    ),
    Mutation(
        "strategies.effect.effect",
        "apart[tells].sum()",
        "apart[tells].abs().sum()",
        effects.test_what_is_moved_from_one_place_to_another_is_no_effect,
    ),
    Mutation(
        "strategies.effect.effect",
        "a.abs().sum(1)",
        "relevance.abs().sum(1)",
        effects.test_effect_is_the_sum_of_clear_differences_in_shares_of_all_relevance,
    ),
    Mutation(
        "strategies.effect.effect",
        "apart.abs() > CLEAR * error",
        "apart.abs() >= 0",
        effects.test_groups_of_one_cloud_differ_in_nothing,
    ),
    Mutation(
        "strategies.division.by_size",
        "-int(counts[i])",
        "int(counts[i])",
        division.test_groups_are_numbered_by_size_and_then_by_their_first_sample,
    ),
    Mutation(
        "strategies.class_strategies.most_varying",
        "rows.var(0)",
        "-rows.var(0)",
        class_strategies.test_samples_are_compared_by_the_features_that_vary_most,
    ),
    Mutation("strategies.following.overlap", "len(a | b)", "len(a)", following.test_overlap_is_the_jaccard_index),
    Mutation(
        "strategies.following.follow",
        "overlap(before.members, sighting.members) >= SAME",
        "True",
        following.test_other_samples_are_another_strategy,
    ),
    Mutation(
        "strategies.following._is_sure",
        "min(before.separation, sighting.separation)",
        "max(before.separation, sighting.separation)",
        following.test_both_of_two_sightings_count,
    ),
    Mutation(
        "strategies.following._is_sure",
        "sighting.share >= LEAST_SHARE",
        "True",
        following.test_a_handful_is_no_news,
    ),
    Mutation(
        "log.choice._claim",
        "_is_made(first) or (resumed and not first.with_name(f'{first.name}-1').exists())",
        "_is_made(first)",
        with_a_folder(choice.test_runs_of_the_same_version_do_not_mix),
    ),
    Mutation(
        "log.choice._claim",
        "not first.with_name(f'{first.name}-1').exists()",
        "True",
        with_a_folder(choice.test_runs_of_the_same_version_do_not_mix),
    ),
    Mutation(
        "log.choice._run_folder",
        "_claimed.get(logger, ())[:2] != (home, run)",
        "True",
        with_a_folder(choice.test_runs_of_the_same_version_do_not_mix),
    ),
    Mutation("render.profiles.by_name", "table[:, common].abs().sum(0)", "table[:, common].sum(0)", most_names),
    Mutation("render.profiles._on_grid", "(torch.arange(len(profile)) + 0.5) / len(profile)", "0 * profile", corners),
    Mutation(
        "render.profiles._on_grid",
        "float(cells[-1]) + 1",
        "float(cells[-1])",
        profiles.test_steps_of_a_signal_are_counted_in_the_signal,
    ),
    Mutation("strategies.class_strategies._strategies", "mean - away", "mean", a_mark_of_thirteen),
    Mutation(
        "strategies.class_strategies._strategies",
        "inside.sum() / has_map.sum()",
        "inside.sum() / 100",
        a_mark_of_thirteen,
    ),
    Mutation(
        "strategies.class_strategies._best_jaccard",
        "inside | (found == other)",
        "inside | inside",
        class_strategies.test_stability_is_the_jaccard_index_of_the_most_similar_cluster,
    ),
]
