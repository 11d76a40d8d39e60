"""Alembic's entry point: it runs in the transaction that `upgrade` hands over."""

from alembic import context

from genfarm_shared.schema import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("run `genfarm db upgrade`; it hands the connection over")
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
context.run_migrations()
