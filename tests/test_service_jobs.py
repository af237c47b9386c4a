"""Jobs: question sets about what was sent, between other questions, and across the death of a server."""

from __future__ import annotations

import io
import json
import signal
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from service_place import API_KEYS, KEYS, ask, dicom, events, png, server, service, settings_of
from tiny_models import FakeModel

from medvqa.models.base import Generation
from medvqa.service.schemas import AnswerBody, JobBody, JobResult
from medvqa.types import Image

QUESTIONS = "Is there a tumor?\n# not this\nWhich organ is this?\n"


class Counting(FakeModel):
    """Says yes, and counts how often it was asked; a question `slow` takes a while."""

    def __init__(self) -> None:
        super().__init__(lambda image: float(image.pixels.mean()))
        self.asked: list[str] = []

    def generate(self, image: Image, question: str) -> Generation:
        self.asked.append(question)
        if question.startswith("slow"):
            time.sleep(0.2)
        return super().generate(image, question)


@pytest.fixture
def model() -> Counting:
    return Counting()


@pytest.fixture
def client(model: Counting, tmp_path: Path) -> Iterator[TestClient]:
    with service(model, settings_of(tmp_path)) as opened:
        yield opened


def archive(**files: bytes) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return written.getvalue()


def second_study(seed: int, number: int = 1) -> bytes:
    return dicom(seed, StudyInstanceUID="1.2.840.2", SOPInstanceUID=f"1.2.840.2.{number}", PatientID="b")


def send(client: httpx.Client, questions: str, *studies: bytes, **options: Any) -> dict[str, Any]:
    files = [("studies", ("SECRET^NAME.dcm", content)) for content in studies]
    response = client.post("/v1/jobs", data={"questions": questions}, files=files, **options)
    assert response.status_code == 202, response.text
    job = response.json()
    JobBody.model_validate(job)
    assert response.headers["location"] == f"/v1/jobs/{job['id']}"
    return job


def ended(client: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    for _ in range(600):
        job = client.get(f"/v1/jobs/{job['id']}").json()
        if job["state"] not in ("waiting", "running"):
            return job
        time.sleep(0.05)
    raise TimeoutError(job)


def result(client: httpx.Client, job: dict[str, Any]) -> list[dict[str, Any]]:
    came = client.get(f"/v1/jobs/{job['id']}/result").json()
    JobResult.model_validate(came)
    return came["answers"]


def test_a_question_set_is_asked_about_every_study_that_was_sent(
    client: TestClient, model: Counting, tmp_path: Path
) -> None:
    other = dicom(3, StudyInstanceUID="1.2.3", SOPInstanceUID="1.2.3.9")
    sent = (dicom(0), archive(a=second_study(1, 1), b=second_study(2, 2)), png(), other)
    job = ended(client, send(client, QUESTIONS, *sent))
    assert (job["state"], job["questions"], job["ended"]) == ("done", 8, 8)
    answers = result(client, job)
    for one in answers:
        AnswerBody.model_validate(one["answer"])
        assert one["answer"]["question"] == one["question"]
    assert {one["study_instance_uid"] for one in answers} >= {"1.2.840.2", "1.2.3"}
    assert len({one["study_instance_uid"] for one in answers}) == 4
    assert len(model.asked) == 8
    rows = events(tmp_path)
    assert [row.action for row in rows].count("answer") == 8
    assert not [path for path in (tmp_path / "jobs").iterdir() if path.is_dir()]
    kept = b"".join(path.read_bytes() for path in (tmp_path / "jobs").iterdir())
    assert b"SECRET" not in kept
    assert b"PatientID" not in kept


def test_toml_says_which_images_and_a_refusal_is_told_beside_answers(client: TestClient) -> None:
    questions = (
        '[[question]]\ntext = "Is there a tumor?"\nimages = "all"\n'
        '[[question]]\ntext = "Is there a <image> here?"\nmodalities = ["CT"]\n'
    )
    job = ended(client, send(client, questions, second_study(1, 1), second_study(2, 2)))
    assert (job["state"], job["questions"]) == ("done", 2)
    assert [one["image_number"] for one in result(client, job)] == [1, 2]
    none = ended(client, send(client, questions.replace('"all"', "7"), dicom()))
    assert (none["state"], "nothing in the question set fits" in none["problem"]) == ("failed", True)
    broken = ended(client, send(client, QUESTIONS, b"no image"))
    assert broken["state"] == "failed"
    assert "nothing that was sent is an image" in broken["problem"]


def test_what_was_answered_before_is_not_asked_again(client: TestClient, model: Counting) -> None:
    first = ask(client, dicom(), "Is there a tumor?").json()
    answers = result(client, ended(client, send(client, QUESTIONS, dicom())))
    assert answers[0]["answer"]["answer_id"] == first["answer_id"]
    assert model.asked == ["Is there a tumor?", "Which organ is this?"]


def test_a_cancelled_job_keeps_what_was_answered(client: TestClient, model: Counting) -> None:
    job = send(client, "\n".join(f"slow {number}" for number in range(40)), dicom())
    while len(model.asked) < 2:
        time.sleep(0.01)
    early = client.get(f"/v1/jobs/{job['id']}/result")
    assert (early.status_code, early.json()["error"]["type"]) == (409, "NotDone")
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 409
    assert client.post(f"/v1/jobs/{job['id']}/cancel").json()["state"] == "cancelled"
    assert client.post(f"/v1/jobs/{job['id']}/cancel").status_code == 409
    after = ended(client, send(client, "Is there a tumor?", dicom()))
    assert after["state"] == "done"
    assert 2 <= len(result(client, job)) == len(model.asked) - 1 < 20
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert client.get(f"/v1/jobs/{job['id']}").status_code == 404


def test_a_job_is_told_to_nobody_else(tmp_path: Path) -> None:
    with service(Counting(), settings_of(tmp_path, api_keys=API_KEYS)) as client:
        reader, senior = (
            {"headers": {"Authorization": f"Bearer {KEYS[role]}"}} for role in ("reader", "senior")
        )
        job = send(client, QUESTIONS, dicom(), **reader)
        for method, path in (("GET", ""), ("GET", "/result"), ("POST", "/cancel"), ("DELETE", "")):
            assert client.request(method, f"/v1/jobs/{job['id']}{path}", **senior).status_code == 404
        assert client.get(f"/v1/jobs/{job['id']}", **reader).status_code == 200


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        ({"data": {"questions": "?"}}, 415, "multipart/form-data"),
        ({"data": {}, "files": {"studies": b"x"}}, 422, "a job has the fields questions"),
        ({"data": {"questions": "\n# nothing"}, "files": {"studies": b"x"}}, 422, "holds no question"),
        ({"data": {"questions": "[[question]]\nx=1"}, "files": {"studies": b"x"}}, 422, "is wrong at"),
    ],
)
def test_a_job_that_is_not_understood_leaves_nothing_behind(
    client: TestClient, tmp_path: Path, sent: dict[str, Any], status: int, said: str
) -> None:
    response = client.post("/v1/jobs", **sent)
    assert response.status_code == status
    assert said in response.json()["error"]["message"]
    assert str(tmp_path) not in response.text
    assert not [path for path in (tmp_path / "jobs").iterdir() if path.is_dir()]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_job_goes_on_after_the_server_was_killed_and_asks_nothing_twice(tmp_path: Path) -> None:
    questions = "\n".join(f"Is there a tumor in part {number}?" for number in range(5))
    with server(tmp_path) as first, httpx.Client(base_url=first.url) as client:
        job = send(client, questions, dicom(0, PatientID="a"), second_study(1))
        while client.get(f"/v1/jobs/{job['id']}").json()["ended"] < 2:
            time.sleep(0.1)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
    before = len(events(tmp_path, action="answer"))
    assert 2 <= before < 10
    with server(tmp_path) as second, httpx.Client(base_url=second.url) as client:
        while (now := client.get(f"/v1/jobs/{job['id']}").json())["ended"] < 5:
            time.sleep(0.1)
        assert second.stop() == 0  # and once more, as it should be
    assert now["state"] == "running"
    with server(tmp_path) as third, httpx.Client(base_url=third.url) as client:
        while (now := client.get(f"/v1/jobs/{job['id']}").json())["state"] == "running":
            time.sleep(0.2)
        answers = result(client, job)
    assert (now["state"], len(answers)) == ("done", 10)
    rows = events(tmp_path, action="answer")
    assert {one["answer"]["audit_id"] for one in answers} == {row.sequence for row in rows}
    asked = [(row.study, row.entity["question"]) for row in rows]
    assert len(asked) == len(set(asked)) == 10
    assert "SECRET" not in json.dumps([row.entity for row in events(tmp_path)], default=str)
