"""The nouns of a trail, with the standard library alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

JSON: TypeAlias = bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"] | None
"""What an entity may hold: finite numbers, integers within 2^53 - 1, text without NUL, text keys."""

Outcome: TypeAlias = Literal["success", "refused", "failed"]
"""How an action ended: done; declined for a stated reason (FHIR outcome 4); broken off by an error (8)."""

ProblemKind: TypeAlias = Literal[
    "altered",
    "missing",
    "order",
    "malformed",
    "guard",
    "tail",
    "history",
    "forged_checkpoint",
    "foreign_key",
    "archive",
    "more",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is to be recorded: who did what to what, in the words of FHIR's AuditEvent.

    The optional fields are what a trail is searched by; leave out those that do not apply. What they mean is
    the caller's affair.
    """

    agent: str
    """Who did it: a person's or a program's identifier. One printable line, like every text here."""
    action: str
    """What was done, such as `answer` or `review`; see `audit.actions`."""
    subject: str
    """To what: the identifier that events about one thing share."""
    entity: Mapping[str, JSON]
    """The particulars."""
    outcome: Outcome = "success"
    role: str | None = None
    """In which role the agent acted."""
    patient: str | None = None
    """Keyed pseudonym of the patient; never an identifier that others know."""
    study: str | None = None
    """Identifier of the study that was looked at."""
    model: str | None = None
    """Digest of the program that took part, such as a model with its adapter."""
    verdict: str | None = None
    confidence: float | None = None
    """In [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Entry):
    """One row of the trail: an entry, when and where it was recorded, and its leaf in the tree."""

    sequence: int
    """From 1, without gaps; the leaf's index in the Merkle tree is one less."""
    recorded: datetime
    """In UTC, by the clock of the machine that appended it."""
    source: str | None = None
    """The machine that recorded it."""
    hash: str
    """RFC 6962 leaf hash of the canonical content, lower hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A signed statement of what the tree was when it had so many leaves (C2SP tlog-checkpoint)."""

    origin: str
    """Which trail: its first key's name."""
    size: int
    """Events that it covers."""
    root: bytes
    """RFC 6962 root over them, 32 bytes."""
    note: str
    """The signed note, as it is kept and sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeHead:
    """What the tree was when it had so many leaves, unsigned: see `Checkpoint` for one that proves it."""

    size: int
    """Events that it covers."""
    root: str
    """RFC 6962 root over them, lower hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a trail, and where."""

    kind: ProblemKind
    """`altered`: a row no longer matches its hash, or a hash its subtree. `missing`: rows were deleted.
    `order`: a row stands under another number than it was recorded with. `malformed`: a field holds something
    that was never recorded. `guard`: a table or a trigger that protects it was changed. `tail`: a checkpoint
    covers rows that were cut off. `history`: the rows are consistent, but not those that a checkpoint
    covers. `forged_checkpoint`: a note that its key did not sign. `foreign_key`: a note by a key that is not
    trusted. `archive`: an archive does not hold what was recorded. `more`: further problems."""
    sequence: int | None
    """The row, or the first of those meant; None when it concerns no row."""
    field: str | None
    """The field of the row that is wrong, where that is known."""
    message: str
    """One sentence for a person; it quotes nothing from the row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a complete recomputation of a trail found."""

    intact: bool
    """True when there are no problems."""
    events: int
    """Rows that the table holds."""
    root: str
    """RFC 6962 root of the tree over all rows, lower hex."""
    covered: int
    """Events up to the largest checkpoint that holds: none of them can have changed since it was signed."""
    checkpoints: int
    """Checkpoints that hold, in the table and given."""
    archived: int
    """Rows whose bodies stand in archives and were not given: their hashes are covered, their content is not
    here to check."""
    problems: tuple[Problem, ...]
