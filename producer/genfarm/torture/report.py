"""What a torture run says: one JSON object, or a ledger for people."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genfarm.audit import Breach, Harm
from genfarm.torture.check import Verdict
from genfarm.torture.nemesis import Strike
from genfarm.torture.recovery import Recovery

#: Steps of a sparkline, from nothing to the most.
BARS = "▁▂▃▄▅▆▇█"
#: Columns of the sparkline.
WIDTH = 72
#: Seconds after a strike in which its cost is looked for.
COST_SECONDS = 5.0
#: Violations that the ledger lists; the JSON has all.
LISTED = 50


@dataclass(frozen=True, slots=True)
class Report:
    """A finished run."""

    seed: int
    #: `sqlite`, or the URL without its password.
    store: str
    home: Path
    workers: int
    began_at: float
    #: Wall seconds, all in all.
    seconds_run: float
    #: Seconds from the end of the strikes to the last task.
    quiet_seconds: float
    strikes: Sequence[Strike]
    verdict: Verdict
    recovery: Recovery
    #: When each task ended and when each attempt was lost, UTC seconds, sorted.
    ends: Sequence[float]
    losses: Sequence[float]
    #: Malformed messages that were sent, and dead letters of the farm.
    garbage: int = 0
    letters: int = 0
    #: Workers that ended unstruck, and those that gave a lost lease up, as they must.
    exits: int = 0
    fenced: int = 0

    @property
    def is_proven(self) -> bool:
        """A run that nothing struck proves nothing."""
        return not self.breaches and bool(self.strikes)

    @property
    def breaches(self) -> Sequence[Breach]:
        return self.verdict.breaches

    @property
    def kills(self) -> int:
        return sum(strike.killed is not None for strike in self.strikes)


def as_record(report: Report) -> Mapping[str, Any]:
    """One object for programs."""
    verdict = report.verdict
    return {
        "ok": report.is_proven,
        "seed": report.seed,
        "store": report.store,
        "seconds_run": round(report.seconds_run, 1),
        "workers": report.workers,
        "tasks": verdict.tasks,
        "kills": report.kills,
        "faults": len(report.strikes),
        "lost": verdict.harmed(Harm.LOST),
        "duplicated": verdict.harmed(Harm.TWICE),
        "wrong": verdict.harmed(Harm.WRONG),
        "violations": len(report.breaches),
        "recovery_p50_seconds": report.recovery.p50,
        "recovery_max_seconds": report.recovery.longest,
        "recoveries": len(report.recovery.seconds),
        "quiet_seconds": round(report.quiet_seconds, 1),
        "struck": dict(sorted(Counter(strike.fault for strike in report.strikes).items())),
        "states": dict(sorted(verdict.states.items())),
        "attempts": dict(sorted(verdict.attempts.items())),
        "failed_submissions": verdict.failed_submissions,
        "malformed_messages": report.garbage,
        "dead_letters": report.letters,
        "unstruck_exits": report.exits,
        "fenced_workers": report.fenced,
        "breaches": [
            {"rule": b.rule, "subject": b.subject, "said": b.said, "harm": b.harm.value}
            for b in report.breaches
        ],
        "home": str(report.home),
    }


def ledger(report: Report) -> Iterator[str]:
    """The run line by line: what struck, when, what it cost, and the count."""
    record = as_record(report)
    workers = f"{report.workers} worker{'' if report.workers == 1 else 's'}"
    yield f"torture of seed {report.seed} on {report.store}, {workers}"
    yield ""
    head = f"  at s   {'fault':14} {'struck':36}{'for s':>6}  attempts lost  tasks/s"
    yield head.rstrip()
    for strike in report.strikes:
        lost, rate = _cost(report, strike)
        yield (
            f"{strike.at - report.began_at:6.1f}   {strike.fault:14} {strike.target:36}"
            f"{strike.seconds or '':>6.3}  {lost:13}  {rate:7.1f}"
        )
    yield f"the last two columns look at the {COST_SECONDS:.0f} s after the strike"
    yield ""
    yield f"tasks/s  {sparkline(report.ends, report.began_at, WIDTH)}"
    yield ""
    counted = ("tasks", "kills", "faults", "lost", "duplicated", "wrong", "violations")
    yield "   ".join(f"{name} {record[name]}" for name in counted)
    yield f"states     {_pairs(record['states'])}: {_planned(report)}"
    yield f"attempts   {_pairs(record['attempts'])}"
    yield f"failed submissions, each whole or absent   {record['failed_submissions']}"
    yield (
        f"malformed messages {report.garbage}, dead letters {report.letters}, workers that ended "
        f"unstruck {report.exits}, that gave up a lost lease {report.fenced}"
    )
    yield f"from a SIGKILL to the first redo   {_recovered(report.recovery)}"
    yield f"last task {record['quiet_seconds']} s after the last strike"
    for breach in report.breaches[:LISTED]:
        yield f"VIOLATION {breach.rule} {breach.subject}: {breach.said}"
    if len(report.breaches) > LISTED:
        yield f"and {len(report.breaches) - LISTED} more"


def conclusion(report: Report) -> str:
    """The one sentence that it all comes to."""
    verdict = report.verdict
    tasks = f"{verdict.tasks} task{'' if verdict.tasks == 1 else 's'}"
    if report.breaches:
        number = len(report.breaches)
        lost, doubled, wrong = (verdict.harmed(h) for h in (Harm.LOST, Harm.TWICE, Harm.WRONG))
        return (
            f"BROKEN: {number} violation{'' if number == 1 else 's'} in {tasks}: "
            f"{lost} lost, {doubled} doubled, {wrong} wrong"
        )
    if not report.strikes:
        return f"UNPROVEN: no fault landed while {tasks} ran; give it more seconds or more faults"
    return f"PROVEN: {tasks}, none lost, doubled or wrong"


def _planned(report: Report) -> str:
    odd = report.verdict.harmed(Harm.FATE)
    return f"{odd} not as planned" if odd else "as planned"


def _recovered(recovery: Recovery) -> str:
    if not recovery.seconds:
        return "no kill took tasks with it"
    return f"median {recovery.p50} s, longest {recovery.longest} s, of {len(recovery.seconds)}"


def sparkline(ends: Sequence[float], began_at: float, width: int) -> str:
    """Tasks that ended over the time of the run, as one line."""
    if not ends:
        return ""
    span = max(ends[-1] - began_at, 1e-9)
    counts = Counter(min(int((end - began_at) / span * width), width - 1) for end in ends)
    most = max(counts.values())
    return "".join(BARS[round(counts[n] / most * (len(BARS) - 1))] for n in range(width))


def _cost(report: Report, strike: Strike) -> tuple[int, float]:
    """Attempts lost, and tasks that ended a second, in the seconds after a strike."""
    after = strike.at + COST_SECONDS
    lost = sum(strike.at <= at < after for at in report.losses)
    return lost, sum(strike.at <= at < after for at in report.ends) / COST_SECONDS


def _pairs(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items()) or "none"
