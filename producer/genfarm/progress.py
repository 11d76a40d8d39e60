"""The progress bar: tqdm in a terminal or notebook, a line every few seconds elsewhere.

Shows numbers it is given; asks nobody. TQDM_DISABLE and the other TQDM_
variables are honoured by tqdm itself.
"""

import sys
from types import TracebackType
from typing import Any, TextIO

#: Seconds between two lines where there is no terminal.
LINE_SECONDS = 5.0


class Bar:
    """One bar, used as a context manager. `show=False` draws nothing."""

    def __init__(
        self,
        title: str,
        total: int | None,
        *,
        done: int = 0,
        unit: str = "task",
        show: bool | None = None,
        delay: float = 0.0,
    ) -> None:
        self._options: dict[str, Any] = {
            "desc": title,
            "total": total,
            "initial": done,
            "unit": unit,
            "delay": delay,
            "dynamic_ncols": True,
        }
        if show is not None:  # not given, it is TQDM_DISABLE's to say
            self._options["disable"] = not show

    def __enter__(self) -> "Bar":
        from tqdm.auto import tqdm

        is_notebook = any("notebook" in base.__module__ for base in tqdm.__mro__)
        if not is_notebook and not sys.stderr.isatty():
            self._options |= {"mininterval": LINE_SECONDS, "file": _Lines(sys.stderr)}
        self._bar = tqdm(**self._options)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def move_to(self, done: int, *, total: int | None = None, note: str = "") -> None:
        """Show that so many are done."""
        if total is not None:
            self._bar.total = total
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)


class _Lines:
    """A stream for logs: each state of the bar is a line of its own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        line = text.replace("\r", "").strip()
        if line:
            self._stream.write(f"{line}\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()
