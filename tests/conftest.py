"""Fixtures that several test files share."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

import medvqa

if TYPE_CHECKING:
    from medvqa.models.huggingface import HuggingFaceModel


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail on any attempt to connect: pydicom would download test files that it lacks."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a test tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="session")
def default_model() -> HuggingFaceModel:
    """The model that ships with medvqa, loaded once."""
    return medvqa.load_model()
