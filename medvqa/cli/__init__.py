"""The command line: parsing and printing only.

Each command lives in a module of its own and is loaded when it is used, so that `medvqa --help` imports no
model library. A module exposes what its line in `COMMANDS` names: a function, which becomes the command, or
a `typer.Typer`, whose own commands follow (`medvqa audit verify`). Such a module imports what it needs at
its top, prints results on stdout and everything else on stderr, and lets errors pass: `main` turns each
MedvqaError and AuditError into one sentence and an exit code.
"""

import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from audit.errors import AuditError
from medvqa.errors import MedvqaError, RecordError

COMMANDS = {
    "ask": ("medvqa.cli.ask:ask", "Ask a question about a study."),
    "audit": ("medvqa.cli.audit:app", "List, show and verify what the audit trail recorded."),
    "demo": ("medvqa.cli.demo:demo", "Watch real and simulated studies become checked, recorded answers."),
    "review": ("medvqa.cli.review:review", "Agree with a recorded answer, amend or reject it."),
    "sign": ("medvqa.cli.review:sign", "Sign what was reviewed."),
    "train": ("medvqa.cli.train:train", "Train the small default model from nothing."),
    "ui": ("medvqa.cli.ui:ui", "Open the screens in a browser."),
}
"""Name of each command: where it lives, and its line in `medvqa --help`."""


class LazyGroup(typer.core.TyperGroup):
    """Lists the commands of `COMMANDS` by name and line; imports one only when it runs."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, line) in COMMANDS.items():
            self.add_command(typer.core.TyperCommand(name, help=line))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Replace the listed command by the one that its module exposes."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name in COMMANDS else listed, rest


def load_command(name: str) -> Any:
    """Import the command's module and make what it exposes a command of that name."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    exposed = getattr(import_module(module), attribute)
    if not isinstance(exposed, typer.Typer):
        command, exposed = exposed, typer.Typer(add_completion=False)
        exposed.command(name)(command)
    return typer.main.get_command(exposed)


app = typer.Typer(
    name="medvqa",
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"medvqa {installed_version('medvqa')}")
        except PackageNotFoundError:
            typer.echo("medvqa, not installed: running from its source folder")
        raise typer.Exit


@app.callback()
def medvqa(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Ask questions about medical images, and check the answers.

    Research software: not a medical device, not for diagnosis.
    """


def main() -> None:
    """Run the command line; the exit code tells what went wrong (see `medvqa.errors`; 7 for the trail)."""
    try:
        app(prog_name="medvqa")
    except MedvqaError as error:
        _fail(error, error.exit_code)
    except AuditError as error:
        _fail(error, RecordError.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(error: Exception, exit_code: int) -> None:
    typer.echo(f"medvqa: error: {error}", err=True)
    sys.exit(exit_code)
