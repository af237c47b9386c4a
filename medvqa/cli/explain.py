"""`medvqa explain`: one answer, explained by every method side by side."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from audit import Log
from medvqa import records
from medvqa.assistant import open_study
from medvqa.cli.opening import open_assistant, quieten_libraries
from medvqa.cli.options import (
    AdapterOption,
    AuditOption,
    ImageOption,
    JsonOption,
    QuestionArgument,
    StudyArgument,
)
from medvqa.explaining import Explanation, Mapped, explain
from medvqa.heatmaps import HEATMAPS, methods_of
from medvqa.heatmaps.targets import ANSWER, ChosenWord, Contrast, Target
from medvqa.reading.stories import read_story
from medvqa.sessions import Session, begin_configured_session
from medvqa.settings import load_settings
from medvqa.types import NOT_FOR_DIAGNOSIS, HeatmapMethod


def explain_answer(
    study: StudyArgument,
    question: QuestionArgument,
    *,
    out: Annotated[Path, typer.Option(help="Write the picture to this PNG file.")],
    image: ImageOption = None,
    method: Annotated[
        list[str] | None, typer.Option(help=f"Only this method; may be repeated: {', '.join(HEATMAPS)}.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="ANSWER", help="Explain why the answer, rather than this one.")
    ] = None,
    word: Annotated[int | None, typer.Option(min=1, help="Explain this word of the answer alone.")] = None,
    model: Annotated[str | None, typer.Option(help="Folder, hub name, server; or the shipped one.")] = None,
    adapter: AdapterOption = None,
    as_json: JsonOption = False,
    audit: AuditOption = None,
) -> None:
    """Ask a question, and explain the answer by all heatmap methods in one picture, each with its grade.

    Example: medvqa explain scan.dcm "Is there a nodule?" --against no --out why.png

    A map that marks what decided the answer no better than chance is not drawn.
    """
    target, wanted = _choose_target(against, word), _choose_methods(method)
    with Console(stderr=True).status("Loading the model and reading the study") as status:
        settings = load_settings(audit_url=audit, model=model, adapter=adapter)
        quieten_libraries()
        session = begin_configured_session(Log(settings.audit_url), settings)
        opened = open_study(session, study)
        assistant = open_assistant(settings, session)
        methods = wanted or list(methods_of(assistant.model))
        status.update(f"Answering and explaining by {len(methods)} methods")
        explanation = explain(
            opened, question, assistant=assistant, image_number=image, methods=methods, target=target
        )
    _write_picture(explanation, out, session=session)
    if as_json:
        typer.echo(json.dumps(describe(explanation, out), indent=2))
    else:
        _show(explanation, out, console=Console())


def describe(explanation: Explanation, out: Path) -> dict[str, Any]:
    """The explanation as `--json` prints it."""
    answer, slices = explanation.answer, explanation.slices
    return {
        "answer_id": answer.answer_id,
        "audit_id": answer.audit_id,
        "question": answer.question,
        "text": answer.text,
        "checks": asdict(answer.checks),
        "image_number": explanation.image_number,
        "maps": [_describe_map(mapped) for mapped in explanation.maps],
        "slices": None if slices is None else asdict(slices),
        "picture": str(out),
        "warnings": [asdict(notice) for notice in answer.warnings],
        "notice": NOT_FOR_DIAGNOSIS,
    }


def _describe_map(mapped: Mapped) -> dict[str, Any]:
    heatmap = mapped.heatmap
    return {
        "method": heatmap.method,
        "explained": heatmap.explained,
        "convergence_delta": heatmap.convergence_delta,
        "grade": None if heatmap.grade is None else asdict(heatmap.grade),
        "seconds": round(mapped.seconds, 3),
    }


def _show(explanation: Explanation, out: Path, *, console: Console) -> None:
    table = Table(title=f"{escape(explanation.answer.question)} [bold]{escape(explanation.answer.text)}[/]")
    for name in ("method", "grade", "why", "seconds"):
        table.add_column(name, justify="right" if name == "seconds" else "left")
    for mapped in explanation.maps:
        grade = mapped.heatmap.grade
        told = ("not graded", mapped.heatmap.explained) if grade is None else (grade.level, grade.reason)
        table.add_row(mapped.heatmap.method, *told, f"{mapped.seconds:.1f}")
    console.print(table)
    console.print(f"picture: {out}; recorded: medvqa audit show {explanation.answer.answer_id}", markup=False)
    console.print(f"[dim]{NOT_FOR_DIAGNOSIS}[/]")


def _write_picture(explanation: Explanation, out: Path, *, session: Session) -> None:
    """Write the picture once it is recorded."""
    try:
        with TemporaryDirectory(prefix="medvqa-") as folder:
            drawn = Path(folder) / "picture.png"
            explanation.save(drawn)
            content = drawn.read_bytes()
        answered = read_story(session.log, explanation.answer.answer_id).answered
        digests = {".png": hashlib.sha256(content).hexdigest()}
        records.record(session.log, records.export(session.agent, answered, files=digests))
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(content)
    except OSError as error:
        raise typer.BadParameter(
            f"{out} cannot be written to: {error.strerror}", param_hint="--out"
        ) from error


def _choose_target(against: str | None, word: int | None) -> Target:
    if against is not None and word is not None:
        raise typer.BadParameter("explain one word, or why not another answer; not both", param_hint="--word")
    if against is not None:
        return Contrast(against)
    return ANSWER if word is None else ChosenWord(word)


def _choose_methods(wanted: list[str] | None) -> list[HeatmapMethod]:
    unknown = [name for name in wanted or () if name not in HEATMAPS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is not one of {', '.join(HEATMAPS)}", param_hint="--method")
    return [name for name in HEATMAPS if name in cast("list[HeatmapMethod]", wanted or [])]
