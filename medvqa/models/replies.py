"""What a server's reply says: the schema of OpenAI's chat completions, read with care."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medvqa.errors import ModelError

LEAST = math.log(1e-6)
"""Nats: a token less likely than this counts as this likely, which keeps an upper bound one, and finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One token of a reply, and the likeliest ones in its place."""

    text: str
    spelled: bytes
    """By which tokens are told apart: one may be a part of a character."""
    log_probability: float
    """In nats, from `LEAST` to 0."""
    listed: Mapping[bytes, float]
    """The same of the likeliest tokens in this place, this one among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a server answered."""

    text: str
    positions: tuple[Position, ...]
    """Empty where it tells no logprobs."""


def read_reply(body: Mapping[str, Any], server: str) -> Reply:
    """What a reply says.

    Args:
        body: Of the JSON.
        server: What to call it in an error.

    Raises:
        ModelError: If it is no answer.
    """
    try:
        choice: Any = body["choices"][0]
        message, told = choice["message"], (choice.get("logprobs") or {}).get("content") or []
        said, declined = message.get("content"), message.get("refusal")
        positions = tuple(_read_position(one) for one in told)
        text = "" if said is None else said.strip()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise malformed(server) from None
    if declined or choice.get("finish_reason") == "content_filter":
        raise ModelError(f"{server} declined to answer; ask another model")
    if not text:
        raise ModelError(f"{server} gave an empty answer; ask a model that answers at once, without thinking")
    return Reply(text=text, positions=positions)


def _read_position(told: Mapping[str, Any]) -> Position:
    spelled, log_probability = _spell(told), _read_logarithm(told)
    others = {_spell(other): _read_logarithm(other) for other in told.get("top_logprobs") or ()}
    return Position(
        text=told["token"],
        spelled=spelled,
        log_probability=log_probability,
        listed={**others, spelled: log_probability},
    )


def _spell(told: Mapping[str, Any]) -> bytes:
    return bytes(told["bytes"]) if told.get("bytes") else told["token"].encode("utf-8", "surrogatepass")


def _read_logarithm(told: Mapping[str, Any]) -> float:
    value = float(told["logprob"])
    if math.isnan(value):
        raise ValueError("logprob")
    return min(max(value, LEAST), 0.0)


def malformed(server: str) -> ModelError:
    """What to raise where something came that is no answer."""
    return ModelError(f"{server} sent something that is no answer of a chat API; check the address")
