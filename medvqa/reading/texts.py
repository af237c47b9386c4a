"""What people write about an answer: trimmed, and of a length that a row can hold."""

from medvqa.errors import ReviewError

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
