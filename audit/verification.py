"""Recomputing a chain row by row, in constant memory, and saying exactly what is wrong."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice, pairwise

from audit.chain import COLUMNS, Row, chain_hash, is_digest, read_body
from audit.schema import GENESIS
from audit.types import Problem, ProblemKind, Verification

MOST_PROBLEMS = 1000
"""Problems listed at most; a trail that was renumbered has one a row."""


@dataclass(slots=True)
class _Walk:
    """Where a pass over the rows stands."""

    expected_head: str | None
    expected_head_sequence: int | None = None
    next_sequence: int = 1
    previous_hash: str | None = GENESIS
    """What the next row must continue; None where that row is missing or displaced."""
    events: int = 0
    head: str = GENESIS
    problems: list[Problem] = field(default_factory=list[Problem])
    unlisted: int = 0


def verify_rows(rows: Iterable[Row], *, guards: Iterable[str], expected_head: str | None) -> Verification:
    """Recompute a chain.

    Args:
        rows: All rows, by ascending sequence.
        guards: What is wrong with the table's triggers, a sentence each.
        expected_head: A hash noted earlier, lower hex, that must be the hash of some row (or 64 zeros).
    """
    walk = _Walk(expected_head=expected_head)
    _note(walk, (_problem("guard", None, None, f"{guard}") for guard in guards))
    if expected_head == GENESIS:
        walk.expected_head_sequence = 0
    for row, following in pairwise(chain(rows, [None])):
        if row is not None:
            walk.events += 1
            _note(walk, _check_row(row, following, walk))
    if expected_head is not None and walk.expected_head_sequence is None:
        message = "the expected head is not in the trail: its end was cut off, or it was rewritten"
        _note(walk, [_problem("head", None, None, message)])
    if walk.unlisted:
        walk.problems.append(_problem("more", None, None, f"{walk.unlisted} more problems are not listed"))
    return Verification(
        intact=not walk.problems,
        events=walk.events,
        head=walk.head,
        problems=tuple(walk.problems),
        expected_head_sequence=walk.expected_head_sequence,
    )


def _check_row(row: Row, following: Row | None, walk: _Walk) -> Iterator[Problem]:
    content = read_body(row.body)
    if content is not None and content["sequence"] != row.sequence and _fits_itself(row):
        yield _problem("order", row.sequence, "sequence", f"was recorded as row {content['sequence']}")
        walk.next_sequence += row.sequence == walk.next_sequence
        walk.previous_hash, walk.head = None, row.hash
        return
    if row.sequence < walk.next_sequence:
        yield _problem("order", row.sequence, "sequence", f"stands where row {walk.next_sequence} is due")
        return
    if row.sequence > walk.next_sequence:
        yield _missing(walk.next_sequence, row.sequence - 1)
        walk.previous_hash = None
    walk.next_sequence = row.sequence + 1
    if content is None:
        yield _problem("malformed", row.sequence, "body", "has a body that no trail records")
    found = list(_check_hashes(row, following, walk, body_malformed=content is None))
    yield from found
    # A body that does not fit its hash says nothing about the columns beside it.
    if content is not None and not any(problem.field in ("body", None) for problem in found):
        for name in COLUMNS:
            if getattr(row, name) != content[name]:
                yield _problem("altered", row.sequence, name, f"has another {name} than was recorded")


def _check_hashes(row: Row, following: Row | None, walk: _Walk, *, body_malformed: bool) -> Iterator[Problem]:
    """Check the row's own hash and its link; leave in `walk` what the next row must continue."""
    malformed = [name for name in ("previous_hash", "hash") if not is_digest(getattr(row, name))]
    for name in malformed:
        yield _problem("malformed", row.sequence, name, f"has a {name} that is no SHA-256 in lower hex")
    before, walk.previous_hash = walk.previous_hash, None
    if malformed or not isinstance(row.body, bytes):
        walk.head = row.hash if "hash" not in malformed else walk.head
        return
    computed = chain_hash(row.previous_hash, row.body)
    walk.previous_hash = walk.head = row.hash
    if computed == row.hash:
        if row.hash == walk.expected_head:
            walk.expected_head_sequence = row.sequence
        if before not in (None, row.previous_hash):
            message = (
                f"does not continue row {row.sequence - 1} as it stands: that row was rewritten, or this one"
            )
            yield _problem("link", row.sequence, "previous_hash", message)
    elif before is not None and chain_hash(before, row.body) == row.hash:
        yield _problem(
            "altered", row.sequence, "previous_hash", "has another previous_hash than was recorded"
        )
    elif following is not None and following.previous_hash == computed:
        walk.previous_hash = computed
        yield _problem("altered", row.sequence, "hash", "has another hash than was recorded")
    elif not body_malformed:
        confirmed = following is not None and following.previous_hash == row.hash
        message = (
            "has another body than was recorded" if confirmed else "has a body that does not give its hash"
        )
        yield _problem("altered", row.sequence, "body" if confirmed else None, message)


def _fits_itself(row: Row) -> bool:
    return is_digest(row.previous_hash) and chain_hash(row.previous_hash, row.body) == row.hash


def _missing(first: int, last: int) -> Problem:
    rows = f"row {first} is missing" if first == last else f"rows {first} to {last} are missing"
    return Problem(kind="missing", sequence=first, field=None, message=rows)


def _problem(kind: ProblemKind, sequence: int | None, field_name: str | None, message: str) -> Problem:
    row = "" if sequence is None else f"row {sequence} "
    return Problem(kind=kind, sequence=sequence, field=field_name, message=row + message)


def _note(walk: _Walk, problems: Iterable[Problem]) -> None:
    found = iter(problems)
    walk.problems.extend(islice(found, MOST_PROBLEMS - len(walk.problems)))
    walk.unlisted += sum(1 for _ in found)
