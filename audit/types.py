"""The nouns of a trail, with the standard library alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

JSON: TypeAlias = bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"] | None
"""What an entity may hold: finite numbers, integers within 2^53 - 1, text keys."""

ProblemKind: TypeAlias = Literal["altered", "missing", "order", "link", "malformed", "guard", "head", "more"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of the trail: who did what to what, and when (FHIR AuditEvent's words)."""

    sequence: int
    """From 1, without gaps."""
    recorded: datetime
    """When it was recorded, in UTC, by the clock of the machine that appended it."""
    agent: str
    """Who did it: a person's or a program's identifier."""
    action: str
    """What was done, such as `answer` or `review`."""
    subject: str
    """To what: the identifier that events about one thing share."""
    entity: Mapping[str, JSON]
    """The particulars, as read back from canonical JSON."""
    hash: str
    """SHA-256 over the predecessor's hash (32 bytes) and this row's canonical content; lower hex."""
    previous_hash: str
    """Hash of the row before; 64 zeros for row 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a trail, and where."""

    kind: ProblemKind
    """`altered`: a field no longer matches its hash. `missing`: rows were deleted. `order`: a row stands
    under another number than it was recorded with. `link`: a row does not continue the row before.
    `malformed`: a field holds something that was never recorded. `guard`: the table or a trigger that
    protects it was changed. `head`: the expected hash is not in the trail. `more`: further problems."""
    sequence: int | None
    """The row, or the first of the missing rows; None when it concerns no row."""
    field: str | None
    """The field of the row that is wrong, where that is known."""
    message: str
    """One sentence for a person; it quotes nothing from the row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a complete recomputation of a trail found."""

    intact: bool
    """True when there are no problems. See `audit.Log.verify` for what this cannot show."""
    events: int
    """Rows that the table holds."""
    head: str
    """Hash of the last row, lower hex; 64 zeros when there is none."""
    problems: tuple[Problem, ...]
    expected_head_sequence: int | None = None
    """The row that the expected head belongs to (0 for 64 zeros); None when none was given or found."""
