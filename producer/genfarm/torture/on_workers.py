"""Faults of workers and of their engines: killed, stopped, asked to end, out of disk.

Signals go to the yard's own pids alone.
"""

import os
import signal
from collections.abc import Callable
from random import Random

from genfarm.torture.blow import Blow, Field
from genfarm.torture.plan import Flavour, Order
from genfarm.torture.yard import Hand, quietly

try:
    from resource import RLIMIT_FSIZE, prlimit
except ImportError:  # not Linux
    prlimit = None  # type: ignore[assignment]


def kill_worker(at: Field, rng: Random) -> Blow | None:
    hand = _pick(at, rng, fatal=True)
    if hand is None:
        return None
    pid = hand.child.pid
    hand.suffer("kill-worker")
    # It may have ended by itself meanwhile, here and below; then nothing was struck.
    done = quietly(lambda: os.kill(pid, signal.SIGKILL))
    return Blow(hand.child.command.name, kills=pid) if done else None


def freeze_worker(at: Field, rng: Random) -> Blow | None:
    """Below a lease it must go unnoticed; beyond it, it must end itself on waking."""
    hand = _pick(at, rng, fatal=False)
    if hand is None:
        return None
    seconds = rng.choice((0.5, 1.5, 2.0, 5.0, 8.0))
    return _stopped(hand, "freeze-worker", seconds, signal.SIGCONT)


def freeze_kill(at: Field, rng: Random) -> Blow | None:
    hand = _pick(at, rng, fatal=True)
    if hand is None:
        return None
    seconds = rng.uniform(0.1, 1.0)
    blow = _stopped(hand, "freeze-kill", seconds, signal.SIGKILL)
    if blow is None:
        return None
    return Blow(blow.target, seconds, blow.heal, kills=hand.child.pid, kills_after=seconds)


def terminate_worker(at: Field, rng: Random) -> Blow | None:
    hand = _pick(at, rng, fatal=True)
    if hand is None:
        return None
    hand.suffer("term-worker")
    hand.child.terminate()
    return Blow(hand.child.command.name)


def kill_engine(at: Field, rng: Random) -> Blow | None:
    return _engine(at, rng, lambda process: process.kill(), 0.0)


def freeze_engine(at: Field, rng: Random) -> Blow | None:
    """Its worker takes it for hung after `stall_seconds`."""
    return _engine(at, rng, lambda process: process.suspend(), rng.choice((1.0, 6.0)))


def hold_gil(at: Field, rng: Random) -> Blow | None:
    seconds = rng.uniform(0.5, 2.0)
    task = {"text": "a held GIL", "seed": rng.randrange(2**40), "seconds": seconds}
    task |= {"fault": "hold-gil", "faulty_attempts": 1000}
    name = f"torture-gil-{rng.randrange(2**40):x}"
    at.driver.ask(Order(0.0, name, Flavour.PLAIN, [task], priority=9))
    return Blow(f"an engine for {seconds:.1f} s")


def fill_disk(at: Field, rng: Random) -> Blow | None:
    """A worker that can write no byte more: artefacts, store and log alike."""
    hand = _pick(at, rng, fatal=False)
    if hand is None or prlimit is None:
        return None
    pid, seconds = hand.child.pid, rng.uniform(1.0, 4.0)
    hard = -1  # none

    def fill() -> None:
        nonlocal hard
        _soft, hard = prlimit(pid, RLIMIT_FSIZE)
        prlimit(pid, RLIMIT_FSIZE, (0, hard))

    hand.suffer("disk-full")
    if not quietly(fill):
        hand.struck.discard("disk-full")
        return None

    def heal() -> None:
        hand.struck.discard("disk-full")
        if hand.child.pid == pid:
            quietly(lambda: prlimit(pid, RLIMIT_FSIZE, (hard, hard)))

    return Blow(hand.child.command.name, seconds, heal)


def _pick(at: Field, rng: Random, *, fatal: bool) -> Hand | None:
    """A worker to strike, one at work where there is one."""
    victims = at.yard.victims(fatal=fatal)
    ready = at.yard.ready  # another thread replaces it
    known = [(v, ready.get(v.child.pid)) for v in victims]
    busy = [v for v, worker in known if worker is not None and worker.report.get("in_hand")]
    return rng.choice(busy or victims) if victims else None


def _stopped(hand: Hand, name: str, seconds: float, ending: int) -> Blow | None:
    """SIGSTOP now and another signal later, to the same process if it is still ours."""
    pid = hand.child.pid
    hand.suffer(name)
    if not quietly(lambda: os.kill(pid, signal.SIGSTOP)):
        hand.struck.discard(name)
        return None

    def heal() -> None:
        hand.struck.discard(name)
        if hand.child.pid == pid and hand.child.is_running():
            quietly(lambda: os.kill(pid, ending))

    return Blow(hand.child.command.name, seconds, heal)


def _engine(at: Field, rng: Random, strike: Callable[..., object], seconds: float) -> Blow | None:
    hand = _pick(at, rng, fatal=False)
    process = at.yard.engine_of(hand) if hand is not None else None
    if hand is None or process is None or not quietly(lambda: strike(process)):
        return None
    hand.blamed.add("engine")
    heal = (lambda: quietly(process.resume)) if seconds else None
    return Blow(f"{hand.child.command.name}'s engine", seconds, heal)
