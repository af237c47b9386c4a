"""Failing closed, by real causes: one clear sentence, nothing half-written, and all well once it is gone."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgresql import Server
from trails import entry, python, raw, url_of, works_again

import audit
from audit.postgresql import TURN


@contextmanager
def holding(path: Path, begin: str) -> Iterator[None]:
    """Another process, in a transaction on an SQLite file."""
    code = (
        "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute(sys.argv[2]); print('begun', flush=True); sys.stdin.read()"
    )
    with python(code, str(path), begin) as holder:
        assert holder.stdout.readline() == "begun\n"
        yield
        holder.stdin.close()


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_sqlite_locked_by_another_process(tmp_path: Path, begin: str) -> None:
    path = tmp_path / "audit.sqlite"
    with audit.Log(url_of(path), busy_timeout_s=0.1) as log:
        log.append(entry())
        with holding(path, begin):
            with pytest.raises(audit.LockedError, match=r"audit\.sqlite is locked by another process; close"):
                log.append(entry())
            assert len(list(log.read())) == 1
        works_again(log, rows=1)


def test_sqlite_locked_while_the_trail_is_to_be_created(tmp_path: Path) -> None:
    path = tmp_path / "audit.sqlite"
    with (
        holding(path, "BEGIN EXCLUSIVE"),
        pytest.raises(audit.LockedError, match="is locked by another process"),
    ):
        audit.Log(url_of(path), busy_timeout_s=0.1)
    with audit.Log(url_of(path)) as log:
        works_again(log, rows=0)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_was_deleted_or_replaced_while_it_was_open(tmp_path: Path, replaced: bool) -> None:
    path, kept = tmp_path / "audit.sqlite", tmp_path / "kept.sqlite"
    with audit.Log(url_of(path)) as log:
        log.append(entry())
        path.rename(kept)
        if replaced:
            shutil.copyfile(kept, path)
        with pytest.raises(
            audit.AppendError, match=r"audit\.sqlite was deleted or replaced while it was open"
        ):
            log.append(entry())
        with pytest.raises(audit.AppendError, match="deleted or replaced"), log.writing():
            pass
        kept.rename(path)
        works_again(log, rows=1)


@pytest.mark.parametrize("lock", [TURN, "LOCK TABLE event IN EXCLUSIVE MODE", "LOCK TABLE event"])
def test_postgresql_locked_by_another_session(postgresql_url: str, lock: str) -> None:
    with audit.Log(postgresql_url, busy_timeout_s=0.1) as log:
        log.append(entry())
        with raw(postgresql_url) as connection:
            connection.execute(sa.text(lock))
            with pytest.raises(audit.LockedError, match="is locked by another process; close"):
                log.append(entry())
            if lock == "LOCK TABLE event":  # even for readers
                with pytest.raises(audit.LockedError, match="is locked by another process"):
                    list(log.read())
            else:
                assert len(list(log.read())) == 1
        works_again(log, rows=1)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 16 MiB, where the server's user may go as well."""
    folder = Path(tempfile.mkdtemp(prefix="medvqa-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=777", "tmpfs", folder]
    tried = subprocess.run(mount, check=False, capture_output=True, text=True)
    if tried.returncode:
        folder.rmdir()
        pytest.skip(f"a disk to fill is mounted by root only: {tried.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # noqa: S607
    folder.rmdir()


def fill(disk: Path) -> Path:
    """Take all room that is left."""
    filler = disk / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler


def append_until_refused(log: audit.Log) -> int:
    """Append to a trail on a full disk, which has room in what it reserved; return the rows it took."""
    large = entry(entity={"text": "x" * 20_000})
    with pytest.raises(
        audit.AppendError, match="did not take the event: the disk is full; make room and try"
    ):
        for _ in range(200):
            log.append_all([large, large])
    return log.size()


def test_sqlite_on_a_full_disk(small_disk: Path) -> None:
    with audit.Log(url_of(small_disk / "audit.sqlite")) as log:
        log.append(entry())
        filler = fill(small_disk)
        rows = append_until_refused(log)
        assert rows % 2 == 1  # each pair was taken whole, or not at all
        assert log.verify().intact
        filler.unlink()
        works_again(log, rows=rows)


def test_sqlite_created_on_a_full_disk(small_disk: Path) -> None:
    filler = fill(small_disk)
    url = url_of(small_disk / "audit.sqlite")
    with pytest.raises(audit.OpenError, match="the disk is full"):
        audit.Log(url)
    filler.unlink()
    with audit.Log(url) as log:
        works_again(log, rows=0)


def test_postgresql_on_a_full_disk(postgresql_server: Server, small_disk: Path) -> None:
    folder = small_disk / "tables"
    folder.mkdir()
    shutil.chown(folder, user="postgres")
    postgresql_server.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
    with postgresql_server.database("crowded", "TABLESPACE small") as url, audit.Log(url) as log:
        log.append(entry())
        filler = fill(small_disk)
        rows = append_until_refused(log)
        assert rows % 2 == 1
        filler.unlink()
        works_again(log, rows=rows)
        log.close()
    postgresql_server.execute("DROP TABLESPACE small")


def append_without_privilege(path: Path) -> str:
    """Open and append in a process that may do what mode bits allow, and no more; return what it printed."""
    code = (
        "import audit, sys\n"
        "try:\n"
        "    with audit.Log(sys.argv[1]) as log:\n"
        "        assert log.verify().intact\n"
        "        log.append(audit.Entry(agent='a', action='b', subject='c', entity={}))\n"
        "    print('appended')\n"
        "except audit.AuditError as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    capabilities = "-dac_override,-dac_read_search"
    drop = ("setpriv", "--inh-caps", capabilities, "--bounding-set", capabilities)
    out, error = python(code, url_of(path), before=drop if os.geteuid() == 0 else ()).communicate()
    assert not error
    return out


@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "message"),
    [
        (0o400, 0o700, "AppendError .* did not take the event: it is read-only; make the file"),
        (
            0o400,
            0o500,
            "OpenError .* cannot be used: it is read-only; make the file, its -wal and -shm",
        ),
        (
            0o600,
            0o500,
            "OpenError .* cannot be used: it is read-only; make the file, its -wal and -shm",
        ),
        (0o000, 0o700, "OpenError .* cannot be used: the file or its folder cannot be opened; check path"),
    ],
)
def test_sqlite_without_write_permission(
    tmp_path: Path, file_mode: int, folder_mode: int, message: str
) -> None:
    path = tmp_path / "folder" / "audit.sqlite"
    with audit.Log(url_of(path)) as log:
        log.append(entry())
    path.chmod(file_mode)
    path.parent.chmod(folder_mode)
    printed = append_without_privilege(path)
    assert re.match(message, printed), printed
    path.parent.chmod(0o700)
    for file in path.parent.iterdir():
        file.chmod(0o600)
    assert append_without_privilege(path) == "appended\n"
    with audit.Log(url_of(path)) as log:
        works_again(log, rows=2)


def test_postgresql_that_is_read_only(postgresql_url: str) -> None:
    name = postgresql_url.rpartition("/")[2]
    audit.Log(postgresql_url).close()
    with raw(postgresql_url) as connection:
        connection.execute(sa.text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    with (
        audit.Log(postgresql_url) as log,
        pytest.raises(audit.AppendError, match="it is read-only; connect to the primary server"),
    ):
        log.append(entry())
    with raw(postgresql_url) as connection:
        connection.execute(sa.text("SET TRANSACTION READ WRITE"))
        connection.execute(sa.text(f"ALTER DATABASE {name} RESET default_transaction_read_only"))
    with audit.Log(postgresql_url) as log:
        works_again(log, rows=0)


def test_postgresql_user_without_rights(postgresql_server: Server, postgresql_url: str) -> None:
    name = postgresql_url.rpartition("/")[2]
    audit.Log(postgresql_url).close()
    postgresql_server.execute("CREATE ROLE clerk LOGIN")
    tables = "event, checkpoint, archive, alembic_version"
    postgresql_server.execute(f"GRANT SELECT ON {tables} TO clerk", database=name)
    with audit.Log(postgresql_server.url(name, user="clerk")) as log:
        with pytest.raises(audit.AppendError, match="this user lacks the right; grant INSERT and SELECT"):
            log.append(entry())
        postgresql_server.execute("GRANT INSERT ON event, checkpoint, archive TO clerk", database=name)
        works_again(log, rows=0)
    postgresql_server.execute("DROP OWNED BY clerk", database=name)
    postgresql_server.execute("DROP ROLE clerk")


def test_postgresql_stopped_and_started(postgresql_server: Server, postgresql_url: str) -> None:
    with audit.Log(postgresql_url) as log:
        log.append(entry())
        postgresql_server.stop()
        try:
            with pytest.raises(audit.AppendError, match="did not take the event: the server does not answer"):
                log.append(entry())
            with pytest.raises(audit.ReadError, match="cannot be used: the server does not answer"):
                list(log.read())
            with pytest.raises(audit.OpenError, match="cannot be used: the server does not answer"):
                audit.Log(postgresql_url)
        finally:
            postgresql_server.start()
        works_again(log, rows=1)


def test_postgresql_that_cuts_the_connection_of_a_waiting_writer(
    postgresql_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    others = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with audit.Log(postgresql_url) as log, ThreadPoolExecutor(1) as pool:
        log.append(entry())
        with raw(postgresql_url) as connection:
            connection.execute(sa.text(TURN))
            waiting = pool.submit(log.append, entry())
            while not connection.scalar(sa.text(f"SELECT pg_terminate_backend(pid) {others}")):
                time.sleep(0.01)
            with pytest.raises(audit.AppendError, match="did not take the event: the server"):
                waiting.result()
        works_again(log, rows=1)
    assert caplog.records == []  # logged, it would be a page of traceback beside the sentence


def test_postgresql_that_does_not_flush(postgresql_server: Server, postgresql_url: str) -> None:
    postgresql_server.stop()
    postgresql_server.start("fsync=off")
    try:
        with pytest.raises(audit.OpenError, match="the server runs with fsync off and could lose events"):
            audit.Log(postgresql_url)
    finally:
        postgresql_server.stop()
        postgresql_server.start()
    with audit.Log(postgresql_url) as log:
        works_again(log, rows=0)
