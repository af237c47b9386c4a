"""What lies open on one person's screen, kept from run to run of the pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

    from medvqa import Answer, Study
    from medvqa.types import HeatmapMethod
    from ui.asking import Submission
    from ui.stacks import Served


@dataclass(slots=True, kw_only=True)
class Desk:
    """The open study, the question on its way, and the answers given since it was opened."""

    study: Study
    served: Served
    """What the viewer may fetch of it."""
    banner: str
    """Whose study it is, by pseudonym."""
    uploaded: TemporaryDirectory[str] | None = None
    """Holds uploaded files; deleted with the desk."""
    submission: Submission | None = None
    problem: str | None = None
    """What came in place of the last answer."""
    answers: dict[str, Answer] = field(default_factory=dict[str, "Answer"])
    """By id; the trail has those of other days too, but no map of them."""
    shown: str | None = None
    """Id of the answer whose map the viewer can show."""
    seen: dict[str, set[int]] = field(default_factory=dict[str, "set[int]"])
    """Images that were on screen, from 1, by Series Instance UID."""

    def lay(self, answer: Answer) -> None:
        """Keep an answer, and turn the viewer to its map."""
        self.answers[answer.answer_id] = answer
        self.shown = answer.answer_id
        if answer.heatmap is not None:
            self.served.heatmaps[answer.answer_id] = answer.heatmap

    def has_map(self, answer_id: str, method: HeatmapMethod) -> bool:
        """Whether that map was made since the study was opened."""
        made = self.served.heatmaps.get(answer_id)
        return made is not None and made.method == method

    def mapped(self) -> Answer | None:
        """The answer whose map the viewer can show: none without a map, none whose map is mere chance."""
        answer = None if self.shown is None else self.answers.get(self.shown)
        if answer is None or answer.heatmap is None:
            return None
        grade = answer.heatmap.grade
        return None if grade is not None and grade.level == "chance" else answer
