"""Batches on Ray: the whole command, killed and resumed; every study exactly once, and the trail agrees."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from orthanc import PASSWORD, Orthanc

from audit import Log
from audit.actions import Action
from medvqa.errors import BatchError
from medvqa.simulated_study import write_simulated_study

pytestmark = pytest.mark.slow
STUDIES = 8
QUESTIONS = ("Is there a nodule in this image?", "Where is the nodule?")


class Command:
    """`medvqa report` at a place of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._started: list[subprocess.Popen[str]] = []
        for seed in range(STUDIES):
            write_simulated_study(place / "in" / f"case-{seed}", seed=seed)
        (place / "questions.txt").write_text("\n".join(QUESTIONS))
        self.environment = {
            **os.environ,
            "MEDVQA_AUDIT_URL": str(place / "audit.sqlite"),
            "MEDVQA_KEY_FOLDER": str(place / "keys"),
            "MEDVQA_AGENT": "batch",
            "MEDVQA_UNFAMILIAR": "warn",
            "HF_HUB_OFFLINE": "1",
        }

    def start(self, *options: str, studies: str | None = None) -> subprocess.Popen[str]:
        """Begin, with the folder of studies or whatever else is named."""
        command = [sys.executable, "-m", "medvqa", "report", studies or str(self.place / "in"), *options]
        command += ["--questions", str(self.place / "questions.txt"), "--out", str(self.place / "out")]
        command += ["--together", "2"]
        started = subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._started.append(started)
        return started

    def end(self) -> None:
        """Let nothing go on; what Ray started ends with the process that started it."""
        for started in self._started:
            started.kill()
            started.wait()

    def run(self, *options: str, studies: str | None = None) -> tuple[int, str]:
        """To the end: exit code and output."""
        started = self.start(*options, studies=studies)
        output, _ = started.communicate(timeout=280)
        return started.returncode, output

    def done(self) -> int:
        """Studies that are done."""
        return len([*(self.place / "out" / "done").glob("*.json")])

    def answered(self) -> Counter[tuple[str | None, str]]:
        """How often the trail has an answer to a question about a study."""
        log = Log(f"sqlite:///{self.place}/audit.sqlite", create=False)
        return Counter(
            (event.study, str(event.entity["question"]))
            for event in log.read()
            if event.action == Action.ANSWER and event.outcome == "success"
        )


def wait_until(condition: object, *, seconds: float = 200) -> None:
    """Ask again and again."""
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    made = Command(tmp_path)
    yield made
    made.end()


@pytest.mark.timeout(600)
def test_a_killed_driver_and_a_killed_actor_leave_every_study_done_once(
    command: Command, tmp_path: Path
) -> None:
    first = command.start()
    wait_until(lambda: command.done() >= 1 or first.poll() is not None)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert command.done() < STUDIES
    # At once: what is left of the first run may still be answering.
    second = command.start()
    actors: list[psutil.Process] = []

    def find_actor() -> bool:
        children = psutil.Process(second.pid).children(recursive=True)
        actors[:] = [one for one in children if "Answerer" in " ".join(one.cmdline())]
        return bool(actors) or second.poll() is not None

    wait_until(find_actor)
    if actors:
        actors[0].kill()
    output, _ = second.communicate(timeout=280)
    assert second.returncode == 0, output
    assert f"{STUDIES} of {STUDIES} studies answered" in output.replace("\n", " ")
    assert set(command.answered().values()) == {1}
    assert len(command.answered()) == STUDIES * len(QUESTIONS)
    answers = pq.read_table(tmp_path / "out" / "answers.parquet").to_pylist()
    assert len(answers) == STUDIES * len(QUESTIONS)
    log = Log(f"sqlite:///{tmp_path}/audit.sqlite", create=False)
    assert log.verify().intact
    reported = {event.entity.get("sha256") for event in log.read() if event.action == Action.REPORT}
    for outcome in (tmp_path / "out" / "done").glob("*.json"):
        assert {*json.loads(outcome.read_text())["files"].values()} <= reported


def test_one_bad_study_stops_no_other_and_is_named(command: Command, tmp_path: Path) -> None:
    bad = tmp_path / "in" / "case-1" / "slice-2.dcm"
    bad.write_bytes(bad.read_bytes()[:-5000])
    (tmp_path / "broken.dcm").write_bytes(b"nothing")
    code, output = command.run(str(tmp_path / "broken.dcm"))
    assert code == BatchError.exit_code
    output = output.replace("\n", " ")
    assert f"{STUDIES - 1} of {STUDIES + 1} studies answered" in output
    assert "1 refused, 1 failed" in output
    assert "broken.dcm is not a DICOM file" in output
    rows = {row["status"]: row for row in pq.read_table(tmp_path / "out" / "studies.parquet").to_pylist()}
    assert rows["refused"]["refused"] == len(QUESTIONS)
    assert "broken.dcm" in rows["failed"]["reason"]


def test_studies_of_a_pacs_query_are_fetched_asked_and_let_go(
    command: Command, orthanc: Orthanc, tmp_path: Path
) -> None:
    for file in (*tmp_path.glob("in/case-0/*"), *tmp_path.glob("in/case-1/*")):
        orthanc.upload(file.read_bytes())
    (tmp_path / "medvqa.toml").write_text(orthanc.settings())
    command.environment |= {
        "MEDVQA_CONFIG": str(tmp_path / "medvqa.toml"),
        "MEDVQA_PACS_WEB_PASSWORD": PASSWORD,
    }
    code, output = command.run(studies="pacs:web?modality=MR")
    assert code == 0, output
    assert "2 of 2 studies answered" in output.replace("\n", " ")
    assert len(command.answered()) == 2 * len(QUESTIONS)
    assert not [*(tmp_path / "out" / "incoming").iterdir()]
    sources = pq.read_table(tmp_path / "out" / "studies.parquet").to_pylist()
    assert {row["source"] for row in sources} == {f"pacs:web {row['study_instance_uid']}" for row in sources}
    code, output = command.run(studies="pacs:web?name=x")
    assert code == BatchError.exit_code
    assert "a query of a PACS is" in output


def test_without_a_model_nothing_is_asked(command: Command, tmp_path: Path) -> None:
    code, output = command.run("--model", str(tmp_path / "none"))
    assert code == 5, output
    assert "Traceback" not in output
    assert command.done() == 0
