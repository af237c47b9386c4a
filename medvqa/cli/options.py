"""Arguments and options that several commands share; those of the trail's own commands are in `cli.audit`."""

from pathlib import Path
from typing import Annotated

import typer

StudyArgument = Annotated[Path, typer.Argument(help="A DICOM, PNG or JPEG file, a folder or a ZIP archive.")]
QuestionArgument = Annotated[str, typer.Argument(help="In plain words, such as 'Is there a tumor?'.")]
ImageOption = Annotated[
    int | None, typer.Option(min=1, help="Which image of the study; else the middle one.")
]
UidOption = Annotated[
    str | None, typer.Option(help="Study Instance UID, where the folder holds several studies.")
]
AdapterOption = Annotated[str | None, typer.Option(help="Folder or hub name of a LoRA adapter.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for scripts.")]
AuditOption = Annotated[
    str | None, typer.Option(metavar="URL", help="The audit trail: a path or an SQLAlchemy URL.")
]
