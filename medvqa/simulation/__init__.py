"""Simulated ground truth: phantoms that look a little like three kinds of image, and findings of known place.

Nothing here imitates a disease. A phantom is an anatomy-like picture made of ellipses and noise; a finding is
a drawn shape. They serve training, tests, the demonstration and the measuring of heatmaps, where the truth
must be known to the pixel, and every figure measured on them has to be called simulated.
"""

from medvqa.simulation.findings import Finding, Kind, insert_finding, place_finding
from medvqa.simulation.nodules import Nodule, Side, insert_nodule, place_nodule
from medvqa.simulation.phantoms import Organ, phantom

__all__ = [
    "Finding",
    "Kind",
    "Nodule",
    "Organ",
    "Side",
    "insert_finding",
    "insert_nodule",
    "phantom",
    "place_finding",
    "place_nodule",
]
