"""Which farm a command means: flag, environment, file, or the embedded one in the home."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genfarm.link import Address, locate
from genfarm_shared.errors import Unreachable
from genfarm_shared.store import Store


def find_address(home: Path | None) -> Address:
    """Where the farm is. Raises Unreachable that says how to start one."""
    return locate(None, None, None, home)


def find_broker(home: Path | None) -> Address:
    """As `find_address`, for commands that need a farm that is up."""
    address = find_address(home)
    if not address.broker:
        raise Unreachable(
            "no farm is up: start one with `genfarm up`, or set GENFARM_BROKER and GENFARM_STORE "
            "to one that runs elsewhere"
        )
    return address


@contextmanager
def open_store(home: Path | None) -> Iterator[Store]:
    """The farm's store; the farm itself need not be up to be read."""
    store = Store(find_address(home).store)
    try:
        yield store
    finally:
        store.close()
