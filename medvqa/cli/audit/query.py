"""`medvqa audit query`: the questions that auditors ask most."""

from collections.abc import Mapping
from typing import Annotated

import typer

from audit.queries import Question, answer, questions
from medvqa.cli.audit.opening import opened
from medvqa.cli.audit.options import AuditOption, CsvOption, JsonOption, read_time
from medvqa.cli.audit.printing import print_csv, print_json, print_table

_TIMES = ("since", "until")


def query(
    name: Annotated[str | None, typer.Argument(help="Which question; --list names them.")] = None,
    values: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE ...]", help="What it asks for.")
    ] = None,
    *,
    list_: Annotated[
        bool, typer.Option("--list", help="Print all questions, and what they ask for.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Print at most so many rows.")] = 1000,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    audit: AuditOption = None,
) -> None:
    """Answer one of the questions that auditors ask most.

    Example: medvqa audit query who_saw_study study=1.2.3 --csv

    The same questions run in sqlite3 and psql: they are the files audit/queries/*.sql.
    """
    if list_ or name is None:
        _print_questions()
        return
    question = questions().get(name)
    if question is None:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(questions())}", param_hint="NAME")
    given = _read_values(question, values or [])
    with opened(audit) as trail:
        found = answer(trail.log, question, given, limit=limit + 1)
        rows = found.rows[:limit]
        trail.record_reading("query", {"name": name, **given}, {"rows": len(rows)})
    if as_json:
        print_json([dict(zip(found.columns, row, strict=True)) for row in rows])
    elif as_csv:
        print_csv(found.columns, rows)
    else:
        print_table(found.columns, rows)
    if len(found.rows) > limit:
        typer.echo(f"More rows follow: give --limit a number above {limit}, or a shorter time", err=True)


def _print_questions() -> None:
    for question in questions().values():
        typer.echo(f"{question.name}: {question.title}")
        for name, meaning in question.explained.items():
            typer.echo(f"    {name}={question.values[name]}  {meaning}")


def _read_values(question: Question, texts: list[str]) -> Mapping[str, str]:
    given: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or name not in question.values:
            raise typer.BadParameter(
                f"{text!r} is not NAME=VALUE; the names are {', '.join(question.values)}",
                param_hint="NAME=VALUE",
            )
        if name in _TIMES:
            value = read_time(value, option=name).isoformat(timespec="microseconds")
        given[name] = value
    return given
