"""The options that several commands of `medvqa audit` share, and what they ask of the trail."""

import inspect
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from audit import Filter

SHORTEST_DIGEST = 8
"""Digits of a model's digest that tell it from others."""

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

AuditOption = Annotated[
    str | None,
    typer.Option(
        "--audit",
        metavar="URL",
        help="The trail: a path or an SQLAlchemy URL; else MEDVQA_AUDIT_URL, medvqa.toml, your own trail.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV, for spreadsheets.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterOptions:
    """Which events, as given on the command line; everything given must hold."""

    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="From then on: 2026-01-31, 2026-01-31T08:00+01:00, 7d.")
    ] = None
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Before then; UTC, unless it names a zone.")
    ] = None
    agent: Annotated[str | None, typer.Option(help="Who did it.")] = None
    action: Annotated[str | None, typer.Option(help="What was done, such as answer or review.")] = None
    subject: Annotated[str | None, typer.Option(help="To what, such as an answer id.")] = None
    study: Annotated[str | None, typer.Option(metavar="UID", help="Study Instance UID.")] = None
    patient: Annotated[str | None, typer.Option(metavar="PSEUDONYM", help="Pseudonym of the patient.")] = None
    model: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="Digest of the model, or its beginning.")
    ] = None
    verdict: Annotated[str | None, typer.Option(help="Of the checks, or of a review.")] = None
    outcome: Annotated[str | None, typer.Option(help="success, refused or failed.")] = None
    min_confidence: Annotated[float | None, typer.Option(min=0, max=1, help="At least.")] = None
    max_confidence: Annotated[float | None, typer.Option(min=0, max=1, help="At most.")] = None
    disputed: Annotated[
        bool | None,
        typer.Option("--disputed/--undisputed", help="Whether a reviewer amended or rejected the answer."),
    ] = None

    def given(self) -> dict[str, Any]:
        """The options that were given, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOptions:
    """Which of the events found."""

    limit: Annotated[int, typer.Option(min=1, help="Show at most so many events.")] = 20
    after: Annotated[
        int | None, typer.Option(metavar="ROW", help="Continue behind this row, the last of a page.")
    ] = None
    newest: Annotated[bool, typer.Option("--newest/--oldest", help="Which come first.")] = True


def wanted(options: FilterOptions, **more: Any) -> Filter:
    """The filter that the options stand for, with `more` of its fields."""
    if options.model is not None and len(options.model) < SHORTEST_DIGEST:
        raise typer.BadParameter(
            f"give at least {SHORTEST_DIGEST} digits of the digest", param_hint="--model"
        )
    names = {"min_confidence": "least_confidence", "max_confidence": "most_confidence"}
    values = {names.get(name, name): value for name, value in options.given().items()}
    for name in ("since", "until"):
        if name in values:
            values[name] = read_time(values[name], option=f"--{name}")
    return Filter(**values, **more)


def read_time(text: str, *, option: str) -> datetime:
    """A time from ISO 8601 text, in UTC unless it names a zone, or so long ago: 30m, 12h, 7d, 2w."""
    try:
        if ago := re.fullmatch(r"(\d{1,6})([mhdw])", text):
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f"{text!r} is no time; write 2026-01-31, 2026-01-31T08:00 or 7d", param_hint=option
        ) from error


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Turn each parameter that is a dataclass of options into those options, for typer to read."""
    parameters = inspect.signature(command, eval_str=True).parameters
    nouns: dict[str, Any] = {
        name: found.annotation for name, found in parameters.items() if is_dataclass(found.annotation)
    }
    shown: list[inspect.Parameter] = []
    for name, parameter in parameters.items():
        if name not in nouns:
            shown.append(parameter)
            continue
        hints = get_type_hints(nouns[name], include_extras=True)
        shown += [
            inspect.Parameter(
                part.name, inspect.Parameter.KEYWORD_ONLY, default=part.default, annotation=hints[part.name]
            )
            for part in fields(nouns[name])
        ]

    @wraps(command)
    def gathered(**values: Any) -> None:
        parts = {
            name: noun(**{part.name: values.pop(part.name) for part in fields(noun)})
            for name, noun in nouns.items()
        }
        command(**values, **parts)

    gathered.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    setattr(gathered, "__signature__", inspect.Signature(shown))  # noqa: B010 - no declared attribute
    return gathered
