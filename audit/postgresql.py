"""PostgreSQL as the home of a trail: one writer at a time, durable commits, and its errors in plain words."""

from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from audit.errors import OpenError

TURN = "SELECT pg_advisory_xact_lock(30791725193978161)"
"""Waits for the advisory lock that a writer holds; every trail of one database shares it."""

_REASONS = {
    "42501": "this user lacks the right; grant INSERT and SELECT on its tables (to create them, CREATE on "
    "the schema; to archive, UPDATE on event)",
    "25006": "it is read-only; connect to the primary server, as a user who may write",
    "53100": "the disk is full; make room and try again",
    "57P": "the server is shutting down; start it and try again",
    "P0001": "its guards refused the row; verify the trail",
    "23": "its guards refused the row; verify the trail",
}


def prepare_url(url: sa.URL, *, create: bool) -> sa.URL:  # noqa: ARG001 - the server's owner creates databases
    """Choose the driver where the URL names none."""
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def connect_args(busy_timeout_s: float) -> dict[str, Any]:
    """What the driver is opened with, whatever the server's defaults.

    Every commit waits for the disk, and whoever waited for a turn sees the row of the one before.
    """
    options = (
        "-c synchronous_commit=on -c default_transaction_isolation=read\\ committed "
        f"-c lock_timeout={max(1, round(busy_timeout_s * 1000))}"
    )
    return {"options": options, "connect_timeout": 10, "application_name": "medvqa-audit"}


def configure(connection: Any, _record: Any) -> None:
    """Nothing: the connection arrives set up."""


def require_in_place(_info: Mapping[str, Any]) -> None:
    """Nothing: a server that lost its files does not answer."""


def begin(connection: sa.Connection) -> None:
    """A transaction that writes waits for its turn first, and so sees the last row (READ COMMITTED)."""
    if connection.get_execution_options().get("write"):
        connection.exec_driver_sql(TURN)


def prepare_database(engine: sa.Engine) -> None:
    """Refuse a server that could lose what it acknowledged, or cannot hold the text.

    Raises:
        OpenError: If the server runs without fsync, or the database is not in UTF-8.
    """
    with engine.connect() as connection:
        if connection.exec_driver_sql("SHOW fsync").scalar() != "on":
            raise OpenError("the server runs with fsync off and could lose events; switch it on")
        if connection.exec_driver_sql("SHOW server_encoding").scalar() != "UTF8":
            raise OpenError("the database is not in UTF-8; create one with createdb --encoding UTF8")


def stream(driver: Any, statement: str, page: int) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, by a cursor of the server."""
    with driver.cursor(name="trail") as cursor:
        cursor.itersize = page
        yield from cursor.execute(statement)


def tables(connection: sa.Connection) -> set[str]:
    """Names of the tables that the connection sees first."""
    return set(
        connection.exec_driver_sql(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        ).scalars()
    )


def is_locked(failure: BaseException) -> bool:
    """Whether the lock was not to be had in time."""
    return _code(failure) == "55P03"


def is_foreign(failure: BaseException) -> bool:  # noqa: ARG001 - a server always is a database
    """Never: what answers is a database."""
    return False


def reason(failure: BaseException) -> str:
    """What went wrong, and the way out."""
    code = _code(failure)
    for prefix, sentence in _REASONS.items():
        if code.startswith(prefix):
            return sentence
    if code:
        return str(failure).partition("\n")[0]
    # What prevents a connection comes without a code.
    _, refused, words = str(failure).partition("FATAL:")
    if refused:
        return (
            f"the server refuses the connection ({words.strip()}); check the URL, and the rights of its user"
        )
    return "the server does not answer; check that it runs, and the URL"


def _code(failure: BaseException) -> str:
    return getattr(failure, "sqlstate", None) or ""
