"""What people write about an answer: trimmed, and of a length that a row can hold."""

from medvqa.errors import ReviewError
from medvqa.types import ReviewVerdict

MAX_TEXT_CHARACTERS = 5000
"""Of a review's text, of what a signature means, of an addendum."""


def clean(text: str | None, name: str) -> str | None:
    """The text without space around it; None where nothing is left.

    Raises:
        ReviewError: If it is too long; `name` says what it is.
    """
    if text is None or not text.strip():
        return None
    if len(text) > MAX_TEXT_CHARACTERS:
        raise ReviewError(f"{name} has {len(text)} characters; shorten it to {MAX_TEXT_CHARACTERS} at most")
    return text.strip()


def clean_reason(text: str | None, verdict: ReviewVerdict) -> str | None:
    """The text that goes with a verdict; None where there is none, as only agreement may have it.

    Raises:
        ReviewError: If it is too long, or missing where the verdict needs one.
    """
    text = clean(text, "the text of a review")
    if text is None and verdict != "agree":
        raise ReviewError(f"to {verdict} an answer, say in a text what is right or why; nothing was recorded")
    return text
