"""Names of classes in events: those that occur, and no novel."""

from lightning_explain.log.tab_names import LONGEST, names_of


def test_only_classes_that_occur_are_named_each_once_in_order() -> None:
    asked: list[int] = []

    def name(index: int) -> str:
        asked.append(index)
        return f"class {index}"

    assert list(names_of([10, 2, 10], name).items()) == [("2", "class 2"), ("10", "class 10")]
    assert asked == [2, 10] and names_of([], name) == {}


def test_a_long_name_is_shortened_and_a_short_one_is_not() -> None:
    found = names_of([0, 1], ["x" * 10_000, "y" * LONGEST].__getitem__)
    assert len(found["0"]) <= LONGEST and found["0"].startswith("xxx") and found["1"] == "y" * LONGEST
