"""`medvqa demo`: everything once, on studies that need no download."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from audit import Log
from medvqa.cli.opening import open_assistant, quieten_libraries
from medvqa.cli.progress import show_progress
from medvqa.demo import Shown, run_demo
from medvqa.sessions import begin_configured_session
from medvqa.settings import load_settings
from medvqa.types import NOT_FOR_DIAGNOSIS, Answer


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for the pictures, the page and a trail of its own.")
    ] = Path("medvqa-demo"),
) -> None:
    """Ask about real and simulated studies, explain and check each answer, record it and verify the trail.

    Example: medvqa demo --out medvqa-demo

    It uses DICOM files that pydicom carries, a study simulated on the spot, and no network.
    """
    console = Console()
    trail = out / "audit.sqlite"
    settings = replace(load_settings(audit_url=str(trail)), model=None, adapter=None, unfamiliar="warn")
    with show_progress() as bars:
        bar = bars.add_task("Loading the model", total=None)
        quieten_libraries()
        session = begin_configured_session(Log(settings.audit_url), settings)
        assistant = open_assistant(settings, session)

        titles: list[str] = []
        answer_ids: list[str] = []

        def tell(shown: Shown, total: int) -> None:
            answer_ids.append(shown.answer.answer_id)
            bars.update(bar, advance=1, total=total, description="Asking")
            if shown.title not in titles:
                titles.append(shown.title)
                console.print(_heading(shown), highlight=False)
            console.print(_line(shown.answer), highlight=False)

        verification = run_demo(session, assistant, out, on_answer=tell)
    console.print(
        f"\nAudit trail: {verification.events} rows, "
        + ("intact" if verification.intact else "[bold red]NOT INTACT[/]")
        + f", root {verification.root[:16]}…"
    )
    console.print(f"[dim]{NOT_FOR_DIAGNOSIS}[/]")
    page = out / "index.html"
    console.print(f"\nLook at {page} in a browser, then try:", markup=False, highlight=False)
    study = out / "simulated-study"
    for command in (
        f"medvqa audit show {answer_ids[0]} --audit {trail}",
        f"medvqa review {answer_ids[0]} --verdict agree --audit {trail}",
        f"medvqa ask {study} 'Where is the nodule?' --image 2 --heatmap attention --out {out}",
        "medvqa ui",
    ):
        console.print(f"  {command}", markup=False, highlight=False, soft_wrap=True)
    if not verification.intact:
        raise typer.Exit(1)


def _heading(shown: Shown) -> str:
    codes = ", ".join(notice.code for notice in shown.answer.warnings)
    truth = f"  [dim]simulated truth: {escape(shown.truth)}[/]" if shown.truth else ""
    return f"\n[bold]{escape(shown.title)}[/]{truth}" + (f"\n  [yellow]{codes}[/]" if codes else "")


def _line(answer: Answer) -> str:
    checks = answer.checks
    said = (
        f"I can't tell[/] (guess: {escape(answer.text)})" if checks.abstains else f"{escape(answer.text)}[/]"
    )
    calibrated = "calibrated" if checks.confidence_calibrated else "uncalibrated"
    return (
        f"  {escape(answer.question)}  [bold cyan]{said}\n"
        f"    [dim]{checks.verdict}, {calibrated} confidence {checks.confidence:.2f}, effects of image "
        f"{checks.image_effect:+.1f} and wording {checks.wording_effect:+.1f} nats, row {answer.audit_id}, "
        f"{answer.seconds:.1f} s[/]"
    )
