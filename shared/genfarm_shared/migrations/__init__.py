"""How a store grows from one version of genfarm to the next (Alembic)."""

from importlib.metadata import version
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from genfarm_shared.errors import InvalidSetting
from genfarm_shared.settings import masked


def upgrade(connection: Connection, url: str) -> None:
    """Bring the tables behind `connection` to this version, inside its transaction."""
    config = _config(url)
    scripts = ScriptDirectory.from_config(config)
    head, found = scripts.get_current_head(), MigrationContext.configure(connection)
    current = found.get_current_revision()
    if current == head:
        return
    if current is not None and current not in {one.revision for one in scripts.walk_revisions()}:
        raise InvalidSetting(
            f"the store {masked(url)} is at revision {current}, which a newer genfarm made; "
            f"genfarm {version('genfarm')} knows revisions up to {head}. Upgrade genfarm here, or "
            "point GENFARM_STORE at another database. Nothing was changed"
        )
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
