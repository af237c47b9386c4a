"""A model behind a server: what is sent, what is made of its replies, and what goes wrong."""

from __future__ import annotations

import io
import math
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from chat_server import MODEL, Asked, ChatServer, Failure, Said, chat_server, refusing
from PIL import Image as PillowImage
from tiny_models import noise, shown

import medvqa
from medvqa.checks.faithfulness import with_grade
from medvqa.errors import ModelError, SettingsError
from medvqa.heatmaps import Contrast, occlusion_heatmap
from medvqa.imaging import to_uint8
from medvqa.models.remote import bound_log_likelihood, estimate_agreement, number_of
from medvqa.models.replies import Position
from medvqa.opening import NamedModel, open_model

QUESTION = "Is there a CANARY?"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MEDVQA_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Asked], Said]], ChatServer]]:
    running: list[Any] = []

    def begin(answer: Callable[[Asked], Said]) -> ChatServer:
        running.append(chat_server(answer))
        return running[-1].__enter__()

    yield begin
    for one in running:
        one.__exit__(None, None, None)


def by_brightness(asked: Asked) -> Said:
    """Yes the surer the brighter the image, and then where; else no."""
    yes = float(1 / (1 + np.exp(-8 * (asked.pixels.mean() / 255 - 0.5))))
    first = {"yes": yes, "no": 0.99 - yes, "maybe": 0.01} if yes > 0.01 else {"no": 0.98, "maybe": 0.01}
    return [first, {", left": 0.7, ", right": 0.3}] if max(first, key=first.__getitem__) == "yes" else [first]


def drawing(asked: Asked) -> Said:
    """Without logprobs: of a bright image always yes, of a dark one an answer for each seed."""
    if asked.body["temperature"] == 2:
        return f"words {asked.body['seed']}"
    return "Yes." if asked.pixels.mean() > 128 else f"answer {asked.body['seed']}"


BRIGHT, DARK = shown(np.full((40, 30), 0.9)), shown(np.full((40, 30), 0.1))


# What is made of replies.


def walk(*places: dict[str, float]) -> tuple[Position, ...]:
    """Positions of the likeliest tokens, of which the two likeliest are listed."""
    return tuple(
        Position(
            text=best[0],
            spelled=best[0].encode(),
            log_probability=math.log(place[best[0]]),
            listed={token.encode(): math.log(place[token]) for token in best},
        )
        for place in places
        for best in [sorted(place, key=place.__getitem__, reverse=True)[:2]]
    )


def test_the_likelihood_of_the_reply_itself_is_exact() -> None:
    reply = walk({"a": 0.6, "b": 0.4}, {"c": 0.5, "d": 0.3, "e": 0.2})
    assert bound_log_likelihood(reply, [b"a", b"c"]) == pytest.approx(math.log(0.3))
    assert bound_log_likelihood(reply, [b"a"]) == pytest.approx(math.log(0.6))


def test_a_token_that_is_listed_counts_and_what_follows_does_not() -> None:
    reply = walk({"a": 0.6, "b": 0.4}, {"c": 0.5, "d": 0.3, "e": 0.2})
    assert bound_log_likelihood(reply, [b"b", b"c"]) == pytest.approx(math.log(0.4))
    assert bound_log_likelihood(reply, [b"a", b"d"]) == pytest.approx(math.log(0.6 * 0.3))


def test_a_token_that_is_not_listed_has_no_more_than_the_others_leave() -> None:
    reply = walk({"a": 0.9, "b": 0.08, "c": 0.02})
    assert bound_log_likelihood(reply, [b"c"]) == pytest.approx(math.log(0.02))
    assert bound_log_likelihood(walk({"a": 0.3, "b": 0.25, "c": 0.24, "d": 0.21}), [b"c"]) == pytest.approx(
        math.log(0.25)
    )


def test_where_the_reply_ended_the_answer_had_even_odds_at_most() -> None:
    assert bound_log_likelihood(walk({"a": 0.8, "b": 0.2}), [b"a", b"c"]) == pytest.approx(math.log(0.4))


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_is_never_below_the_likelihood(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tokens = [*"abcdef", "END"]
    places: dict[tuple[str, ...], dict[str, float]] = {}

    def place(before: tuple[str, ...]) -> dict[str, float]:
        if before not in places:
            chances = rng.dirichlet(np.full(len(tokens), 0.5))
            places[before] = dict(zip(tokens, chances.tolist(), strict=True))
        return places[before]

    said: list[dict[str, float]] = []
    before: tuple[str, ...] = ()
    while (token := max(place(before), key=place(before).__getitem__)) != "END" and len(said) < 5:
        said.append(place(before))
        before = (*before, token)
    reply = walk(*said)
    for _ in range(300):
        answer = tuple(rng.choice(tokens[:-1], rng.integers(1, 5)).tolist())
        truth = sum(math.log(place(answer[:count])[one]) for count, one in enumerate(answer))
        assert bound_log_likelihood(reply, [one.encode() for one in answer]) >= truth - 1e-9


def test_agreement_is_never_certain() -> None:
    assert math.exp(estimate_agreement([b"a"] * 5, b"a")) == pytest.approx(6 / 7)
    assert math.exp(estimate_agreement([b"a"] * 5, b"b")) == pytest.approx(1 / 7)
    assert math.exp(estimate_agreement([b"a"], b"a")) == pytest.approx(2 / 3)


def test_a_number_of_a_token_is_the_same_in_every_process() -> None:
    assert number_of(b"yes") == 0x8A798890FE93


# Asking.


def test_logprobs_become_tokens_and_likelihoods(serve: Any) -> None:
    server = serve(by_brightness)
    model = medvqa.connect(server.address)
    answer = model.generate(BRIGHT, QUESTION)
    yes = 1 / (1 + math.exp(-8 * (round(0.9 * 255) / 255 - 0.5)))
    assert answer.text == "yes, left"
    assert [token.text for token in answer.tokens] == ["yes", ", left"]
    assert answer.log_likelihood == pytest.approx(math.log(yes * 0.7))
    asked, other = model.log_likelihoods([(BRIGHT, QUESTION), (DARK, QUESTION)], answer.token_ids)
    dark = 1 / (1 + math.exp(-8 * (round(0.1 * 255) / 255 - 0.5)))
    assert asked == pytest.approx(answer.log_likelihood)
    assert other == pytest.approx(math.log(dark))
    assert model.identity.parameters["likelihood"] == "logprobs"
    assert "at least as large as measured" in model.notice.message


def test_nothing_is_sent_twice(serve: Any) -> None:
    server = serve(by_brightness)
    model = medvqa.connect(server.address)
    before = len(server.asked)
    answer = model.generate(BRIGHT, QUESTION)
    model.generate(BRIGHT, QUESTION)
    model.log_likelihoods([(BRIGHT, QUESTION), (DARK, QUESTION), (DARK, QUESTION)], answer.token_ids)
    assert len(server.asked) == before + 2


def test_without_logprobs_answers_drawn_at_random_are_counted(serve: Any) -> None:
    server = serve(drawing)
    model = medvqa.connect(server.address)
    answer = model.generate(BRIGHT, QUESTION)
    assert (answer.text, len(answer.tokens)) == ("Yes.", 1)
    assert math.exp(answer.tokens[0].log_probability) == pytest.approx(6 / 7)
    assert math.exp(model.log_likelihood(DARK, QUESTION, answer.token_ids)) == pytest.approx(1 / 7)
    assert model.identity.parameters["likelihood"] == "agreement of 5 answers"
    assert {one.body["temperature"] for one in server.asked} == {0, 1, 2}
    drawn = [one.body["seed"] for one in server.asked if one.body["temperature"] == 1]
    assert sorted(drawn[:5]) == [1, 2, 3, 4, 5]
    assert "logprobs" not in server.asked[-1].body


def test_a_server_that_draws_nothing_at_random_is_asked_once(serve: Any) -> None:
    model = medvqa.connect(serve(lambda _: "yes").address)
    answer = model.generate(BRIGHT, QUESTION)
    assert math.exp(answer.tokens[0].log_probability) == pytest.approx(2 / 3)
    assert model.identity.parameters["likelihood"] == "agreement of 1 answer"


def test_logprobs_after_the_choice_was_made_count_for_nothing(serve: Any) -> None:
    model = medvqa.connect(serve(lambda _: [{"yes": 1.0, "no": 0.0}]).address)
    assert model.identity.parameters["likelihood"] == "agreement of 1 answer"


def test_only_pixels_and_the_question_leave(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDVQA_API_KEY", "secret-1")
    monkeypatch.setenv("OPENAI_API_KEY", "secret-2")
    server = serve(by_brightness)
    model = medvqa.connect(server.address)
    image = noise()
    model.generate(image, QUESTION)
    sent = server.asked[-1]
    assert np.array_equal(sent.pixels, to_uint8(image))
    assert sent.question == QUESTION
    names = {sent.png[at + 4 : at + 8] for at in chunks(sent.png)}
    assert names == {b"IHDR", b"IDAT", b"IEND"}
    options = {"temperature": 0, "seed": 0, "max_tokens": 32, "logprobs": True, "top_logprobs": 20}
    assert {name: value for name, value in sent.body.items() if name != "messages"} == {
        "model": MODEL,
        **options,
    }
    assert sent.headers["authorization"] == "Bearer secret-1"
    assert not any("secret-2" in str(one.headers) for one in server.asked)
    assert not any("secret" in text for text in (str(model.identity), repr(model), str(model.notice)))


def chunks(png: bytes) -> Iterator[int]:
    at = 8
    while at < len(png):
        yield at
        at += 12 + int.from_bytes(png[at : at + 4], "big")


def test_a_large_image_is_sent_smaller(serve: Any) -> None:
    server = serve(by_brightness)
    medvqa.connect(server.address).generate(shown(np.zeros((3000, 1500))), QUESTION)
    assert server.asked[-1].pixels.shape == (1024, 512, 3)
    assert PillowImage.open(io.BytesIO(server.asked[-1].png)).format == "PNG"


def test_no_image_of_a_patient_is_sent_while_connecting(serve: Any) -> None:
    server = serve(by_brightness)
    medvqa.connect(server.address)
    assert [one.question for one in server.asked] == ["Describe the image."]


@pytest.mark.parametrize(
    ("refused", "kept"),
    [
        ("seed", {"temperature", "max_tokens", "logprobs", "top_logprobs"}),
        ("max_tokens", {"temperature", "seed", "max_completion_tokens", "logprobs", "top_logprobs"}),
        ("logprobs", {"temperature", "seed", "max_tokens"}),
        ("temperature", {"seed", "max_tokens"}),
    ],
)
def test_an_option_that_the_server_refuses_is_left_out(serve: Any, refused: str, kept: set[str]) -> None:
    def answer(asked: Asked) -> Said:
        return refusing(refused) if refused in asked.body else by_brightness(asked)

    server = serve(answer)
    assert medvqa.connect(server.address).generate(BRIGHT, QUESTION).text == "yes, left"
    assert set(server.asked[-1].body) - {"model", "messages"} == kept


def test_a_server_that_lists_few_tokens_is_asked_for_few(serve: Any) -> None:
    def answer(asked: Asked) -> Said:
        return refusing("top_logprobs") if asked.body.get("top_logprobs", 0) > 5 else by_brightness(asked)

    server = serve(answer)
    assert medvqa.connect(server.address).identity.parameters["likelihood"] == "logprobs"
    assert server.asked[-1].body["top_logprobs"] == 5


# What goes wrong.

FAILURES = {
    "key": (Failure(status=401, body={"error": {"message": QUESTION}}), "refused the key.*MEDVQA_API_KEY"),
    "forbidden": (Failure(status=403, body={}), "refused the key"),
    "model": (Failure(status=404, body={"error": {"message": QUESTION}}), "or no model 'tiny/model:7b'"),
    "busy": (Failure(status=429, body={}), "one too many, 4 times"),
    "broken": (Failure(status=500, body=QUESTION), r"failed 4 times \(HTTP 500\)"),
    "request": (Failure(status=400, body={"error": {"message": QUESTION}}), "reads images"),
    "moved": (Failure(status=302, headers={"Location": "http://127.0.0.1:9/"}), r"HTTP 302"),
    "no JSON": (Failure(body="<html>"), "no answer of a chat API"),
    "no choice": (Failure(body={"choices": []}), "no answer of a chat API"),
    "no object": (Failure(body=[1]), "no answer of a chat API"),
    "no text": (Failure(body={"choices": [{"message": {"content": 7}}]}), "no answer of a chat API"),
    "empty": (Failure(body={"choices": [{"message": {"content": " "}}]}), "an empty answer"),
    "declined": (
        Failure(body={"choices": [{"message": {"content": None, "refusal": QUESTION}}]}),
        "declined to answer",
    ),
    "odd logprob": (
        Failure(
            body={
                "choices": [
                    {
                        "message": {"content": "yes"},
                        "logprobs": {"content": [{"token": "yes", "logprob": "x"}]},
                    }
                ]
            }
        ),
        "no answer of a chat API",
    ),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_each_failure_is_one_sentence_without_the_question(serve: Any, kind: str) -> None:
    failure, sentence = FAILURES[kind]
    failing = False
    server = serve(lambda asked: failure if failing else by_brightness(asked))
    model = medvqa.connect(server.address)
    failing = True
    with pytest.raises(ModelError, match=sentence) as caught:
        model.generate(BRIGHT, QUESTION)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("the server 127.0.0.1:")
    assert "CANARY" not in "".join(traceback.format_exception_only(caught.value))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    with pytest.raises(ModelError, match=sentence):
        medvqa.connect(server.address)


def test_a_server_that_comes_back_is_asked_again(serve: Any) -> None:
    failures = [Failure(status=429, body={}), Failure(status=503, body={})]
    server = serve(lambda asked: failures.pop() if failures else by_brightness(asked))
    assert medvqa.connect(server.address).generate(BRIGHT, QUESTION).text == "yes, left"
    assert len(server.asked) == 4


def test_a_server_that_is_silent_times_out(serve: Any) -> None:
    server = serve(lambda _: Failure(seconds=0.5, body={}))
    with pytest.raises(ModelError, match=r"did not answer within 0.05 s, 4 times"):
        medvqa.connect(server.address, timeout_s=0.05)


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(ModelError, match=r"the server 127.0.0.1:9 cannot be reached"):
        medvqa.connect(f"http://127.0.0.1:9/v1#{MODEL}")


def test_logprobs_that_stop_coming_are_missed(serve: Any) -> None:
    server = serve(by_brightness)
    model = medvqa.connect(server.address)
    server.answer = lambda _: "yes"
    with pytest.raises(ModelError, match="left out the logprobs"):
        model.generate(BRIGHT, QUESTION)


def test_the_likelihood_of_an_answer_by_another_is_not_told(serve: Any) -> None:
    with pytest.raises(ModelError, match="its own answers alone"):
        medvqa.connect(serve(by_brightness).address).log_likelihood(BRIGHT, QUESTION, (7,))


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("http://localhost:8000/v1", "behind a #"),
        ("ftp://localhost/v1#m", "behind a #"),
        ("https://me:CANARY@host/v1#m", "which would be recorded"),
        ("https://host/v1?key=CANARY#m", "which would be recorded"),
    ],
)
def test_an_address_of_no_use(address: str, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence) as caught:
        medvqa.connect(address)
    assert "CANARY" not in str(caught.value)


def test_neither_key_nor_patient_goes_unencrypted_to_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="identified images would go to gpu01 unencrypted"):
        medvqa.connect("http://gpu01:8000/v1#m", identified=True)
    monkeypatch.setenv("MEDVQA_API_KEY", "secret-1")
    with pytest.raises(ModelError, match="MEDVQA_API_KEY would go to gpu01 unencrypted"):
        medvqa.connect("http://gpu01:8000/v1#m")


# Opening it by a name.


def test_a_server_is_off_by_default(serve: Any) -> None:
    server = serve(by_brightness)
    with pytest.raises(SettingsError, match=r"set remote = true in medvqa\.toml"):
        open_model(NamedModel(name=server.address))
    assert server.asked == []
    assert (
        open_model(NamedModel(name=server.address, remote=True)).generate(BRIGHT, QUESTION).text
        == "yes, left"
    )


def test_a_server_takes_no_adapter(serve: Any) -> None:
    with pytest.raises(ModelError, match="takes no adapter"):
        open_model(NamedModel(name=serve(by_brightness).address, remote=True, adapter="chest"))


# Heatmaps.


def by_one_cell(asked: Asked) -> Said:
    """Yes the surer the brighter one of 6 x 6 cells is: row 1, column 4."""
    rows, columns, _ = asked.pixels.shape
    cell = asked.pixels[rows // 6 : rows // 3, columns * 4 // 6 : columns * 5 // 6]
    yes = float(1 / (1 + np.exp(-10 * (cell.mean() / 255 - 0.4))))
    return [{"yes": yes, "no": 1 - yes}]


def image_with_finding() -> Any:
    pixels = 0.2 * np.random.default_rng(5).random((120, 90))
    pixels[70:] += 0.4 * (np.arange(90) % 8 < 4)
    pixels[20:40, 60:75] = 0.7
    return shown(pixels)


def test_occlusion_finds_what_decided_and_is_graded(serve: Any) -> None:
    server = serve(by_one_cell)
    model = medvqa.connect(server.address)
    image = image_with_finding()
    answer = model.generate(image, QUESTION)
    before = len(server.asked)
    heatmap = occlusion_heatmap(model, image, QUESTION, answer)
    assert len(server.asked) - before == 36
    assert heatmap.grid == (6, 6)
    assert heatmap.values.shape == image.shape
    row, column = np.unravel_index(heatmap.values.argmax(), image.shape)
    assert (row // 20, column // 15) == (1, 4)
    assert heatmap.values[60:].max() < 0.05
    assert heatmap.explained.endswith("as the server tells it, by logprobs")
    graded = with_grade(model, image, QUESTION, answer, heatmap)
    assert graded.grade is not None
    assert graded.grade.level == "good"
    assert len(server.asked) - before < 36 + 140


def test_a_map_of_a_server_that_looks_nowhere_is_chance(serve: Any) -> None:
    model = medvqa.connect(serve(lambda _: [{"yes": 0.8, "no": 0.2}]).address)
    image = image_with_finding()
    answer = model.generate(image, QUESTION)
    heatmap = occlusion_heatmap(model, image, QUESTION, answer)
    assert heatmap.values.max() == 0
    graded = with_grade(model, image, QUESTION, answer, heatmap)
    assert graded.grade is not None
    assert graded.grade.level == "chance"


def test_a_map_by_agreement_is_not_graded_and_says_so(serve: Any) -> None:
    model = medvqa.connect(serve(drawing).address)
    answer = model.generate(BRIGHT, QUESTION)
    heatmap = occlusion_heatmap(model, BRIGHT, QUESTION, answer)
    graded = with_grade(model, BRIGHT, QUESTION, answer, heatmap)
    assert graded.grade is None
    assert graded.explained.endswith("not graded, since likelihoods are estimated by agreement of 5 answers")


def test_a_server_explains_no_word_and_no_contrast(serve: Any) -> None:
    model = medvqa.connect(serve(by_brightness).address)
    with pytest.raises(ModelError, match="its whole answer alone"):
        occlusion_heatmap(model, BRIGHT, QUESTION, model.generate(BRIGHT, QUESTION), target=Contrast("no"))
