"""What tests of archives share: a trail of findings, its key, and how it is archived and verified."""

from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path

import audit
from audit.archives import Archived, archive, read_archive
from audit.keys import generate_key

KEY = generate_key("example.org/audit")
KEYS = (KEY.verifier,)
LATER = datetime(2100, 1, 1)


def entry(number: int) -> audit.Entry:
    return audit.Entry(
        agent=f"dr-{number}",
        action="answer",
        subject=f"answer-{number}",
        entity={"text": f"finding {number}\u2028second line"},
        study="1.2.3",
        confidence=0.5,
    )


def append(log: audit.Log, count: int) -> list[audit.Event]:
    return [log.append(entry(number)) for number in range(1, count + 1)]


def moved(log: audit.Log, folder: Path, *, before: datetime = LATER) -> Archived:
    return archive(log, before=before, folder=folder, key=KEY, agent="admin")


def verified(log: audit.Log, *files: Path, checkpoints: Sequence[str] = ()) -> audit.Verification:
    bodies = chain.from_iterable(read_archive(path, keys=KEYS) for path in files)
    return log.verify(keys=KEYS, checkpoints=checkpoints, archived=bodies)


def bodies_of(log: audit.Log) -> dict[int, str | None]:
    return {row.sequence: row.body for row in log.read_rows()}
