"""Who is at work, at which trail: what is recorded when that begins, and how patients are named in it."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import sqlalchemy as sa

from audit import Filter, ReadError
from audit.rows import read_row
from medvqa import records
from medvqa.pseudonyms import fingerprint, open_key, pseudonym
from medvqa.records import Agent
from medvqa.types import Pseudonym

if TYPE_CHECKING:
    from collections.abc import Iterator

    from audit import JSON, Entry, Log
    from audit.rows import Row
    from medvqa.pacs_nodes import PacsNode
    from medvqa.settings import Settings
    from medvqa.types import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An agent at a trail; make one with `begin_session`."""

    log: Log
    agent: Agent
    key_folder: Path
    key: bytes = field(repr=False)
    """Of the pseudonyms."""
    login: str | None = None
    """Random name of a person's session at the screens."""

    def pseudonym_of(self, study: Study) -> str | None:
        """How the trail names the study's patient; None where the study does not say who it is."""
        if isinstance(study.patient, Pseudonym):
            return study.patient.text
        return None if study.patient is None else pseudonym(self.key, *study.patient.reveal())


def begin_session(
    log: Log,
    agent: Agent,
    *,
    key_folder: Path,
    settings: Settings | None = None,
    screens: bool = False,
) -> Session:
    """Record that an agent begins, as far as there is something new to say.

    That is: a login at the screens; a role other than that of the agent's last event; settings other than
    those last recorded for this agent on this machine.

    Args:
        log: The trail.
        agent: Who begins.
        key_folder: Where the key of pseudonyms is, or is made on the first run.
        settings: What medvqa runs with; None where a program sets it up itself.
        screens: Whether this is a person's session at the screens.

    Raises:
        RecordError: If the trail did not take it, or names patients by a key that is missing.
        AuditError: If the trail or the key cannot be read.
    """
    key = open_key(key_folder, log)
    login = str(uuid4()) if screens else None
    new = list(_news(log, agent, settings=settings, key=key, login=login))
    if new:
        records.record(log, *new)
    return Session(log=log, agent=agent, key_folder=key_folder, key=key, login=login)


def join_session(log: Log, settings: Settings) -> Session:
    """The session that the settings name, in another process than the one that began it: nothing is recorded.

    Raises:
        RecordError, AuditError: As for `begin_session`.
    """
    agent = Agent(name=settings.agent, role=settings.role)
    return Session(
        log=log, agent=agent, key_folder=settings.key_folder, key=open_key(settings.key_folder, log)
    )


def end_session(session: Session, *, reason: str) -> None:
    """Record that a person's session at the screens ended.

    Raises:
        RecordError: If the trail did not take it.
    """
    if session.login is not None:
        records.record(session.log, records.logout(session.agent, session=session.login, reason=reason))


def begin_configured_session(log: Log, settings: Settings, *, screens: bool = False) -> Session:
    """Like `begin_session`, for the agent, role and key folder that the settings name."""
    agent = Agent(name=settings.agent, role=settings.role)
    return begin_session(log, agent, key_folder=settings.key_folder, settings=settings, screens=screens)


def describe_settings(settings: Settings, key: bytes) -> dict[str, JSON]:
    """Settings as they are recorded: the trail's URL without password and options, the key's fingerprint."""
    url = sa.make_url(settings.audit_url).set(query={})
    return {
        "medvqa": _own_version(),
        "audit_url": url.render_as_string(hide_password=True),
        "key_folder": str(settings.key_folder),
        "pseudonym_key": fingerprint(key),
        "model": settings.model,
        "adapter": settings.adapter,
        "device": settings.device,
        "precision": settings.precision,
        "threads": settings.threads,
        "own_code": settings.own_code,
        "remote": settings.remote,
        "remote_identified": settings.remote_identified,
        "unfamiliar": settings.unfamiliar,
        "studies": None if settings.studies is None else str(settings.studies),
        "blind_first": settings.blind_first,
        "double_reading": settings.double_reading,
        "practice": None if settings.practice is None else str(settings.practice),
        "similar_index": None if settings.similar_index is None else str(settings.similar_index),
        "similar_model": settings.similar_model,
        "report_template": None if settings.report_template is None else str(settings.report_template),
        "session_minutes": settings.session_minutes,
        "proxy_header": settings.proxy_header,
        "people": dict(settings.people),
        "pacs": {name: _describe_node(node) for name, node in settings.pacs.items()},
        "api_keys": {name: key.role for name, key in settings.api_keys.items()},
        "oidc_issuer": settings.oidc_issuer,
        "oidc_audience": settings.oidc_audience,
        "jobs": None if settings.jobs is None else str(settings.jobs),
        "requests_per_minute": settings.requests_per_minute,
        "upload_mib": settings.upload_mib,
        "waiting_questions": settings.waiting_questions,
    }


def _describe_node(node: PacsNode) -> dict[str, JSON]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(node).items()}


def _news(
    log: Log, agent: Agent, *, settings: Settings | None, key: bytes, login: str | None
) -> Iterator[Entry]:
    if login is not None:
        yield records.login(agent, session=login)
    before = _last_row(log, Filter(agent=agent.name))
    if before is not None and before.role != agent.role:
        yield records.change_role(agent, before=before.role)
    if settings is not None:
        now = describe_settings(settings, key)
        subject = f"settings of {agent.name} on {platform.node() or 'unnamed'}"
        known = _recorded_settings(_last_row(log, Filter(subject=subject)))
        if known != now:
            yield records.configure(agent, subject=subject, settings=now, before=known)


def _last_row(log: Log, matching: Filter) -> Row | None:
    return next(log.read_rows(matching, limit=1, newest_first=True), None)


def _recorded_settings(row: Row | None) -> dict[str, Any]:
    """From the event that holds them; nothing where it cannot be read, so that they are recorded anew."""
    try:
        settings = {} if row is None else read_row(row).entity.get("settings")
    except ReadError:
        return {}
    return cast("dict[str, Any]", settings) if isinstance(settings, dict) else {}


def _own_version() -> str:
    try:
        return version("medvqa")
    except PackageNotFoundError:
        return "not installed"
