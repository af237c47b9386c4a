"""Checking a whole trail: triggers, rows, checkpoints, archives."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from audit.checkpoints import parse_checkpoint
from audit.database import stream
from audit.errors import CheckpointError
from audit.guards import changed_guards
from audit.keys import VerifierKey
from audit.merkle import EMPTY_ROOT
from audit.recomputation import Recomputation
from audit.rows import Row, read_body
from audit.schema import ARCHIVE, AS_HELD, CHECKPOINT, EVENT
from audit.statements import read_statement
from audit.trust import ROTATION, Trust
from audit.types import Checkpoint, Problem, ProblemKind, Verification

MOST_PROBLEMS = 1000
"""Problems listed at most; a trail that was renumbered has one a row."""

PAGE = 2000
"""Rows that are fetched at once, and between two reports of progress."""

_ACTION, _BODY = Row._fields.index("action"), Row._fields.index("body")


@dataclass(slots=True)
class _Findings:
    problems: list[Problem] = field(default_factory=list[Problem])
    unlisted: int = 0
    covered: int = 0
    """Rows up to the last checkpoint that holds."""
    explained: int = 0
    """Rows up to the last checkpoint that the hashes kept give: what differs in them has been named."""
    disputed: int = 0
    """Size of the last checkpoint that the rows contradict: larger ones repeat that, until one holds."""
    checkpoints: int = 0

    def note(
        self, kind: ProblemKind, message: str, sequence: int | None = None, name: str | None = None
    ) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(kind=kind, sequence=sequence, field=name, message=message))
        else:
            self.unlisted += 1


def verify_trail(
    connection: sa.Connection,
    *,
    keys: Sequence[VerifierKey],
    given: Sequence[str],
    archived: Iterable[tuple[int, str]],
    on_progress: Callable[[int, int], None] | None,
) -> Verification:
    """Check one state of a trail's database; see `audit.Log.verify`."""
    findings, trust = _Findings(), Trust(keys)
    for sentence in changed_guards(connection):
        findings.note("guard", sentence)
    pending = _read_checkpoints(connection, given, findings)
    archives = _Archives(connection, archived)
    walk = Recomputation(note=findings.note, archived_body=archives.body_of, is_archived=archives.account_for)
    total = connection.scalar(sa.select(sa.func.count()).select_from(EVENT)) or 0
    _check_reached(pending, walk, trust, findings)
    events = 0
    for found in stream(connection, AS_HELD.order_by(EVENT.c.sequence), page=PAGE):
        if walk.add(found) and found[_ACTION] == ROTATION:
            _follow_rotation(walk.size, found[_BODY], trust, findings)
        if pending and pending[-1].size <= walk.size:
            _check_reached(pending, walk, trust, findings)
        events += 1
        if on_progress is not None and (events % PAGE == 0 or events == total):
            on_progress(events, total)
    _check_tail(pending, walk, trust, findings)
    archives.check(trust, findings)
    if findings.unlisted:
        more = f"{findings.unlisted} more problems are not listed"
        findings.problems.append(Problem(kind="more", sequence=None, field=None, message=more))
    return Verification(
        intact=not findings.problems,
        events=events,
        root=(walk.roots()[1] or EMPTY_ROOT).hex(),
        covered=findings.covered,
        checkpoints=findings.checkpoints,
        archived=walk.archived,
        problems=tuple(findings.problems),
    )


def _read_checkpoints(
    connection: sa.Connection, given: Sequence[str], findings: _Findings
) -> list[Checkpoint]:
    """Checkpoints of the table and those given, the largest first; a malformed one is a finding."""
    kept = _read_all(connection, CHECKPOINT)
    for place, (number, _, _) in enumerate(kept, start=1):
        if number != place:
            findings.note("missing", f"checkpoint {place} of the table is missing")
            break
    sizes = {str(note): size for _, size, note in kept}
    names = {str(note): f"checkpoint {number} of the table" for number, _, note in kept}
    names |= {note: f"checkpoint {place} of those given" for place, note in enumerate(given, start=1)}
    found: list[Checkpoint] = []
    for note, name in names.items():
        try:
            checkpoint = parse_checkpoint(note)
        except CheckpointError as error:
            findings.note("forged_checkpoint", f"{name} cannot be read: {error}")
            continue
        found.append(checkpoint)
        if sizes.get(note, checkpoint.size) != checkpoint.size:
            findings.note("forged_checkpoint", f"{name} stands under another size than was signed")
    return sorted(found, key=lambda checkpoint: checkpoint.size, reverse=True)


def _read_all(connection: sa.Connection, table: sa.Table) -> list[Any]:
    """A table's rows in order, every value as the database holds it: tampering may have left anything."""
    columns: list[Any] = [sa.type_coerce(column, sa.types.NullType()) for column in table.columns]
    return list(connection.execute(sa.select(*columns).select_from(table).order_by(table.c.number)))


def _check_reached(pending: list[Checkpoint], walk: Recomputation, trust: Trust, findings: _Findings) -> None:
    """Check, and take from `pending`, the checkpoints that the rows so far have reached."""
    while pending and pending[-1].size <= walk.size:
        checkpoint = pending.pop()
        if _objects(checkpoint, trust, findings):
            continue
        if checkpoint.size < walk.size:
            continue  # its last row is missing, which was said
        computed, kept = walk.roots() if walk.size else (EMPTY_ROOT, EMPTY_ROOT)
        if checkpoint.root == computed:
            findings.covered = findings.explained = checkpoint.size
            findings.checkpoints += 1
        elif checkpoint.root == kept:
            findings.explained = checkpoint.size
        elif kept is not None and findings.disputed <= findings.explained:
            findings.disputed = checkpoint.size
            first = findings.explained + 1
            message = (
                f"history was rewritten: rows {first} to {checkpoint.size} are not those that the checkpoint "
                f"of {checkpoint.size} events covers"
            )
            findings.note("history", message, first)


def _follow_rotation(sequence: int, body: object, trust: Trust, findings: _Findings) -> None:
    content = read_body(body)
    objection = trust.announce(sequence, content["entity"]) if content else None
    if objection is not None:
        findings.note("foreign_key", objection, sequence, "entity")


def _check_tail(pending: list[Checkpoint], walk: Recomputation, trust: Trust, findings: _Findings) -> None:
    """Say what is missing at the end, by the checkpoints that were never reached."""
    for checkpoint in reversed(pending):
        if not _objects(checkpoint, trust, findings):
            message = (
                f"the end was cut off: the checkpoint of {checkpoint.size} events covers rows "
                f"{walk.size + 1} to {checkpoint.size}, which are missing"
            )
            findings.note("tail", message, walk.size + 1)


def _objects(checkpoint: Checkpoint, trust: Trust, findings: _Findings) -> bool:
    objection = trust.objection(checkpoint)
    if objection is not None:
        kind, reason = objection
        findings.note(kind, f"the checkpoint of {checkpoint.size} events proves nothing: {reason}")
    return objection is not None


class _Archives:
    """What was moved out of the table, and the bodies that were given back for this pass."""

    def __init__(self, connection: sa.Connection, archived: Iterable[tuple[int, str]]) -> None:
        self._rows = _read_all(connection, ARCHIVE)
        self._bodies = iter(archived)
        self._next = next(self._bodies, None)

    def account_for(self, sequence: int) -> bool:
        return any(_is_range(row) and row.first <= sequence <= row.last for row in self._rows)

    def body_of(self, sequence: int) -> str | None:
        while self._next is not None and self._next[0] < sequence:
            self._next = next(self._bodies, None)
        return self._next[1] if self._next is not None and self._next[0] == sequence else None

    def check(self, trust: Trust, findings: _Findings) -> None:
        """Check who signed the archives' statements, once every rotation is known."""
        for row in self._rows:
            if not _is_range(row):
                findings.note("archive", "an archive does not say of which rows it is")
                continue
            rows, note = f"the archive of rows {row.first} to {row.last}", str(row.note)
            try:
                statement = read_statement(note)
                if not trust.vouches_for(note):
                    findings.note("archive", f"{rows} was signed by no trusted key", row.first)
                elif statement != (row.first, row.last, row.sha256):
                    findings.note("archive", f"{rows} is not what its signed statement says", row.first)
            except CheckpointError as error:
                findings.note("archive", f"{rows} proves nothing: {error}", row.first)


def _is_range(archive: Any) -> bool:
    return type(archive.first) is int and type(archive.last) is int
