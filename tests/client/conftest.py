"""A farm on a real store and broker, and a tiny worker that uses the store's own verbs."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from genfarm import Farm
from genfarm_shared.store import Store

from .tiny_worker import TinyWorker


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy: migrating is most of a short test's time."""
    path = tmp_path_factory.mktemp("store") / "farm.db"
    Store(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def farm(tmp_path: Path, empty_store: Path, broker_url: str) -> Iterator[Farm]:
    """A farm with an empty store and no worker."""
    shutil.copy(empty_store, tmp_path / "farm.db")
    store = f"sqlite:///{tmp_path / 'farm.db'}"
    with Farm(store, broker_url, str(tmp_path / "artifacts"), progress=False) as farm:
        yield farm


@pytest.fixture
def worker(farm: Farm) -> TinyWorker:
    """A worker that is known to the farm and works when told to."""
    return TinyWorker(farm)


@pytest.fixture
def busy(worker: TinyWorker) -> Iterator[TinyWorker]:
    """A worker that works by itself until the test ends."""
    stop = threading.Event()
    thread = threading.Thread(target=worker.run_until, args=(stop,))
    thread.start()
    yield worker
    stop.set()
    thread.join(10)
