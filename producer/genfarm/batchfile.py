"""Inputs as people have them: lists, streams, tables, and .txt, .jsonl and .csv files.

A source gives each input as the parameters it names. It knows the parameter
names of its kind, but checks no value and writes nothing.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genfarm.files import Keeper, is_file, list_pictures
from genfarm_shared.artifacts import NAME
from genfarm_shared.errors import InvalidTask
from genfarm_shared.kinds import Kind

#: Columns and keys that name an input instead of setting a parameter.
ID_NAMES = ("custom_id", "id")
#: Longest custom_id, in characters: the width of its column.
MAX_ID = 200
SUFFIXES = (".txt", ".jsonl", ".csv")


# Not frozen: one is made for each input, and a frozen record takes four times as long to make.
@dataclass(slots=True)
class Given:
    """One input as it was given."""

    #: From 0.
    index: int
    #: Line of the file, from 1; None when there is no file.
    line: int | None
    #: Parameters that the input itself sets.
    values: Mapping[str, Any]
    custom_id: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Inputs of one submission."""

    #: Reads from the start; a one-shot source can do so once.
    read: Callable[[], Iterator[Given]]
    #: Whether it can be read again, so that all is checked before any is written.
    is_repeatable: bool
    #: Name of the file; None when there is none.
    file: str | None = None
    #: Called before tasks of what was read are written, with what must be there first.
    settle: Callable[[], None] = lambda: None

    def place(self, index: int, line: int | None) -> str:
        """Where an input stands, for people."""
        return _place(self.file, index, line)


def open_source(
    kind: Kind,
    inputs: object,
    id_from: str | Callable[[Any], str] | None = None,
    keep: Keeper | None = None,
) -> Source:
    """The source behind whatever a user hands over.

    `id_from` names the key or column that holds the custom_id, or computes it
    from the input. `keep` takes the files of kinds that have some. Raises
    InvalidTask for what cannot be inputs.
    """
    if isinstance(inputs, Path) and kind.params.files and inputs.is_dir():
        found = [str(path) for path in list_pictures(inputs)]
        main, names = kind.params.files[0], [str(Path(p).relative_to(inputs)) for p in found]
        inputs = [{main: p, ID_NAMES[0]: name} for p, name in zip(found, names, strict=True)]
    if isinstance(inputs, Path) or (isinstance(inputs, str) and inputs.endswith(SUFFIXES)):
        path = Path(inputs)
        return _open_file(_Naming(kind, id_from, keep, path), path)
    naming = _Naming(kind, id_from, keep)
    if isinstance(inputs, str | bytes | Mapping) or not isinstance(inputs, Iterable):
        raise InvalidTask(
            f"inputs is one {type(inputs).__name__}; expected a list, a generator, a table or a "
            f"path to a {', '.join(SUFFIXES)} file. For a single input use submit()",
            param="inputs",
        )
    rows = _Table(inputs, naming) if _is_table(inputs) else inputs
    return Source(
        lambda: (naming.row(index, None, value) for index, value in enumerate(rows)),
        is_repeatable=isinstance(inputs, Sized) and not isinstance(inputs, Iterator),
    )


class _Naming:
    """How one input of a kind becomes named parameters and an id."""

    def __init__(
        self,
        kind: Kind,
        id_from: str | Callable[[Any], str] | None,
        keep: Keeper | None = None,
        file: Path | None = None,
    ) -> None:
        if not (id_from is None or isinstance(id_from, str) or callable(id_from)):
            raise InvalidTask(
                f"id_from={id_from!r}: expected the name of a key or column, or a function of one "
                "input",
                param="id_from",
            )
        self._file = None if file is None else file.name
        #: Pictures that a file names lie beside it.
        self._folder = None if file is None else file.parent
        self._keep = keep
        self.kind = kind
        self.main = kind.params.main
        self.fields = kind.params.model_fields
        self._id_from = id_from
        self.ids = (id_from,) if isinstance(id_from, str) else ID_NAMES

    def row(self, index: int, line: int | None, value: object) -> Given:
        if self._keep is not None and self.kind.params.files:
            value = self._with_files(index, line, value)
        if type(value) is str or not isinstance(value, Mapping):
            custom_id = None if self._id_from is None else self._computed(index, line, value)
            return Given(index, line, {self.main: _plain(value)}, custom_id)
        values = dict(value)
        found = [str(values.pop(name)) for name in self.ids if values.get(name) is not None]
        plain = {name: _plain(v) for name, v in values.items() if name not in self.ids}
        if callable(self._id_from):
            return Given(index, line, plain, self._computed(index, line, value))
        return Given(index, line, plain, found[0] if found else None)

    def _with_files(self, index: int, line: int | None, value: object) -> object:
        """The input with names of the farm's artefacts in the place of files."""
        assert self._keep is not None  # noqa: S101  # the caller looked
        files = self.kind.params.files
        is_bare = is_file(value) or (self.main in files and not isinstance(value, Mapping))
        values = {files[0]: value} if is_bare else value
        if not isinstance(values, Mapping):
            return value
        try:
            return {
                name: self._keep(name, self._beside(given)) if name in files else given
                for name, given in values.items()
            }
        except InvalidTask as error:
            where = _place(self._file, index, line)
            raise InvalidTask(f"{where}: {error}", param=error.param, index=index) from error

    def _beside(self, given: object) -> object:
        """A relative path in a file of inputs counts from that file."""
        if self._folder is None or not isinstance(given, str) or NAME.fullmatch(given):
            return given
        return self._folder / given

    def _computed(self, index: int, line: int | None, value: object) -> str | None:
        """The id that the user's function gives an input; None for the input's number."""
        if not callable(self._id_from):
            return None
        try:
            custom_id: object = self._id_from(value)
        except Exception as error:
            where = _place(self._file, index, line)
            raise InvalidTask(
                f"{where}: id_from failed: {error!r}", param="id_from", index=index
            ) from error
        return None if custom_id is None else str(custom_id)

    def columns(self, names: Iterable[str], where: str) -> None:
        """Refuse columns that mean nothing here: a misspelt one would be lost in silence."""
        known = [*self.fields, *self.ids]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise InvalidTask(
                f"{where}: column {unknown[0]!r} is not a parameter of {self.kind.name}; the known "
                f"columns are {', '.join(known)}. Rename or drop it",
                param=unknown[0],
            )

    def cell(self, name: str, text: str) -> object:
        """A cell of a CSV as its parameter's type; what does not parse is left to the check."""
        if name in self.ids or self.fields[name].annotation is str:
            return text
        try:
            return json.loads(text)
        except ValueError:
            return text


def _place(file: str | None, index: int, line: int | None) -> str:
    return f"input {index}" if line is None else f"{file} line {line}"


def _plain(value: Any) -> Any:
    """numpy's scalars and arrays as Python's own, tuples as the lists that JSON has."""
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return list(value)
    return value.tolist() if hasattr(value, "tolist") else value


def _open_file(naming: _Naming, path: Path) -> Source:
    readers = {".txt": _read_txt, ".jsonl": _read_jsonl, ".csv": _read_csv}
    reader = readers.get(path.suffix)
    if reader is None:
        raise InvalidTask(
            f"{path}: unknown kind of file {path.suffix!r}; expected one of {', '.join(SUFFIXES)}",
            param="inputs",
        )
    if not path.is_file():
        raise InvalidTask(
            f"{path}: no such file. Correct the path and submit again", param="inputs"
        )

    def read() -> Iterator[Given]:
        rows = _decoded(path, reader(naming, path))
        return (naming.row(index, line, value) for index, (line, value) in enumerate(rows))

    return Source(read, is_repeatable=True, file=path.name)


def _decoded(path: Path, rows: Iterator[tuple[int, object]]) -> Iterator[tuple[int, object]]:
    try:
        yield from rows
    except UnicodeDecodeError as error:
        raise InvalidTask(
            f"{path.name}: byte {error.start} is not UTF-8 ({error.reason}); save it as UTF-8",
            param="inputs",
        ) from error


def _read_txt(_naming: _Naming, path: Path) -> Iterator[tuple[int, object]]:
    with path.open(encoding="utf-8-sig") as file:
        for line, text in enumerate(file, start=1):
            if text.strip():
                yield line, text.rstrip("\r\n")


def _read_jsonl(_naming: _Naming, path: Path) -> Iterator[tuple[int, object]]:
    with path.open(encoding="utf-8-sig") as file:
        for line, text in enumerate(file, start=1):
            if text.strip():
                yield line, _parse(f"{path.name} line {line}", text)


def _parse(where: str, text: str) -> object:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        shown = text.strip() if len(text) <= 60 else text.strip()[:57] + "..."
        raise InvalidTask(f"{where}: not JSON ({error}): {shown}") from error
    if not isinstance(value, dict | str):
        raise InvalidTask(f"{where}: expected a JSON object or string, got {type(value).__name__}")
    return value


def _read_csv(naming: _Naming, path: Path) -> Iterator[tuple[int, object]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        naming.columns(reader.fieldnames or (), path.name)
        for cells in reader:
            where = f"{path.name} line {reader.line_num}"
            if None in cells:
                raise InvalidTask(f"{where}: more cells than columns; quote a text that has commas")
            yield (
                reader.line_num,
                {name: naming.cell(name, text) for name, text in cells.items() if text},
            )


def _is_table(inputs: object) -> bool:
    """A pandas DataFrame or a datasets.Dataset, known by what it can do."""
    return hasattr(inputs, "itertuples") or hasattr(inputs, "column_names")


class _Table:
    """The rows of a table as mappings, without its empty cells."""

    def __init__(self, table: Any, naming: _Naming) -> None:
        self._table = table
        self._names = [str(name) for name in _columns(table)]
        naming.columns(self._names, "the table")

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for row in self._rows():
            # An empty cell is None, or the float that does not equal itself.
            yield {name: v for name, v in row.items() if v is not None and v == v}  # noqa: PLR0124

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        if not hasattr(self._table, "itertuples"):
            return iter(self._table)
        tuples = self._table.itertuples(index=False, name=None)
        return (dict(zip(self._names, row, strict=True)) for row in tuples)


def _columns(table: Any) -> Iterable[object]:
    names: Iterable[object] = (
        table.column_names if hasattr(table, "column_names") else table.columns
    )
    return names
