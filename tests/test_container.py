"""The container, without an engine: its files fit together, and a plain shell does what they say."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import psycopg
import pytest
from container_files import COMPOSE, ROOT, copied, instructions, option, ports_probed, variables
from postgresql import UNPRIVILEGED, Server, find_binaries, running_server

from medvqa.cli import COMMANDS
from medvqa.settings import Settings
from medvqa.simulated_study import write_simulated_study

SERVICES: dict[str, Any] = COMPOSE["services"]
OWN = {name: service for name, service in SERVICES.items() if service["image"] == "medvqa"}
PASSWORD = "a word' with $igns"  # noqa: S105


def test_the_dockerfile_copies_what_there_is_and_ends_as_nobody_special() -> None:
    assert [path for path in copied() if not (ROOT / path).exists()] == []
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {path.split("/")[0] for path in copied()} == kept
    users = [words for name, words in instructions() if name == "USER"]
    assert users == ["medvqa"]
    runs = [words for name, words in instructions() if name == "RUN"]
    assert runs[0] == 'container/install.sh /source /opt/medvqa "$VARIANT"'
    assert "HEALTHCHECK" in dict(instructions())
    assert variables()["HF_HUB_OFFLINE"] == "1"
    for name in ("install.sh", "entrypoint.sh"):
        assert os.access(ROOT / "container" / name, os.X_OK)


def test_the_script_installs_extras_that_there_are_by_the_constraints() -> None:
    script = (ROOT / "container" / "install.sh").read_text()
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (extras,) = re.findall(r"^extras=(\S+)", script, re.M)
    assert set(extras.split(",")) <= set(known)
    assert '--constraint "$source/constraints.txt"' in script


def test_compose_names_what_there_is() -> None:
    keys = {f"MEDVQA_{field.name.upper()}" for field in fields(Settings)} | {"MEDVQA_CONFIG"}
    for service in OWN.values():
        assert {name for name in service["environment"] if name.startswith("MEDVQA_")} <= keys
        port = option(service["command"], "--port")
        assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
        assert ports_probed(service) == {port}
        assert service["read_only"] is True
    assert OWN["screens"]["command"][0] in COMMANDS
    for service in SERVICES.values():
        assert set(service["networks"]) <= set(COMPOSE["networks"])
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
        assert {one["source"] for one in service.get("configs", ())} <= set(COMPOSE["configs"])
        named = [one.split(":")[0] for one in service.get("volumes", ()) if not one.startswith("./")]
        assert set(named) <= set(COMPOSE["volumes"])
        assert "healthcheck" in service
    assert all((ROOT / one["file"]).is_file() for one in COMPOSE["configs"].values())


def test_database_and_archive_are_reached_from_inside_alone() -> None:
    assert COMPOSE["networks"]["inside"]["internal"] is True
    for name in ("database", "archive"):
        assert SERVICES[name]["networks"] == ["inside"]
        assert "ports" not in SERVICES[name]
        assert not SERVICES[name]["image"].endswith(":latest") and ":" in SERVICES[name]["image"]
    words = json.dumps(COMPOSE)
    assert "POSTGRES_PASSWORD_FILE" in words
    assert '"POSTGRES_PASSWORD"' not in words


def test_a_missing_password_file_is_one_sentence() -> None:
    environment = {"PATH": os.environ["PATH"], "DATABASE_PASSWORD_FILE": "/nowhere"}
    script = [ROOT / "container" / "entrypoint.sh", "--version"]
    ended = subprocess.run(script, env=environment, capture_output=True, text=True)
    assert ended.returncode == 8
    assert ended.stderr.count("\n") == 1 and "/nowhere cannot be read" in ended.stderr


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty folder of the unprivileged user's."""
    folder = Path(tempfile.mkdtemp(prefix="medvqa-container-"))
    give_away(folder)
    yield folder
    shutil.rmtree(folder)


def give_away(path: Path) -> None:
    if UNPRIVILEGED:
        for one in (path, *path.rglob("*")):
            shutil.chown(one, user="postgres", group="postgres")


def installed(place: Path) -> Path:
    """Do what the first stage does, as an unprivileged user; the new virtual environment."""
    source = place / "source"
    for path in copied():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / path).is_dir() else shutil.copy2
        copy(ROOT / path, source / path)
    give_away(source)
    # An index with CPU wheels is the image's; here pip's own settings say where they are.
    environment = {**os.environ, "HOME": str(place), "TORCH_INDEX": ""}
    script = [source / "container/install.sh", source, place / "venv", "cpu"]
    ended = subprocess.run(script, cwd=place, env=environment, capture_output=True, text=True, **UNPRIVILEGED)
    assert ended.returncode == 0, ended.stderr
    return place / "venv"


@contextmanager
def database(settings: dict[str, str]) -> Iterator[Server]:
    """PostgreSQL with the user and database that compose.yaml names, who need the password."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server is not installed; .ci/run installs Debian's package")
    user, name = settings["POSTGRES_USER"], settings["POSTGRES_DB"]
    with running_server(binaries) as server:
        quoted = PASSWORD.replace("'", "''")
        server.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{quoted}'")
        server.execute(f"CREATE DATABASE {name} OWNER {user}")
        rules = server.folder / "data" / "pg_hba.conf"
        rules.write_text(f"host all {user} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        server.execute("SELECT pg_reload_conf()")
        yield server


def run_as(service: dict[str, Any], place: Path, venv: Path, *, port: int) -> dict[str, str]:
    """The environment of a service of ours, with the places of this machine."""
    (place / "password").write_text(PASSWORD)
    url = service["environment"]["MEDVQA_AUDIT_URL"]
    assert "@database:5432/" in url
    here = {
        "PATH": f"{venv / 'bin'}:{os.environ['PATH']}",
        "HOME": str(place),
        "XDG_DATA_HOME": str(place / "data"),
        "XDG_CACHE_HOME": str(place / "cache"),
        "MPLCONFIGDIR": str(place / "matplotlib"),
        "HF_HOME": str(place / "models"),
        "DATABASE_PASSWORD_FILE": str(place / "password"),
        "MEDVQA_AUDIT_URL": url.replace("database:5432", f"127.0.0.1:{port}"),
        "MEDVQA_CONFIG": str(ROOT / COMPOSE["configs"]["settings"]["file"]),
        "MEDVQA_KEY_FOLDER": str(place / "keys"),
    }
    environment = {**variables(), **service["environment"], **here}
    shutil.copy(here["MEDVQA_CONFIG"], place / "medvqa.toml")
    give_away(place / "password")
    return {**environment, "MEDVQA_CONFIG": str(place / "medvqa.toml")}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(probe: Any, started: subprocess.Popen[bytes], *, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not probe():
        assert started.poll() is None, "it ended by itself"
        assert time.monotonic() < until, "it was not healthy in time"
        time.sleep(1)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_what_the_image_does_works_in_an_empty_folder(place: Path) -> None:
    venv = installed(place)
    entrypoint = place / "source/container/entrypoint.sh"
    screens = OWN["screens"]
    write_simulated_study(place / "studies", seed=7)
    give_away(place / "studies")
    with database(SERVICES["database"]["environment"]) as server:
        environment = run_as(screens, place, venv, port=server.port)
        ask = [entrypoint, "ask", place / "studies", "Where is the nodule?", "--image", "2", "--json"]
        ran = subprocess.run(ask, cwd=place, env=environment, capture_output=True, text=True, **UNPRIVILEGED)
        assert ran.returncode == 0, ran.stderr
        answer = json.loads(ran.stdout)
        with psycopg.connect(
            server.url(SERVICES["database"]["environment"]["POSTGRES_DB"], user="postgres")
        ) as found:
            (subjects,) = zip(*found.execute("SELECT subject FROM event").fetchall(), strict=True)
        assert answer["answer_id"] in subjects
        assert PASSWORD not in ran.stdout + ran.stderr
        (place / "password").write_text("another")
        ran = subprocess.run(ask, cwd=place, env=environment, capture_output=True, text=True, **UNPRIVILEGED)
        assert ran.returncode == 7, ran.stderr
        (place / "password").write_text(PASSWORD)
        check_health(screens, entrypoint, environment, place)
        check_health(OWN["service"], entrypoint, environment, place)


def check_health(service: dict[str, Any], entrypoint: Path, environment: dict[str, str], place: Path) -> None:
    """Start it by compose's own command, and ask its own health check."""
    known, port = option(service["command"], "--port"), str(free_port())
    command = [{known: port, "0.0.0.0": "127.0.0.1"}.get(word, word) for word in service["command"]]  # noqa: S104
    probe = [word.replace(f":{known}/", f":{port}/") for word in service["healthcheck"]["test"][1:]]
    with (place / "log").open("wb") as log:
        started = subprocess.Popen(
            [entrypoint, *command], cwd=place, env=environment, stdout=log, stderr=log, **UNPRIVILEGED
        )
    try:
        wait_for(
            lambda: subprocess.run(probe, env=environment, capture_output=True).returncode == 0,
            started,
            seconds=240,
        )
    finally:
        started.terminate()
        started.wait(60)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("Orthanc") is None, reason="Orthanc is not installed; .ci/run installs it")
def test_the_archive_runs_with_its_settings(place: Path) -> None:
    settings = json.loads((ROOT / COMPOSE["configs"]["archive"]["file"]).read_text())
    port = free_port()
    folders = {name: str(place / "db") for name in ("StorageDirectory", "IndexDirectory")}
    plugins = {"Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"]}
    here = {**settings, **folders, **plugins, "HttpPort": port, "DicomPort": free_port()}
    (place / "orthanc.json").write_text(json.dumps(here))
    give_away(place)
    with (place / "log").open("wb") as log:
        started = subprocess.Popen(
            ["/usr/sbin/Orthanc", place / "orthanc.json"], cwd=place, stdout=log, stderr=log, **UNPRIVILEGED
        )

    def answers() -> bool:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{port}{settings['DicomWeb']['Root']}studies", timeout=5
            ) as reply:
                return json.loads(reply.read() or b"[]") == []
        except OSError:
            return False

    try:
        wait_for(answers, started, seconds=60)
        assert settings["DicomWeb"]["Enable"]
        mounted = [
            one for one in SERVICES["archive"]["volumes"] if one.endswith(settings["StorageDirectory"])
        ]
        assert len(mounted) == 1
    finally:
        started.terminate()
        started.wait(30)
