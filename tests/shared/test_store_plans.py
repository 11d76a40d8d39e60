"""How the databases go about the statements that every task costs."""

import math
import re
from pathlib import Path
from typing import Any

from sqlalchemy import event, update

from genfarm_shared.schema import tasks
from genfarm_shared.store import Store

from .farmyard import add_job, add_worker, commit, done, ids


def test_a_claim_and_a_commit_look_at_no_other_task(store: Store) -> None:
    """By the plans of the statements that run: rows without statistics tempt planners."""
    job = add_job(store, 1000)
    add_worker(store)
    if not store.is_sqlite:  # or the plan is that of whatever the tables last held
        store.write(lambda connection: connection.exec_driver_sql("ANALYZE tasks, attempts"))
    plans: list[str] = []

    @event.listens_for(store._engine, "before_cursor_execute")
    def explain(_c: object, cursor: Any, statement: str, values: Any, *_rest: object) -> None:
        if statement.startswith(("WITH", "UPDATE", "SELECT json_group", "INSERT INTO attempts")):
            if not store.is_sqlite:  # a table this small is read whole faster
                cursor.execute("SET enable_seqscan = off")
            cursor.execute(f"EXPLAIN {'QUERY PLAN' * store.is_sqlite} {statement}", values)
            plans.extend(str(row[-1]) for row in cursor.fetchall())

    commit(store, *map(done, store.claim(ids(job, 32), "w1")))
    looks = [
        plan for plan in plans if re.search(r"(SCAN|SEARCH|Scan.* on) \w*(tasks|attempts)", plan)
    ]
    assert len(looks) >= 3
    keys = re.compile(r"(sqlite_autoindex|pk)_(tasks|attempts)|INTEGER PRIMARY KEY")
    assert not [plan for plan in looks if not keys.search(plan) and "Heap" not in plan], plans


def test_dispatch_sorts_no_backlog(tmp_path: Path) -> None:
    """SQLite's planner likes to read all pending rows of the released jobs, and to sort them."""
    store = Store(f"sqlite:///{tmp_path / 'farm.db'}")
    for _ in range(3):
        add_job(store, 100)
    plans: list[str] = []

    @event.listens_for(store._engine, "before_cursor_execute")
    def explain(_c: object, cursor: Any, statement: str, values: Any, *_rest: object) -> None:
        if "heads" in statement:
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            plans.extend(str(row[-1]) for row in cursor.fetchall())

    assert len(store.dispatch(10)) == 10
    looks = [plan for plan in plans if " tasks " in plan]
    assert len(looks) == 2
    assert all(plan.startswith("SEARCH tasks USING INDEX ix_tasks_pending") for plan in looks)
    store.close()


def test_what_has_ended_is_found_by_its_own_index(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'farm.db'}")
    job = add_job(store, 3)
    plans: list[str] = []

    @event.listens_for(store._engine, "before_cursor_execute")
    def explain(_c: object, cursor: Any, statement: str, values: Any, *_rest: object) -> None:
        if statement.startswith("SELECT"):
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            plans.extend(str(row[-1]) for row in cursor.fetchall())

    store.read_ended(job.id, 0.0, 10)
    store.read_ended(job.id, 0.0, 10, last_id=ids(job, 1)[0])
    store.pace(job.id, 60.0)
    looks = [plan for plan in plans if " tasks " in plan]
    assert len(looks) == 4
    assert all("ix_tasks_job_finished" in plan for plan in looks), looks
    store.close()


def test_parameters_that_sqlite_takes_for_no_json_keep_no_other_task_from_its_claim(
    tmp_path: Path,
) -> None:
    """A row that was written past the farm; whoever runs it says what is wrong with it."""
    store = Store(f"sqlite:///{tmp_path / 'farm.db'}")
    job = add_job(store, 3)
    add_worker(store)
    wrong = update(tasks).where(tasks.c.id == ids(job, 3)[1]).values(params={"seconds": math.nan})
    store.write(lambda connection: connection.execute(wrong))
    claims = {claim.task_id: claim.params for claim in store.claim(ids(job, 3), "w1")}
    assert sorted(claims) == ids(job, 3)
    assert math.isnan(claims[ids(job, 3)[1]]["seconds"])
    assert claims[ids(job, 3)[2]] == {"seconds": 0.0, "seed": 2}
    store.close()
