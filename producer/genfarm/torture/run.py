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
from genfarm.torture.check import MOST_JOBS, Evidence, judge_run
from genfarm.torture.driver import Driver
from genfarm.torture.faults import FAULTS, Fault
from genfarm.torture.garbage import unburied
from genfarm.torture.nemesis import Nemesis
from genfarm.torture.on_redis import push_again
from genfarm.torture.plan import make_plan
from genfarm.torture.recovery import measure_recovery
from genfarm.torture.report import Report, as_record, conclusion, ledger
from genfarm.torture.yard import Yard, check_store, make_home
from genfarm_shared.errors import GenfarmError, InvalidSetting
from genfarm_shared.settings import masked
from genfarm_shared.store.burying import KEPT

#: Seconds between two looks at processes and faults.
TICK = 0.05
#: Seconds in which a healed farm must end everything; what has not ended then is a violation.
PATIENCE = 180.0
#: Seconds in which a farm at rest must bury what is malformed.
BURIAL_SECONDS = 30.0
#: Seconds after the end of a strike at an engine in which its worker may still convict: until a
#: silent engine is ended, and the store has answered.
FELT_SECONDS = 10.0
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
    faults = choose_faults(wish.faults, wish.store)
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


def choose_faults(names: Sequence[str], store: str) -> list[Fault]:
    """Those faults; for none, all that can strike such a run.

    Raises InvalidSetting for an unknown name, and for one that could never strike.
    """
    unknown = [name for name in names if name not in FAULTS]
    if unknown:
        raise InvalidSetting(
            f"no fault {unknown[0]!r}; `genfarm torture --faults list` shows them: "
            f"{', '.join(FAULTS)}"
        )
    vain = [FAULTS[name] for name in names if not FAULTS[name].can_strike(store)]
    if vain:
        raise InvalidSetting(
            f"fault {vain[0].name!r} can never strike this run: it needs {vain[0].needs}"
        )
    return [FAULTS[name] for name in names or FAULTS if FAULTS[name].can_strike(store)]


class _Run:
    def __init__(
        self, wish: Wish, yard: Yard, driver: Driver, faults: Sequence[Fault], tell: Tell
    ) -> None:
        self._wish = wish
        self._yard = yard
        self._driver = driver
        self._field = Field(yard, driver)
        self._nemesis = Nemesis(self._field, faults, wish.seed)
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
        unfinished = [*self._settle(), *self._find_garbage(), *self._find_exits()]
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

    def _find_garbage(self) -> Iterator[Breach]:
        """Every kind of malformed message must be among the dead letters.

        What strikes took from Redis before a worker saw it is sent again, to a farm at rest.
        """
        yard = self._yard

        def missing() -> list[bytes]:
            return unburied(yard.garbage, yard.store.list_letters(KEPT))

        if not (left := missing()):
            return
        push_again(self._field, left)
        for _ in self._ticks(time.monotonic() + BURIAL_SECONDS, QUIET_TICK):
            if not (left := missing()):
                return
        for message in left:
            said = f"a malformed message is in no dead letter: {message[:80]!r}"
            yield Breach("I10", "dead letters", said)

    def _find_exits(self) -> Iterator[Breach]:
        for said in self._yard.exits:
            yield Breach("I10", "workers", f"{said}, and nothing had struck it")

    def _judge(
        self, started: float, began_at: float, healed_at: float, unfinished: list[Breach]
    ) -> Report:
        self._tell("checking every row and file")
        yard = self._yard
        verdict = judge_run(yard.store, yard.shelf, self._gather())
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
            garbage=len(yard.garbage),
            letters=len(yard.store.list_letters(KEPT)),
            exits=len(yard.exits),
            fenced=yard.fenced,
        )

    def _gather(self) -> Evidence:
        """What the verdict needs besides the rows."""
        strikes = [s for s in self._nemesis.strikes if s.fault in ("freeze-engine", "kill-engine")]
        return Evidence(
            self._driver.asked,
            self._driver.sightings,
            self._yard.settings.max_attempts,
            [(s.at, s.at + s.seconds + FELT_SECONDS) for s in strikes],
        )

    def _ticks(self, until: float, pause: float = TICK) -> Iterator[float]:
        """Monotonic seconds until that time; the dead are restarted meanwhile."""
        while (now := time.monotonic()) < until:
            self._yard.supervise()
            yield now
            time.sleep(pause)

    def _is_quiet(self) -> bool:
        """Whether every job that may run has ended, those too whose submission was told nothing
        or broke off."""
        store = self._yard.store
        ids = [job.id for job in store.list_jobs(MOST_JOBS) if job.released]
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
    lines = [*ledger(report), conclusion(report), ""]
    (report.home / "ledger.txt").write_text("\n".join(lines), encoding="utf-8")
    (report.home / "report.json").write_text(json.dumps(as_record(report)), encoding="utf-8")
    picture = report.home / "torture.svg"
    picture.write_text(draw(report), encoding="utf-8")
    return picture
