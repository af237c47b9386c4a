"""`medvqa ask`: one question about one study."""

import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, cast

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from audit import Log
from medvqa.answers_as_json import describe
from medvqa.assistant import open_study
from medvqa.checks.verdict import MEANINGS
from medvqa.cli.exporting import write_recorded
from medvqa.cli.opening import open_assistant, quieten_libraries
from medvqa.cli.options import (
    AdapterOption,
    AuditOption,
    ImageOption,
    JsonOption,
    QuestionArgument,
    StudyArgument,
    UidOption,
)
from medvqa.heatmaps import HEATMAPS
from medvqa.imaging import CT_WINDOWS
from medvqa.reading.stories import read_story
from medvqa.sessions import Session, begin_configured_session
from medvqa.settings import load_settings
from medvqa.types import NOT_FOR_DIAGNOSIS, Answer, Heatmap, HeatmapMethod, WindowName


def ask(
    study: StudyArgument,
    question: QuestionArgument,
    *,
    heatmap: Annotated[
        str | None, typer.Option(help=f"Also explain the answer: {', '.join(HEATMAPS)}.")
    ] = None,
    image: ImageOption = None,
    study_uid: UidOption = None,
    window: Annotated[str | None, typer.Option(help=f"CT window: file, {', '.join(CT_WINDOWS)}.")] = None,
    model: Annotated[str | None, typer.Option(help="Folder, hub name, server; or the shipped one.")] = None,
    adapter: AdapterOption = None,
    shots: Annotated[
        Path | None,
        typer.Option(help="Cases (.jsonl) that the model is shown, with their answers, before the question."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the answer (JSON) and its heatmap (PNG, NPY) to this folder.")
    ] = None,
    as_json: JsonOption = False,
    audit: AuditOption = None,
) -> None:
    """Ask a question about a study; the answer comes with its checks and its row in the audit trail.

    Example: medvqa ask scan.dcm "Is there a tumor?" --heatmap attention --out answers

    Nothing is shown that could not be recorded. See what was recorded with `medvqa audit show ANSWER_ID`.
    """
    _require_choice("--heatmap", heatmap, tuple(HEATMAPS))
    _require_choice("--window", window, ("file", *CT_WINDOWS))
    console = Console(stderr=True)
    with console.status("Loading the model and reading the study") as status:
        settings = load_settings(audit_url=audit, model=model, adapter=adapter)
        quieten_libraries()
        # The trail first: a model that takes a minute to load is of no use where nothing can be recorded.
        session = begin_configured_session(Log(settings.audit_url), settings)
        shown_in = cast("WindowName | None", window)
        opened = open_study(session, study, window=shown_in, study_instance_uid=study_uid)
        assistant = open_assistant(settings, session, shots=shots)
        status.update("Answering" if heatmap is None else "Answering and explaining")
        method = cast("HeatmapMethod | None", heatmap)
        answer = assistant.ask(opened, question, image_number=image, heatmap=method)
    described = describe(answer)
    if out is not None:
        write_files(answer, described, out, session=session)
    if as_json:
        typer.echo(json.dumps(described, indent=2))
    else:
        show(answer, described, console=Console())


def show(answer: Answer, described: dict[str, Any], *, console: Console) -> None:
    """Print an answer for a person."""
    checks = answer.checks
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("verdict", f"[bold]{checks.verdict}[/]: {MEANINGS[checks.verdict]}")
    kind = "chance of being right, calibrated" if checks.confidence_calibrated else "mean token probability"
    uncalibrated = "" if checks.confidence_calibrated else ", uncalibrated"
    table.add_row("confidence", f"{checks.confidence:.2f} {kind}{uncalibrated}")
    table.add_row("image reliance", f"{checks.image_reliance:+.2f} nats against the blanked image")
    table.add_row("image effect", f"{checks.image_effect:+.2f} nats against the worst of other pictures")
    table.add_row("wording effect", f"{checks.wording_effect:+.2f} nats against the worst of other wordings")
    if answer.heatmap is not None:
        place = described["heatmap"]["overlay"] or "not written: give --out"
        table.add_row("heatmap", escape(f"{answer.heatmap.method}: {place}"))
        if answer.heatmap.grade is not None:
            table.add_row("grade", f"[bold]{answer.heatmap.grade.level}[/]: {answer.heatmap.grade.reason}")
    table.add_row("audit", f"row {answer.audit_id}: medvqa audit show {answer.answer_id}")
    table.add_row("review", f"medvqa review {answer.answer_id} --verdict agree")
    table.add_row("time", f"{answer.seconds:.1f} s, {escape(answer.model.name)}")
    for notice in answer.warnings:
        table.add_row(f"[yellow]{notice.code}[/]", escape(notice.message))
    said = f"[bold]{escape(answer.text)}[/]"
    if checks.abstains:
        said = f"[bold]I can't tell[/] [dim](the model's guess: {escape(answer.text)})[/]"
    console.print(Panel(said, title=escape(answer.question), expand=False))
    console.print(table)
    console.print(f"[dim]{NOT_FOR_DIAGNOSIS}[/]")


def write_files(answer: Answer, described: dict[str, Any], out: Path, *, session: Session) -> None:
    """Write the answer, and its heatmap, to a folder; `described` then names the files."""
    contents: dict[str, bytes] = {}
    if answer.heatmap is not None:
        contents = _draw(answer.heatmap)
        overlay, values = out / f"{answer.answer_id}.png", out / f"{answer.answer_id}.npy"
        described["heatmap"] |= {"overlay": str(overlay), "values": str(values)}
    contents[".json"] = (json.dumps(described, indent=2) + "\n").encode()
    write_recorded(session, read_story(session.log, answer.answer_id).answered, contents, out)


def _draw(heatmap: Heatmap) -> dict[str, bytes]:
    """The map over its image as PNG, and its values as NPY."""
    values = io.BytesIO()
    np.save(values, heatmap.values)
    with TemporaryDirectory(prefix="medvqa-") as folder:
        overlay = Path(folder) / "overlay.png"
        heatmap.save(overlay)
        return {".png": overlay.read_bytes(), ".npy": values.getvalue()}


def _require_choice(option: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(choices)}", param_hint=option)
