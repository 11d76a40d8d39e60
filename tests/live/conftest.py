"""One yard for all of these tests, because a worker takes longer to start than they do."""

from collections.abc import Iterator

import pytest
import redis

from genfarm import Farm
from genfarm_shared.settings import Settings
from tests.yard import Yard


@pytest.fixture(scope="package")
def yard(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """A yard with one worker; whoever ends it starts the next."""
    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
    folder = tmp_path_factory.mktemp("live")
    settings = Settings.load(broker=redis_server, home=folder, beat_seconds=0.25, tick_seconds=0.1)
    yard = Yard(settings, folder)
    yard.start_worker("drill,sleep")
    yield yard
    yard.close()


@pytest.fixture
def farm(yard: Yard) -> Iterator[Farm]:
    with Farm(home=yard.settings.home, broker=yard.settings.broker, progress=False) as farm:
        yield farm
