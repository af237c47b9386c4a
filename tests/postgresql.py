"""A PostgreSQL server of the tests' own: it commits to the disk as a real one does; it is gone at the end."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psycopg

UNPRIVILEGED = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
"""The server refuses to run as root, who runs tests in containers: it gets the user of Debian's package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server on a port of its own; it logs into `folder`, and trusts whoever connects."""

    binaries: Path
    folder: Path
    port: int

    def url(self, database: str, *, user: str = "postgres") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def start(self, *settings: str) -> None:
        """Start it, with settings such as `fsync=off`; return once it answers."""
        options = (f"port={self.port}", f"unix_socket_directories={self.folder}", *settings)
        words = " ".join(f"-c {option}" for option in ("listen_addresses=127.0.0.1", *options))
        self._control("start", "--log", str(self.folder / "log"), "--options", words)

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Cut all connections and stop it: in order, or as if the power had failed."""
        self._control("stop", "--mode", mode)

    def execute(self, statement: str, *, database: str = "postgres") -> None:
        """Run one statement as the server's owner."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    @contextmanager
    def database(self, name: str, options: str = "") -> Iterator[str]:
        """An empty database, dropped at the end; gives its URL."""
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0 {options}")
        yield self.url(name)
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _control(self, action: str, *options: str) -> None:
        command = [self.binaries / "pg_ctl", action, "--wait", "--pgdata", self.folder / "data", *options]
        # The server inherits these descriptors and holds them open: no pipe would ever end.
        silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(command, check=True, cwd=self.folder, **silent, **UNPRIVILEGED)


def find_binaries() -> Path | None:
    """Where the server's programs are: on the path, or where Debian keeps them."""
    found = shutil.which("pg_ctl")
    if found is not None:
        return Path(found).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")
    return max((path.parent for path in versions), key=lambda path: float(path.parent.name), default=None)


@contextmanager
def running_server(binaries: Path) -> Iterator[Server]:
    """A new server in a temporary folder, stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="medvqa-postgresql-"))
    if UNPRIVILEGED:
        shutil.chown(folder, user="postgres", group="postgres")
    command = [binaries / "initdb", "--pgdata", folder / "data", "--username=postgres", "--auth=trust"]
    options = ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    server = Server(binaries=binaries, folder=folder, port=_free_port())
    try:
        subprocess.run([*command, *options], check=True, capture_output=True, cwd=folder, **UNPRIVILEGED)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
