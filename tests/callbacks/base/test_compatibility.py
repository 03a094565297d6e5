"""Which options of a checkpoint differ from those of the run that resumes from it."""

from functools import partial

from torch import nn

from lightning_explain.callbacks.base.compatibility import begins_anew, in_words, what_changed


def named(x: int) -> int:
    return x


def test_a_function_is_reported_without_its_place_in_memory() -> None:
    assert in_words(named) == "named()"
    assert in_words(partial(named, 1)) == "partial()"
    assert in_words(nn.Linear) == repr(nn.Linear)


def test_only_what_both_know_and_differs_is_listed() -> None:
    now = {"explained": "'label'", "output": "None", "baseline": "'zeros'"}
    earlier = {"explained": "'label'", "output": "0", "gone": "1"}
    assert what_changed(earlier, now) == "output=0 (now None)"
    assert what_changed({}, now) == ""
    assert what_changed(None, now) == ""


def test_the_sentence_names_what_the_checkpoint_was_written_with() -> None:
    assert begins_anew("output=0") == "Restarts: the checkpoint was written with output=0."
