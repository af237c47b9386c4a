"""`medvqa similar`: earlier cases whose images look alike, with what was signed about them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from audit import Log
from medvqa import records
from medvqa.assistant import choose_number, open_study
from medvqa.cli.opening import quieten_libraries
from medvqa.cli.options import AuditOption, ImageOption, JsonOption, StudyArgument, UidOption
from medvqa.errors import SettingsError
from medvqa.models.contrastive import ContrastiveModel, load_contrastive
from medvqa.reading.stories import Story
from medvqa.retrieval.index import CaseIndex
from medvqa.retrieval.similar import (
    SIMILARITY,
    Similar,
    SimilarCase,
    find_by_text,
    find_similar,
    index_study,
    remove_study,
)
from medvqa.sessions import Session, begin_configured_session
from medvqa.settings import Settings, load_settings
from medvqa.types import NOT_FOR_DIAGNOSIS

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Find earlier cases whose images look alike, with what was signed about them.",
)

IndexOption = Annotated[
    Path | None, typer.Option("--index", help="Folder of the index; else the key similar_index.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model", help="Folder or hub name of a CLIP, ALIGN or SigLIP model; else the key similar_model."
    ),
]


@app.command("index")
def add(
    studies: Annotated[
        list[Path],
        typer.Argument(metavar="STUDY...", help="DICOM, PNG or JPEG files, folders or ZIP archives."),
    ],
    *,
    index: IndexOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
    audit: AuditOption = None,
) -> None:
    """Add the images of studies to an index, which is made where there is none.

    Example: medvqa similar index archive/* --index cases --model models/clip

    An image stands in an index once. Who was examined is not in it, nor are pixels.
    """
    settings, session = _begin(audit, index=index, model=model)
    loaded = _load_model(settings, session)
    cases = CaseIndex(_folder(settings), loaded.identity, create=True)
    for path in studies:
        study = open_study(session, path)
        came = index_study(session, cases, loaded, study)
        described = {"study": study.study_instance_uid, **asdict(came)}
        if as_json:
            typer.echo(json.dumps(described))
        else:
            typer.echo(
                f"study {study.study_instance_uid}: {came.images} images in the index, "
                f"{came.new} of them new, {came.left_out} left out"
            )


@app.command("remove")
def remove(
    study_instance_uid: Annotated[str, typer.Argument(help="Study Instance UID.")],
    *,
    index: IndexOption = None,
    audit: AuditOption = None,
) -> None:
    """Take all images of a study out of an index.

    Example: medvqa similar remove 1.2.826.0.1.3680043.8.498.1 --index cases
    """
    settings, session = _begin(audit, index=index)
    count = remove_study(session, CaseIndex(_folder(settings), None), study_instance_uid)
    typer.echo(f"study {study_instance_uid}: {count} images taken out of the index")


@app.command("find")
def find(
    study: StudyArgument,
    *,
    index: IndexOption = None,
    model: ModelOption = None,
    image: ImageOption = None,
    text: Annotated[
        str | None,
        typer.Option(help="Find images that a sentence describes instead; it must name no patient."),
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, max=50, help="Cases wanted.")] = 5,
    study_uid: UidOption = None,
    as_json: JsonOption = False,
    audit: AuditOption = None,
) -> None:
    """Find the cases most like an image of a study, or like a sentence.

    Example: medvqa similar find scan.dcm --index cases --model models/clip

    The look-up, and each case that is shown, are recorded before they are printed. Other studies of the same
    patient stand apart.
    """
    settings, session = _begin(audit, index=index, model=model)
    opened = open_study(session, study, study_instance_uid=study_uid)
    number, _ = choose_number(len(opened.images), image)
    loaded = _load_model(settings, session)
    cases = CaseIndex(_folder(settings), loaded.identity)
    if text is not None:
        found = find_by_text(session, cases, loaded, text, study=opened, k=count)
        looked_for = f"the text {text!r}"
    else:
        found = find_similar(session, cases, loaded, opened.images[number - 1], study=opened, k=count)
        looked_for = f"image {number} of {len(opened.images)}"
    if as_json:
        typer.echo(json.dumps(describe(found), indent=2))
    else:
        show(found, looked_for, console=Console())


def describe(found: Similar) -> dict[str, Any]:
    """What was found as `--json` prints it."""
    return {
        "audit_id": found.audit_id,
        "cases": [_describe_case(case) for case in found.cases],
        "priors": [_describe_case(case) for case in found.priors],
        "similarity": SIMILARITY,
        "notice": NOT_FOR_DIAGNOSIS,
    }


def show(found: Similar, looked_for: str, *, console: Console) -> None:
    """Print what was found for a person."""
    console.print(f"[bold]Earlier cases most like {escape(looked_for)}[/]")
    console.print(_table(found.cases) if found.cases else "none: the index holds no other study")
    if found.priors:
        console.print("[bold]Other studies of the same patient[/]")
        console.print(_table(found.priors))
    console.print(f"[dim]{SIMILARITY}[/]")
    console.print(f"[dim]recorded as row {found.audit_id}. {NOT_FOR_DIAGNOSIS}[/]")


def _table(cases: tuple[SimilarCase, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("similarity", "study", "signed answers"):
        table.add_column(heading, overflow="fold")
    for case in cases:
        lines = [_say(story, about_image=case.is_about_image(story)) for story in case.signed or ()]
        missing = "archived: cannot be read here" if case.signed is None else "none signed"
        unknown = "" if case.same_patient is not None else "\n(patient not known)"
        study = f"{case.image.study_instance_uid}{unknown}"
        table.add_row(f"{case.similarity:+.3f}", study, escape("\n".join(lines) or missing))
    return table


def _say(story: Story, *, about_image: bool) -> str:
    said = "rejected" if story.text is None else story.text
    where = "this image" if about_image else "another image"
    return f"{story.question} {said} (signed by {story.signatures[-1].entity['signer']}, {where})"


def _describe_case(case: SimilarCase) -> dict[str, Any]:
    return {
        "image": asdict(case.image),
        "similarity": case.similarity,
        "same_patient": case.same_patient,
        "signed": None if case.signed is None else [_describe_signed(case, story) for story in case.signed],
    }


def _describe_signed(case: SimilarCase, story: Story) -> dict[str, Any]:
    return {
        "answer_id": story.answer_id,
        "question": story.question,
        "text": story.text,
        "state": story.state,
        "signer": story.signatures[-1].entity["signer"],
        "signed": story.signatures[-1].recorded.isoformat(),
        "about_this_image": case.is_about_image(story),
    }


def _begin(
    audit: str | None, *, index: Path | None = None, model: str | None = None
) -> tuple[Settings, Session]:
    quieten_libraries()
    flags = {"similar_index": None if index is None else str(index), "similar_model": model}
    settings = load_settings(audit_url=audit, **flags)
    return settings, begin_configured_session(Log(settings.audit_url), settings)


def _load_model(settings: Settings, session: Session) -> ContrastiveModel:
    if settings.similar_model is None:
        raise SettingsError("no model was named; give --model, or set the key similar_model")
    loaded = load_contrastive(settings.similar_model, device=settings.device)
    records.record(session.log, records.load_model(session.agent, loaded.identity))
    return loaded


def _folder(settings: Settings) -> Path:
    if settings.similar_index is None:
        raise SettingsError("no index was named; give --index, or set the key similar_index")
    return settings.similar_index
