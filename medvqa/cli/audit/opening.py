"""Opening the trail for a command, and recording in it who reads it before anything is shown."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import typer

from audit import AuditError, Entry, Log
from audit.actions import Action
from medvqa.errors import RecordError
from medvqa.settings import Settings, load_settings
from medvqa.signing_keys import signing_key_path

_READ_ONLY = {"mode=ro", "immutable=1", "target_session_attrs=read-only", "target_session_attrs=standby"}
"""Parts of a URL that ask SQLite or PostgreSQL to refuse every change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """An open trail, and who reads it."""

    log: Log
    settings: Settings

    @property
    def key_path(self) -> Path:
        """Where the signing key stands."""
        return signing_key_path(self.settings.key_folder)

    @property
    def read_only(self) -> bool:
        """Whether the URL itself rules out that anything is recorded."""
        query = self.settings.audit_url.partition("?")[2]
        return not _READ_ONLY.isdisjoint(f"{name}={value}" for name, value in parse_qsl(query))

    def entry(self, action: Action, entity: Mapping[str, Any], **more: Any) -> Entry:
        """What these settings' agent did with the trail."""
        settings = self.settings
        return Entry(
            agent=settings.agent, role=settings.role, action=action, subject="trail", entity=entity, **more
        )

    def record_reading(
        self,
        command: str,
        given: Mapping[str, Any],
        found: Mapping[str, Any],
        action: Action = Action.READ_TRAIL,
    ) -> None:
        """Record who looks at what; nothing may be shown before.

        Args:
            command: The command's name.
            given: Its arguments and options, as they were given.
            found: How much it is about to show, in numbers and digests.
            action: Another one than reading, such as an export.

        Raises:
            RecordError: If the trail does not take it, though its URL does not rule that out.
        """
        if self.read_only:
            typer.echo("The trail is open for reading only: that you read it was not recorded.", err=True)
            return
        # What was looked for is found again by the same search.
        about = {
            name: value
            for name in ("study", "patient")
            if str(value := given.get(name, "")).isprintable() and value
        }
        try:
            self.log.append(
                self.entry(action, {"command": command, "given": dict(given), "found": dict(found)}, **about)
            )
        except AuditError as error:
            raise RecordError(
                f"nothing is shown because that you read the trail could not be recorded: {error}"
            ) from error


@contextmanager
def opened(url: str | None, *, create: bool = False) -> Generator[Trail]:
    """Open the trail that option, environment or settings file name.

    Args:
        url: From `--audit`.
        create: Only recording creates a trail: a mistyped path must not verify as an empty, intact one.
    """
    settings = load_settings(audit_url=url)
    with Log(settings.audit_url, create=create) as log:
        yield Trail(log=log, settings=settings)
