"""The ten questions that auditors ask most, as SQL that SQLite and PostgreSQL both run.

Each file runs as it is: `sqlite3 audit.sqlite < refusals.sql`, or `psql audit -f refusals.sql`. What it asks
for stands at its top, in the values of `asked`: edit those, or let `answer` bind others in their place.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from audit.log import Log

_VALUE = re.compile(r"'([^']*)' AS (\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question."""

    name: str
    """Its file, without `.sql`."""
    title: str
    """The question in words."""
    explained: Mapping[str, str]
    """What each value means that it asks for, by name."""
    values: Mapping[str, str]
    """The values that stand in the file, by name."""
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a question found."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@cache
def questions() -> Mapping[str, Question]:
    """All questions by name."""
    found = [entry for entry in files(__name__).iterdir() if entry.name.endswith(".sql")]
    read = [_parse(entry.name.removesuffix(".sql"), entry.read_text(encoding="utf-8")) for entry in found]
    return {question.name: question for question in sorted(read, key=lambda question: question.name)}


def answer(
    log: "Log", question: Question, values: Mapping[str, str] | None = None, *, limit: int | None = None
) -> Answered:
    """Ask a question of a trail.

    Args:
        log: The trail; what is read is not verified.
        question: From `questions`.
        values: What to ask for, by name; for those not given, what stands in the file.
        limit: At most so many rows; None for all.

    Raises:
        ReadError: If the database cannot be read.
    """
    bound = {**question.values, **(values or {})}
    head, gap, rest = question.sql.partition(")")  # the end of `asked`, whose values hold no parenthesis
    head = _VALUE.sub(r"CAST(:\2 AS text) AS \2", head)
    with log.reading() as connection:
        result = connection.execute(sa.text(head + gap + rest), bound)
        rows = result.fetchall() if limit is None else result.fetchmany(limit)
        return Answered(columns=tuple(result.keys()), rows=tuple(tuple(map(_plain, row)) for row in rows))


def _plain(value: Any) -> Any:
    """PostgreSQL gives shares as decimals, SQLite as floats."""
    return float(value) if isinstance(value, Decimal) else value


def _parse(name: str, text: str) -> Question:
    lines = text.splitlines()
    comment = [line.removeprefix("--") for line in takewhile(lambda line: line.startswith("--"), lines)]
    sql = "\n".join(lines[len(comment) :]).rstrip(";")
    return Question(
        name=name,
        title=comment[0].strip(),
        explained=dict(line.strip().split(": ", 1) for line in comment if line.startswith("   ")),
        values={parameter: value for value, parameter in _VALUE.findall(sql.partition(")")[0])},
        sql=sql,
    )
