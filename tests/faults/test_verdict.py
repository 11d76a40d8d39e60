"""The torture's own checks: what was asked for, held against rows that someone bent."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import cast

import pytest
from PIL import Image

from genfarm.audit import Breach, Harm
from genfarm.fsck import Shelf
from genfarm.processes import Child, Command
from genfarm.torture.blow import Field
from genfarm.torture.check import Evidence, Verdict, judge_run
from genfarm.torture.driver import Asked, Driver
from genfarm.torture.garbage import GARBAGE, unburied
from genfarm.torture.nemesis import Strike
from genfarm.torture.on_workers import fill_disk, freeze_kill, freeze_worker, kill_worker
from genfarm.torture.plan import FAILING, SHARES, Flavour, Input, Order, fates, make_plan
from genfarm.torture.postgres import Postgres
from genfarm.torture.recovery import Recovery
from genfarm.torture.report import Report, conclusion
from genfarm.torture.run import choose_faults
from genfarm.torture.yard import MODELS, Hand, Yard, make_home, settle
from genfarm_shared import drill
from genfarm_shared.errors import InvalidSetting
from genfarm_shared.exits import FENCED
from genfarm_shared.messages import Letter
from genfarm_shared.store import Store
from genfarm_shared.tasks import (
    Artifact,
    Claim,
    Failure,
    JobRecord,
    Outcome,
    State,
    Task,
    WorkerRecord,
)
from tests.shared.farmyard import add_worker
from tests.waiting import until

INPUTS: list[Input] = [
    {"text": "plain", "seed": 1},
    {"text": "drawn", "seed": 2, "picture": True},
    {"text": "poison", "seed": 3, "fault": "exit", "faulty_attempts": 1000},
]


class Bench:
    """A store in which one job is played by hand, well or badly."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(f"sqlite:///{folder / 'farm.db'}")
        self.shelf = Shelf(str(folder / "artifacts"))
        self.order = Order(0.0, "job", Flavour.PLAIN, list(INPUTS))
        self.asked = Asked(self.order, job_id="job", ids={"job"})
        self.sightings: dict[str, State] = {}
        self.engine_strikes: list[tuple[float, float]] = []
        add_worker(self.store)

    def write(self, *, total: int | None = 3, rows: int = 3, opened: bool = False) -> None:
        if not opened:
            self.store.open_job(JobRecord("job", "drill", "drill", {}, 1.0, name="job"))
        tasks = [
            Task(f"job-{n}", "job", n, str(n), "drill", "drill", "drill", 1, INPUTS[n], n)
            for n in range(rows)
        ]
        self.store.insert(tasks)
        if total is not None:
            self.store.seal("job", total)

    def play(self, *outcomes: Outcome | None) -> None:
        """Run the job: each outcome, with None for a task that crashes alone twice."""
        claims = self.claim()
        self.store.commit([o for o in outcomes if o is not None], "w1", max_attempts=3)
        for claim in [claims[2], None] if outcomes[2] is None else []:
            crashed = [claim] if claim else self.store.claim(["job-2"], "w1")
            self.store.accuse(crashed, "it died", was_killed=False)

    def claim(self) -> list[Claim]:
        found = self.store.claim([f"job-{n}" for n in range(3)], "w1")
        return sorted(found, key=lambda claim: claim.task_id)

    def picture(self, seed: int) -> Artifact:
        buffer = io.BytesIO()
        size = (drill.SIDE, drill.SIDE)
        Image.frombytes("RGB", size, drill.pixels(seed, "drawn")).save(buffer, "PNG")
        return self.shelf.put(buffer.getvalue(), "image/png")

    def faults(self) -> set[tuple[str, str]]:
        """Rule and subject of every breach."""
        verdict = judge_run(
            self.store, self.shelf, Evidence([self.asked], self.sightings, 3, self.engine_strikes)
        )
        return {(breach.rule, breach.subject) for breach in verdict.breaches}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.store.close()


def plain(seed: int = 1) -> Outcome:
    return Outcome("job-0", 1, {"answer": drill.answer(seed, "plain")})


def drawn(*artifacts: Artifact) -> Outcome:
    return Outcome("job-1", 1, {"answer": drill.answer(2, "drawn")}, artifacts)


def test_a_run_as_it_should_be_has_no_violation(bench: Bench) -> None:
    bench.write()
    bench.play(plain(), drawn(bench.picture(2)), None)
    assert bench.faults() == set()


def test_an_answer_of_another_task_is_found(bench: Bench) -> None:
    bench.write()
    bench.play(plain(seed=2), drawn(bench.picture(3)), None)
    assert bench.faults() == {("I3", "job-0"), ("I3", "job-1")}


def test_a_missing_picture_is_found(bench: Bench) -> None:
    bench.write()
    bench.play(plain(), drawn(), None)
    assert bench.faults() == {("I3", "job-1")}


def test_a_failed_innocent_and_an_acquitted_poison_are_found(bench: Bench) -> None:
    bench.write()
    failure = Outcome("job-0", 1, failure=Failure("internal", "it broke"))
    poison = Outcome("job-2", 1, {"answer": drill.answer(3, "poison")})
    bench.play(failure, drawn(bench.picture(2)), poison)
    assert bench.faults() == {("I8", "job-0"), ("I8", "job-2")}


def test_a_failed_submission_may_be_whole_or_absent_and_nothing_between(bench: Bench) -> None:
    bench.asked.job_id, bench.asked.ids = None, set()
    assert bench.faults() == set()
    bench.write(total=None, rows=2)
    assert bench.faults() == set()  # not released: nothing of it runs
    bench.store.seal("job", 2)
    assert ("I9", "job") in bench.faults()


def test_a_task_of_an_unreleased_submission_that_ran_is_found(bench: Bench) -> None:
    bench.asked.job_id, bench.asked.ids = None, set()
    bench.write(total=None)
    bench.claim()
    assert bench.faults() == {("I9", "job")}


def test_what_a_refused_submission_leaves_is_found(bench: Bench) -> None:
    order = Order(0.0, "job", Flavour.INVALID, INPUTS)
    bench.asked = Asked(order, refusal="InvalidTask")
    bench.write(total=None)
    assert bench.faults() == {("I9", "job")}


def test_an_acknowledged_job_that_is_not_whole_is_found(bench: Bench) -> None:
    bench.write(total=2, rows=2)
    assert ("I1", "job") in bench.faults()


def test_a_job_that_was_written_twice_is_found(bench: Bench) -> None:
    bench.write()
    bench.play(plain(), drawn(bench.picture(2)), None)
    bench.asked.ids.add("job2")
    assert bench.faults() == {("I9", "job")}


def test_a_cancellation_that_did_not_hold_is_found(bench: Bench) -> None:
    bench.write()
    bench.play(plain(), drawn(bench.picture(2)), None)
    bench.sightings = {"job-0": State.CANCELLED, "job-1": State.RUNNING, "job-2": State.QUARANTINED}
    assert bench.faults() == {("I5", "job-0"), ("I7", "job-1")}


def test_a_job_that_nobody_asked_for_is_found(bench: Bench) -> None:
    bench.write()
    bench.play(plain(), drawn(bench.picture(2)), None)
    bench.store.open_job(JobRecord("other", "drill", "drill", {}, 1.0, name="other"))
    assert bench.faults() == {("I9", "other")}


def test_the_tasks_of_a_submission_that_broke_off_are_checked(bench: Bench) -> None:
    bench.asked = Asked(Order(0.0, "job", Flavour.STREAMED, INPUTS), refusal="Unreachable")
    bench.store.open_job(JobRecord("job", "drill", "drill", {}, 1.0, name="job", released=True))
    bench.write(total=None, opened=True)
    assert bench.faults() == {("I1", f"job-{n}") for n in range(3)}
    bench.play(plain(seed=2), drawn(bench.picture(2)), None)
    assert bench.faults() == {("I3", "job-0")}


def test_an_innocent_may_be_convicted_while_its_engine_is_struck(bench: Bench) -> None:
    bench.order.inputs[2] = {"text": "poison", "seed": 3}
    bench.write()
    bench.play(plain(), drawn(bench.picture(2)), None)
    assert bench.faults() == {("I8", "job-2")}
    bench.engine_strikes = [(0.0, 1e12)]
    assert bench.faults() == set()


def test_a_malformed_message_that_is_in_no_dead_letter_is_found(bench: Bench) -> None:
    bench.store.bury([Letter("q", "x", m[:100_000], len(m)) for m in GARBAGE[1:]])
    assert unburied(GARBAGE, bench.store.list_letters(100)) == [GARBAGE[0]]


@pytest.mark.parametrize(("fault", "needs"), [("db-restart", "--store postgresql")])
def test_a_fault_that_can_never_strike_is_refused(fault: str, needs: str) -> None:
    with pytest.raises(InvalidSetting, match=needs):
        choose_faults([fault], "sqlite")
    assert fault not in {found.name for found in choose_faults([], "sqlite")}
    assert fault in {found.name for found in choose_faults([fault], "postgresql")}


def test_a_run_that_nothing_struck_proves_nothing(tmp_path: Path) -> None:
    report = Report(1, "sqlite", tmp_path, 1, 0.0, 1.0, 0.0, [], Verdict(1), Recovery([]), [], [])
    assert (report.is_proven, conclusion(report)[:8]) == (False, "UNPROVEN")
    struck = replace(report, strikes=[Strike(0.0, "flush", "broker", "every key", 0.0)])
    assert conclusion(struck) == "PROVEN: 1 task, none lost, doubled or wrong"
    broken = replace(struck, verdict=Verdict(2, breaches=[Breach("I1", "job-0", "", Harm.LOST)]))
    assert conclusion(broken) == "BROKEN: 1 violation in 2 tasks: 1 lost, 0 doubled, 0 wrong"


def test_a_plan_follows_from_its_seed_and_has_the_tasks_asked_for() -> None:
    one, again, other = (make_plan(seed, 300, 20.0) for seed in (1, 1, 2))
    assert one == again != other
    assert sum(len(o.inputs) for o in one if o.flavour not in FAILING) == 300
    assert {Flavour.KILLED} <= {order.flavour for order in one}
    texts = [task["text"] for order in one for task in order.inputs]
    assert len(set(texts)) == len(texts)  # or an answer that went astray might look right


def test_poison_is_quarantined_and_its_company_is_not() -> None:
    poison = {"fault": "segfault", "faulty_attempts": 1000}
    assert fates(Flavour.PLAIN, poison) == {State.QUARANTINED}
    assert fates(Flavour.PLAIN, {"fault": "segfault", "faulty_attempts": 1}) == {State.SUCCEEDED}
    for flavour in SHARES:
        assert State.SUCCEEDED in fates(flavour, {})
        assert State.FAILED not in fates(flavour, {})
    assert State.CANCELLED in fates(Flavour.CANCELLED, poison)
    assert State.EXPIRED not in fates(Flavour.PLAIN, {})


def test_a_run_takes_nothing_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ARTIFACTS", "MODELS", "MAX_OPEN", "WINDOW", "STORE", "REGISTRY"):
        monkeypatch.setenv(f"GENFARM_{name}", "1")
    settings = settle(tmp_path, "sqlite:///a", "redis://b")
    assert (settings.artifacts, settings.models) == (str(tmp_path / "artifacts"), MODELS)
    assert (settings.max_open, settings.window) == (2_000_000, 10_000)
    assert settings.environment()["GENFARM_ARTIFACTS"] == str(tmp_path / "artifacts")


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[tuple[Yard, Hand]]:
    """A yard whose one worker ends at once, with the code that the file `code` holds."""
    make_home(tmp_path / "run")
    yard, program = Yard(tmp_path / "run", "sqlite", 1), "exit $(cat code)"
    argv = ["sh", "-c", f"cd {tmp_path}; {program}"]
    hand = Hand(Child(Command("cpu0", argv, {}, tmp_path / "log")))
    yard.hands.append(hand)
    yield yard, hand
    yard.close()


@pytest.mark.parametrize(
    ("code", "blamed", "found"),
    [(70, "", (1, 0)), (-9, "kill-worker", (0, 0)), (FENCED, "", (0, 1))],
)
def test_a_worker_that_ends_unstruck_is_counted(
    tmp_path: Path, hand: tuple[Yard, Hand], code: int, blamed: str, found: tuple[int, int]
) -> None:
    (tmp_path / "code").write_text(str(abs(code)))
    yard, worker = hand
    worker.begin(0.0)
    worker.was_ready = True
    worker.blamed |= {blamed} - {""}
    until(lambda: not worker.child.is_running())
    yard.supervise()
    assert (len(yard.exits), yard.fenced) == found
    assert not worker.blamed  # another process


def test_a_worker_that_has_just_ended_ends_no_run(tmp_path: Path, hand: tuple[Yard, Hand]) -> None:
    (tmp_path / "code").write_text("0")
    yard, worker = hand
    worker.begin(0.0)
    until(lambda: not worker.child.is_running())
    yard.ready = {worker.child.pid: cast("WorkerRecord", None)}
    field = Field(yard, cast("Driver", None))
    for strike in (kill_worker, freeze_worker, freeze_kill, fill_disk):
        worker.struck.clear()
        assert strike(field, Random(1)) is None


def test_the_folder_of_a_run_is_its_owners_alone(tmp_path: Path) -> None:
    make_home(tmp_path / "tortures" / "one")
    make_home(tmp_path / "tortures" / "one")  # empty
    assert (tmp_path / "tortures" / "one").stat().st_mode & 0o777 == 0o700


def test_a_postgresql_of_a_run_opens_no_folder_to_be_listed(tmp_path: Path) -> None:
    make_home(tmp_path / "farm" / "run")
    server = Postgres(tmp_path / "farm" / "run")
    (tmp_path / "farm" / "run" / "logs").mkdir()
    server.start()
    server.await_ready()
    assert not (tmp_path / "farm").stat().st_mode & 0o066
    assert not (tmp_path / "farm" / "run").stat().st_mode & 0o066
    server.close()
    assert (tmp_path / "farm" / "run").stat().st_mode & 0o777 == 0o700
