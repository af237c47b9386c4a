"""`medvqa review`, `sign` and `addendum`: what a person makes of a recorded answer."""

from typing import Annotated, cast, get_args

import typer

from audit import Log
from medvqa.cli.options import AuditOption
from medvqa.reading import reviews, signatures
from medvqa.sessions import Session, begin_configured_session
from medvqa.settings import load_settings
from medvqa.types import ReviewVerdict

AnswerArgument = Annotated[str, typer.Argument(help="The answer's id, as `medvqa ask` printed it.")]


def review(
    answer_id: AnswerArgument,
    *,
    verdict: Annotated[
        str, typer.Option(help="agree; amend (right once corrected); reject (wrong or of no use).")
    ],
    text: Annotated[
        str | None, typer.Option(help="The corrected answer or the reason; without patient attributes.")
    ] = None,
    audit: AuditOption = None,
) -> None:
    """Record what you make of an answer; amend and reject need a text.

    Example: medvqa review 0b5e7a52-7c4f-4b0e-8b8e-0f3c2d1a9e77 --verdict amend --text "left lower lobe"

    Who reviews is the agent of the settings: your login name, MEDVQA_AGENT or the key agent.
    """
    if verdict not in get_args(ReviewVerdict):
        choices = ", ".join(get_args(ReviewVerdict))
        raise typer.BadParameter(f"{verdict!r} is not one of {choices}", param_hint="--verdict")
    session = _open(audit)
    event = reviews.review(session, answer_id, verdict=cast("ReviewVerdict", verdict), text=text)
    typer.echo(f"{verdict}: recorded as row {event.sequence}, by {event.agent}")


def sign(
    answer_id: AnswerArgument,
    *,
    meaning: Annotated[str, typer.Option(help="What the signature means, such as 'reviewed and approved'.")],
    signer: Annotated[
        str | None, typer.Option(help="Printed name of who signs; else the agent of the settings.")
    ] = None,
    audit: AuditOption = None,
) -> None:
    """Sign the last review of an answer: name, time and meaning are recorded.

    Example: medvqa sign 0b5e7a52-7c4f-4b0e-8b8e-0f3c2d1a9e77 --meaning "reviewed and approved"
    """
    session = _open(audit)
    double = load_settings().double_reading
    event = signatures.sign(session, answer_id, meaning=meaning, signer=signer, double_reading=double)
    typer.echo(f"signed: recorded as row {event.sequence}, at {event.recorded:%Y-%m-%d %H:%M:%S} UTC")


def addendum(
    answer_id: AnswerArgument,
    *,
    text: Annotated[str, typer.Option(help="What to add; without patient attributes.")],
    audit: AuditOption = None,
) -> None:
    """Add to a signed answer; what was signed stays as it is.

    Example: medvqa addendum 0b5e7a52-7c4f-4b0e-8b8e-0f3c2d1a9e77 --text "seen again on the lateral view"
    """
    event = signatures.add_addendum(_open(audit), answer_id, text=text)
    typer.echo(f"added: recorded as row {event.sequence}, by {event.agent}")


def _open(audit: str | None) -> Session:
    settings = load_settings(audit_url=audit)
    # There is nothing to review in a trail that does not exist yet.
    return begin_configured_session(Log(settings.audit_url, create=False), settings)
