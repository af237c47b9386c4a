"""The service at its routes: answers, words without an image, recalled answers, limits and errors."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from service_place import ask, dicom, events, png, service, settings_of
from tiny_models import FakeModel

from audit import Log
from medvqa.errors import ModelError
from medvqa.models.base import Generation
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.reading.reviews import review
from medvqa.records import Agent
from medvqa.service.problems import RequestError
from medvqa.service.reading_requests import parse
from medvqa.service.schemas import AnswerBody, AskBody, ChatReply, decode_image
from medvqa.sessions import begin_session
from medvqa.stopping import resume, stop
from medvqa.types import NOT_FOR_DIAGNOSIS, Image


class Counting(FakeModel):
    """Says yes, and counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__(lambda image: float(image.pixels.mean()))
        self.asked: list[str] = []

    def generate(self, image: Image, question: str) -> Generation:
        self.asked.append(question)
        if question == "break":
            raise RuntimeError("a secret of a file")
        if question == "unreachable":
            raise ModelError("the server does not answer")
        return super().generate(image, question)


@pytest.fixture
def model() -> Counting:
    return Counting()


@pytest.fixture
def client(model: Counting, tmp_path: Path) -> Iterator[TestClient]:
    with service(model, settings_of(tmp_path)) as opened:
        yield opened


@pytest.fixture(scope="module")
def open_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """For tests that leave nothing behind."""
    with service(Counting(), settings_of(tmp_path_factory.mktemp("service"))) as opened:
        yield opened


def test_an_answer_comes_with_its_checks_and_its_row(client: TestClient, tmp_path: Path) -> None:
    response = ask(client, dicom(PatientID="SECRET"), "Is there\na  tumor?")
    assert response.status_code == 200
    answer = response.json()
    AnswerBody.model_validate(answer, strict=False)
    assert (answer["question"], answer["text"]) == ("Is there a tumor?", "yes")
    assert answer["checks"]["verdict"] in ("grounded", "fragile", "image_blind", "unsure")
    assert answer["notice"] == NOT_FOR_DIAGNOSIS
    assert answer["recalled"] is None
    rows = events(tmp_path)
    assert [row.action for row in rows] == ["load_model", "open_study", "ask", "answer"]
    assert rows[1].entity["source"] == "service"
    assert (rows[3].sequence, rows[3].subject) == (answer["audit_id"], answer["answer_id"])
    assert {row.agent for row in rows} == {"dr-17"}
    assert "SECRET" not in json.dumps([row.entity for row in rows], default=str) + response.text


def test_json_asks_the_same_as_a_form(client: TestClient, model: Counting) -> None:
    body = {"question": "Is there a tumor?", "image": base64.b64encode(png()).decode(), "image_number": 1}
    first = client.post("/v1/ask", json=body)
    assert first.status_code == 200, first.text
    body["image"] = f"data:image/png;base64,{body['image']}"
    assert client.post("/v1/ask", json=body).json()["recalled"] is not None
    assert ask(client, png(), "Is there a tumor?").json()["answer_id"] == first.json()["answer_id"]
    assert model.asked == ["Is there a tumor?"]


def test_an_answer_given_before_is_shown_again_and_recorded_as_that(
    client: TestClient, model: Counting, tmp_path: Path
) -> None:
    first = ask(client, dicom(), "Is there a tumor?").json()
    again = ask(client, dicom(), " Is there a  tumor?").json()
    assert len(model.asked) == 1
    row = events(tmp_path, action="recall")[0]
    assert again["recalled"] == {"audit_id": row.sequence}
    assert row.entity["answer"] == {
        "sequence": first["audit_id"],
        "hash": events(tmp_path, action="answer")[0].hash,
    }
    same = ("answer_id", "audit_id", "text", "checks", "image", "model", "warnings", "created")
    assert {name: again[name] for name in same} == {name: first[name] for name in same}
    AnswerBody.model_validate(again)
    for changed in ({"question": "Is there a nodule?"}, {"content": dicom(1)}, {"heatmap": "occlusion"}):
        asked: dict[str, Any] = {"content": dicom(), "question": "Is there a tumor?", **changed}
        assert ask(client, **asked).json().get("recalled") is None


def test_the_answer_of_another_patient_is_not_shown_again(
    client: TestClient, model: Counting, tmp_path: Path
) -> None:
    # The same pixels and UIDs, as when a file was copied for a second patient.
    ask(client, dicom(PatientID="one"), "Is there a tumor?")
    other = ask(client, dicom(PatientID="two"), "Is there a tumor?").json()
    assert other["recalled"] is None
    # The same file beside one of somebody else: nobody can say whose the study is.
    mixed = [("image", dicom(PatientID="one")), ("image", dicom(1, number=2, PatientID="two"))]
    asked = {"question": "Is there a tumor?", "image_number": "1"}
    assert client.post("/v1/ask", files=mixed, data=asked).json()["recalled"] is None
    assert len(model.asked) == 3
    assert not events(tmp_path, action="recall")


def test_a_stopped_service_shows_no_earlier_answer_either(client: TestClient, tmp_path: Path) -> None:
    ask(client, dicom(), "Is there a tumor?")
    with Log(f"sqlite:///{tmp_path / 'trail.sqlite'}") as log:
        session = begin_session(log, Agent(name="chief"), key_folder=tmp_path / "keys")
        stop(session, reason="wrong window")
        refused = ask(client, dicom(), "Is there a tumor?")
        assert (refused.status_code, refused.json()["error"]["type"]) == (422, "Refused")
        assert "stopped by chief (wrong window)" in refused.json()["error"]["message"]
        words = client.post("/chat", json={"prompt": "What is pneumonia?"})
        assert (words.status_code, words.json()["error"]["type"]) == (409, "StoppedError")
        resume(session, reason="mended")
    assert ask(client, dicom(), "Is there a tumor?").json()["recalled"] is not None
    assert [row.outcome for row in events(tmp_path, action="refuse")] == ["refused"]


def test_a_rejected_answer_says_so_when_it_is_shown_again(client: TestClient, tmp_path: Path) -> None:
    answer_id = ask(client, dicom(), "Is there a tumor?").json()["answer_id"]
    with Log(f"sqlite:///{tmp_path / 'trail.sqlite'}") as log:
        session = begin_session(log, Agent(name="reader"), key_folder=tmp_path / "keys")
        review(session, answer_id, verdict="reject", text="there is none")
    again = ask(client, dicom(), "Is there a tumor?").json()
    assert "rejected_before" in [notice["code"] for notice in again["warnings"]]


def test_words_alone_are_answered_by_the_decoder_and_marked(
    default_model: HuggingFaceModel, tmp_path: Path
) -> None:
    with service(default_model, settings_of(tmp_path)) as client:
        said = client.post("/chat", json={"prompt": "Is there a tumor?"}).json()
        ChatReply.model_validate(said)
        assert (said["rests_on_image"], said["answer"]) == (False, None)
        assert [notice["code"] for notice in said["warnings"]] == ["no_image"]
    prompt, reply = (events(tmp_path, action=action)[0] for action in ("prompt", "reply"))
    assert (reply.sequence, reply.entity["reply"]) == (said["audit_id"], said["response"])
    assert prompt.sequence < reply.sequence
    assert prompt.subject == reply.subject
    assert reply.study is None


@pytest.mark.slow
def test_a_prompt_with_an_image_is_a_question_and_a_map_is_a_picture(
    default_model: HuggingFaceModel, tmp_path: Path
) -> None:
    with service(default_model, settings_of(tmp_path)) as client:
        image = base64.b64encode(dicom()).decode()
        seen = client.post("/chat", json={"prompt": "Is there a tumor?", "image": image}).json()
        ChatReply.model_validate(seen)
        assert seen["rests_on_image"]
        assert seen["response"] == seen["answer"]["text"]
        mapped = ask(client, dicom(), "Is there a tumor?", heatmap="attention").json()
    assert mapped["heatmap"]["overlay"].startswith("data:image/png;base64,")
    assert decode_image(mapped["heatmap"]["overlay"]).startswith(b"\x89PNG")
    assert [row.action for row in events(tmp_path)][-1] == "explain"


def test_words_alone_are_refused_by_a_model_that_reads_none(client: TestClient, tmp_path: Path) -> None:
    refused = client.post("/chat", json={"prompt": "What is pneumonia?"})
    assert refused.status_code == 422
    assert "answers about images alone" in refused.json()["error"]["message"]
    assert events(tmp_path, action="reply")[0].outcome == "refused"


@pytest.mark.parametrize(
    ("sent", "status", "kind", "said"),
    [
        ({"data": {"question": "?"}, "files": {"image": b"nothing"}}, 422, "DicomError", "uploaded file 1"),
        ({"data": {"question": ""}, "files": {"image": b"x"}}, 422, "QuestionError", "empty"),
        ({"data": {}, "files": {"image": b"x"}}, 422, "BadRequest", "question: Field required"),
        ({"data": {"question": "?"}, "files": {"other": b"x"}}, 422, "BadRequest", "field image"),
        (
            {"data": {"question": "?", "heatmap": "SECRET"}, "files": {"image": b"x"}},
            422,
            "BadRequest",
            "heatmap: Input should be 'attention'",
        ),
        ({"json": {"question": "?", "image": "not base64 !"}}, 422, "BadRequest", "image: is not base64"),
        ({"json": {"question": "?", "image": "AA==", "patient": "SECRET"}}, 422, "BadRequest", "patient: "),
        ({"json": []}, 422, "BadRequest", "the body: "),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 422, "BadRequest", "JSON"),
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415, "UnsupportedMediaType", "JSON"),
        (
            {"content": b"--a", "headers": {"content-type": "multipart/form-data"}},
            400,
            "BadRequest",
            "boundary",
        ),
    ],
)
def test_what_is_not_understood_is_said_in_one_sentence(
    open_client: TestClient, sent: dict[str, Any], status: int, kind: str, said: str
) -> None:
    response = open_client.post("/v1/ask", **sent)
    assert (response.status_code, response.json()["error"]["type"]) == (status, kind)
    assert said.casefold() in response.json()["error"]["message"].casefold()
    assert "SECRET" not in response.text
    assert response.json().keys() == {"error"}


def test_what_nobody_foresaw_tells_nothing(
    client: TestClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    response = ask(client, dicom(), "break")
    assert (response.status_code, response.json()["error"]["type"]) == (500, "InternalError")
    assert "secret" not in response.text + caplog.text
    assert events(tmp_path, action="answer")[0].outcome == "failed"
    assert ask(client, dicom(), "unreachable").status_code == 502
    assert ask(client, dicom(), "Is there a tumor?").status_code == 200


def test_there_is_nothing_elsewhere(open_client: TestClient) -> None:
    for method, path, status in (("GET", "/docs", 404), ("GET", "/v1/ask", 405), ("POST", "/v1/ask/x", 404)):
        response = open_client.request(method, path)
        assert response.status_code == status
        assert response.json().keys() == {"error"}


def test_responses_are_not_kept_or_framed(open_client: TestClient) -> None:
    for response in (open_client.get("/health/live"), open_client.get("/nothing")):
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}],
)
def test_a_page_of_another_site_cannot_ask(open_client: TestClient, headers: dict[str, str]) -> None:
    response = open_client.post("/chat", json={"prompt": "?"}, headers=headers)
    assert (response.status_code, response.json()["error"]["type"]) == (403, "Forbidden")
    assert open_client.get("/health/live", headers={"Host": "10.0.0.7:8080"}).status_code == 200


def test_a_body_beyond_the_limit_is_not_read(model: Counting, tmp_path: Path) -> None:
    taken = 0

    def chunks() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(64):
            taken += 1
            yield b"x" * (1 << 18)

    with service(model, settings_of(tmp_path, upload_mib=1)) as client:
        headers = {"content-type": "application/json"}
        told = client.post("/v1/ask", content=b"x" * (1 << 20) + b"x", headers=headers)
        unsaid = client.post("/v1/ask", content=chunks(), headers=headers)
    for response in (told, unsaid):
        assert (response.status_code, response.json()["error"]["type"]) == (413, "TooLarge")
        assert "1 MiB" in response.json()["error"]["message"]


def test_openapi_describes_every_route_with_examples_and_errors(open_client: TestClient) -> None:
    described = open_client.get("/openapi.json").json()
    assert described["info"]["description"] == NOT_FOR_DIAGNOSIS
    asks = described["paths"]["/v1/ask"]["post"]
    assert asks["requestBody"]["content"].keys() == {"application/json", "multipart/form-data"}
    example = asks["requestBody"]["content"]["application/json"]["example"]
    AskBody.model_validate(example)
    for path, methods in described["paths"].items():
        for method in methods.values():
            if not path.startswith("/health"):
                assert {"401", "403", "429", "503"} <= method["responses"].keys(), path
                problem = method["responses"]["401"]["content"]["application/json"]
                assert problem["schema"]["$ref"].endswith("ErrorBody")
                assert problem["example"]["error"].keys() == {"type", "message"}


def test_prometheus_is_told_what_came_and_not_of_whom(client: TestClient) -> None:
    ask(client, dicom(PatientID="SECRET"), "Is there a tumor?")
    ask(client, dicom(PatientID="SECRET"), "Is there a tumor?")
    client.get("/nothing/SECRET")
    counted = client.get("/metrics").text
    for line in (
        'medvqa_requests_total{path="/v1/ask",status="200"} 2.0',
        'medvqa_requests_total{path="other",status="404"} 1.0',
        'medvqa_request_seconds_count{path="/v1/ask"} 2.0',
        "medvqa_recalled_answers_total 1.0",
        "medvqa_waiting_questions 0.0",
        "medvqa_questions_asked_together_count 1.0",
    ):
        assert line in counted
    assert "medvqa_answers_total{verdict=" in counted
    assert "SECRET" not in counted


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from([*AskBody.model_fields, "x"]), st.none() | st.integers() | st.text()))
def test_any_object_is_a_question_or_refused_in_a_sentence(values: dict[str, Any]) -> None:
    try:
        body = parse(AskBody, values)
    except RequestError as refusal:
        assert refusal.status == 422
        assert refusal.message
    else:
        assert decode_image(body.image)


@given(st.binary(min_size=1), st.booleans())
def test_base64_comes_back_as_it_was(content: bytes, as_url: bool) -> None:
    text = base64.b64encode(content).decode()
    assert decode_image(f"data:application/dicom;base64,{text}" if as_url else text) == content
