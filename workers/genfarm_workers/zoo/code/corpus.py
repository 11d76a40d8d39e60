"""The Python sources that ship with Python, without tests, tables and what others wrote.

A top-level module, package and all, is held out of every training when the checksum of its
name says so: whatever the version of Python, no file of a held-out module was ever learnt
from. Knows no model.
"""

import re
import sysconfig
import tokenize
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Folders of tests, of packages that were installed, and of tables that a script wrote.
_LEFT_OUT = re.compile(
    r"(^|/)(tests?|\w+_tests?|site-packages|dist-packages|_vendor|_bundled|__pycache__"
    r"|pydoc_data|encodings|config-[^/]*|lib-dynload)(/|$)|(^|/)_sysconfigdata|^html/entities"
)
#: What the head of a file says that nobody wrote by hand.
_GENERATED = re.compile(r"(auto-?|automatically )generated|generated (by|from)|gencodec", re.I)
_HEAD = 600
#: One module in so many is held out.
_HELD_OUT_SHARE = 12


@dataclass(frozen=True, slots=True)
class Source:
    """One file."""

    #: Below the standard library, `asyncio/tasks.py`.
    name: str
    text: str

    @property
    def module(self) -> str:
        """Its top-level module, `asyncio`."""
        return top_module(self.name)


def read_sources(*, held_out: bool, root: Path | None = None) -> Iterator[Source]:
    """The training part, or the held-out part, in the order of their names."""
    folder = root or Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder).as_posix()
        if _LEFT_OUT.search(name) or is_held_out(top_module(name)) != held_out:
            continue
        with tokenize.open(path) as file:
            text = file.read()
        if text.strip() and not _GENERATED.search(text[:_HEAD]):
            yield Source(name, text)


def is_held_out(module: str) -> bool:
    return zlib.crc32(module.encode()) % _HELD_OUT_SHARE == 0


def top_module(name: str) -> str:
    return name.partition("/")[0].removesuffix(".py")
