"""Errors made on purpose in the code of drift and its error: each is noticed by its check."""

import math

import torch

import tests.drift.test_error as errors
import tests.drift.test_similarity as similarity
from lightning_explain.drift import cosine_distance, distances, relative_l1, spearman, top_k_overlap
from tests.mutations.checking import close
from tests.mutations.mutation import Mutation

A, B = torch.tensor([[1.0, -4.0, 2.0, 0.5]]), torch.tensor([[2.0, 1.0, -3.0, 0.5]])


def drift_measures() -> None:
    close(cosine_distance(A, B), (1 - torch.cosine_similarity(A, B)))
    # ranks 3 1 4 2 and 4 3 1 2
    close(spearman(A, B), [1 - 6 * (1 + 4 + 9 + 0) / (4 * 15)])
    close(top_k_overlap(A, B, 2), [0.5])
    close(relative_l1(A, B), [11 / 6.5])
    found = distances(A, B)
    close(found["spearman"], 1 - spearman(A, B))
    # of absolute values 2 4 3 1 and 3 2 4 1
    close(found["spearman_absolute"], [6 * (1 + 4 + 1 + 0) / 60])
    # ranks 1.5 1.5 3 4 and 1 2 3 4
    close(spearman(torch.tensor([[1.0, 1.0, 2.0, 3.0]]), torch.tensor([[1.0, 2.0, 3.0, 4.0]])), [math.sqrt(0.9)])


MUTATIONS = [
    Mutation(
        "drift.similarity.cosine_distance",
        "(a / norm_a - b / norm_b).square().sum(1) / 2",
        "(a / norm_a - b / norm_b).square().sum(1)",
        drift_measures,
    ),
    Mutation(
        "drift.similarity.correlation",
        "(direction_a.double() - direction_b.double()).square().sum(1) / 2",
        "(direction_a.double() - direction_b.double()).square().sum(1)",
        drift_measures,
    ),
    Mutation("drift.similarity.ranks", "(below + up_to + 1).float() / 2", "below.float() + 1", drift_measures),
    Mutation(
        "drift.distances.distances",
        "correlation(a.absolute_ranks, b.absolute_ranks)",
        "correlation(a.ranks, b.ranks)",
        drift_measures,
    ),
    Mutation("drift.similarity.top_k_overlap", "in_a & in_b", "in_a | in_b", drift_measures),
    Mutation("drift.similarity.relative_l1", "b.abs", "a.abs", drift_measures),
    Mutation(
        "drift.similarity.top_k_spread",
        "crossing * (1 - crossing)",
        "crossing",
        similarity.test_the_spread_of_top_k_is_that_of_its_formula,
    ),
    Mutation(
        "drift.error.DistanceErrors.of_mean",
        "squares[samples].sum().sqrt",
        "squares[samples].sqrt().sum",
        errors.test_independent_errors_cancel_as_drawn_ones_do,
    ),
    Mutation(
        "drift.error.DistanceErrors.of_mean",
        "torch.maximum(independent, common)",
        "independent",
        errors.test_what_all_have_in_common_does_not_cancel,
    ),
    Mutation(
        "drift.error.distance_errors",
        "torch.hypot(now, reference)",
        "(now + reference).abs()",
        errors.test_the_two_explanations_err_independently,
    ),
    Mutation(
        "drift.error.error_share",
        "error.to(way) / way",
        "error.to(way)",
        errors.test_the_share_is_the_error_over_the_way_to_the_coarser_rule,
    ),
]
