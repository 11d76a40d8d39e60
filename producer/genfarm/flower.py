"""Flower for a farm: how it is started, when it is ready, what it has seen.

    <home>/flower.password    0600; the user is `genfarm`

Flower is a window with no memory: it shows what happened while it ran.
"""

import base64
import json
import os
import secrets
import shlex
import socket
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path

from genfarm.redis_server import LOOPBACK, write_secret
from genfarm_shared.errors import MissingExtra, Unreachable
from genfarm_shared.settings import PRIVATE, Settings

USER = "genfarm"
#: Seconds that Flower may take for one answer; 20,000 tasks took it 1.1 s.
ANSWER_SECONDS = 20.0
#: One page of each part. Flower's /metrics and /healthcheck answer everybody; they name
#: workers and count tasks, and show none.
GUARDED = ("/", "/tasks", "/api/workers", "/api/tasks")


def flower_command(port: int, address: str = LOOPBACK) -> list[str]:
    """Its argument list; what is secret goes through the environment."""
    return [
        *(sys.executable, "-P", "-m", "celery", "-A", "genfarm_workers.app", "flower"),
        f"--address={address}",
        f"--port={port}",
        "--tasks_columns=name,uuid,state,args,worker,started,runtime",
        "--purge_offline_workers=60",
        "--max_tasks=100000",
    ]


def flower_environment(base: Mapping[str, str], home: Path) -> dict[str, str]:
    """Its variables, the password among them; whoever has none gets no API either."""
    own = {"FLOWER_BASIC_AUTH": f"{USER}:{flower_password(home)}"}
    return {**base, **own, "FLOWER_UNAUTHENTICATED_API": "false"}


def flower_password(home: Path) -> str:
    """The password of this home's Flower, made on first use."""
    path = home / "flower.password"
    if not path.exists():
        # A node may join a farm elsewhere without one.
        home.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        write_secret(path, secrets.token_urlsafe(16) + "\n")
    return path.read_text(encoding="utf-8").strip()


def require_flower() -> None:
    """Raise MissingExtra unless Flower is installed."""
    if find_spec("flower") is None:
        raise MissingExtra(
            "Flower is not installed: pip install 'genfarm[flower]', or go without it "
            "(`--no-flower`, or flower=False in Python)"
        )


def is_healthy(port: int) -> bool:
    """Whether Flower answers on that port of loopback."""
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/healthcheck", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def is_locked(url: str) -> bool:
    """Whether every page that shows or does something asks for the password.

    Raises Unreachable.
    """
    return all(_status(url + page) == HTTPStatus.UNAUTHORIZED for page in GUARDED)


def states_seen(url: str, password: str, prefixes: tuple[str, ...], limit: int) -> dict[str, int]:
    """How many of the tasks whose ids begin so Flower shows in each state.

    Raises Unreachable.
    """
    token = base64.b64encode(f"{USER}:{password}".encode()).decode()
    request = urllib.request.Request(  # noqa: S310  # the farm's own Flower, on loopback
        f"{url}/api/tasks?limit={limit}", headers={"Authorization": f"Basic {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
            tasks = json.load(answer)
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        raise Unreachable(f"Flower at {url} does not answer: {error}") from error
    ours = (task["state"] for task_id, task in tasks.items() if task_id.startswith(prefixes))
    return dict(Counter(map(str, ours)))


def plain_way(port: int) -> str:
    """The same command for whoever goes without genfarm's own."""
    # After python's own `-P -m`.
    command = shlex.join(flower_command(port)[3:])
    return f"{command}  (with GENFARM_BROKER and FLOWER_BASIC_AUTH=user:password set)"


def become_flower(settings: Settings, port: int, announce: Callable[[str], None]) -> None:
    """Replace this process by Flower for the farm of those settings.

    `announce` hears the address once nothing more stands against it. Raises
    MissingExtra, or Unreachable for a port that is taken.
    """
    require_flower()
    _check_port(port)
    argv = flower_command(port)
    environment = flower_environment(settings.environment(), settings.home)
    announce(f"http://{LOOPBACK}:{port}")
    os.execve(sys.executable, argv, environment)  # no shell is wanted


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError as error:
        raise Unreachable(f"Flower at {url} does not answer: {error}") from error


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        # As Flower's own server does: a port that was let go a moment ago is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise Unreachable(
                f"Flower cannot listen on {LOOPBACK}:{port}: {error.strerror}; name another port "
                "with --port"
            ) from error
