"""What the commands that speak with a PACS share."""

import logging
from typing import Annotated

import typer

NodeArgument = Annotated[
    str, typer.Argument(metavar="NODE", help="Name of the PACS: a table [pacs.NODE] of medvqa.toml.")
]


def quieten_pacs_libraries() -> None:
    """Keep other libraries' remarks out of the output: they may quote what a PACS said of a patient."""
    for name in ("dicomweb_client", "pydicom", "pynetdicom", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
