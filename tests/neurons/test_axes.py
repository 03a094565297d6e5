"""Dimensions as rows of factors: reshaped, broadcast, and marked as units."""

from lightning_explain.neurons.axes import (
    Axis,
    broadcast,
    fitted,
    fresh,
    has_units,
    is_units,
    only_units,
    reshaped,
    size_of,
)


def test_factors_split_and_come_together_again() -> None:
    batch, units, width = fresh(6), fresh(6, units=True), fresh(6)
    folded = reshaped((batch, units, width), (36, 6))
    assert folded is not None and [len(dim) for dim in folded] == [2, 1]
    assert reshaped(folded, (6, 6, 6)) == (batch, units, width)
    split = reshaped((batch, units, width), (6, 2, 3, 6))
    assert split is not None and [is_units(dim) for dim in split] == [False, True, True, False]
    assert reshaped((batch, units), (4, 9)) is None
    assert [size_of(dim) for dim in reshaped((units,), (1, 6, 1)) or ()] == [1, 6, 1]


def test_joined_axes_are_one_and_keep_what_is_known_of_either() -> None:
    a, b, c, lost = Axis(), Axis("input"), Axis("batch"), Axis("lost")
    a.join(b)
    lost.join(a)
    assert a.root is b.root is lost.root is b and b.root.origin == "input"
    b.join(c)
    assert all(axis.root is c for axis in (a, b, c, lost))
    c.join(a)  # once more: nothing goes round in circles
    assert c.root is c


def test_a_dimension_that_changes_its_length_is_a_new_one_of_the_same_kind() -> None:
    units, width = fresh(6, units=True), fresh(4)
    assert fitted((units, width), (6, 4)) == (units, width)
    shorter, longer = fitted((units, width), (3, 8))
    assert is_units(shorter) and not is_units(longer) and (size_of(shorter), size_of(longer)) == (3, 8)
    assert shorter[0].axis is not units[0].axis


def test_only_the_dimensions_named_are_units_also_counted_from_the_end() -> None:
    dims = (fresh(2, units=True), fresh(3), (*fresh(4), *fresh(5)))
    assert [is_units(dim) for dim in only_units(dims, -1)] == [False, False, True]
    assert all(factor.units for factor in only_units(dims, -1)[2])
    assert not has_units(only_units(dims)) and has_units(dims)


def test_a_unit_dimension_of_length_one_keeps_its_mark_where_its_place_is_clear() -> None:
    batch, one, width = fresh(4), fresh(1, units=True), fresh(3)
    same = reshaped((batch, one, width), (4, 1, 3))
    assert same is not None and [is_units(dim) for dim in same] == [False, True, False]
    gone = reshaped((batch, one, width), (4, 3))
    assert gone is not None and not has_units(gone)


def test_what_is_aligned_is_joined_from_the_right() -> None:
    batch, units, bias = fresh(4), fresh(3, units=True), fresh(3)
    found = broadcast([(batch, units), (bias,)], (4, 3))
    assert found[0] == batch and bias[0].axis.root is units[0].axis.root
    assert [is_units(dim) for dim in found] == [False, True]
    # what is of length 1 is spread, and says nothing
    scale = fresh(1, units=True)
    assert broadcast([(batch, units), (scale, scale)], (4, 3))[0][0].axis is batch[0].axis


def test_operands_that_count_units_elsewhere_leave_nothing_marked() -> None:
    first, last = (fresh(3, units=True), fresh(3)), (fresh(3), fresh(3, units=True))
    assert not has_units(broadcast([first, last], (3, 3)))
    assert [is_units(dim) for dim in broadcast([last, last], (3, 3))] == [False, True]
