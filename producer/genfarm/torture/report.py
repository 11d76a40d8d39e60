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
        "breaches": [
            {"rule": b.rule, "subject": b.subject, "said": b.said, "harm": b.harm.value}
            for b in report.breaches
        ],
        "home": str(report.home),
    }


def ledger(report: Report) -> Iterator[str]:
    """The run line by line: what struck, when, what it cost, and the count."""
    record = as_record(report)
    yield f"torture of seed {report.seed} on {report.store}, {report.workers} workers"
    yield ""
    yield "  at s   fault          struck                               for s  lost  tasks/s"
    for strike in report.strikes:
        lost, rate = _cost(report, strike)
        yield (
            f"{strike.at - report.began_at:6.1f}   {strike.fault:14} {strike.target:36}"
            f"{strike.seconds or '':>6.3}  {lost:4}  {rate:7.1f}"
        )
    yield ""
    yield f"tasks/s  {sparkline(report.ends, report.began_at, WIDTH)}"
    yield ""
    counted = ("tasks", "kills", "faults", "lost", "duplicated", "wrong", "violations")
    yield "   ".join(f"{name} {record[name]}" for name in counted)
    yield f"states     {_pairs(record['states'])}"
    yield f"attempts   {_pairs(record['attempts'])}"
    yield f"failed submissions, each whole or absent   {record['failed_submissions']}"
    yield (
        f"from a SIGKILL to the first redo   median {record['recovery_p50_seconds']} s, "
        f"longest {record['recovery_max_seconds']} s, of {record['recoveries']}"
    )
    yield f"last task {record['quiet_seconds']} s after the last strike"
    for breach in report.breaches[:LISTED]:
        yield f"VIOLATION {breach.rule} {breach.subject}: {breach.said}"
    if len(report.breaches) > LISTED:
        yield f"and {len(report.breaches) - LISTED} more"


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
