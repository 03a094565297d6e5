"""Each error made on purpose in a formula is noticed by its check, which passes on the code as it is."""

from collections.abc import Callable

import pytest

from tests.mutations import (
    of_alerts,
    of_class_scores,
    of_conductance,
    of_contrast,
    of_counting,
    of_drift,
    of_exemplars,
    of_faithfulness,
    of_gradients,
    of_integrated_gradients,
    of_paths,
    of_relevance,
    of_strategies,
    of_unit_ablation,
)
from tests.mutations.mutation import Mutation, notices

MUTATIONS = [
    mutation
    for area in (
        of_alerts,
        of_class_scores,
        of_conductance,
        of_contrast,
        of_counting,
        of_drift,
        of_exemplars,
        of_faithfulness,
        of_gradients,
        of_integrated_gradients,
        of_paths,
        of_relevance,
        of_strategies,
        of_unit_ablation,
    )
    for mutation in area.MUTATIONS
]
CHECKS = dict.fromkeys([*(mutation.check for mutation in MUTATIONS), *of_integrated_gradients.ALSO_CHECKED])
# tests of their own pass where they are
ONLY_HERE = [check for check in CHECKS if not check.__name__.startswith("test_")]

pytestmark = pytest.mark.filterwarnings("ignore:IntegratedGradients used max_steps")


@pytest.mark.parametrize("check", ONLY_HERE, ids=lambda check: check.__name__)
def test_the_check_passes_on_the_code_as_it_is(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_the_error_is_noticed(mutation: Mutation) -> None:
    notices(mutation)
