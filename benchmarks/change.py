"""How often a comparison with a prior is right, on pairs of phantoms whose change is known.

    python benchmarks/change.py [--quick]

A nodule that is new, one that is gone, another phantom without a nodule, the same nodule under other noise;
the last two are unchanged. The last line is JSON: the share of right labels of each (guessing would reach a
third), and whether swapping every pair swapped its answer.
"""

import argparse
import json

import numpy as np

from medvqa.models.loading import load_model
from medvqa.simulation import insert_nodule, phantom, place_nodule
from medvqa.tasks.comparing import compare
from medvqa.tasks.results import Comparison
from medvqa.types import NOBODY, Image

FINDING = "a nodule"
SWAPPED = {"better": "worse", "worse": "better", "unchanged": "unchanged"}


def shown(pixels: np.ndarray) -> Image:
    return Image(ref=NOBODY, pixels=np.asarray(pixels, dtype=np.float32), modality="MR")


def make_pairs(count: int, rng: np.random.Generator) -> list[tuple[str, str, Image, Image]]:
    """Kind, right label, current and prior image."""
    pairs: list[tuple[str, str, Image, Image]] = []
    for number in range(count):
        organ = ("brain", "chest", "breast")[number % 3]
        bare, other = (phantom(organ, rng, shape=(240, 216)) for _ in range(2))
        with_nodule = insert_nodule(bare, place_nodule(bare, rng))
        noisy = np.clip(with_nodule + rng.normal(0, 0.01, bare.shape), 0, 1)
        images = {
            "bare": shown(bare),
            "other": shown(other),
            "nodule": shown(with_nodule),
            "noisy": shown(noisy),
        }
        pairs += [
            ("new", "worse", images["nodule"], images["bare"]),
            ("gone", "better", images["bare"], images["nodule"]),
            ("none", "unchanged", images["other"], images["bare"]),
            ("same", "unchanged", images["noisy"], images["nodule"]),
        ]
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="6 phantoms instead of 60")
    pairs = make_pairs(6 if parser.parse_args().quick else 60, np.random.default_rng(11))
    model = load_model()
    right: dict[str, list[bool]] = {}
    swapped = True
    for kind, label, current, prior in pairs:
        compared, turned = (compare(model, *two, FINDING) for two in ((current, prior), (prior, current)))
        right.setdefault(kind, []).append(compared.label == label)
        back = turn_back(turned)
        swapped &= back == compared.model_dump()
    figures = {kind: round(float(np.mean(found)), 3) for kind, found in right.items()}
    print(f"{len(pairs)} pairs: {figures}; swapped exactly: {swapped}; guessing: 0.333")
    print(json.dumps({**figures, "swaps_exactly": swapped}))


def turn_back(turned: Comparison) -> dict[str, object]:
    """What the answer to the swapped pair says of the pair itself."""
    described = turned.model_dump()
    described |= {"better": turned.worse, "worse": turned.better, "change": -turned.change}
    return described | {"label": SWAPPED[turned.label]}


if __name__ == "__main__":
    main()
