"""Many values as one: conditions and rows whose SQL does not depend on how many there are.

A statement of one text is compiled and cached once, and rows that come as one
document cost no binding each. Knows no table.
"""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Dialect,
    Select,
    String,
    Text,
    bindparam,
    cast,
    column,
    func,
    literal,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Boolean, TypeDecorator


class _Texts(TypeDecorator[Sequence[str]]):
    """Many texts as one bound value: an array, or on SQLite a JSON list."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        is_sqlite = dialect.name == "sqlite"
        return dialect.type_descriptor(String() if is_sqlite else ARRAY(String))

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> Any:
        return json.dumps(list(value or ())) if dialect.name == "sqlite" else list(value or ())


class among(FunctionElement[bool]):  # noqa: N801  # a function in SQL
    """Whether the column is one of the texts bound under `name`."""

    type = Boolean()
    inherit_cache = True

    def __init__(self, expression: ColumnElement[str], name: str) -> None:
        super().__init__(expression, bindparam(name, type_=_Texts()))

    def self_group(self, against: object = None) -> Any:
        """Itself: SQLAlchemy would write `... = 1` for SQLite, and no index serves that."""
        return self


@compiles(among)
def _in_array(element: among, compiler: SQLCompiler, **options: Any) -> str:
    column, texts = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} = ANY({texts})"


@compiles(among, "sqlite")
def _in_list(element: among, compiler: SQLCompiler, **options: Any) -> str:
    column, texts = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({texts}))"  # noqa: S608  # compiled parts


def unindexed(expression: ColumnElement[str]) -> ColumnElement[str]:
    """The column, kept from the planners: with eight ids or more and a bare state SQLite leaves
    the primary key for a state index and scans the backlog (13 times slower), and PostgreSQL does
    so while it has no statistics of new rows (8 times)."""
    return expression.concat(literal("", literal_execute=True))


def pair(task_id: str, attempt: int) -> str:
    """A task and its attempt as one text, as `pair_of` makes it of two columns."""
    return f"{task_id}/{attempt}"


def pair_of(task_id: ColumnElement[str], attempt: ColumnElement[int]) -> ColumnElement[str]:
    return task_id.concat(literal("/", literal_execute=True)).concat(attempt.cast(String))


def rows_of(columns: Sequence[Column[Any]], name: str, dialect: str) -> Select[Any]:
    """Rows of those columns from the JSON list of objects bound under `name`."""
    document = bindparam(name, type_=Text)
    if dialect == "sqlite":
        each = func.json_each(document).table_valued("value").c.value
        return select(*(func.json_extract(each, _place(c)) for c in columns))
    given = func.json_to_recordset(cast(document, JSON))
    typed = given.table_valued(*(column(c.name, c.type) for c in columns))
    return select(typed.render_derived(with_types=True))


def _place(wanted: Column[Any]) -> ColumnElement[str]:
    # The name is one of the schema's, never a value.
    return literal_column(f"'$.{wanted.name}'")
