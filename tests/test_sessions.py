"""Sessions: logins, roles and settings are recorded when they are news, secrets never."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from audit import Event, Filter, Log
from medvqa.errors import RecordError
from medvqa.pseudonyms import KEY_FILE
from medvqa.records import Agent
from medvqa.sessions import begin_configured_session, begin_session, describe_settings
from medvqa.settings import Settings
from medvqa.signing_keys import trusted_keys


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with Log(f"sqlite:///{tmp_path / 'audit.sqlite'}") as opened:
        yield opened


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        audit_url=f"sqlite:///{tmp_path / 'audit.sqlite'}",
        agent="dr-17",
        role="radiologist",
        key_folder=tmp_path / "keys",
    )


def recorded(log: Log) -> list[Event]:
    return list(log.read())


def test_settings_are_recorded_once_and_again_when_they_change(log: Log, settings: Settings) -> None:
    for _ in range(3):
        begin_configured_session(log, settings)
    (first,) = recorded(log)
    assert (first.action, first.agent, first.role) == ("configure", "dr-17", "radiologist")
    begin_configured_session(log, replace(settings, model="other", threads=2))
    begin_configured_session(log, replace(settings, model="other", threads=2))
    second = recorded(log)[-1]
    assert [event.action for event in recorded(log)] == ["configure"] * 2
    assert second.entity["changed"] == ["model", "threads"]
    begin_configured_session(log, settings)
    assert recorded(log)[-1].entity["settings"] == first.entity["settings"]


def test_settings_of_another_agent_are_that_agent_s(log: Log, settings: Settings) -> None:
    begin_configured_session(log, settings)
    begin_configured_session(log, replace(settings, agent="dr-18"))
    begin_configured_session(log, settings)
    assert [(event.action, event.agent) for event in recorded(log)] == [
        ("configure", "dr-17"),
        ("configure", "dr-18"),
    ]


def test_another_key_of_pseudonyms_is_a_change_of_settings(log: Log, settings: Settings) -> None:
    begin_configured_session(log, settings)
    (settings.key_folder / KEY_FILE).unlink()
    begin_configured_session(log, settings)
    assert recorded(log)[-1].entity["changed"] == ["pseudonym_key"]


def test_a_role_is_news_when_it_differs_from_the_last_one(log: Log, settings: Settings) -> None:
    agents = [Agent(name="dr-17", role=role) for role in ("radiologist", "radiologist", "admin", None, None)]
    for agent in agents:
        begin_session(log, agent, key_folder=settings.key_folder, screens=True)
    found = [(event.action, event.entity) for event in recorded(log) if event.action != "login"]
    assert found == [
        ("change_role", {"before": "radiologist", "after": "admin"}),
        ("change_role", {"before": "admin", "after": None}),
    ]


def test_each_session_at_the_screens_is_a_login_with_a_name_of_its_own(log: Log, settings: Settings) -> None:
    for _ in range(2):
        begin_configured_session(log, settings, screens=True)
    logins = list(log.read(Filter(action="login")))
    assert len({event.subject for event in logins}) == 2
    assert {event.role for event in logins} == {"radiologist"}


def test_every_setting_is_recorded(settings: Settings) -> None:
    recorded_beside = {"agent", "role"}
    names = {known.name for known in fields(Settings)} - recorded_beside
    assert names <= describe_settings(settings, b"k" * 32).keys()


def test_no_secret_of_the_settings_is_described(settings: Settings) -> None:
    url = "postgresql://medvqa:SECRET-1@db.example:5432/audit?password=SECRET-2&sslkey=SECRET-3"
    described = describe_settings(replace(settings, audit_url=url), b"SECRET-4" * 4)
    assert described["audit_url"] == "postgresql://medvqa:***@db.example:5432/audit"
    assert "SECRET" not in repr(described)


def test_no_session_begins_that_cannot_be_recorded(log: Log, settings: Settings) -> None:
    begin_configured_session(log, settings)
    with create_engine(settings.audit_url).begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER IF EXISTS event_without_gaps")
        connection.exec_driver_sql(
            "CREATE TRIGGER no BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    with pytest.raises(RecordError, match="withheld because it could not be recorded"):
        begin_configured_session(log, settings, screens=True)


def test_a_session_does_not_show_its_key(log: Log, settings: Settings) -> None:
    session = begin_configured_session(log, settings)
    assert repr(session.key) not in repr(session)


def test_there_are_no_trusted_keys_before_one_was_made(tmp_path: Path) -> None:
    assert trusted_keys(tmp_path) == ()
