"""Words that are burned into images, read by RapidOCR and by its peer Tesseract, on phantoms with known text.

    python benchmarks/ocr.py [--quick]

Two phantoms of three carry a name, an identifier with a date, an exposure value and a side marker; the third
none, to count what is read where nothing is written. The last line is JSON: recall and precision of words,
recall of side markers and seconds of RapidOCR, and each as a ratio to Tesseract's where that is installed.
"""

import argparse
import csv
import io
import json
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from medvqa.imaging import to_uint8
from medvqa.simulation import phantom
from medvqa.tasks.side_markers import kind_of
from medvqa.tasks.text_reading import read_text
from medvqa.types import NOBODY, Image

MARKERS = ("L", "R", "LINKS", "RECHTS", "LEFT", "RIGHT")
ORGANS = ("chest", "brain", "breast")
SHAPES = ((512, 512), (480, 640), (900, 760), (2000, 1700))
LETTERS = (12, 14, 18, 24)
"""Heights of the small print, in pixels."""
LEAST_CONFIDENCE = 40.0
"""Of a word of Tesseract, of 100."""


@dataclass(frozen=True)
class Case:
    image: Image
    words: tuple[str, ...]


def make_cases(count: int) -> list[Case]:
    """Of three, two carry text."""
    rng = np.random.default_rng(0)
    return [make_case(number, rng) for number in range(count)]


def make_case(number: int, rng: np.random.Generator) -> Case:
    shape = SHAPES[number % len(SHAPES)]
    pixels = phantom(ORGANS[number % len(ORGANS)], rng, shape=shape)
    if number % 3 == 2:
        return Case(shown(pixels), ())
    picture = PillowImage.fromarray(np.rint(pixels * 255).astype(np.uint8))
    drawing, words = ImageDraw.Draw(picture), []
    scale = max(shape) / 640
    size = round(LETTERS[int(rng.integers(len(LETTERS)))] * max(1.0, scale))
    small, large = ImageFont.load_default(size), ImageFont.load_default(round(40 * scale))
    marker = MARKERS[number % len(MARKERS)]
    ink = 255 if number % 2 else 230
    year, identifier = int(rng.integers(1930, 2010)), int(rng.integers(10000, 99999))
    for text, place, font, anchor in (
        ("DOE^JANE", (8, 8), small, "la"),
        (f"ID {identifier} {year}-03-12", (8, 12 + size), small, "la"),
        (f"kVp {int(rng.integers(60, 140))}", (shape[1] - 8, 8), small, "ra"),
        ("AP SUPINE", (8, shape[0] - 8), small, "ld"),
        (
            marker,
            (shape[1] * (0.02 if marker[0] == "R" else 0.98), shape[0] * 0.2),
            large,
            "la" if marker[0] == "R" else "ra",
        ),
    ):
        drawing.text(place, text, fill=ink, font=font, anchor=anchor)
        words += text.split()
    return Case(shown(np.asarray(picture, dtype=np.float32) / 255), tuple(words))


def shown(pixels: np.ndarray) -> Image:
    return Image(ref=NOBODY, pixels=pixels.astype(np.float32), modality="DX")


def by_rapidocr(image: Image) -> list[str]:
    return [word for region in read_text(image).regions for word in region.text.split()]


def by_tesseract(image: Image) -> list[str]:
    written = io.BytesIO()
    PillowImage.fromarray(to_uint8(image)).save(written, format="PNG")
    command = ["tesseract", "stdin", "stdout", "--psm", "11", "tsv"]  # sparse text
    read = subprocess.run(command, input=written.getvalue(), capture_output=True, check=True).stdout.decode()
    rows = csv.DictReader(io.StringIO(read), delimiter="\t", quoting=csv.QUOTE_NONE)
    return [
        row["text"] for row in rows if (row["text"] or "").strip() and float(row["conf"]) >= LEAST_CONFIDENCE
    ]


def measure(read: Callable[[Image], list[str]], cases: list[Case]) -> dict[str, float]:
    """Recall and precision of words, recall of side markers, and seconds an image."""
    found = written = hits = markers = marked = 0
    started = time.perf_counter()
    for case in cases:
        words = read(case.image)
        same = Counter(words) & Counter(case.words)
        hits, found, written = hits + same.total(), found + len(words), written + len(case.words)
        marker = [word for word in case.words if kind_of(word)[1]]
        marked, markers = marked + len(marker), markers + sum(word in words for word in marker)
    return {
        "recall": hits / written,
        "precision": hits / max(found, 1),
        "side_markers": markers / marked,
        "seconds": (time.perf_counter() - started) / len(cases),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="12 images instead of 24")
    cases = make_cases(12 if parser.parse_args().quick else 24)
    read_text(cases[0].image)  # loads the models
    engines = {"rapidocr": by_rapidocr}
    if shutil.which("tesseract"):
        engines["tesseract"] = by_tesseract
    figures = {name: measure(read, cases) for name, read in engines.items()}
    for name, measured in figures.items():
        print(name, ", ".join(f"{what} {value:.3f}" for what, value in measured.items()))
    described: dict[str, object] = {name: round(value, 3) for name, value in figures["rapidocr"].items()}
    if "tesseract" in figures:
        described["to_tesseract"] = {
            name: round(value / max(figures["tesseract"][name], 1e-3), 2)
            for name, value in figures["rapidocr"].items()
        }
    print(json.dumps(described))


if __name__ == "__main__":
    main()
