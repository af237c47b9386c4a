"""What lies open on one person's screen, kept from run to run of the page."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from medvqa import Answer, Image, Study, read_study
from medvqa.types import WindowName


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One image as it stands on the screen."""

    image: Image
    number: int
    """From 1, as the slider counts."""
    window: WindowName | None
    """The CT window chosen; None for the rule of the modality."""

    def is_picture_of(self, other: Shown) -> bool:
        """Whether both show the same frame in the same window: by reference, for positions can change."""
        return self.image.ref == other.image.ref and self.window == other.window


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One question that was asked, once: about what, and the answer to come."""

    shown: Shown
    pending: Future[Answer]


@dataclass(slots=True, kw_only=True)
class Desk:
    """The open study and the last question about it."""

    path: Path
    study: Study
    """Shown by the rule of its modality."""
    uploaded: TemporaryDirectory[str] | None = None
    """Holds uploaded files; deleted with the desk."""
    submission: Submission | None = None
    _windowed: dict[WindowName, Study] = field(default_factory=dict[WindowName, Study])

    @property
    def name(self) -> str:
        """The study's name on screen: eight digits of a digest of its Study Instance UID (0020,000D)."""
        return hashlib.sha256(self.study.study_instance_uid.encode()).hexdigest()[:8]

    def in_window(self, window: WindowName | None) -> Study:
        """The study in a CT window; its headers are read once a window."""
        if window is None:
            return self.study
        if window not in self._windowed:
            self._windowed[window] = read_study(self.path, window=window)
        return self._windowed[window]
