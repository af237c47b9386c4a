"""Eight processes write while a hundred are killed: what was acknowledged is there, once, in one order.

Run as a program, this file is what the test kills: `python test_audit_crash.py URL` forks a writer for every
line it is sent. Forking spares the machine a hundred imports of the database's library.
"""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from threading import Event

import pytest
from postgresql import find_binaries, running_server

import audit

WRITERS, KILLS, EVENTS = 8, 100, 10_000


@dataclass(kw_only=True)
class Writers:
    """Writing processes, and what they said on a pipe once an append had returned."""

    nursery: subprocess.Popen[str]
    starting: int = 0
    alive: list[int] = field(default_factory=list)
    acknowledged: list[tuple[int, str]] = field(default_factory=list)

    def add(self) -> None:
        assert self.nursery.stdin is not None
        self.nursery.stdin.write("one more\n")
        self.nursery.stdin.flush()
        self.starting += 1

    def hear(self) -> None:
        assert self.nursery.stdout is not None
        self.take(self.nursery.stdout.readline())

    def take(self, line: str) -> None:
        """A writer's first line is its process number; any other, the row and hash of an event."""
        number, *hashes = line.split()
        self.acknowledged += [(int(number), one) for one in hashes]
        if not hashes:
            self.alive.append(int(number))
            self.starting -= 1

    def kill_one(self) -> None:
        """Kill at a moment that has nothing to do with what was heard."""
        time.sleep(random.uniform(0, 0.02))
        victim = self.alive.pop(random.randrange(len(self.alive)))
        os.kill(victim, signal.SIGKILL)


@contextmanager
def writing(url: str) -> Iterator[Writers]:
    """Writers on a trail; at the end the last of them are killed too, and heard out."""
    command = [sys.executable, __file__, url]
    environment = {**os.environ, "PYTHONPATH": str(Path(audit.__file__).parents[1])}
    nursery = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with nursery:
        writers = Writers(nursery=nursery)
        for _ in range(WRITERS):
            writers.add()
        yield writers
        while writers.starting:
            writers.hear()
        while writers.alive:
            writers.kill_one()
        assert nursery.stdin is not None
        nursery.stdin.close()
        for line in nursery.stdout or ():
            writers.take(line)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_lost_when_writers_are_killed(trail_url: str) -> None:
    audit.Log(trail_url).close()
    kills = 0
    with writing(trail_url) as writers:
        while len(writers.acknowledged) < EVENTS or kills < KILLS:
            writers.hear()
            if kills < KILLS and len(writers.acknowledged) >= (kills + 1) * EVENTS // (KILLS + 1):
                writers.kill_one()
                writers.add()
                kills += 1
    check(trail_url, writers.acknowledged)


def check(url: str, acknowledged: list[tuple[int, str]]) -> None:
    """The trail takes another event, verifies, and holds every acknowledged event under its number, once."""
    with audit.Log(url, create=False) as log:
        last = log.append(entry("survivor", 0))
        result = log.verify()
        held = {event.sequence: event.hash for event in log.read()}
        places = [(event.agent, event.entity["number"]) for event in log.read()]
    assert result.intact, result.problems
    assert list(held) == list(range(1, last.sequence + 1))
    assert len(set(places)) == len(places) == result.events
    assert len(dict(acknowledged)) == len(acknowledged)
    assert dict(acknowledged).items() <= held.items()


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_when_the_server_dies() -> None:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server is not installed; .ci/run installs Debian's package")
    with running_server(binaries) as server, server.database("trail") as url, audit.Log(url) as log:
        ended, acknowledged = Event(), Queue[tuple[int, str]]()

        def keep_appending(name: str) -> int:
            refused = 0
            for number in itertools.count():
                if ended.is_set():
                    return refused
                try:
                    event = log.append(entry(name, number))
                    acknowledged.put((event.sequence, event.hash))
                except audit.AuditError:
                    refused += 1
                    time.sleep(0.05)
            raise AssertionError("counting ended")

        with ThreadPoolExecutor(4) as pool:
            threads = [pool.submit(keep_appending, f"thread-{number}") for number in range(4)]
            for deaths in range(1, 4):
                while acknowledged.qsize() < 100 * deaths:
                    time.sleep(0.01)
                server.stop("immediate")
                server.start()
            while acknowledged.qsize() < 400:
                time.sleep(0.01)
            ended.set()
        assert sum(thread.result() for thread in threads) >= 3
        check(url, list(acknowledged.queue))


def entry(agent: str, number: int) -> audit.Entry:
    return audit.Entry(agent=agent, action="write", subject="crash", entity={"number": number})


def nurse(url: str) -> None:
    """Fork a writer for every line that comes in."""
    audit.Log(url, create=False).close()  # imports what the writers will need
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in sys.stdin:
        if os.fork() == 0:
            write(url)


def write(url: str) -> None:
    """Append until killed; tell of each event once it is durable, in one write, which is never cut."""
    os.write(1, f"{os.getpid()}\n".encode())
    with audit.Log(url, create=False, busy_timeout_s=120) as log:
        for number in itertools.count():
            event = log.append(entry(str(os.getpid()), number))
            os.write(1, f"{event.sequence} {event.hash}\n".encode())


if __name__ == "__main__":
    nurse(sys.argv[1])
