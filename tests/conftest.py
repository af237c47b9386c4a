"""Fixtures that several test files share."""

from __future__ import annotations

import itertools
import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from orthanc import Orthanc, find_plugin, running_orthanc
from postgresql import Server, find_binaries, running_server

import medvqa
from medvqa.checks.faithfulness import grade_heatmap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.types import HeatmapGrade, HeatmapLevel


@pytest.fixture(scope="session", autouse=True)
def _folder_for_application_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep trails and keys of this user out of the tests; processes that a test starts inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("application data")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _answers_about_noise() -> Iterator[None]:
    """Most tests ask about noise, which is refused by default; test_familiarity.py tests that it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDVQA_UNFAMILIAR", "warn")
        yield


@pytest.fixture
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in the test's own folder, with its own trail and keys and no other setting."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("MEDVQA_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MEDVQA_AUDIT_URL", str(tmp_path / "trail.sqlite"))
    monkeypatch.setenv("MEDVQA_KEY_FOLDER", str(tmp_path / "keys"))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail on any attempt to connect: pydicom would download test files that it lacks."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a test tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="session")
def default_model() -> HuggingFaceModel:
    """The model that ships with medvqa, loaded once; it takes any image for a familiar one."""
    model = medvqa.load_model()
    if model.calibration is not None:
        model.calibration = replace(model.calibration, familiarity=None)
    return model


@pytest.fixture
def grade_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[HeatmapLevel], None]:
    """Makes every heatmap of the level wanted, whatever the shipped weights make of it."""

    def grade_as(level: HeatmapLevel) -> None:
        def graded(*asked: Any, **options: Any) -> HeatmapGrade:
            return replace(grade_heatmap(*asked, **options), level=level, reason=f"It is {level}.")

        monkeypatch.setattr("medvqa.checks.faithfulness.grade_heatmap", graded)

    return grade_as


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    """A PostgreSQL server that runs as long as the tests do."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server is not installed; .ci/run installs Debian's package")
    with running_server(binaries) as server:
        yield server


@pytest.fixture(scope="session")
def orthanc_server() -> Iterator[Orthanc]:
    """A PACS that runs as long as the tests do."""
    plugin = find_plugin()
    if plugin is None:
        pytest.skip("Orthanc or its DICOMweb plugin is not installed; .ci/run installs Debian's packages")
    with running_orthanc(plugin) as server:
        yield server


@pytest.fixture
def orthanc(orthanc_server: Orthanc) -> Iterator[Orthanc]:
    """An empty PACS."""
    orthanc_server.clear()
    yield orthanc_server
    orthanc_server.clear()


_NUMBERS = itertools.count(1)


@pytest.fixture
def postgresql_url(postgresql_server: Server) -> Iterator[str]:
    """URL of an empty database of its own."""
    with postgresql_server.database(f"trail_{next(_NUMBERS)}") as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def trail_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a trail that does not exist yet, once on each database."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql_url")
    return f"sqlite:///{tmp_path / 'audit.sqlite'}"
