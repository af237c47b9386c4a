"""Finding text that is burned into the pixels of a study, by OCR.

Frames of a series that have the same size are a stack. In a short one each frame is read, and what is found
in an instance is masked in all of its frames. A long one is read as its brightest and its darkest projection
and a sample of frames, and what is found in any is masked in all: text that stands at one place in many
frames shows in a projection, text of a single frame may not.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from medvqa.deidentification.masking import Region
from medvqa.dicom.pixels import decode_frame, open_instance
from medvqa.errors import DeidentificationError, PixelError
from medvqa.imaging import present
from medvqa.tasks import text_reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from medvqa.dicom.instances import Instance
    from medvqa.dicom.sources import Limits
    from medvqa.tasks.results import TextRegion
    from medvqa.types import Frame, Image

LONGEST_READ = 32
"""Frames of the longest stack in which each is read."""
SAMPLES = 12
"""Frames of a longer one that are read besides its projections, evenly spread."""
ROUNDS = 4
"""How often an image is read, each time with what was found before painted over, until nothing is."""
MARGIN = 0.3
"""Of a line's height, by which its box grows on each side: letters reach over the boxes of the engine."""
LARGEST_LETTER = 0.2
"""Of an image's rows: a line taller than that is text only if it holds `SHORTEST_TALL` characters."""
SHORTEST_TALL = 4

_STILL_THERE = "shows text that could still be read after it was painted over"
_NONE_FOUND = "says that annotation is burned in (0028,0301), but none was found"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundText:
    """What was found in one instance."""

    regions: tuple[Region, ...] = ()
    """To be masked in all of its frames."""
    frames: int
    frames_read: int = 0
    """How many were read by themselves, not only in a projection."""
    problem: str | None = None
    """Why the instance cannot be cleaned; it follows the instance's name in a sentence."""

    @property
    def every_frame_read(self) -> bool:
        """Whether each of its frames was read by itself."""
        return self.frames_read == self.frames


def require_ocr() -> None:
    """Raise where there is no OCR.

    Raises:
        DeidentificationError: If RapidOCR is not installed.
    """
    if not text_reading.is_available():
        raise DeidentificationError(
            "to find burned-in text takes RapidOCR, which is not installed; install it with pip install "
            "'medvqa[deidentify]'"
        )


def find_text(
    instances: Iterable[Instance], *, limits: Limits, on_instance: Callable[[], None]
) -> dict[str, FoundText]:
    """Look through the frames of a study for text.

    Side markers, single letters or words that say nothing but a side, are left where they are.

    Args:
        instances: Images, of one or several series.
        limits: For decoding.
        on_instance: Called once for each instance that was looked through.

    Returns:
        What was found, by SOP Instance UID of the source.
    """
    found: dict[str, FoundText] = {}
    for stack in _stacks(instances):
        frames = sum(len(one.places) for one in stack)
        by_itself = frames <= LONGEST_READ or _says_burned_in(stack[0])
        results = _read_each(stack, limits) if by_itself else _read_projected(stack, frames, limits)
        for instance, text in results:
            none_found = _says_burned_in(instance) and not text.regions and text.problem is None
            found[instance.sop_instance_uid] = replace(text, problem=_NONE_FOUND) if none_found else text
            on_instance()
    return found


def _stacks(instances: Iterable[Instance]) -> Iterator[list[Instance]]:
    """Instances of one series and size; one that says that annotation is burned in is a stack of its own."""
    stacks: dict[tuple[object, ...], list[Instance]] = defaultdict(list)
    for one in instances:
        own = one.sop_instance_uid if _says_burned_in(one) else None
        size = (one.first_frame.get("Rows"), one.first_frame.get("Columns"))
        stacks[(one.series_instance_uid, *size, own)].append(one)
    yield from stacks.values()


def _read_each(stack: Sequence[Instance], limits: Limits) -> Iterator[tuple[Instance, FoundText]]:
    for instance in stack:
        count, read, regions, problem = len(instance.places), 0, set[Region](), None
        try:
            for frame in _frames(instance, limits):
                new, clear = read_until_clear(frame)
                regions |= new
                read += 1
                problem = problem if clear else _STILL_THERE
        except PixelError:
            problem = "has pixel data that cannot be decoded"
        yield (
            instance,
            FoundText(regions=tuple(sorted(regions)), frames=count, frames_read=read, problem=problem),
        )


def _read_projected(
    stack: Sequence[Instance], frames: int, limits: Limits
) -> Iterator[tuple[Instance, FoundText]]:
    sampled = {round(at) for at in np.linspace(0, frames - 1, SAMPLES)}
    regions, read, problems = set[Region](), defaultdict[str, int](int), dict[str, str]()
    projections: dict[str, Image] = {}
    at = 0
    for instance in stack:
        try:
            for number, frame in enumerate(_frames(instance, limits), at):
                _project(projections, present(frame))
                if number in sampled:
                    new, clear = read_until_clear(frame)
                    regions |= new
                    read[instance.sop_instance_uid] += 1
                    if not clear:
                        problems[instance.sop_instance_uid] = _STILL_THERE
        except PixelError:
            problems[instance.sop_instance_uid] = "has pixel data that cannot be decoded"
        at += len(instance.places)
    for projection in projections.values():
        regions |= _read(projection)
    for instance in stack:
        uid = instance.sop_instance_uid
        yield (
            instance,
            FoundText(
                regions=tuple(sorted(regions)),
                frames=len(instance.places),
                frames_read=read[uid],
                problem=problems.get(uid),
            ),
        )


def read_until_clear(frame: Frame) -> tuple[set[Region], bool]:
    """Read a frame again and again, with what was found painted over, until nothing is found.

    Each time it is shown anew: without a bright line, what was faint beside it may be seen.

    Returns:
        Where text is, side markers left out, and whether nothing was found in the end.
    """
    regions: set[Region] = set()
    for _ in range(ROUNDS):
        new = _read(present(frame))
        if not new:
            return regions, True
        regions |= new
        values = frame.values.copy()
        for region in new:
            values[region.top : region.bottom, region.left : region.right] = values.min()
        frame = replace(frame, values=values)
    return regions, False


def _read(image: Image) -> set[Region]:
    """Where the engine reads a line that is no side marker."""
    lines = text_reading.read_text(image).regions
    return {
        _region(one, image.shape) for one in lines if one.kind != "side marker" and _may_be_text(one, image)
    }


def _may_be_text(found: TextRegion, image: Image) -> bool:
    """Whether it is not a round head that is taken for a 0: no annotation is that large and that short."""
    tall = found.bottom - found.top > LARGEST_LETTER * image.shape[0]
    return not (tall and len(found.text) < SHORTEST_TALL)


def _region(found: TextRegion, shape: tuple[int, int]) -> Region:
    """The box around a line, with a margin, in whole pixels of the image."""
    margin = 1 + MARGIN * min(found.bottom - found.top, found.right - found.left)
    return Region(
        top=max(0, math.floor(found.top - margin)),
        bottom=min(shape[0], math.ceil(found.bottom + margin)),
        left=max(0, math.floor(found.left - margin)),
        right=min(shape[1], math.ceil(found.right + margin)),
    )


def _frames(instance: Instance, limits: Limits) -> Iterator[Frame]:
    opened = open_instance(instance, limits=limits)
    for number in range(1, len(instance.places) + 1):
        yield decode_frame(opened, number)


def _project(projections: dict[str, Image], image: Image) -> None:
    """Add a frame to the brightest and the darkest projection of its stack."""
    for name, combine in (("brightest", np.maximum), ("darkest", np.minimum)):
        so_far = projections.get(name, image)
        projections[name] = replace(image, pixels=combine(so_far.pixels, image.pixels))


def _says_burned_in(instance: Instance) -> bool:
    return str(instance.first_frame.get("BurnedInAnnotation") or "").strip().upper() == "YES"
