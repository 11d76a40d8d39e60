"""A worker's time: every second in one account, whatever happens in between."""

import pytest

from genfarm_shared.goodput import Goodput, goodput_of, spell_goodput, together
from genfarm_shared.tasks import WorkerRecord
from genfarm_workers.engines import Work
from genfarm_workers.goodput import LOAD, USEFUL, WINDOW_SECONDS, Ledger, Spent


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> Ledger:
    return Ledger(clock)


def total(ledger: Ledger) -> Goodput:
    return Goodput.from_json(ledger.report()["total"])


def test_a_step_is_useful_in_the_share_of_rows_that_tasks_needed() -> None:
    spent, work = Spent(), Work()
    before = Work()
    work.add(computed=8, useful=6)
    spent.begin(USEFUL, 10.0)
    spent.end(14.0, before.share_until(work))
    spent.begin(LOAD, 14.0)
    assert spent.totals(15.0) == {"useful": 3.0, "padding": 1.0, "load": 1.0}
    spent.end(16.0, useful=0.5)  # a load has no rows
    assert spent.totals(99.0) == {"useful": 3.0, "padding": 1.0, "load": 2.0}


def test_a_call_that_computed_no_row_is_not_padding() -> None:
    assert Work(calls=1).share_until(Work(calls=2)) == 1.0


def test_each_second_is_in_one_account_and_the_engine_comes_first(
    ledger: Ledger, clock: Clock
) -> None:
    steps = [
        {},  # idle
        {"wait": True},
        {"database": True},
        {"holding": True},  # it claims ahead, which costs the engine nothing
        {"database": False, "wait": False},
        {"holding": False},
    ]
    for states in steps:
        ledger.note(**states)
        clock.now += 1.0
    ledger.hear({"useful": 1.25, "padding": 0.25, "load": 0.25})
    found = total(ledger)
    assert found == Goodput(
        idle=2.0, wait=1.0, database=1.0, useful=1.25, padding=0.25, load=0.25, serialise=0.25
    )
    assert found.busy + found.idle == len(steps)
    assert found.fraction == 1.25 / 4
    assert sum(found.lost().values()) + 1.25 / 4 == pytest.approx(1.0)


def test_what_an_engine_does_with_nothing_in_hand_is_not_counted_as_idle_too(
    ledger: Ledger, clock: Clock
) -> None:
    for states in ({"database": True}, {"holding": True, "database": False}, {"holding": False}):
        ledger.note(**states)
        clock.now += 1.0
    ledger.hear({"useful": 1.5, "padding": 0.25, "load": 0.0})
    assert total(ledger) == Goodput(idle=0.25, database=1.0, useful=1.5, padding=0.25)
    ledger.hear({"useful": 1.5, "padding": 0.25, "load": 0.75})
    assert total(ledger) == Goodput(database=0.5, useful=1.5, padding=0.25, load=0.75)


def test_the_rolling_figures_forget_what_is_over_a_minute_old(ledger: Ledger, clock: Clock) -> None:
    ledger.note(holding=True)
    for second in range(1, 201):
        clock.now += 1.0
        ledger.hear({"useful": min(second, 100), "padding": 0.0, "load": max(second - 100, 0)})
    report = ledger.report()
    assert report["minute"]["fraction"] == 0.0
    assert report["minute"]["load"] == WINDOW_SECONDS
    assert report["total"]["fraction"] == 0.5


def test_an_engines_death_takes_none_of_its_seconds_along(ledger: Ledger, clock: Clock) -> None:
    ledger.note(holding=True, wait=True)
    clock.now += 2.0
    ledger.hear({"useful": 2.0, "padding": 0.0, "load": 0.0})
    ledger.note(holding=False)
    ledger.bury()
    clock.now += 3.0
    assert total(ledger) == Goodput(useful=2.0, wait=3.0)  # no engine says so
    ledger.note(holding=True)
    clock.now += 1.0
    ledger.hear({"useful": 0.0, "padding": 0.0, "load": 1.0})
    assert total(ledger) == Goodput(useful=2.0, wait=3.0, load=1.0)


def test_goodput_is_said_in_a_few_words_and_of_several_workers() -> None:
    one, other = Goodput(useful=8.0, padding=1.99, wait=0.01), Goodput(idle=50.0)
    assert spell_goodput(one) == "80% (padding 20%)"
    assert spell_goodput(other) == "-"
    assert together([one, other, one]).useful == 16.0
    silent = WorkerRecord("w", "n", "h", 1, "cpu", "alive", [], "0", 0.0, 0.0)
    assert goodput_of(silent) == Goodput()
    newer = Goodput.from_json({"useful": 1, "idle": 2, "gossip": 3, "fraction": None})
    assert newer == Goodput(useful=1.0, idle=2.0)
