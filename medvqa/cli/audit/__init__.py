"""`medvqa audit`: the compliance officer's commands, each in a file that is loaded when it runs."""

import typer

from medvqa.cli.lazy import lazy_group

COMMANDS = {
    "list": ("medvqa.cli.audit.events:list_events", "List events, with filters and pages."),
    "search": ("medvqa.cli.audit.events:search", "List events that hold a text."),
    "show": ("medvqa.cli.audit.events:show", "Show one event, or all about one answer."),
    "query": ("medvqa.cli.audit.query:query", "Answer one of the questions that auditors ask most."),
    "verify": ("medvqa.cli.audit.verify:verify", "Recompute the trail and name what is wrong."),
    "checkpoint": ("medvqa.cli.audit.checkpoint:checkpoint", "Sign the trail as it stands."),
    "prove": ("medvqa.cli.audit.prove:prove", "Prove to others what is in the trail."),
    "replay": ("medvqa.cli.audit.replay:replay", "Compute a recorded answer again, and compare."),
    "export": ("medvqa.cli.audit.export:export", "Write events as NDJSON, CSV or FHIR."),
    "archive": ("medvqa.cli.audit.archive:archive", "Move old bodies to signed files."),
    "key": ("medvqa.cli.audit.key:app", "Create, rotate and show the signing key."),
    "upgrade": ("medvqa.cli.audit.upgrade:upgrade", "Bring an older trail to this version."),
}
"""Name of each command: where it lives, and its line in `medvqa audit --help`."""

app = typer.Typer(
    cls=lazy_group(COMMANDS),
    no_args_is_help=True,
    add_completion=False,
    help="Search, verify, prove and export what the audit trail recorded.",
)


@app.callback()
def audit() -> None:
    """Search, verify, prove and export what the audit trail recorded."""
