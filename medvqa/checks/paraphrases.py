"""Other wordings of a question that mean the same, by rules on its form alone.

A rule moves the question's words or adds words that say nothing. Sides, findings and negations stay as they
are: a question with a negation, or of several sentences, keeps its order of words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

COUNT = 12
"""Paraphrases of every question."""

_IMAGE = (
    r"(?P<image>(?:this|the) (?:[\w-]+ ){0,2}"
    r"(?:image|picture|scan|study|film|radiograph|x-ray|ultrasound|sonogram|mri|ct))"
)
_HERE = re.compile(rf" (?:in|on) {_IMAGE}$", re.IGNORECASE)
_FIXED = re.compile(
    r"\b(?:no|not|none|never|nor|neither|without|absent|absence|\w+n['’]t)\b|[.?!;:]\s", re.IGNORECASE
)
_SEEN = r"(?:shown|seen|visible|present|depicted|demonstrated)"
_PRESENT = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?:is|are) there (?P<what>.+)",
        r"(?:can|do) you see (?P<what>.+)",
        rf"does {_IMAGE} show (?P<what>.+)",
        rf"(?:is|are) (?P<what>.+?) {_SEEN}(?P<place>(?: (?:in|on) .+)?)",
    )
)
"""Whether something is there."""
_PLACE = re.compile(r"where (?P<verb>is|are) (?P<what>(?:the|a|an|any) .+?)(?: located)?", re.IGNORECASE)
_LOCATE = re.compile(r"locate (?P<what>(?:the|a|an|any) .+)", re.IGNORECASE)
_WHICH = re.compile(
    r"(?P<before>(?:(?:on|in|at|from|of) )?)(?P<word>what|which)"
    r"(?= (?!is\b|are\b|was\b|were\b|do\b|does\b|did\b|of\b|can\b|could\b|will\b|would\b|should\b)\w)",
    re.IGNORECASE,
)
"""Before a noun, either word will do."""
_SYNONYM = re.compile(r"\b(?:is|are) (?P<seen>shown|seen|visible|depicted)\b", re.IGNORECASE)


def paraphrase(question: str) -> tuple[str, ...]:
    """`COUNT` wordings that mean the same as `question`: other forms of it first, then neutral changes.

    They differ from the question and from each other, and depend on nothing but the question.

    Args:
        question: On one line, not empty; see `medvqa.prompts.clean_question`.
    """
    stem = question.rstrip(" ?.!") or question
    forms = () if _FIXED.search(stem) else (f"{form}?" for form in _reform(stem))
    # A dict keeps the order, and each wording once.
    wordings = dict.fromkeys([*forms, *_neutral(question, stem)])
    return tuple(wording for wording in wordings if wording != question)[:COUNT]


def _reform(stem: str) -> Iterator[str]:
    """The same question in another form."""
    for pattern in _PRESENT:
        if match := pattern.fullmatch(stem):
            yield from _ask_presence(**match.groupdict())
            return
    if match := _PLACE.fullmatch(stem) or _LOCATE.fullmatch(stem):
        verb = match.groupdict().get("verb") or "is"
        what, image = _split(match["what"])
        yield f"In which part of {image or 'the image'} {verb.lower()} {what}"
        yield f"Where do you see {match['what']}"
        return
    if match := _WHICH.match(stem):
        word = "what" if match["word"].lower() == "which" else "which"
        yield _capital(match["before"] + word) + stem[match.end() :]
    if match := _SYNONYM.search(stem):
        seen = "visible" if match["seen"].lower() != "visible" else "shown"
        yield stem[: match.start("seen")] + seen + stem[match.end("seen") :]


def _ask_presence(what: str, image: str | None = None, place: str | None = None) -> Iterator[str]:
    whole = what + (place or (f" in {image}" if image else ""))
    shown, where = _split(whole)
    yield f"Can you see {whole}"
    yield f"Does {where or 'this image'} show {shown}"
    yield f"Do you see {whole}"


def _split(what: str) -> tuple[str, str | None]:
    """What is asked for, and the image in which, where that is said last."""
    match = _HERE.search(what)
    return (what[: match.start()], match["image"]) if match else (what, None)


def _neutral(question: str, stem: str) -> Iterator[str]:
    """The same words, asked more politely, without the mark at the end, in another case."""
    first = question.split()[0]
    # An abbreviation such as MRI keeps its letters.
    lower = question[0].lower() + question[1:] if first[1:] == first[1:].lower() else question
    yield f"Please tell me: {lower}"
    yield stem if stem != question else f"{question}?"
    yield lower if lower != question else _capital(question)
    yield f"Question: {question}"
    yield f"Q: {question}"
    yield f"{stem}."
    yield lower.rstrip(" ?.!") or lower
    yield f"In this image: {lower}"
    yield f"Please look: {lower}"
    yield f"Tell me: {lower}"
    yield f"Please answer: {lower}"
    yield f"One question: {lower}"
    yield f"Based on this image: {lower}"
    yield f"The question is: {lower}"
    yield f"Please answer this: {lower}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
