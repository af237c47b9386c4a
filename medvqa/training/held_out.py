"""Held-out pictures with everything that can be asked about them, as cases."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PillowImage

from medvqa.cases import Case, write_cases
from medvqa.imaging import to_uint8
from medvqa.training.pictures import load_pictures, to_image, with_finding
from medvqa.training.questions import ask_everything

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SIDE = 224
"""Pixels along each edge of the pictures that are asked about; the model's processor makes them smaller."""
MANNERS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"known": {}, "reworded": {"held_out": True}, "chinese": {"language": "zh"}}
)
"""In the wordings of training, in words that training never uses, and in Chinese."""
_OPEN = ("description", "two_part")


def write_held_out(data: Path, folder: Path, *, limit: int | None = None) -> dict[str, Path]:
    """Write the pictures of `data` whose split is `val`, and questions about them in each of `MANNERS`.

    Every picture is asked about as it is, and once more with a simulated finding. Wordings and places are
    drawn from one fixed seed.

    Args:
        data: See `datasets/README.md`.
        folder: Made if need be; holds copies of the pictures, so keep it as private as they are.
        limit: At most so many of the pictures.

    Returns:
        A file of cases for each manner.

    Raises:
        TrainingError: If the data are missing or malformed.
        OSError: If the folder cannot be written to.
    """
    rng = np.random.default_rng(20)
    folder.mkdir(parents=True, exist_ok=True)
    real = load_pictures(data, split="val", side=SIDE)
    asked: dict[str, list[Case]] = {manner: [] for manner in MANNERS}
    for number, index in enumerate(rng.permutation(len(real))[:limit]):
        for name, picture in (("plain", real[index]), ("simulated", with_finding(real[index], rng))):
            file = folder / f"{number:04}-{name}.png"
            PillowImage.fromarray(to_uint8(to_image(picture))).save(file)
            for manner, how in MANNERS.items():
                asked[manner] += [
                    Case(
                        image=file,
                        question=one.question,
                        answer=one.answer,
                        answer_type="open" if one.kind in _OPEN else "closed",
                        kind=one.kind,
                        group=picture.group,
                        split="val",
                        language=str(how.get("language", "en")),
                    )
                    for one in ask_everything(picture.content, rng, **how)
                ]
    files = {manner: folder / f"{manner}.jsonl" for manner in MANNERS}
    for manner, file in files.items():
        write_cases(file, asked[manner])
    return files
