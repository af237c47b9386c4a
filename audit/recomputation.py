"""One pass over the rows of a trail: what their bodies give, what they keep, and where the two part."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from audit.merkle import covering_nodes, fold, leaf_hash, node_hash
from audit.rows import Row, read_body
from audit.schema import BODY_COLUMNS
from audit.types import ProblemKind

_COLUMNS = tuple((name, Row._fields.index(name)) for name in BODY_COLUMNS)
_UNWRITTEN = {"outcome": "success"}

Hashes = list[bytes | None]
"""Of the perfect subtrees that cover the rows so far, from left to right; None where it cannot be known."""


@dataclass(slots=True, kw_only=True)
class Recomputation:
    """Where a pass over the rows stands; `add` takes them one by one, by ascending sequence."""

    note: Callable[[ProblemKind, str, int | None, str | None], None]
    """Takes what is wrong: kind, message, row, field."""
    archived_body: Callable[[int], str | None]
    """The body of a row that was archived, where it was given."""
    is_archived: Callable[[int], bool]
    size: int = 0
    """Rows accounted for: the number of the last one, missing ones included."""
    archived: int = 0
    """Rows whose body is not here."""
    _computed: Hashes = field(default_factory=Hashes)
    _kept: Hashes | None = None
    """From the hashes that the rows keep; None while they are what the bodies give."""

    def add(self, found: tuple[Any, ...]) -> bool:
        """Check one row, given as the fields of `Row`, against those before it.

        Returns:
            Whether it is exactly what was recorded under this number.
        """
        number, body, hashes = found[0], found[-2], found[-1]
        if self._kept is None and number == self.size + 1 and repeats_body(found):
            completed = _complete(self._computed, leaf_hash(body.encode("utf-8", "surrogateescape")), number)
            if b"".join(completed) == hashes:  # pyright: ignore[reportArgumentType] - all are known here
                self.size = number
                _advance(self._computed, completed)
                return True
        return self._add_slowly(Row._make(found))

    def _add_slowly(self, row: Row) -> bool:
        """Like `add`, for a row that is not plainly what is expected."""
        number = row.sequence
        if type(number) is not int:
            self.note("malformed", "a row has a number that is none", None, "sequence")
            return False
        if number <= self.size:
            self.note("order", f"row {number} stands where row {self.size + 1} is due", number, "sequence")
            return False
        if number > self.size + 1:
            self._skip(number - 1)
        self.size = number
        body = self._body_of(row)
        content = read_body(body)
        leaf = leaf_hash(body.encode("utf-8", "surrogateescape")) if isinstance(body, str) else None
        return self._explain(row, content, leaf)

    def roots(self) -> tuple[bytes | None, bytes | None]:
        """Root over the rows so far, from the bodies and from the hashes kept; None where unknown."""
        computed = _root(self._computed)
        return computed, computed if self._kept is None else _root(self._kept)

    def _body_of(self, row: Row) -> Any:
        if row.body is not None or not self.is_archived(row.sequence):
            return row.body
        return self.archived_body(row.sequence)

    def _skip(self, last: int) -> None:
        """Account for missing rows up to `last`."""
        first = self.size + 1
        rows = f"row {first} is missing" if first == last else f"rows {first} to {last} are missing"
        self.note("missing", rows, first, None)
        if self._kept is None:
            self._kept = list(self._computed)
        before = dict.fromkeys(covering_nodes(0, self.size))
        for hashes in (self._computed, self._kept):
            known = dict(zip(before, hashes, strict=True))
            hashes[:] = [known.get(node) for node in covering_nodes(0, last)]

    def _explain(self, row: Row, content: dict[str, Any] | None, leaf: bytes | None) -> bool:
        """Name what is wrong with a row that does not simply fit, and go on with the hashes it keeps."""
        number = row.sequence
        if self._kept is None:
            self._kept = list(self._computed)
        kept = self._kept_hashes(row)
        archived = row.body is None and self.is_archived(number)
        fits = leaf is not None and leaf == kept[0]
        sound = False
        if archived and leaf is None:
            self.archived += 1
            leaf = kept[0]
        elif content is None:
            self.note("malformed", f"row {number} has a body that no trail records", number, "body")
        elif fits and content["sequence"] != number:
            message = f"row {number} was recorded as row {content['sequence']}"
            self.note("order", message, number, "sequence")
            kept[:] = [None] * len(kept)
        elif not fits and kept[0] is not None:
            kept[0] = self._explain_leaf(number, leaf, kept, archived=archived)
        else:
            sound = self._check_columns(row, content)
        self._check_inner(number, kept)
        _advance(self._computed, _complete(self._computed, leaf, number))
        _advance(self._kept, kept)
        if self._kept == self._computed and None not in self._kept:
            self._kept = None
        return sound

    def _kept_hashes(self, row: Row) -> Hashes:
        count = _completed_levels(row.sequence) + 1
        if not isinstance(row.hashes, bytes) or len(row.hashes) != 32 * count:
            message = f"row {row.sequence} keeps hashes that are not those of its {count} subtrees"
            if (content := read_body(row.body)) is None or content["sequence"] == row.sequence:
                self.note("malformed", message, row.sequence, "hashes")
                return [None] * count
            # A moved row brings along hashes of another length: its leaf tells whether it is itself.
            leaf = row.hashes[:32] if isinstance(row.hashes, bytes) else None
            return [leaf, *[None] * (count - 1)]
        return [row.hashes[start : start + 32] for start in range(0, 32 * count, 32)]

    def _explain_leaf(self, number: int, leaf: bytes | None, kept: Hashes, *, archived: bool) -> bytes | None:
        """Say which of body and hash was altered, as far as the parent tells; return the hash recorded."""
        if archived:
            self.note(
                "archive", f"the archive holds another body of row {number} than was recorded", number, "body"
            )
            return kept[0]
        left = self._kept[-1] if self._kept and len(kept) > 1 else None
        if left is not None and leaf is not None and node_hash(left, leaf) == kept[1]:
            self.note("altered", f"row {number} has another hash than was recorded", number, "hashes")
            return leaf
        self.note("altered", f"row {number} has a body that does not give its hash", number, "body")
        return kept[0]

    def _check_inner(self, number: int, kept: Hashes) -> None:
        """Check each subtree that the row completes against its two halves; fill in what the row lost."""
        before = self._kept or []
        for level in range(1, len(kept)):
            left, right = before[-level], kept[level - 1]
            whole = node_hash(left, right) if left is not None and right is not None else None
            if kept[level] is None:
                kept[level] = whole
            elif whole is not None and whole != kept[level]:
                first = number - (1 << level) + 1
                message = (
                    f"rows {first} to {number} do not give the hash kept in row {number}: "
                    "one of them was rewritten with its hash"
                )
                self.note("altered", message, first, "hashes")

    def _check_columns(self, row: Row, content: dict[str, Any]) -> bool:
        sound = True
        for name, place in _COLUMNS:
            if row[place] != content.get(name, _UNWRITTEN.get(name)):
                message = f"row {row.sequence} has another {name} than was recorded"
                self.note("altered", message, row.sequence, name)
                sound = False
        return sound


def repeats_body(found: tuple[Any, ...]) -> bool:
    """Whether a row's body is written as canonical JSON writes its columns: quick, and False where unsure."""
    number, recorded, agent, action, subject, outcome, source, role = found[:8]
    patient, study, model, verdict, confidence, body, _ = found[8:]
    head = f'{{"action":"{action}","agent":"{agent}",'
    tail = f'"sequence":{number},"source":"{source}",'
    quotes = 28
    if confidence is not None:
        head, quotes = f'{head}"confidence":{confidence!r},', quotes + 2
    if role is not None:
        tail, quotes = f'"role":"{role}",{tail}', quotes + 4 * (type(role) is str)
    tail = f'"recorded":"{recorded}",{tail}'
    if patient is not None:
        tail, quotes = f'"patient":"{patient}",{tail}', quotes + 4 * (type(patient) is str)
    tail = f'"outcome":"{outcome}",{tail}'
    if model is not None:
        tail, quotes = f'"model":"{model}",{tail}', quotes + 4 * (type(model) is str)
    if study is not None:
        tail, quotes = f'{tail}"study":"{study}",', quotes + 4 * (type(study) is str)
    tail = f'}},{tail}"subject":"{subject}"'
    if verdict is not None:
        tail, quotes = f'{tail},"verdict":"{verdict}"', quotes + 4 * (type(verdict) is str)
    columns = f'{head}"entity":{{{tail}}}'
    # Formatting forgets types: 7 would pass for the text 7. A quote or a backslash could pass for JSON's own.
    return (
        type(recorded) is type(agent) is type(action) is type(subject) is str
        and type(outcome) is type(source) is type(body) is str
        and columns.count('"') == quotes
        and "\\" not in columns
        and body.startswith(f'{head}"entity":{{')
        and body.endswith(f"{tail}}}")
    )


def _completed_levels(number: int) -> int:
    """How many subtrees above its own leaf row `number` completes."""
    return (number & -number).bit_length() - 1


def _complete(hashes: Sequence[bytes | None], leaf: bytes | None, number: int) -> Hashes:
    """Hashes of the subtrees that row `number` completes, its leaf first."""
    completed: Hashes = [leaf]
    for level in range(1, _completed_levels(number) + 1):
        left, right = hashes[-level], completed[-1]
        completed.append(None if left is None or right is None else node_hash(left, right))
    return completed


def _advance(hashes: Hashes, completed: Hashes) -> None:
    if len(completed) > 1:
        del hashes[1 - len(completed) :]
    hashes.append(completed[-1])


def _root(hashes: Hashes) -> bytes | None:
    known = [value for value in hashes if value is not None]
    return fold(known) if known and len(known) == len(hashes) else None
