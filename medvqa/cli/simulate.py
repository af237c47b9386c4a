"""`medvqa simulate`: findings of known place, as DICOM with a SEG of the truth."""

from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from medvqa.cli.opening import quieten_libraries
from medvqa.errors import MedvqaError
from medvqa.simulated_findings import KINDS, SimulatedFinding, write_findings
from medvqa.simulated_findings.reading import TABLE
from medvqa.simulated_findings.records import CASES
from medvqa.simulation import Kind


def simulate(
    out: Annotated[Path, typer.Option(help="Folder to write to; must hold no findings yet.")],
    *,
    source: Annotated[
        list[Path] | None,
        typer.Option(
            "--from", help="DICOM, PNG or JPEG file, or folder of such; repeat for several. Else phantoms."
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(KINDS)}; repeat for several. Else every kind in turn."),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="How many; else one on each image, or 15 on phantoms.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same images.")] = 0,
) -> None:
    """Insert simulated findings into images, and write them as DICOM with a SEG of the truth.

    Example: medvqa simulate --out findings --kind nodule --count 30 --from scans

    A folder a finding holds the image with it, the same without, the first one mirrored, and where it is as
    SEG; findings.jsonl lists all, with questions and right answers, and cases.jsonl holds the same a question
    a line, as `medvqa tune` and `medvqa evaluate` take them. No patient attribute is copied.
    """
    unknown = [name for name in kind or () if name not in KINDS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is not one of {', '.join(KINDS)}", param_hint="--kind")
    quieten_libraries()
    console = Console(stderr=True)

    skipped: list[MedvqaError] = []
    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed:.0f}"))
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("findings written:", total=count)

        def written(_: SimulatedFinding) -> None:
            progress.advance(bar)

        try:
            findings = write_findings(
                out,
                sources=source or (),
                kinds=cast("list[Kind]", kind) or KINDS,
                count=count,
                seed=seed,
                on_written=written,
                on_skipped=skipped.append,
            )
        except OSError as error:
            raise typer.BadParameter(
                f"{out} cannot be written to: {error.strerror}", param_hint="--out"
            ) from error
    if skipped:
        typer.echo(f"skipped {len(skipped)} files, the first because {skipped[0]}", err=True)
    typer.echo(f"{len(findings)} simulated findings are in {out}, listed in {out / TABLE} and {CASES}")
