"""Settings under which the farm would lose work: what they are, and what to do instead.

One room for two askers: the worker refuses to start, and `genfarm doctor`
lists what it finds.
"""

import re
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import redis

from genfarm_shared.errors import InvalidSetting, Unreachable
from genfarm_shared.liveness import ran_here
from genfarm_shared.queue import EPOCH, PREFIX, Broker
from genfarm_shared.settings import Settings
from genfarm_shared.store import Store

#: File systems that several hosts may share. SQLite's write-ahead log needs memory shared by
#: every writer, and locks that hold; neither crosses hosts. https://sqlite.org/wal.html
NETWORK_DISK = re.compile(
    r"9p|afpfs|afs|beegfs|ceph|cifs|coda|davfs|glusterfs|gpfs|lustre|ncpfs|nfs\d?|ocfs2|orangefs|"
    r"panfs|prl_fs|pvfs2|smb\w*|vboxsf|wekafs|fuse\.(ceph|davfs|gcs|gluster|goofys|juice|rclone|s3|"
    r"ssh).*"
)
MOUNTS = Path("/proc/mounts")


@dataclass(frozen=True, slots=True)
class Danger:
    """One setting that is not safe."""

    #: What was looked at, in a word.
    what: str
    #: What was found, and why that loses work.
    found: str
    #: What to set instead.
    fix: str
    #: Whether a worker refuses to start; else it warns.
    is_fatal: bool = True


def refuse(dangers: Iterable[Danger]) -> list[Danger]:
    """The dangers that only call for a warning. Raises InvalidSetting for the first other."""
    warned = []
    for danger in dangers:
        if danger.is_fatal:
            raise InvalidSetting(
                f"{danger.what}: {danger.found}. {danger.fix}. `genfarm doctor` looks for more"
            )
        warned.append(danger)
    return warned


def broker_dangers(broker: Broker, farm: str = "") -> Iterator[Danger]:
    """What is unsafe about the server, for the farm of that name where it is known.

    Of a server that is nobody's that farm becomes the owner. Raises Unreachable when it does
    not answer.
    """

    def owner(broker: Broker) -> Iterator[Danger]:
        yield from _other_farm(broker, farm)

    for look in (_eviction, _foreigners, *([owner] if farm else [])):
        try:
            yield from look(broker)
        except Unreachable as error:
            if not isinstance(error.__cause__, redis.exceptions.NoPermissionError):
                raise
            yield Danger(
                "broker",
                f"this user of {broker.url} may not ask for its {look.__name__.strip('_')}: "
                f"{error.__cause__}",
                "Grant it as deploy/redis/users.acl does, or look as another user",
                is_fatal=False,
            )


def place_dangers(store_url: str) -> Iterator[Danger]:
    """What is unsafe about where a SQLite store lies; asked before the file is opened."""
    file = sqlite_file(store_url)
    kind = network_disk(file, _read_mounts()) if file is not None else None
    if kind is not None:
        yield Danger(
            "store",
            f"the SQLite file {file} is on a network file system ({kind}), where its locks do not "
            "hold and rows are lost; expected a local disk",
            "Set GENFARM_STORE to sqlite:////a/local/disk/farm.db, or to "
            "postgresql+psycopg://user@host/farm for workers on several hosts",
        )


def host_dangers(store: Store, settings: Settings) -> Iterator[Danger]:
    """What is unsafe about who else uses a SQLite store.

    A worker of another host, told by its boot where it is known, counts once
    its beat is seen to move: the row of one that was killed says alive for ever
    while nobody is there to judge it.
    That look takes at most a lease, and only where there is such a row.
    """
    if not store.is_sqlite:
        return
    host = socket.gethostname()
    before = {
        worker.id: worker.beat_at
        for worker in store.list_workers()
        if worker.host != host and not ran_here(worker.process)
    }
    deadline = time.monotonic() + settings.lease_seconds
    while before and time.monotonic() < deadline:
        for worker in store.list_workers():
            if worker.beat_at != before.get(worker.id, worker.beat_at):
                yield Danger(
                    "store",
                    f"worker {worker.node} of the host {worker.host} uses the SQLite store "
                    f"{store.url} as well, and this host is {host}; SQLite is for one host",
                    "Set GENFARM_STORE to postgresql+psycopg://user@host/farm on every host, or "
                    "stop the other host's workers",
                )
                return
        time.sleep(settings.beat_seconds / 2)


def sqlite_file(store_url: str) -> Path | None:
    """The file behind an SQLAlchemy URL; None for another database or one in memory."""
    scheme, _, rest = store_url.partition(":///")
    name = rest.partition("?")[0].removeprefix("file:")
    if not scheme.startswith("sqlite") or not name or name == ":memory:":
        return None
    return Path(name).absolute()


def network_disk(file: Path, mounts: str) -> str | None:
    """The file system's type when a table such as /proc/mounts says that it crosses hosts."""
    place = file.resolve()
    nearest, found = -1, ""
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        # A blank in a name is written as \040.
        point = Path(re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), fields[1]))
        # The later of two mounts on one point hides the earlier.
        if place.is_relative_to(point) and len(point.parts) >= nearest:
            nearest, found = len(point.parts), fields[2]
    return found if NETWORK_DISK.fullmatch(found) else None


def _eviction(broker: Broker) -> Iterator[Danger]:
    policy = broker.eviction_policy()
    if policy != "noeviction":
        yield Danger(
            "eviction",
            f"the broker {broker.url} has maxmemory-policy {policy}; expected noeviction, or a "
            "full server drops tasks' messages",
            "redis-cli CONFIG SET maxmemory-policy noeviction, and write it in the server's file",
            is_fatal=policy != "unknown",
        )


def _foreigners(broker: Broker) -> Iterator[Danger]:
    signs = broker.foreigners()
    if signs:
        yield Danger(
            "foreign app",
            f"another Celery app uses the farm's keys in {broker.url}: {', '.join(signs)}; its "
            "sweep would run long tasks twice, and it takes messages that it cannot read",
            f"Give it another database, or another global_keyprefix than {PREFIX!r}, "
            "and delete those keys",
        )


def _other_farm(broker: Broker, farm: str) -> Iterator[Danger]:
    """Its workers would find no rows for our messages and drop them, and ours for theirs."""
    broker.take_over(farm)  # where it is nobody's, so that of two starts at once one is refused
    owner = broker.epoch().farm
    if owner != farm:
        yield Danger(
            "owner",
            f"the broker {broker.url} serves another farm ({owner}) than the store ({farm})",
            "Give each farm a Redis database of its own, as in redis://host/1; if the other farm "
            f"is gone for good, delete the key {EPOCH}",
        )


def _read_mounts() -> str:
    # Other systems have no such table, and tell a file's server by no portable means.
    return MOUNTS.read_text(encoding="utf-8", errors="replace") if MOUNTS.exists() else ""
