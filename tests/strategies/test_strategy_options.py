import pytest

from lightning_explain import LRP, Strategies
from lightning_explain.errors import ConfigurationError


def test_defaults_are_valid() -> None:
    options = Strategies()
    assert (options.per_class, options.data, options.method) == (64, "training", None)
    assert Strategies(method=LRP()).method == LRP()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"per_class": 4}, "per_class=4"),
        ({"max_samples": 0}, "max_samples=0"),
        ({"every": 0}, "every=0"),
        ({"least_separation": 0.0}, "least_separation=0.0"),
        ({"false_discoveries": 1.5}, "false_discoveries=1.5"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Strategies(**options)  # type: ignore[arg-type]
