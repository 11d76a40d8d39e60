"""An embedded farm keeps its passwords and its Flower to the user who started it."""

import os
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest

from genfarm import doctor, local
from genfarm.flower import flower_password
from genfarm.runfile import RunningFarm, announce
from genfarm_shared.settings import Settings


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local.StartedFarm]:
    """With a Flower that somebody meant to open."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENFARM_MODELS", "sleep")
        patch.setenv("GENFARM_LOG_LEVEL", "DEBUG")
        patch.setenv("FLOWER_UNAUTHENTICATED_API", "true")
        started = local.start(home=tmp_path_factory.mktemp("open") / "home", workers=1)
    yield started
    started.stop()


def test_secrets_are_in_files_of_their_owner_alone(farm: local.StartedFarm) -> None:
    assert stat.S_IMODE(farm.home.stat().st_mode) == 0o700
    for name in ("farm.json", "redis/server.conf", "flower.password"):
        assert stat.S_IMODE((farm.home / name).stat().st_mode) == 0o600


def test_passwords_are_in_no_argument_and_no_log(farm: local.StartedFarm) -> None:
    broker = farm.broker.removeprefix("redis://:").partition("@")[0]
    secrets = (broker, flower_password(farm.home))
    supervisor = psutil.Process(farm.pid)
    processes = [supervisor, *supervisor.children(recursive=True)]
    assert len(processes) >= 4  # supervisor, server, Flower, worker and its engine
    said = [" ".join(process.cmdline()) for process in processes]
    logs = list((farm.home / "logs").iterdir())
    assert {"redis.log", "flower.log", "cpu0.log"} <= {log.name for log in logs}
    said += [log.read_text(errors="replace") for log in logs]
    for secret in secrets:
        assert len(secret) >= 20
        assert not [words for words in said if secret in words]


def test_nobody_without_the_password_sees_or_does_anything_in_flower(
    farm: local.StartedFarm,
) -> None:
    for method, page in (("GET", "/"), ("GET", "/api/tasks"), ("POST", "/api/worker/shutdown/x")):
        request = urllib.request.Request(f"{farm.flower_url}{page}", method=method)  # noqa: S310
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=20)  # noqa: S310
        assert refused.value.code == 401
        refused.value.close()
    found = {f.what: f for f in doctor.examine(Settings.load(home=farm.home))}
    assert found["flower"].level == doctor.OK
    assert found["flower"].found == "listens on 127.0.0.1 and asks for its password"


class Open(BaseHTTPRequestHandler):
    """Shows everybody everything, as a Flower without a password does."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


def test_the_doctor_tells_of_an_open_flower_and_an_open_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    settings = Settings.load(home=home)
    me = psutil.Process()
    with ThreadingHTTPServer(("0.0.0.0", 0), Open) as server:  # noqa: S104
        url = f"http://127.0.0.1:{server.server_port}"
        places = ("redis://127.0.0.1:1/0", settings.store_url, settings.artifacts_url, url)
        own = RunningFarm(
            home, os.getpid(), me.create_time(), *places, servers={"flower": os.getpid()}
        )
        announce(own)
        thread = Thread(target=server.serve_forever)
        thread.start()
        found = {f.what: f for f in doctor.examine(settings)}
        server.shutdown()
        thread.join()
    assert found["flower"].level == doctor.FAIL
    assert "0.0.0.0" in found["flower"].found  # noqa: S104
    assert "without a password" in found["flower"].found
    assert (found["home"].level, found["home"].fix) == (doctor.WARN, f"chmod 700 {home}")
