"""Turns at the model: what waits is asked together, in order, and no more of it than may wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Event
from typing import Any

import pytest

from medvqa.service.problems import RequestError
from medvqa.service.turns import Turns


class Model:
    """Is asked in batches, and holds each back until it may go on."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.begun, self.go_on = Event(), Event()

    def __call__(self, batch: Sequence[str]) -> list[dict[str, Any] | Exception]:
        self.batches.append(list(batch))
        self.begun.set()
        assert self.go_on.wait(10)
        if "all" in batch:
            raise OSError("of all")
        return [ValueError(one) if one == "bad" else {"text": one} for one in batch]


@pytest.fixture
def model() -> Model:
    return Model()


Queue = Callable[..., Turns[str]]


@pytest.fixture
def queue(model: Model) -> Iterator[Queue]:
    made: list[Turns[str]] = []

    def make(most_waiting: int = 64, on_waiting: Callable[[int], object] = lambda _: None) -> Turns[str]:
        made.append(Turns[str](model, most_waiting=most_waiting, on_waiting=on_waiting))
        return made[-1]

    yield make
    model.go_on.set()
    for turns in made:
        turns.close()


def begin(turns: Turns[str], model: Model) -> Any:
    """Let the model be asked one thing, so that whatever follows waits."""
    future = turns.submit("first")
    assert model.begun.wait(10)
    return future


def test_what_waits_while_the_model_answers_is_asked_together(queue: Queue, model: Model) -> None:
    counted: list[int] = []
    turns = queue(on_waiting=counted.append)
    first = begin(turns, model)
    waiting = [turns.submit(f"question {number}") for number in range(20)]
    model.go_on.set()
    assert first.result(10) == {"text": "first"}
    assert [one.result(10)["text"] for one in waiting] == [f"question {number}" for number in range(20)]
    assert [len(batch) for batch in model.batches] == [1, 16, 4]
    assert (max(counted), counted[-1]) == (20, 0)


def test_an_error_is_that_of_its_question_alone(queue: Queue, model: Model) -> None:
    turns = queue()
    begin(turns, model)
    good, bad, other = turns.submit("good"), turns.submit("bad"), turns.submit("other")
    model.go_on.set()
    with pytest.raises(ValueError, match="bad"):
        bad.result(10)
    assert (good.result(10), other.result(10)) == ({"text": "good"}, {"text": "other"})
    with pytest.raises(OSError, match="of all"):
        turns.submit("all").result(10)
    assert turns.submit("afterwards").result(10) == {"text": "afterwards"}


def test_no_more_wait_than_may(queue: Queue, model: Model) -> None:
    turns = queue(most_waiting=2)
    begin(turns, model)
    waiting = [turns.submit("a"), turns.submit("b")]
    with pytest.raises(RequestError) as caught:
        turns.submit("c")
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (503, "5")
    model.go_on.set()
    assert [one.result(10)["text"] for one in waiting] == ["a", "b"]
    assert turns.submit("d").result(10) == {"text": "d"}


def test_who_gives_up_is_not_asked_for(queue: Queue, model: Model) -> None:
    turns = queue()
    begin(turns, model)
    given_up, waiting = turns.submit("given up"), turns.submit("waiting")
    assert given_up.cancel()
    model.go_on.set()
    waiting.result(10)
    assert model.batches == [["first"], ["waiting"]]


def test_what_waits_at_the_end_is_still_answered(queue: Queue, model: Model) -> None:
    turns = queue()
    begin(turns, model)
    waiting = turns.submit("waiting")
    model.go_on.set()
    turns.close()
    assert waiting.result(0) == {"text": "waiting"}
    with pytest.raises(RequestError, match="ends"):
        turns.submit("too late")
