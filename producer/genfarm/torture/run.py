"""One torture run from beginning to end: start, strike, heal, wait, judge, end."""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from genfarm.audit import Breach, Harm
from genfarm.torture.blow import Field
from genfarm.torture.chart import draw
from genfarm.torture.check import judge_run
from genfarm.torture.driver import Driver
from genfarm.torture.faults import FAULTS, Fault
from genfarm.torture.nemesis import Nemesis
from genfarm.torture.plan import make_plan
from genfarm.torture.recovery import measure_recovery
from genfarm.torture.report import Report, as_record, ledger
from genfarm.torture.yard import Yard, check_store, make_home
from genfarm_shared.errors import GenfarmError, InvalidSetting
from genfarm_shared.settings import masked

#: Seconds between two looks at processes and faults.
TICK = 0.05
#: Seconds in which a healed farm must end everything; what has not ended then is a violation.
PATIENCE = 180.0
#: Jobs of a run, more than any plan has.
MOST_JOBS = 100_000
#: Seconds between two looks at whether all has ended.
QUIET_TICK = 0.5
#: Seconds between two words about how it goes.
TELL_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What `genfarm torture` was asked for."""

    home: Path
    seed: int = 1
    seconds: float = 60.0
    tasks: int = 1200
    workers: int = 3
    #: `sqlite`, `postgresql` or the URL of an empty database.
    store: str = "sqlite"
    #: Names; empty for all.
    faults: Sequence[str] = ()


#: Hears how it goes, about once a second; a later word may write over this one.
Tell = Callable[[str], object]


def run_torture(wish: Wish, tell: Tell) -> Report:
    """Run it. Whatever happens, no process of it is left. Raises GenfarmError."""
    faults = choose_faults(wish.faults)
    check_store(wish.store)
    make_home(wish.home)
    orders = make_plan(wish.seed, wish.tasks, wish.seconds)
    started = time.monotonic()
    yard = Yard(wish.home, wish.store, wish.workers)
    try:
        tell(f"starting Redis, the store and {wish.workers} workers in {wish.home}")
        yard.start()
        settings = yard.settings.model_copy(update={"broker": yard.broker_url})
        driver = Driver(settings, orders, wish.seed)
        try:
            report = _Run(wish, yard, driver, faults, tell).go(started)
        finally:
            driver.halt()
            driver.join(30.0)
            driver.close()
    finally:
        yard.close()
    if not report.breaches:  # else they are evidence
        for folder in ("postgres", "redis"):
            shutil.rmtree(wish.home / folder, ignore_errors=True)
    return report


def choose_faults(names: Sequence[str]) -> list[Fault]:
    """Those faults, all for none. Raises InvalidSetting for an unknown name."""
    unknown = [name for name in names if name not in FAULTS]
    if unknown:
        raise InvalidSetting(
            f"no fault {unknown[0]!r}; `genfarm torture --faults list` shows them: "
            f"{', '.join(FAULTS)}"
        )
    return [FAULTS[name] for name in names or FAULTS]


class _Run:
    def __init__(
        self, wish: Wish, yard: Yard, driver: Driver, faults: Sequence[Fault], tell: Tell
    ) -> None:
        self._wish = wish
        self._yard = yard
        self._driver = driver
        self._nemesis = Nemesis(Field(yard, driver), faults, wish.seed)
        self._tell = tell
        self._told_at = 0.0

    def go(self, started: float) -> Report:
        began_at, began = time.time(), time.monotonic()
        self._driver.start()
        for now in self._ticks(began + self._wish.seconds):
            self._nemesis.tick(now)
            self._say(f"{now - began:3.0f} s", now)
        self._nemesis.heal_all()
        healed_at = time.time()
        unfinished = self._settle()
        return self._judge(started, began_at, healed_at, unfinished)

    def _settle(self) -> list[Breach]:
        """Wait until everything has ended, what a person has run again too."""
        self._driver.finish()
        give_up = time.monotonic() + PATIENCE
        for now in self._ticks(give_up, QUIET_TICK):
            self._say("healing", now)
            if not self._driver.is_alive() and self._is_quiet():
                break
        if self._driver.is_alive():
            return [Breach("I1", "driver", "submissions did not end", Harm.LOST)]
        if self._driver.error is not None:
            raise self._driver.error
        self._driver.retry()
        for now in self._ticks(give_up, QUIET_TICK):
            self._say("healing", now)
            if self._is_quiet():
                return []
        return [Breach("I1", "farm", f"no quiet {PATIENCE:.0f} s after the last strike", Harm.LOST)]

    def _judge(
        self, started: float, began_at: float, healed_at: float, unfinished: list[Breach]
    ) -> Report:
        self._tell("checking every row and file")
        yard = self._yard
        verdict = judge_run(
            yard.store,
            yard.shelf,
            self._driver.asked,
            self._driver.sightings,
            yard.settings.max_attempts,
        )
        verdict.breaches += unfinished
        ends, losses = yard.store.list_ends()
        return Report(
            seed=self._wish.seed,
            store=self._wish.store if "://" not in self._wish.store else masked(self._wish.store),
            home=self._wish.home,
            workers=self._wish.workers,
            began_at=began_at,
            seconds_run=time.monotonic() - started,
            quiet_seconds=max(0.0, max(ends, default=healed_at) - healed_at),
            strikes=self._nemesis.strikes,
            verdict=verdict,
            recovery=measure_recovery(yard.store, self._nemesis.strikes),
            ends=ends,
            losses=losses,
        )

    def _ticks(self, until: float, pause: float = TICK) -> Iterator[float]:
        """Monotonic seconds until that time; the dead are restarted meanwhile."""
        while (now := time.monotonic()) < until:
            self._yard.supervise()
            yield now
            time.sleep(pause)

    def _is_quiet(self) -> bool:
        """Whether every whole job has ended, those too whose submission was told nothing."""
        store = self._yard.store
        ids = [j.id for j in store.list_jobs(MOST_JOBS) if j.released and j.total is not None]
        return all(state.is_terminal for states in store.count(ids).values() for state in states)

    def _say(self, what: str, now: float) -> None:
        if now - self._told_at < TELL_EVERY:
            return
        self._told_at = now
        last = self._nemesis.strikes[-1] if self._nemesis.strikes else None
        struck = f"{last.fault} of {last.target}" if last is not None else "no strike yet"
        with contextlib.suppress(GenfarmError):
            ended = self._yard.ended
            self._tell(
                f"{what}   {ended} tasks ended, {len(self._nemesis.strikes)} strikes, "
                f"{len(self._yard.ready)} workers ready   {struck}"
            )


def keep(report: Report) -> Path:
    """Write ledger, JSON and picture into the run's folder; returns the picture's path."""
    (report.home / "ledger.txt").write_text("\n".join([*ledger(report), ""]), encoding="utf-8")
    (report.home / "report.json").write_text(json.dumps(as_record(report)), encoding="utf-8")
    picture = report.home / "torture.svg"
    picture.write_text(draw(report), encoding="utf-8")
    return picture
