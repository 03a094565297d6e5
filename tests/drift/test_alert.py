"""The words of an alert, and how far beyond the usual a metric is."""

import math

from lightning_explain.drift.alert import MASS, MOST_NAMED, Alert, Excess


def excess(group: str, *, error: float = math.nan) -> Excess:
    return Excess(group=group, value=0.6, usual=0.1, error=error)


def alert(*excesses: Excess, **options: object) -> str:
    given = {"measure": "cosine", "indices": ()} | options
    return str(Alert(monitor="m", method="LRP", step=7, epoch=2, excesses=excesses, samples=(4, 1), **given))  # type: ignore[arg-type]


def test_a_metric_is_measured_against_its_error_where_that_is_larger() -> None:
    assert math.isclose(excess("cat").times, 6.0)
    assert math.isclose(excess("cat", error=0.05).times, 6.0)
    assert math.isclose(excess("cat", error=0.3).times, 2.0)


def test_it_names_step_method_class_and_samples() -> None:
    words = alert(excess("cat", error=0.3), indices=(40, 10))
    assert words.startswith(
        "unusual attributions at step 7, in epoch 2, by LRP: cosine distance to before: cat 0.6 (2.0"
    )
    assert ", error 0.3)" in words
    assert words.endswith("Furthest: samples 4, 1 of the probe (in its data set 40, 10).")
    assert "inside the mask" in alert(excess("cat"), measure=MASS)


def test_of_many_classes_the_furthest_are_named() -> None:
    words = alert(*(excess(f"class {i}") for i in range(MOST_NAMED + 3)))
    assert f"class {MOST_NAMED - 1} " in words
    assert f"class {MOST_NAMED} " not in words
    assert ", and 3 more." in words
