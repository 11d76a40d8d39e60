"""How a store grows from one version of genfarm to the next (Alembic)."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def upgrade(connection: Connection, url: str) -> None:
    """Bring the tables behind `connection` to this version, inside its transaction."""
    config = _config(url)
    head = ScriptDirectory.from_config(config).get_current_head()
    if MigrationContext.configure(connection).get_current_revision() == head:
        return
    if connection.dialect.name == "postgresql":
        # Several workers start at once; the lock ends with the transaction.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(716253441)")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config
