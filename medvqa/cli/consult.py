"""`medvqa consult`: one question to several models, and what they agree on."""

import json
from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from audit import Log
from medvqa.answers_as_json import describe
from medvqa.assistant import open_study
from medvqa.checks.verdict import MEANINGS
from medvqa.cli.opening import open_assistant, quieten_libraries
from medvqa.cli.options import AuditOption, ImageOption, JsonOption, QuestionArgument, StudyArgument
from medvqa.ensembles import JointAnswer, ask_together
from medvqa.sessions import begin_configured_session
from medvqa.settings import Settings, load_settings
from medvqa.types import NOT_FOR_DIAGNOSIS, Answer


def consult(
    study: StudyArgument,
    question: QuestionArgument,
    *,
    model: Annotated[
        list[str],
        typer.Option(
            help="Twice at least: a folder or hub name, then perhaps + and an adapter, as default+adapters/a."
        ),
    ],
    image: ImageOption = None,
    as_json: JsonOption = False,
    audit: AuditOption = None,
) -> None:
    """Ask several models or adapters the same, and show what they agree on.

    Example: medvqa consult scan.dcm "Is there a tumor?" --model default --model default+adapters/chest

    Each answer has its checks and its row in the trail, and one row more binds them together. Where not all
    agree, the verdict is no better than unsure. That they agree does not make them right.
    """
    if len(model) < 2:
        raise typer.BadParameter("to compare answers takes at least two models", param_hint="--model")
    console = Console(stderr=True)
    with console.status("Reading the study") as status:
        settings = load_settings(audit_url=audit)
        quieten_libraries()
        session = begin_configured_session(Log(settings.audit_url), settings)
        opened = open_study(session, study)
        assistants = []
        for named in model:
            status.update(f"Loading {named}")
            assistants.append(open_assistant(_with_model(settings, named), session))
        status.update("Asking")
        joint = ask_together(assistants, opened, question, image_number=image)
    if as_json:
        typer.echo(json.dumps(describe_joint(joint), indent=2))
    else:
        show_joint(joint, question, console=Console())


def describe_joint(joint: JointAnswer) -> dict[str, Any]:
    """What several models said, as `--json` prints it."""
    return {
        "joint_id": joint.joint_id,
        "audit_id": joint.audit_id,
        "text": joint.text,
        "agreement": joint.agreement,
        "verdict": joint.verdict,
        "answers": [describe(answer) for answer in joint.answers],
        "refusals": list(joint.refusals),
        "notice": NOT_FOR_DIAGNOSIS,
    }


def show_joint(joint: JointAnswer, question: str, *, console: Console) -> None:
    """Print what several models said, for a person."""
    console.print(Panel(f"[bold]{escape(joint.text)}[/]", title=escape(question), expand=False))
    asked = len(joint.answers) + len(joint.refusals)
    console.print(f"said by {round(joint.agreement * asked)} of {asked} models")
    capped = "; not all models agree" if joint.agreement < 1 else ""
    console.print(f"verdict [bold]{joint.verdict}[/]: {MEANINGS[joint.verdict]}{capped}")
    table = Table(box=None, pad_edge=False)
    for title in ("model", "answer", "confidence", "verdict", "row"):
        table.add_column(title, overflow="fold")
    for answer in joint.answers:
        table.add_row(*_row(answer))
    console.print(table)
    for reason in joint.refusals:
        console.print(f"refused: {escape(reason)}")
    console.print(f"[dim]{NOT_FOR_DIAGNOSIS}[/]")


def _row(answer: Answer) -> tuple[str, ...]:
    checks, model = answer.checks, answer.model
    name = model.name if model.adapter is None else f"{model.name}+{model.adapter}"
    text = f"I can't tell (guess: {answer.text})" if checks.abstains else answer.text
    uncalibrated = "" if checks.confidence_calibrated else " uncalibrated"
    return (
        escape(name),
        escape(text),
        f"{checks.confidence:.2f}{uncalibrated}",
        checks.verdict,
        str(answer.audit_id),
    )


def _with_model(settings: Settings, named: str) -> Settings:
    name, _, adapter = named.partition("+")
    return replace(settings, model=name, adapter=adapter or None)
