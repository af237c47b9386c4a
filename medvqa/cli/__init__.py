"""The command line: parsing and printing only.

Each command lives in a module of its own and is loaded when it is used, so that `medvqa --help` imports no
model library. A module exposes what its line in `COMMANDS` names: a function, which becomes the command, or
a `typer.Typer`, whose own commands follow (`medvqa audit verify`). Such a module imports what it needs at
its top, prints results on stdout and everything else on stderr, and lets errors pass: `main` turns each
MedvqaError and AuditError into one sentence and an exit code.
"""

import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from audit.errors import AuditError
from medvqa.cli.lazy import lazy_group
from medvqa.errors import MedvqaError, RecordError

COMMANDS = {
    "addendum": ("medvqa.cli.review:addendum", "Add to a signed answer."),
    "align": ("medvqa.cli.align:align", "Let a composed model's bridge learn from images and sentences."),
    "ask": ("medvqa.cli.ask:ask", "Ask a question about a study."),
    "audit": ("medvqa.cli.audit:app", "List, show and verify what the audit trail recorded."),
    "calibrate": ("medvqa.cli.calibrate:calibrate", "Measure what a model's confidence is worth."),
    "compare": ("medvqa.cli.compare:compare_models", "Say whether a tuned model may take another's place."),
    "compose": ("medvqa.cli.compose:compose_model", "Give a text model sight: an image tower and a bridge."),
    "consult": ("medvqa.cli.consult:consult", "Ask several models, and show what they agree on."),
    "deidentify": ("medvqa.cli.deidentify:deidentify_studies", "Copy studies without whom they are of."),
    "demo": ("medvqa.cli.demo:demo", "Watch studies become checked, recorded answers."),
    "evaluate": ("medvqa.cli.evaluate:evaluate", "Measure a model beside three that never saw the image."),
    "explain": ("medvqa.cli.explain:explain_answer", "Explain an answer by every heatmap method."),
    "listen": ("medvqa.cli.listen:listen_for_studies", "Answer the studies that a PACS sends."),
    "models": ("medvqa.cli.models:app", "List models and what is on this disk; choose one."),
    "perform": ("medvqa.cli.perform:perform_task", "Caption, report, read text, locate, classify, compare."),
    "pull": ("medvqa.cli.pull:pull_studies", "Fetch studies from a PACS into a folder."),
    "push": ("medvqa.cli.push:push_files", "Send DICOM files to a PACS."),
    "report": (
        "medvqa.cli.report:report",
        "Report on a study's answers, or ask many and report on each.",
    ),
    "results": ("medvqa.cli.results:results", "Write a study's answers as DICOM objects for a PACS."),
    "review": ("medvqa.cli.review:review", "Agree with a recorded answer, amend or reject it."),
    "serve": ("medvqa.cli.serve:app", "Answer questions over HTTP; make keys for those who ask."),
    "sign": ("medvqa.cli.review:sign", "Sign what was reviewed."),
    "similar": ("medvqa.cli.similar:app", "Find earlier cases that look alike, with what was signed."),
    "simulate": ("medvqa.cli.simulate:simulate", "Insert findings of known place into images."),
    "train": ("medvqa.cli.train:train", "Train the small default model from nothing."),
    "tune": ("medvqa.cli.tune:tune", "Tune a model with LoRA on your own cases."),
    "ui": ("medvqa.cli.ui:ui", "Open the screens in a browser."),
}
"""Name of each command: where it lives, and its line in `medvqa --help`."""


app = typer.Typer(
    name="medvqa",
    cls=lazy_group(COMMANDS),
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
