import math

from lightning_explain.strategies.strategy_alert import STRATEGIES, StrategyAlert


def alert(**options: object) -> StrategyAlert:
    given: dict[str, object] = {
        "monitor": "attribution", "method": "LRP", "measure": STRATEGIES, "step": 60, "epoch": 6, "excesses": (),
        "samples": (3, 5), "indices": (30, 50), "class_name": "horse", "share": 0.22, "where": "the lower left corner",
        "since_epoch": 5, "since_step": 50, "separation": 2.5, "inside": 1.0, "outside": 0.8,
        "effect": 0.31,
    }  # fmt: skip
    return StrategyAlert(**{**given, **options})  # type: ignore[arg-type]


def test_an_alert_says_class_epoch_share_and_place() -> None:
    words = str(alert())
    assert "22% of class horse are decided by the lower left corner, 31% of what speaks for or against" in words
    assert "the class in them, since epoch 5" in words
    assert "in epoch 6, by LRP" in words
    assert "100% of them are recognised, 80% of the others" in words
    assert "in the data set: 30, 50" in words


def test_what_is_not_known_is_not_said() -> None:
    words = str(alert(inside=math.nan, effect=math.nan, indices=()))
    assert "recognised" not in words
    assert "speaks" not in words
    assert "by the lower left corner, since epoch 5" in words
    assert "in the sample: 3, 5" in words
