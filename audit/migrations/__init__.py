"""How the tables of a trail came to be, one Alembic revision a change."""

import sqlalchemy as sa

from audit.guards import install_guards

HEAD = "0001"
"""The revision that this version of the package reads and writes."""


def migrate(connection: sa.Connection) -> None:
    """Bring the connection's database to `HEAD`, triggers included, within its transaction."""
    # Only a new or an old trail needs Alembic: opening one at `HEAD` does without its import.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "audit:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    install_guards(connection)
