"""What lies open on one person's screen, kept from run to run of the pages."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

    from medvqa import Answer, Heatmap, Study
    from medvqa.types import HeatmapMethod, ImageRef
    from ui.asking import Submission
    from ui.stacks import Served


@dataclass(slots=True, kw_only=True)
class Desk:
    """The open study, the question on its way, and the maps that were made of answers."""

    study: Study
    served: Served
    """What the viewer may fetch of it."""
    banner: str
    """Whose study it is, by pseudonym."""
    uploaded: TemporaryDirectory[str] | None = None
    """Holds uploaded files; deleted with the desk."""
    submission: Submission | None = None
    seen: dict[str, set[int]] = field(default_factory=dict[str, "set[int]"])
    """Images that were on screen, from 1, by Series Instance UID."""
    shown: str | None = None
    """Id of the answer whose map the viewer can show."""
    opened: float = field(default_factory=time.monotonic)
    _refs: dict[str, ImageRef] = field(default_factory=dict[str, "ImageRef"])

    def lay(self, answer: Answer) -> None:
        """Keep an answer's map for the viewer."""
        if answer.heatmap is not None:
            self.served.heatmaps[answer.answer_id] = answer.heatmap
            self._refs[answer.answer_id] = answer.image
        self.shown = answer.answer_id

    def show(self, answer_id: str) -> None:
        """Turn the viewer to the map of another answer, where there is one."""
        self.shown = answer_id

    def has_heatmap(self, answer_id: str, method: HeatmapMethod) -> bool:
        """Whether that map was made since the study was opened."""
        made = self.served.heatmaps.get(answer_id)
        return made is not None and made.method == method

    def shown_heatmap(self) -> tuple[str, ImageRef, Heatmap] | None:
        """Where the viewer fetches the map to show, of which image, and the map; none that is mere chance."""
        heatmap = None if self.shown is None else self.served.heatmaps.get(self.shown)
        if heatmap is None or self.shown is None:
            return None
        if heatmap.grade is not None and heatmap.grade.level == "chance":
            return None
        return self.served.source_of(self.shown), self._refs[self.shown], heatmap
