"""`medvqa results`: what the trail holds about a study, as DICOM objects that a PACS shows beside it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer
from rich.console import Console

from audit import Log
from medvqa import records
from medvqa.assistant import open_study
from medvqa.cli.opening import open_assistant, quieten_libraries
from medvqa.cli.options import AdapterOption, AuditOption, JsonOption, StudyArgument, UidOption
from medvqa.dicom_out import FORMS, DicomObject, Form, describe_objects, make_objects
from medvqa.digests import digest_model
from medvqa.errors import ReviewError, TaskError
from medvqa.reading.places import find_images
from medvqa.reading.stories import read_stories
from medvqa.reports import Report, compose
from medvqa.reports.report import show_image, why_struck
from medvqa.sessions import Session, begin_configured_session
from medvqa.settings import Settings, load_settings
from medvqa.tasks.results import Masks
from medvqa.types import NOT_FOR_DIAGNOSIS, Heatmap, HeatmapMethod, Study


def results(
    study: StudyArgument,
    *,
    out: Annotated[Path, typer.Option(help="Write the objects to this folder.")],
    only: Annotated[
        str | None, typer.Option(metavar="A,B,...", help=f"Only these forms, of {', '.join(FORMS)}.")
    ] = None,
    heatmap: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            help="Explain the answers anew, for maps: the trail keeps their digests alone.",
        ),
    ] = None,
    masks: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="The JSON that `medvqa perform segment` wrote; may be repeated."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Which model explains; the one that answered.")] = None,
    adapter: AdapterOption = None,
    uid: UidOption = None,
    as_json: JsonOption = False,
    audit: AuditOption = None,
) -> None:
    """Write what the trail holds about a study as DICOM objects: SR, maps, captures, SEG and PDF.

    Example: medvqa results scan.dcm --out results --heatmap occlusion

    They belong to the study and its patient, name included. What does not hold is in them as such alone.
    """
    forms, method = _choose_forms(only), _choose_method(heatmap)
    outlines = dict(_read_masks(path) for path in masks or ())
    quieten_libraries()
    settings = load_settings(audit_url=audit, model=model, adapter=adapter)
    session = begin_configured_session(Log(settings.audit_url, create=False), settings)
    opened = open_study(session, study, study_instance_uid=uid)
    explained = {} if method is None else _explain(opened, method, settings, session)
    report = _compose(session, opened, explained)
    objects = make_objects(session, study, opened, report, forms=forms, masks=outlines)
    if not objects:
        raise typer.BadParameter(
            "there is nothing of these forms: maps, captures and regions of answers need --heatmap, and an "
            "answer that holds",
            param_hint="--only",
        )
    written = _write(session, opened, objects, out)
    if as_json:
        typer.echo(json.dumps({"objects": written, "notice": NOT_FOR_DIAGNOSIS}, indent=2))
        return
    for one in written:
        typer.echo(one["file"])
    typer.echo(f"objects: {len(written)}, recorded before they were written. {NOT_FOR_DIAGNOSIS}")


def _choose_forms(only: str | None) -> tuple[Form, ...]:
    wanted = FORMS if only is None else tuple(part.strip() for part in only.split(","))
    unknown = [form for form in wanted if form not in FORMS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is not one of {', '.join(FORMS)}", param_hint="--only")
    return cast("tuple[Form, ...]", wanted)


def _choose_method(heatmap: str | None) -> HeatmapMethod | None:
    methods = get_args(HeatmapMethod)
    if heatmap is not None and heatmap not in methods:
        raise typer.BadParameter(f"{heatmap!r} is not one of {', '.join(methods)}", param_hint="--heatmap")
    return cast("HeatmapMethod | None", heatmap)


def _read_masks(path: Path) -> tuple[str, Masks]:
    """Id of the result, and its outlines."""
    try:
        described: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return str(described["result_id"]), Masks.model_validate(described["content"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TaskError(
            f"{path} is not a result of the task segment; name the JSON file that it wrote"
        ) from error


def _explain(study: Study, method: HeatmapMethod, settings: Settings, session: Session) -> dict[str, Heatmap]:
    """Heatmaps of the answers that hold, by their ids, as far as this model gave them to this image."""
    stories = [
        story
        for story in read_stories(session.log, study=study.study_instance_uid)
        if why_struck(story) is None
    ]
    with Console(stderr=True).status("Loading the model") as status:
        assistant = open_assistant(settings, session)
        explained: dict[str, Heatmap] = {}
        for story in stories:
            place = find_images(study, [story]).get(story.answer_id)
            if place is None:
                continue
            image, as_asked = show_image(study, place, story)
            if not as_asked or story.answered.model != digest_model(assistant.model.identity):
                typer.echo(
                    f"{story.answer_id} is not explained: another model gave it, or it looks otherwise",
                    err=True,
                )
                continue
            status.update(f"Explaining {story.answer_id}")
            explained[story.answer_id] = assistant.explain(story, study, image, method)
    return explained


def _compose(session: Session, study: Study, heatmaps: Mapping[str, Heatmap]) -> Report | None:
    """None where nothing was asked: what tasks found may be there all the same."""
    try:
        return compose(session, study, heatmaps=heatmaps)
    except ReviewError:
        return None


def _write(
    session: Session, study: Study, objects: tuple[DicomObject, ...], out: Path
) -> list[dict[str, Any]]:
    """Write the files once that is recorded; their names are those of the answers."""
    described = describe_objects(objects)
    entry = records.export_study(
        session.agent,
        study=study.study_instance_uid,
        patient=session.pseudonym_of(study),
        entity={"to": "files", "objects": described},
    )
    files = [out / f"{one.form}-{one.answer_id or 'report'}.dcm" for one in objects]
    try:
        out.mkdir(parents=True, exist_ok=True)
        records.record(session.log, entry)
        for file, one in zip(files, objects, strict=True):
            file.write_bytes(one.to_bytes())
    except OSError as error:
        raise typer.BadParameter(
            f"{out} cannot be written to: {error.strerror}", param_hint="--out"
        ) from error
    return [{"file": str(file), **one} for file, one in zip(files, described, strict=True)]
