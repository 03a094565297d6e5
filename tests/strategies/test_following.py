from lightning_explain.strategies.following import AT_ONCE, TWICE, Followed, Sighting, follow, overlap

HERE, THERE = frozenset(range(10)), frozenset(range(20, 30))


def sighting(separation: float, members: frozenset[int] = HERE, **options: object) -> Sighting:
    return Sighting(members=members, separation=separation, **options)  # type: ignore[arg-type]


def test_a_clear_strategy_is_news_at_once_and_once() -> None:
    known, of, news = follow([], [sighting(AT_ONCE)], epoch=2, step=20)
    assert news == [0]
    assert of[0] is not None and (of[0].epoch, of[0].step) == (2, 20)
    for epoch in (3, 4):
        known, of, news = follow(known, [sighting(AT_ONCE + 1)], epoch=epoch, step=10 * epoch)
        assert news == []
        assert of[0] is not None and of[0].epoch == 2


def test_a_less_clear_one_must_be_seen_twice_in_a_row() -> None:
    known, _, news = follow([], [sighting(TWICE)], epoch=2, step=20)
    assert news == []
    assert follow(known, [sighting(TWICE)], epoch=3, step=30)[2] == [0]
    interrupted, _, _ = follow(known, [], epoch=3, step=30)
    _, of, news = follow(interrupted, [sighting(TWICE)], epoch=4, step=40)
    assert news == []
    assert of[0] is not None and of[0].epoch == 4
    assert follow(known, [sighting(TWICE - 0.01)], epoch=3, step=30)[2] == []


def test_one_that_comes_back_is_no_news() -> None:
    known, _, _ = follow([], [sighting(AT_ONCE)], epoch=2, step=20)
    known, _, _ = follow(known, [], epoch=3, step=30)
    assert [each.is_present for each in known] == [False]
    _, of, news = follow(known, [sighting(AT_ONCE)], epoch=4, step=40)
    assert news == []
    assert of[0] is not None and of[0].epoch == 2


def test_other_samples_are_another_strategy() -> None:
    known, _, _ = follow([], [sighting(AT_ONCE)], epoch=2, step=20)
    _, _, news = follow(known, [sighting(AT_ONCE), sighting(AT_ONCE, THERE)], epoch=3, step=30)
    assert news == [1]
    assert follow(known, [sighting(AT_ONCE, THERE)], epoch=3, step=30)[2] == [0]
    similar = frozenset(range(2, 11))
    assert follow(known, [sighting(AT_ONCE, similar)], epoch=3, step=30)[2] == []


def test_overlap_is_the_jaccard_index() -> None:
    assert overlap(frozenset({1, 2, 3}), frozenset({2, 3, 4, 5})) == 2 / 5
    assert overlap(frozenset(), frozenset()) == 0


def test_both_of_two_sightings_count() -> None:
    known, _, _ = follow([], [sighting(TWICE - 0.01)], epoch=2, step=20)
    assert follow(known, [sighting(TWICE)], epoch=3, step=30)[2] == []


def test_what_decides_nothing_yet_is_no_news() -> None:
    known, of, news = follow([], [sighting(9.0, decides=False)], epoch=0, step=0)
    assert (known, of, news) == ([], [None], [])


def test_a_handful_is_no_news() -> None:
    assert follow([], [sighting(9.0, share=0.05)], epoch=0, step=0)[2] == []


def test_state_is_plain_and_comes_back() -> None:
    known, _, _ = follow([], [sighting(AT_ONCE)], epoch=2, step=20)
    state = known[0].state_dict()
    assert state["members"] == list(range(10))
    assert Followed.from_state_dict(state) == known[0]
