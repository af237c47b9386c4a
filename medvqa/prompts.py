"""How a question becomes the chat messages that a processor's template renders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medvqa.errors import QuestionError

PROMPT_VERSION = "1"
"""Changes with every change to what the model is told; each answer records it."""

MAX_QUESTION_CHARACTERS = 500


def clean_question(question: str) -> str:
    """Return the question on one line.

    Raises:
        QuestionError: If it is empty, longer than `MAX_QUESTION_CHARACTERS` or not Unicode text.
    """
    cleaned = " ".join(question.split())
    if not cleaned:
        raise QuestionError("the question is empty; ask something about the image")
    if len(cleaned) > MAX_QUESTION_CHARACTERS:
        raise QuestionError(
            f"the question has {len(cleaned)} characters; shorten it to {MAX_QUESTION_CHARACTERS} at most"
        )
    if any("\ud800" <= character <= "\udfff" for character in cleaned):
        raise QuestionError("the question holds bytes that are not UTF-8; type it anew")
    return cleaned


def words_alone(words: str) -> list[dict[str, Any]]:
    """A user's turn without an image."""
    return [{"role": "user", "content": [{"type": "text", "text": words}]}]


def chat_messages(question: str, *, before: Sequence[tuple[str, str]] = ()) -> list[dict[str, Any]]:
    """A user's turn: the image first, so that its encoding can serve every later question.

    Args:
        question: What is asked.
        before: Questions about earlier images with their answers, as turns before it.
    """
    turns: list[dict[str, Any]] = []
    for asked, answer in (*before, (question, None)):
        turns.append({"role": "user", "content": [{"type": "image"}, {"type": "text", "text": asked}]})
        if answer is not None:
            turns.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    return turns
