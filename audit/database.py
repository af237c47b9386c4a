"""Opening the database of a trail, whichever it is, and telling its errors in one sentence."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import sqlalchemy as sa
import sqlalchemy.event
import sqlalchemy.exc

from audit import migrations, postgresql, sqlite
from audit.errors import AppendError, AuditError, LockedError, OpenError, SchemaError

_BACKENDS: dict[str, ModuleType] = {"sqlite": sqlite, "postgresql": postgresql}
_TRAIL = {"event", "alembic_version"}


def open_engine(url: str, *, create: bool, busy_timeout_s: float) -> sa.Engine:
    """Connect to the trail at `url`, creating folder, file and tables where `create` allows it.

    Args:
        url: An SQLAlchemy URL: `sqlite:////srv/medvqa/audit.sqlite` or `postgresql://user@host/database`.
        create: Whether a trail that does not exist is created.
        busy_timeout_s: How long to wait for another process's lock, in seconds.

    Raises:
        OpenError: If the URL is of no use, or the database cannot be opened or created.
        SchemaError: If the database holds something else than a trail, or one of another version.
        LockedError: If another process keeps it locked.
    """
    engine = _connect(url, create=create, busy_timeout_s=busy_timeout_s)
    backend = _BACKENDS[engine.dialect.name]
    with translated(engine, OpenError):
        if _holds_trail(engine):
            if create:
                backend.prepare_database(engine)
            return engine
        if not create:
            raise SchemaError(f"{name_of(engine)} is an empty database, not an audit trail; check the path")
        backend.prepare_database(engine)
        with writer(engine).begin() as connection:
            if not _tables(connection):  # another process may have been faster
                migrations.migrate(connection)
    return engine


def upgrade(url: str, *, busy_timeout_s: float = 30.0) -> None:
    """Bring a trail that an earlier version made to this one's tables; nothing to do is no error.

    Raises:
        OpenError: If there is no trail, or the database cannot be opened.
        SchemaError: If the database holds something else, a later trail, or a hash chain that is broken.
        LockedError: If another process keeps it locked.
    """
    engine = _connect(url, create=False, busy_timeout_s=busy_timeout_s)
    try:
        with translated(engine, OpenError), writer(engine).begin() as connection:
            found = _tables(connection)
            if not (found >= _TRAIL or _is_hash_chain(connection, found)):
                raise SchemaError(f"{name_of(engine)} is no audit trail; check the path")
            migrations.migrate(connection)
    finally:
        engine.dispose()


def writer(engine: sa.Engine) -> sa.Engine:
    """The same engine, whose transactions wait for their turn to write when they begin."""
    return engine.execution_options(write=True)


def name_of(engine: sa.Engine) -> str:
    """The trail's place in words, without a password."""
    if engine.dialect.name == "sqlite":
        return str(engine.url.database)
    return engine.url.render_as_string(hide_password=True)


@contextmanager
def turn_to_write(engine: sa.Engine) -> Generator[Any]:
    """A cursor of the driver, in a transaction that has its turn: durable at the end, undone by an error."""
    backend = _BACKENDS[engine.dialect.name]
    connection = engine.raw_connection()
    committing = False
    try:
        cursor = connection.cursor()
        cursor.execute(backend.TURN)
        backend.require_in_place(connection.info)
        yield cursor
        committing = True
        connection.commit()
    except engine.dialect.loaded_dbapi.Error as failure:
        if engine.dialect.is_disconnect(failure, connection.dbapi_connection, None):
            connection.invalidate()  # giving it back would fail, and be logged with a traceback
            if committing:
                raise AppendError(
                    f"the audit trail {name_of(engine)} was cut off while it recorded the event, which may "
                    "or may not be in it; look at its last rows before trying again"
                ) from failure
        raise
    finally:
        connection.close()  # gives it back to the pool, which undoes what was not committed


def stream(connection: sa.Connection, statement: sa.Select[Any], *, page: int) -> Iterator[tuple[Any, ...]]:
    """The rows of a query as the driver gives them, `page` at a time: SQLAlchemy's would cost twice."""
    text = str(statement.compile(connection, compile_kwargs={"literal_binds": True}))
    return _BACKENDS[connection.dialect.name].stream(connection.connection.driver_connection, text, page)


@contextmanager
def translated(engine: sa.Engine, error: type[AuditError]) -> Generator[None]:
    """Turn what the database reports into one sentence that names the trail and the way out."""
    backend = _BACKENDS[engine.dialect.name]
    trail = f"the audit trail {name_of(engine)}"
    try:
        yield
    except (sqlalchemy.exc.DBAPIError, engine.dialect.loaded_dbapi.Error) as failure:
        cause = getattr(failure, "orig", None) or failure
        if backend.is_locked(cause):
            raise LockedError(
                f"{trail} is locked by another process; close the program that holds it and try again"
            ) from failure
        if backend.is_foreign(cause):
            error = SchemaError
        verb = "did not take the event" if error is AppendError else "cannot be used"
        raise error(f"{trail} {verb}: {backend.reason(cause)}") from failure


def _connect(url: str, *, create: bool, busy_timeout_s: float) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
    except sqlalchemy.exc.ArgumentError as error:
        raise OpenError(
            "the audit trail's URL is not a database URL; write sqlite:////path/to/audit.sqlite"
        ) from error
    backend = _BACKENDS.get(parsed.get_backend_name())
    if backend is None:
        raise OpenError(
            f"audit trails in {parsed.get_backend_name()} are not supported; "
            "write sqlite:////path/to/audit.sqlite or postgresql://user@host/database"
        )
    try:
        engine = sa.create_engine(
            backend.prepare_url(parsed, create=create),
            connect_args=backend.connect_args(busy_timeout_s),
            pool_pre_ping=backend is postgresql,
        )
    except ModuleNotFoundError as error:
        raise OpenError(
            "PostgreSQL's driver is not installed; run pip install 'medvqa[postgresql]'"
        ) from error
    sqlalchemy.event.listen(engine, "connect", backend.configure)
    sqlalchemy.event.listen(engine, "begin", backend.begin)
    return engine


def _holds_trail(engine: sa.Engine) -> bool:
    """Whether the trail's tables exist; False when the database is empty."""
    with engine.connect() as connection:
        found = _tables(connection)
        if not found:
            return False
        if _is_hash_chain(connection, found):
            raise SchemaError(
                f"{name_of(engine)} is an audit trail of medvqa 0.1; run `medvqa audit upgrade` once"
            )
        if not found >= _TRAIL:
            raise SchemaError(
                f"{name_of(engine)} is a database of something else than an audit trail; name another one"
            )
        version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        if version != migrations.HEAD:
            raise SchemaError(
                f"{name_of(engine)} is an audit trail of another version; run `medvqa audit upgrade` of the "
                "newest medvqa"
            )
    return True


def _is_hash_chain(connection: sa.Connection, found: set[str]) -> bool:
    """Whether the tables are those of medvqa 0.1."""
    if found != {"event"}:
        return False
    columns = sa.inspect(connection).get_columns("event")
    return {column["name"] for column in columns} >= {"previous_hash", "body"}


def _tables(connection: sa.Connection) -> set[str]:
    return _BACKENDS[connection.dialect.name].tables(connection)
