"""Batch sizes that workers share: the first is heard, and shortages are news."""

import threading
from dataclasses import replace

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from genfarm_shared.schema import metadata
from genfarm_shared.store import Store
from genfarm_shared.tasks import Ceiling

FOUND = Ceiling("gpt2", "", "cpu:x1", "torch 2", 32, "knee", "w1", rate=12.5)


def test_all_workers_of_one_kind_use_what_the_first_of_them_found(store: Store) -> None:
    barrier, stood = threading.Barrier(4), list[Ceiling]()

    def settle(number: int) -> None:
        barrier.wait()
        mine = replace(FOUND, rows=2**number, worker_id=f"w{number}")
        stood.append(store.settle_size(mine))

    threads = [threading.Thread(target=settle, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({(one.rows, one.worker_id, one.found_at) for one in stood}) == 1
    assert store.list_ceilings("cpu:x1") == stood[:1]
    assert stood[0].found_at > 0


def test_another_device_or_build_has_a_size_of_its_own(store: Store) -> None:
    others = [FOUND, replace(FOUND, device="gpu", rows=8), replace(FOUND, build="b", rows=4)]
    assert [store.settle_size(one).rows for one in others] == [32, 8, 4]
    assert [one.rows for one in store.list_ceilings("cpu:x1")] == [4, 32]
    assert len(store.list_ceilings()) == 3


def test_the_last_shortage_counts_and_leaves_the_size_alone(store: Store) -> None:
    """A worker that tries more after a while may find that it fits by now."""
    store.settle_size(FOUND)
    short = replace(FOUND, batch_key="gpt2", rows=8, rate=None, how="out of memory")
    store.note_shortages([short])
    store.note_shortages([replace(short, rows=12, worker_id="w2")])
    found = {one.batch_key: (one.rows, one.worker_id) for one in store.list_ceilings()}
    assert found == {"": (32, "w1"), "gpt2": (12, "w2")}


def test_a_migrated_database_has_the_tables_of_the_schema(store: Store) -> None:
    def differences(connection: object) -> list[object]:
        context = MigrationContext.configure(connection)  # type: ignore[arg-type]
        return list(compare_metadata(context, metadata))

    assert store.read(differences) == []
