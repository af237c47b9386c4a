"""Alembic's entry: it runs within the transaction of the connection it is given."""

from alembic import context

from audit.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=False
)
context.run_migrations()
