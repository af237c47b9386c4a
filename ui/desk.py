"""What lies open on one person's screen, kept from run to run of the pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from tempfile import TemporaryDirectory

    from medvqa import Study
    from medvqa.retrieval.similar import Similar
    from medvqa.types import HeatmapMethod
    from ui.priors import Prior
    from ui.stacks import Served
    from ui.waiting import Came, Submission


@dataclass(slots=True, kw_only=True)
class Desk:
    """The open study, the work on its way, and the maps made since it was opened."""

    study: Study
    served: Served
    """What the viewer may fetch of it."""
    banner: str
    """Whose study it is, by pseudonym."""
    priors: Sequence[Prior] = ()
    """Other studies of the patient that can be looked at beside this one."""
    uploaded: TemporaryDirectory[str] | None = None
    """Holds uploaded files; deleted with the desk."""
    submission: Submission | None = None
    problem: str | None = None
    """What came in place of the last answer."""
    came: dict[str, Came] = field(default_factory=dict[str, "Came"])
    """Last of each answer, by its id; the trail has answers of other days too, but no map of them."""
    similar: Similar | None = None
    """What the last look-up of similar cases found."""
    similar_to: str = ""
    """What it looked for, for a person."""
    shown: str | None = None
    """Id of the answer whose map the viewer can show."""
    seen: dict[str, set[int]] = field(default_factory=dict[str, "set[int]"])
    """Images that were on screen, from 1, by Series Instance UID."""

    def lay(self, came: Came) -> None:
        """Keep what came of work on the model, and turn the viewer to its map."""
        self.shown = came.answer_id
        self.came[came.answer_id] = came
        if came.heatmap is not None:
            self.served.heatmaps[came.answer_id] = came.heatmap

    def has_map(self, answer_id: str, method: HeatmapMethod) -> bool:
        """Whether the last map of that answer was made by that method, of the whole answer."""
        made = self.served.heatmaps.get(answer_id)
        return made is not None and made.method == method and made.part is None

    def mapped(self) -> Came | None:
        """The answer whose map the viewer can show: none without a map, none whose map is mere chance."""
        came = None if self.shown is None else self.came.get(self.shown)
        if came is None or came.heatmap is None:
            return None
        grade = came.heatmap.grade
        return None if grade is not None and grade.level == "chance" else came
