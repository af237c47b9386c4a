"""What the trail costs, beside a bare `sqlite3` that inserts and commits the same bytes on the same disk.

    python benchmarks/trail.py [--quick] [--folder FOLDER]

One writer, and batches of 100, each in turn with the bare table, so that a busy disk slows both; processor
time an append; rows verified a second of processor time; size and time of proofs from a thousand events on.
The last line is JSON: named ratios and figures.
"""

import argparse
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from audit import Checkpoint, Entry, Log
from audit.keys import create_key
from audit.proofs import prove_inclusion
from audit.rows import Row
from audit.schema import AS_HELD, EVENT

ENTITY = {
    "question": "Is there a tumor?",
    "answer": "yes",
    "image": {
        "sop_instance_uid": "1.2.826.0.1.3680043.8.498.1",
        "frame_number": 1,
        "pixel_sha256": "ab" * 32,
    },
    "tokens": [{"text": "yes", "log_probability": -0.0123456789}],
    "warnings": [],
}


def entries(count: int, start: int = 0) -> list[Entry]:
    """Answers as an assistant records them, the particulars shortened."""
    return [
        Entry(
            agent=f"dr-{number % 40}",
            action="answer",
            subject=f"answer-{number}",
            entity=ENTITY,
            study=f"1.2.826.0.1.3680043.8.498.{number % 5000}",
            model="cd" * 32,
            verdict="grounded",
            confidence=0.5 + number % 500 / 1001,
        )
        for number in range(start, start + count)
    ]


class BareTable:
    """The peer: one table without index, trigger or hash, in the standard library's own calls."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(f"CREATE TABLE event ({', '.join(Row._fields)}, PRIMARY KEY (sequence))")
        self._insert = f"INSERT INTO event VALUES ({', '.join('?' * len(Row._fields))})"  # noqa: S608

    def add(self, rows: list[tuple[object, ...]]) -> None:
        """Insert rows and commit."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(self._insert, rows)
        self._connection.execute("COMMIT")


def side_by_side(folder: Path, *, batch: int, rounds: int) -> tuple[float, float, float]:
    """Seconds of the log, seconds of the bare table, and processor seconds of the log, for the same rows.

    The two take turns, each twenty transactions long, and neither prepares its input on the clock.
    """
    log, bare = Log(f"sqlite:///{folder}/log-{batch}.sqlite"), BareTable(folder / f"bare-{batch}.sqlite")
    ours = theirs = processor = 0.0
    for turn in range(rounds):
        work = [entries(batch, (turn * 20 + place) * batch) for place in range(20)]
        first = log.size()
        started, busy = time.perf_counter(), time.process_time()
        for some in work:
            log.append_all(some)
        ours += time.perf_counter() - started
        processor += time.process_time() - busy
        with log.reading() as connection:
            rows = [tuple(row) for row in connection.execute(AS_HELD.where(EVENT.c.sequence > first))]
        parts = [rows[start : start + batch] for start in range(0, len(rows), batch)]
        started = time.perf_counter()
        for part in parts:
            bare.add(part)
        theirs += time.perf_counter() - started
    log.close()
    return ours, theirs, processor


def grown(folder: Path, sizes: list[int]) -> Iterator[tuple[Log, Checkpoint]]:
    """One log at each of the sizes, with its checkpoint there."""
    log = Log(f"sqlite:///{folder}/grown.sqlite")
    key = create_key(folder / "keys" / "audit.key", name="benchmark.example/audit")
    for size in sizes:
        while (missing := size - log.size()) > 0:
            log.append_all(entries(min(missing, 5000), log.size()))
        yield log, log.sign([key])
    log.close()


def median_ms(task: Callable[[int], object], places: list[int]) -> float:
    """Median time of `task`, in milliseconds, over places in the log."""
    taken: list[float] = []
    for place in places:
        started = time.perf_counter()
        task(place)
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and proofs up to 10,000 events")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; by default the temporary folder")
    given = parser.parse_args()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        tasks = (("one_writer", 1, 5 if given.quick else 40), ("batches_of_100", 100, 3))
        for label, batch, rounds in tasks:
            ours, theirs, processor = side_by_side(folder, batch=batch, rounds=rounds)
            count = rounds * 20 * batch
            print(f"{label}: {count / ours:,.0f} rows/s, bare sqlite3 {count / theirs:,.0f} rows/s")
            figures[f"{label}_to_bare_sqlite3"] = round(theirs / ours, 3)
            figures[f"{label}_cpu_ms_a_row"] = round(processor / count * 1000, 3)
        sizes = [10**power for power in (range(3, 5) if given.quick else range(3, 7))]
        for log, checkpoint in grown(folder, sizes):
            size = checkpoint.size
            places = [1 + size * step // 31 for step in range(31)]
            took = median_ms(lambda place: prove_inclusion(log, place, checkpoint), places)  # noqa: B023
            proof = prove_inclusion(log, 1, checkpoint).partition("\n\n")[0]
            busy = time.process_time()
            verified = log.verify().events
            busy = time.process_time() - busy
            hashes, rate = proof.count("\n") - 1, verified / busy
            print(f"{size:,} events: proof {hashes} hashes, {took:.2f} ms; verified {rate:,.0f} rows/s")
            figures |= {f"proof_hashes_{size}": hashes, f"proof_ms_{size}": round(took, 2)}
            figures["verified_rows_a_cpu_second"] = round(rate)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
