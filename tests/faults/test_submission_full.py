"""A farm that has as many open tasks as it may says so, or is waited for."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from genfarm import Farm, QueueFull, Unreachable
from genfarm_shared.tasks import State
from tests.client.conftest import empty_store, farm  # noqa: F401  # fixtures
from tests.waiting import until


@pytest.fixture
def small(farm: Farm) -> Farm:  # noqa: F811
    """A farm with room for ten tasks, eight of them taken."""
    farm._link.address = replace(farm._link.address, max_open=10)
    farm.submit_many("sleep", [0.0] * 8, name="eight")
    return farm


def test_what_does_not_fit_is_refused_whole(small: Farm) -> None:
    with pytest.raises(
        QueueFull, match=r"8 tasks are open .* limit of 10\. Wait .*MAX_OPEN"
    ) as full:
        small.submit_many("sleep", [0.0] * 3)
    assert (full.value.open_tasks, full.value.limit) == (8, 10)
    assert [job.name for job in small.jobs()] == ["eight"]
    for seconds in (0.1, 0.2):
        small.submit("sleep", seconds)
    with pytest.raises(QueueFull):
        small.submit("sleep", 0.3)


def test_a_generator_waits_for_room_and_goes_on(small: Farm) -> None:
    def inputs() -> Iterator[float]:
        yield from [0.0] * 3

    jobs: list[int | None] = []
    thread = threading.Thread(
        target=lambda: jobs.append(small.submit_many("sleep", inputs(), name="three").total)
    )
    thread.start()
    until(lambda: len(small.jobs()) == 2)
    assert not jobs
    small.job("eight").cancel()
    thread.join(30)
    assert jobs == [3]
    assert small.stats()["sleep"] == {State.QUEUED: 3}


def test_a_generator_told_to_raise_leaves_nothing_open(small: Farm) -> None:
    with pytest.raises(QueueFull):
        small.submit_many("sleep", (0.0 for _ in range(3)), when_full="raise")
    assert small.stats()["sleep"] == {State.QUEUED: 8}


def test_more_than_the_farm_may_ever_hold_is_not_waited_for(small: Farm) -> None:
    with pytest.raises(QueueFull, match=r"11 tasks can never fit .* limit is 10 .*in parts"):
        small.submit_many("sleep", [0.0] * 11, when_full="wait")


def test_a_generator_gives_no_more_at_once_than_the_farm_may_hold(small: Farm) -> None:
    small.job("eight").cancel()
    with pytest.raises(QueueFull, match=r"^10 tasks are open .* and 1 more"):
        small.submit_many("sleep", (0.0 for _ in range(11)), when_full="raise")


@pytest.mark.parametrize("is_generator", [False, True])
def test_a_submission_that_broke_off_finds_room_for_what_is_left_of_it(
    small: Farm, monkeypatch: pytest.MonkeyPatch, is_generator: bool
) -> None:
    def inputs() -> object:
        return (0.0 for _ in range(2)) if is_generator else [0.0] * 2

    def cut_off(*_given: object) -> None:
        raise Unreachable("cut off")

    with monkeypatch.context() as patch:
        for verb in ("seal", "discard", "cancel"):
            patch.setattr(small._link.store, verb, cut_off)
        with pytest.raises(Unreachable):
            small.submit_many("sleep", inputs(), name="two")
    assert small._link.store.count_open() == 10
    assert small.submit_many("sleep", inputs(), name="two", when_full="raise").total == 2
