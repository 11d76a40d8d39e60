"""Which models make room, and when a worker turns to another one."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genfarm_workers.residency import (
    AFTER_YOU,
    MAX_WAIT,
    Copy,
    K,
    Outlook,
    Residency,
    choose_victims,
)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def residency(clock: Clock, budget: int = 10, **sizes: int) -> Residency:
    return Residency(sizes, budget, clock)


def hold(found: Residency, clock: Clock, *models: str) -> None:
    """One after the other; each loads in a second, and a task of its takes 0.1 s."""
    for model in models:
        found.arrive(model)
        for held in found.report()["held_bytes"]:
            if not found.is_open(held):
                found.evicted(held)
        found.loaded(model, 10, 1.0)
        found.ended(model, 0.1)
        clock.now += 100.0


def test_what_was_used_longest_ago_by_its_reload_cost_makes_room() -> None:
    copies = {
        "old but dear": Copy(4, 60.0, 0.0),
        "cheap": Copy(4, 1.0, 50.0),
        "fresh": Copy(4, 1.0, 99.0),
    }
    assert choose_victims(copies, 0, (), 100.0) == []
    assert choose_victims(copies, 4, (), 100.0) == ["cheap"]
    assert choose_victims(copies, 8, (), 100.0) == ["cheap", "old but dear"]
    assert choose_victims(copies, 4, {"cheap"}, 100.0) == ["old but dear"]


def test_a_model_larger_than_all_comes_in_alone_and_waits_for_what_works() -> None:
    copies = {"a": Copy(4, 1.0, 0.0), "b": Copy(4, 1.0, 0.0), "nothing": Copy(0, 1.0, 0.0)}
    assert sorted(choose_victims(copies, 100, {"nothing"}, 1.0) or []) == ["a", "b"]
    assert choose_victims(copies, 100, {"b"}, 1.0) is None


COPIES = st.dictionaries(
    st.sampled_from("abcdef"),
    st.builds(Copy, st.integers(0, 9), st.floats(0, 9), st.floats(0, 99)),
)


@given(COPIES, st.integers(-5, 40), st.sets(st.sampled_from("abcdef")))
def test_no_more_is_evicted_than_must_be_and_nothing_that_works(
    copies: dict[str, Copy], needed: int, busy: set[str]
) -> None:
    victims = choose_victims(copies, needed, busy, 100.0)
    idle = sum(copy.bytes for model, copy in copies.items() if model not in busy)
    if victims is None:
        assert needed > idle
        return
    assert not busy & set(victims)
    freed = sum(copies[model].bytes for model in victims)
    assert freed >= min(needed, idle)
    assert all(freed - copies[model].bytes < max(needed, 1) for model in victims)


def test_a_worker_whose_models_all_fit_is_open_to_all(clock: Clock) -> None:
    found = residency(clock, a=5, b=5, c=0)
    found.arrive("a")
    found.loaded("a", 5, 1.0)
    assert all(map(found.is_open, "abc"))
    assert found.report()["open"] == ["a", "b", "c"]


def test_a_worker_takes_what_it_holds_and_what_fits_beside_it(clock: Clock) -> None:
    found = residency(clock, a=6, b=6, c=4, d=0)
    found.arrive("a")
    assert [found.is_open(model) for model in "abcd"] == [True, False, True, True]
    assert found.report()["open"] == ["a"]


def test_an_idle_worker_takes_anything_once_a_load_is_no_longer_than_its_idleness(
    clock: Clock,
) -> None:
    found = residency(clock, a=10, b=10)
    assert found.may_turn_to("b")
    hold(found, clock, "a", "b")
    found.ended("b", 0.1)
    clock.now += 0.9
    assert not found.may_turn_to("a")
    clock.now += 0.2
    assert found.may_turn_to("a")
    found.arrive("a")
    assert (found.is_open("a"), found.is_open("b")) == (True, False)


def test_a_worker_with_work_turns_when_what_waits_is_worth_the_loads(clock: Clock) -> None:
    found = residency(clock, a=10, b=10)
    hold(found, clock, "b", "a")
    few, enough = int(K / 0.1) - 1, int(K / 0.1)
    assert found.look(Outlook({"a": 5, "b": few}), ["a"]) is None
    assert found.look(Outlook({"a": 5, "b": enough}), ["a"]) == "b"
    assert (found.is_open("a"), found.is_open("b")) == (False, True)


def test_what_was_loaded_dearly_is_held_for_as_many_loads(clock: Clock) -> None:
    """Else two models of long queues would change places for ever."""
    found = residency(clock, a=10, b=10)
    hold(found, clock, "b", "a")
    backlog = {"a": 10_000, "b": 10_000}
    assert found.look(Outlook(backlog), ["a"]) == "b"
    found.evicted("a")
    found.loaded("b", 10, 1.0)
    clock.now += K - 0.1
    assert found.look(Outlook(backlog), ["b"]) is None
    clock.now += 0.2
    assert found.look(Outlook(backlog), ["b"]) == "a"


def test_one_task_of_a_model_that_nobody_holds_waits_for_a_bounded_time(clock: Clock) -> None:
    found = residency(clock, a=10, b=10)
    hold(found, clock, "b", "a")
    assert found.look(Outlook({"b": 1}), ["a"]) is None
    clock.now += MAX_WAIT - 1.0
    assert found.look(Outlook({"b": 1}), ["a"]) is None
    clock.now += 1.0
    assert found.look(Outlook({"b": 1}), ["a"]) == "b"


def test_a_model_that_another_holds_is_left_to_it(clock: Clock) -> None:
    found = residency(clock, a=10, b=10)
    hold(found, clock, "b", "a")
    for _ in range(100):
        assert found.look(Outlook({"b": 10_000}, elsewhere={"b"}), ["a"]) is None
        clock.now += 10.0


def test_of_two_that_could_turn_one_does(clock: Clock) -> None:
    """The second sees in the beat of the first that it is gone for it."""
    first, second = residency(clock, a=10, b=10), residency(clock, a=10, b=10)
    for found in (first, second):
        hold(found, clock, "b", "a")
    assert first.look(Outlook({"b": 1000}), ["a"]) == "b"
    assert second.look(Outlook({"b": 1000}, rank={"b": 1}), ["a"]) is None
    clock.now += AFTER_YOU
    assert second.look(Outlook({"b": 1000}, first.report()["open"], {"b": 1}), ["a"]) is None


def test_the_one_after_goes_where_the_one_before_cannot(clock: Clock) -> None:
    found = residency(clock, a=10, b=10)
    hold(found, clock, "b", "a")
    assert found.look(Outlook({"b": 1000}, rank={"b": 1}), ["a"]) is None
    clock.now += AFTER_YOU
    assert found.look(Outlook({"b": 1000}, rank={"b": 1}), ["a"]) == "b"


def test_two_workers_with_two_models_settle_on_one_each(clock: Clock) -> None:
    """Both begin with the same one, and both queues are long."""
    pair = [residency(clock, a=10, b=10) for _ in range(2)]
    for found in pair:
        hold(found, clock, "b", "a")
    turns, backlog = 0, {"a": 10_000, "b": 10_000}
    for _ in range(400):
        for rank, found in enumerate(pair):
            other = pair[1 - rank].report()["open"]
            seen = Outlook(backlog, other, dict.fromkeys("ab", rank))
            turned = found.look(seen, found.report()["open"])
            turns += turned is not None
            if turned is not None:
                found.loaded(turned, 10, 1.0)
        clock.now += 0.5
    assert turns == 1
    assert sorted(found.report()["open"] for found in pair) == [["a"], ["b"]]


def test_a_worker_turns_to_one_model_at_a_time(clock: Clock) -> None:
    found = residency(clock, a=10, b=10, c=10)
    hold(found, clock, "b", "c", "a")
    queues: Mapping[str, int] = {"b": 1000, "c": 1000}
    turned = found.look(Outlook(queues), ["a"])
    clock.now += K + 0.1
    assert turned is not None
    assert found.look(Outlook(queues), ["a"]) is None  # it is not loaded yet
    found.loaded(turned, 10, 1.0)
    assert found.look(Outlook(queues), [turned]) is None
    clock.now += K + 0.1
    assert found.look(Outlook(queues), [turned]) is not None


def test_a_turn_whose_tasks_were_cancelled_is_given_up(clock: Clock) -> None:
    """Else the worker would wait for ever for a model that nothing asks it to load."""
    found = residency(clock, a=10, b=10)
    found.arrive("b")
    found.look(Outlook({"b": 0}), ["b"])
    clock.now += AFTER_YOU
    assert not found.may_turn_to("a")
    found.look(Outlook({"b": 0}), [])
    assert found.may_turn_to("a")
    assert found.report()["open"] == []


def test_room_is_made_for_tasks_that_the_engine_has_of_a_model_of_unknown_size(
    clock: Clock,
) -> None:
    found = Residency({"a": 10, "b": None}, 10, clock)
    hold(found, clock, "a")
    assert found.is_open("b")
    found.wanting("b", 10)
    assert (found.is_open("a"), found.is_open("b")) == (False, True)
