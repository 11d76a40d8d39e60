"""Chains as they are written down: their heads and their inputs. Their rows are tasks."""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Table,
    delete,
    exists,
    func,
    select,
    update,
)

from genfarm_shared.chains import WITHDRAWN, ChainRecord, job_of
from genfarm_shared.errors import NotFound
from genfarm_shared.schema import chain_inputs, chains, jobs, tasks
from genfarm_shared.store.among import among
from genfarm_shared.store.concluding import forget_later, hold_chains, reopen
from genfarm_shared.store.database import SLICE, insert_new
from genfarm_shared.store.opening import write_head
from genfarm_shared.store.submitting import Submitting
from genfarm_shared.tasks import TERMINAL, State


class Standing(StrEnum):
    """How far a chain is."""

    #: Tasks of it are open, or its inputs are still being written.
    GOING = "going"
    #: Nothing is open, and rows are missing.
    STALLED = "stalled"
    ENDED = "ended"


class Chaining(Submitting):
    """The verbs of chains."""

    def open_chain(self, chain: ChainRecord) -> tuple[ChainRecord, bool]:
        """Write the chain down, or find the one of the same identity.

        Returns the chain that is in the store, and whether this call wrote it.
        """

        def work(connection: Connection) -> tuple[ChainRecord, bool]:
            found = ChainRecord(**write_head(connection, chains, _chain_row(chain))._mapping)
            return found, found.id == chain.id

        return self.write(work)

    def find_chain(self, id_or_name: str) -> ChainRecord:
        """The chain of that id, or the newest of that name. Raises NotFound."""
        newest = chains.c.created_at.desc()
        by_name = select(chains).where(chains.c.name == id_or_name).order_by(newest).limit(1)
        by_id = select(chains).where(chains.c.id == id_or_name)

        def work(connection: Connection) -> Row[Any] | None:
            return connection.execute(by_id).first() or connection.execute(by_name).first()

        found = self.read(work)
        if found is None:
            raise NotFound(
                f"no chain has the id or name {id_or_name!r}; `genfarm chains ls` lists them"
            )
        return ChainRecord(**found._mapping)

    def list_chains(self, limit: int) -> list[ChainRecord]:
        """The newest chains first."""
        statement = select(chains).order_by(chains.c.created_at.desc()).limit(limit)
        return self.read(lambda c: [ChainRecord(**row._mapping) for row in c.execute(statement)])

    def open_chains(self, after: str, limit: int) -> list[ChainRecord]:
        """Chains that keepers look after, by their ids, from the one after that."""
        where = (chains.c.ended_at.is_(None), chains.c.id > after)
        statement = select(chains).where(*where).order_by(chains.c.id).limit(limit)
        return self.read(lambda c: [ChainRecord(**row._mapping) for row in c.execute(statement)])

    def disown_chain(self, chain_id: str) -> None:
        """Take a chain's identity away, so that another may bear it; it goes on."""
        statement = update(chains).where(chains.c.id == chain_id).values(identity=None)
        self.write(lambda connection: connection.execute(statement))

    def drop_chain(self, chain: ChainRecord) -> None:
        """Forget a chain whose submission failed before any of it was released."""
        begun = exists().where(jobs.c.id == job_of(chain.id, 0))
        unborn = select(chains.c.id).where(chains.c.id == chain.id, ~begun)

        def work(connection: Connection) -> None:
            if connection.execute(unborn).first() is not None:
                connection.execute(delete(jobs).where(jobs.c.id.in_(chain.job_ids)))
                connection.execute(delete(chains).where(chains.c.id == chain.id))

        self.write(work)

    def remove_chain(self, chain: ChainRecord) -> None:
        """Delete a chain that has ended or is withdrawn, with its stages and inputs. Artefacts
        stay. Its own row goes last, so that a removal that broke off can be repeated."""
        self.shut_chain(chain.id)
        for job_id in reversed(chain.job_ids):  # or keepers would write what comes of a stage anew
            self.remove(job_id)
        mine = select(chain_inputs.c.index).where(chain_inputs.c.chain_id == chain.id)

        def step(connection: Connection) -> int:
            places = connection.execute(mine.limit(SLICE)).scalars().all()
            some = (chain_inputs.c.chain_id == chain.id, chain_inputs.c.index.in_(places))
            return connection.execute(delete(chain_inputs).where(*some)).rowcount

        self.write_in_slices(step)
        whole = delete(chains).where(chains.c.id == chain.id)
        self.write(lambda connection: connection.execute(whole))

    def insert_inputs(self, chain_id: str, inputs: Mapping[int, Any]) -> None:
        """Write items down by their places; those that are there stay."""
        rows = [{"chain_id": chain_id, "index": i, "input": one} for i, one in inputs.items()]
        self._insert_new(chain_inputs, rows)

    def read_inputs(self, chain_id: str, places: Collection[int]) -> dict[int, Any]:
        """Items of a chain by their places."""
        mine = (chain_inputs.c.chain_id == chain_id, chain_inputs.c.index.in_(sorted(places)))
        statement = select(chain_inputs.c.index, chain_inputs.c.input).where(*mine)
        return self.read(lambda c: {row[0]: row[1] for row in c.execute(statement)})

    def seal_stages(self, chain: ChainRecord) -> bool:
        """Say how many rows each later stage will have, once the first knows; whether it does."""
        plan, ids = chain.plan, chain.job_ids
        known = select(jobs.c.id, jobs.c.total).where(jobs.c.id.in_(ids))
        totals = self.read(lambda c: {row[0]: row[1] for row in c.execute(known)})
        total = totals.get(ids[0])
        if total is None or None not in totals.values():
            return total is not None

        def work(connection: Connection) -> None:
            for stage in range(1, len(plan.steps)):
                rows = total * plan.width(stage) // plan.width(0)
                mine = (jobs.c.id == job_of(chain.id, stage), jobs.c.total.is_(None))
                connection.execute(update(jobs).where(*mine).values(total=rows))

        self.write(work)
        return True

    def look_over(self, chain: ChainRecord) -> Standing:
        """How far a chain is; that it has ended is noted, so that keepers leave it alone."""
        ids, totals = chain.job_ids, select(jobs.c.id, jobs.c.total)
        is_open = select(tasks.c.id).where(tasks.c.job_id.in_(ids), tasks.c.state.in_(_OPEN))
        ended = select(tasks.c.job_id, func.count()).where(
            tasks.c.job_id.in_(ids), tasks.c.finished_at.is_not(None)
        )

        def work(connection: Connection) -> Standing:
            asked: dict[str, int | None] = {
                row.id: row.total for row in connection.execute(totals.where(jobs.c.id.in_(ids)))
            }
            if asked.get(ids[0]) is None or connection.execute(is_open.limit(1)).first():
                return Standing.GOING
            counts = {row[0]: row[1] for row in connection.execute(ended.group_by(tasks.c.job_id))}
            whole = all(counts.get(job_id, 0) == total for job_id, total in asked.items())
            return Standing.ENDED if whole else Standing.STALLED

        found = self.read(work)
        if found is Standing.ENDED:
            self.shut_chain(chain.id)
        return found

    def shut_chain(self, chain_id: str) -> None:
        """Note that keepers need not look after it any more."""

        def work(connection: Connection) -> None:
            still = (chains.c.id == chain_id, chains.c.ended_at.is_(None))
            connection.execute(update(chains).where(*still).values(ended_at=self.clock(connection)))

        self.write(work)

    def withdraw_chain(self, chain_id: str) -> None:
        """Have nothing more of it run. Its open tasks are for `cancel`. One whose first stage was
        never fully written gives its name up."""
        mine = (chains.c.id == chain_id, chains.c.ended_at.is_(None))
        whole = exists().where(jobs.c.id == job_of(chain_id, 0), jobs.c.total.is_not(None))

        def work(connection: Connection) -> None:
            connection.execute(update(chains).where(*mine).values(cancelled=True))
            connection.execute(update(chains).where(*mine, ~whole).values(identity=None))

        self.write(work)

    def reopen_chain(self, chain: ChainRecord) -> None:
        """Have a withdrawn chain go on with what it was withdrawn from."""
        where = (tasks.c.job_id.in_(chain.job_ids), tasks.c.reason_code == WITHDRAWN)
        some = select(tasks.c.id).where(*where).limit(SLICE)
        gone = delete(tasks).where(among(tasks.c.id, "ids"), tasks.c.reason_code == WITHDRAWN)

        def step(connection: Connection) -> int:
            hold_chains(connection, [chain.id])
            ids = connection.execute(some).scalars().all()
            forget_later(connection, ids)
            return connection.execute(gone, {"ids": ids}).rowcount

        self.write(lambda connection: reopen(connection, chain.id, is_wanted=True))
        self.write_in_slices(step)

    def _insert_new(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            self.write(lambda c: c.execute(insert_new(c, table), [dict(row) for row in rows]))


_OPEN = [state for state in State if state not in TERMINAL]


def _chain_row(chain: ChainRecord) -> dict[str, Any]:
    return {column.name: getattr(chain, column.name) for column in chains.columns}
