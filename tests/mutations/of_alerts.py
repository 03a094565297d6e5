"""Errors made on purpose in the code of drift alerts: each is noticed by its check."""

import tests.test_drift_alert as alert
from tests.mutations.mutation import Mutation

MUTATIONS = [
    Mutation(
        "drift_alert.expected",
        "min(now / last, last / before, FASTEST_GROWTH)",
        "now / last",
        alert.test_a_learning_rate_that_is_warmed_up_is_no_alarm,
    ),
    Mutation(
        "drift_alert.expected", "-1 if lasts else 0", "-1", alert.test_one_figure_that_was_an_event_hides_no_other
    ),
    Mutation(
        "drift_alert.DriftAlert.limit",
        "self.times * n_classes ** GROUPS_POWER * (1 + few)",
        "self.times * n_classes ** GROUPS_POWER",
        alert.test_of_many_classes_and_of_few_samples_more_is_expected,
    ),
    Mutation(
        "drift_alert.expected",
        "SLOWLY * max(median(figures), least)",
        "math.inf",
        alert.test_a_mask_that_is_looked_at_ever_more_is_noticed_however_slowly,
    ),
]
