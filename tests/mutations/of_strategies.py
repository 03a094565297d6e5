"""Errors made on purpose in the code of strategies: each is noticed by its check."""

import tests.strategies.test_class_strategies as class_strategies
import tests.strategies.test_clustering as clustering
import tests.strategies.test_false_discoveries as false_discoveries
import tests.strategies.test_representation as representation
import tests.strategies.test_separation as separation
from tests.mutations.mutation import Mutation


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
        "strategies.class_strategies._merged",
        "min(apart.values()) >= least_separation",
        "False",
        a_mark_of_thirteen,
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
