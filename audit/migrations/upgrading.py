"""Running the migrations that a database lacks."""

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from audit.errors import SchemaError
from audit.guards import install_guards


def migrate(connection: sa.Connection) -> None:
    """Bring the connection's database to `HEAD`, triggers included, within its transaction.

    Raises:
        SchemaError: If it holds a later version, or an earlier trail that is not whole.
    """
    config = Config()
    config.set_main_option("script_location", "audit:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise SchemaError(
            "the audit trail is of a version that this one does not know; install the newest medvqa"
        ) from error
    install_guards(connection)
