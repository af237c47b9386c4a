"""The worklist: which studies lie in a folder, and how far each has come."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from medvqa.errors import SettingsError
from medvqa.reading.stories import read_stories

if TYPE_CHECKING:
    from pathlib import Path

    from audit import Log
    from medvqa.reading.stories import Story
    from medvqa.types import Study

Progress: TypeAlias = Literal["unread", "in review", "signed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One study, and the answers about it."""

    study: Study
    """Its headers were read, and no pixels."""
    stories: tuple[Story, ...]

    @property
    def modalities(self) -> tuple[str, ...]:
        """Of its series, without repetition."""
        return tuple(Counter(series.modality for series in self.study.series))

    @property
    def unsigned(self) -> int:
        """Answers that nobody signed."""
        return sum(not story.signatures for story in self.stories)

    @property
    def progress(self) -> Progress:
        """`unread` before the first answer, `signed` once every answer is."""
        if not self.stories:
            return "unread"
        return "in review" if self.unsigned else "signed"


def find_studies(folder: Path) -> list[Path]:
    """Files and folders right in a folder, each of which may hold a study, by name; hidden ones left out.

    Raises:
        SettingsError: If the folder cannot be listed.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise SettingsError(
            f"the folder of studies cannot be listed: {error.strerror}; correct studies in medvqa.toml"
        ) from error


def list_study(log: Log, study: Study) -> Listed:
    """A study with what happened to the answers about it.

    Raises:
        AuditError: If the trail cannot be read.
    """
    return Listed(study=study, stories=tuple(read_stories(log, study=study.study_instance_uid)))
