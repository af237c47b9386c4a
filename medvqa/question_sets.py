"""Question sets: what is asked about every study of a batch, from a file."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medvqa.errors import BatchError, QuestionError
from medvqa.prompts import clean_question
from medvqa.types import HeatmapMethod

if TYPE_CHECKING:
    from medvqa.types import Study

Which: TypeAlias = Literal["middle", "all"] | Annotated[int, Field(ge=1)]
"""Images of a study: the one in the middle, all, or one by its number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetQuestion:
    """One question of a set, and which images of a study it is asked about."""

    text: str
    images: Which = "middle"
    modalities: tuple[str, ...] = ()
    """Modality (0008,0060) of the images it is for; empty for all."""
    heatmap: HeatmapMethod | None = None
    """How its answer is explained; None for not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSet:
    """What is asked about every study."""

    questions: tuple[SetQuestion, ...]

    @property
    def sha256(self) -> str:
        """Of the questions as JSON: the same questions in another file are the same set."""
        return hashlib.sha256(json.dumps([asdict(one) for one in self.questions]).encode()).hexdigest()


def read_question_set(path: str | Path) -> QuestionSet:
    """Read a question set from a file.

    A `.toml` file has a table `[[question]]` for each, with `text` and, where wanted, `images` (`middle`,
    `all` or a number from 1), `modalities` and `heatmap`. Any other file is text with one question a line,
    each asked about the image in the middle; empty lines and those that begin with # are skipped.

    Raises:
        BatchError: If the file cannot be read, holds no question or says something that is not understood.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BatchError(
            f"the question set {path} cannot be read; name a text file with a question a line, or a .toml"
        ) from error
    questions = tuple(_read_toml(text, path) if path.suffix.lower() == ".toml" else _read_lines(text, path))
    if not questions:
        raise BatchError(f"the question set {path} holds no question; write one a line")
    return QuestionSet(questions=questions)


def images_asked_about(question: SetQuestion, study: Study) -> range | tuple[int, ...]:
    """Numbers, from 1, of the images of a study that a question is asked about.

    None where the study has no image of that number or of those modalities.
    """
    modalities = {place: series.modality for series in study.series for place in series.images}
    chosen = [
        place + 1
        for place in range(len(study.images))
        if not question.modalities or modalities[place] in question.modalities
    ]
    if question.images == "all":
        return tuple(chosen)
    if question.images == "middle":
        return (chosen[len(chosen) // 2],) if chosen else ()
    return (question.images,) if question.images in chosen else ()


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    text: str
    images: Which = "middle"
    modalities: list[str] = []
    heatmap: HeatmapMethod | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    question: list[_Table] = []


def _read_toml(text: str, path: Path) -> Iterator[SetQuestion]:
    try:
        tables = _File.model_validate(tomllib.loads(text)).question
    except tomllib.TOMLDecodeError as error:
        raise BatchError(f"the question set {path} is not valid TOML: {error}; correct it") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BatchError(
            f"the question set {path} is wrong at {place}: {first['msg']}; a [[question]] has text, images "
            f"(middle, all or a number), modalities, and heatmap ({', '.join(get_args(HeatmapMethod))})"
        ) from error
    for number, table in enumerate(tables, 1):
        yield SetQuestion(
            text=_cleaned(table.text, f"question {number} of {path}"),
            images=table.images,
            modalities=tuple(table.modalities),
            heatmap=table.heatmap,
        )


def _read_lines(text: str, path: Path) -> Iterator[SetQuestion]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield SetQuestion(text=_cleaned(line, f"line {number} of {path}"))


def _cleaned(text: str, place: str) -> str:
    try:
        return clean_question(text)
    except QuestionError as error:
        raise BatchError(f"{place}: {error}") from error
