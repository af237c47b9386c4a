"""Looking up similar cases: the index's search beside numpy, which multiplies all vectors and sorts them.

    python benchmarks/similar.py [--quick]

Each look-up is timed in turn with numpy's, on the same vectors in memory, with one thread each; first it is
checked that both find the same images with the same cosines. Then what it costs to open an index from disk
and to add a study of 20 images to it, and its bytes on disk. The last line is JSON: named ratios and figures.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from medvqa.retrieval.index import CaseIndex
from medvqa.types import ImageRef, ModelIdentity

WIDTH, WANTED, STUDY = 512, 64, 20
MODEL = ModelIdentity(
    name="none",
    model_type="clip",
    weights_sha256="0" * 64,
    tokenizer_sha256="0" * 64,
    adapter=None,
    adapter_sha256=None,
    prompt_version="1",
    parameters={},
    libraries={},
)


def refs(first: int, count: int) -> list[ImageRef]:
    """Images in studies of 20."""
    return [
        ImageRef(
            study_instance_uid=f"1.2.{number // STUDY}",
            series_instance_uid=f"1.2.{number // STUDY}.1",
            sop_instance_uid=f"1.2.{number // STUDY}.1.{number}",
            frame_number=1,
            pixel_sha256=f"{number:064x}",
            file_sha256=f"{number:064x}",
        )
        for number in range(first, first + count)
    ]


def unit(rng: np.random.Generator, count: int) -> np.ndarray:
    """Unit vectors, shape (count, WIDTH)."""
    drawn = rng.standard_normal((count, WIDTH), dtype=np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def brute_force(held: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The peer: places and cosines of the closest vectors."""
    cosines = held @ wanted
    places = np.argpartition(-cosines, WANTED)[:WANTED]
    places = places[np.argsort(-cosines[places])]
    return places, cosines[places]


def seconds(task: object, *arguments: object) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    task(*arguments)  # type: ignore[operator]
    return time.perf_counter() - started


def measure(folder: Path, size: int, looks: int) -> dict[str, float]:
    """Figures of an index of so many images."""
    rng = np.random.default_rng(size)
    held, images = unit(rng, size), refs(0, size)
    index = CaseIndex(folder, MODEL, create=True)
    index.add(images, held)
    agreed, ours, theirs, apart = 0, [], [], []
    for wanted in unit(rng, looks):
        places, cosines = brute_force(held, wanted)
        found = index.search(wanted, WANTED)
        agreed += [hit.image for hit in found] == [images[place] for place in places]
        apart.append(np.abs(np.array([hit.similarity for hit in found]) - cosines).max())
        ours.append(seconds(index.search, wanted, WANTED))
        theirs.append(seconds(brute_force, held, wanted))
    opening = seconds(CaseIndex, folder, MODEL)
    adding = seconds(index.add, refs(size, STUDY), unit(rng, STUDY))
    bytes_on_disk = sum(path.stat().st_size for path in folder.iterdir())
    search, peer = statistics.median(ours), statistics.median(theirs)
    print(
        f"{size:,} images: look-up {search * 1000:.2f} ms, numpy {peer * 1000:.2f} ms; same images in "
        f"{agreed} of {looks}, cosines within {max(apart):.1e}; open {opening:.2f} s, "
        f"add a study {adding:.2f} s"
    )
    return {
        f"numpy_to_index_time_{size}": round(peer / search, 3),
        f"same_images_{size}": agreed / looks,
        f"largest_difference_of_cosines_{size}": float(f"{max(apart):.1e}"),
        f"open_s_{size}": round(opening, 3),
        f"add_study_s_{size}": round(adding, 3),
        f"bytes_an_image_{size}": round(bytes_on_disk / (size + STUDY)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="up to 10,000 images, fewer look-ups")
    given = parser.parse_args()
    figures: dict[str, float] = {}
    for size in (1_000, 10_000) if given.quick else (1_000, 10_000, 100_000):
        with tempfile.TemporaryDirectory() as name:
            figures |= measure(Path(name) / "index", size, 20 if given.quick else 50)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
