"""What the commands that speak with a PACS share."""

import logging
from typing import Annotated

import typer

from medvqa.errors import PacsError
from medvqa.pacs_nodes import PacsNode
from medvqa.settings import Settings

NodeArgument = Annotated[
    str, typer.Argument(metavar="NODE", help="Name of the PACS: a table [pacs.NODE] of medvqa.toml.")
]


def named_node(settings: Settings, name: str) -> PacsNode:
    """The node of that name.

    Raises:
        PacsError: If the settings have none.
    """
    if name not in settings.pacs:
        known = f"those known are {', '.join(settings.pacs)}" if settings.pacs else "none is known"
        raise PacsError(f"there is no PACS {name!r}: {known}; add a table [pacs.{name}] to medvqa.toml")
    return settings.pacs[name]


def quieten_pacs_libraries() -> None:
    """Keep other libraries' remarks out of the output: they may quote what a PACS said of a patient."""
    for name in ("dicomweb_client", "pydicom", "pynetdicom", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
