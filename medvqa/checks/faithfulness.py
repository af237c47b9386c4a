"""Whether a heatmap marks what decided the answer: hide what it marks, and see.

Deletion and insertion curves (Petsiuk et al. 2018, "RISE") of the map are compared with those of random maps
and of a map that marks edges. Infidelity (Yeh et al. 2019) is captum's.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import islice, product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from captum.metrics import infidelity

from medvqa.checks.hiding import cell_means, cut, find_edges, measure
from medvqa.heatmaps.overlay import save_reason
from medvqa.heatmaps.targets import ANSWER, scalar_of
from medvqa.models.base import is_open
from medvqa.models.remote import RemoteModel
from medvqa.types import Curves, HeatmapGrade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from medvqa.heatmaps.targets import Target
    from medvqa.models.base import Generation, VisionLanguageModel
    from medvqa.types import Heatmap, HeatmapLevel, Image

FRACTIONS = (0.0, 1 / 32, 1 / 8, 3 / 8, 1.0)
"""Shares of the cells that are hidden or shown: closer together where small findings are hidden."""
RANDOM_MAPS = 20
BETTER_THAN = 0.95
"""Share of the random maps that a map has to beat: of 20, all but one."""
_AT_ONCE = 5
"""Random maps that are measured together; there is no need for more once two were not beaten."""
_ASKED_AT_ONCE = 8
LEAST_CHANGE = 0.02
"""Probability: where hiding cells moves the answer by less, there is nothing for a map to mark."""
MOST_ALIKE = 0.8
"""Rank correlation with maps of the model with random weights, above which no map is graded good."""


def with_grade(
    model: VisionLanguageModel,
    image: Image,
    question: str,
    generation: Generation,
    heatmap: Heatmap,
    *,
    target: Target = ANSWER,
) -> Heatmap:
    """The heatmap with its grade; one no better than chance draws the reason in place of itself.

    Without a grade where a server tells no logprobs: mapping takes 180 requests there, grading up to 700.
    """
    if isinstance(model, RemoteModel) and model.draws:
        why = f"not graded, since likelihoods are estimated by {model.identity.parameters['likelihood']}"
        return replace(heatmap, explained=f"{heatmap.explained}; {why}")
    grade = grade_heatmap(model, image, question, generation, heatmap, target=target)
    if grade.level != "chance":
        return replace(heatmap, grade=grade)
    return replace(heatmap, grade=grade, draw=partial(save_reason, image, grade.reason))


def grade_heatmap(
    model: VisionLanguageModel,
    image: Image,
    question: str,
    generation: Generation,
    heatmap: Heatmap,
    *,
    target: Target = ANSWER,
    seed: int = 0,
) -> HeatmapGrade:
    """Compare a heatmap with random ones, and with edges, by what hiding the marked cells does.

    A random map is the map itself, moved over the image's rim and mirrored: it marks as much, in patches as
    large, elsewhere (Harms et al. 2001 test so in ecology). Maps of independent random cells would be beaten
    for a reason that is not the map's merit: scattered holes do not do what a patch does.

    `good`: beats `BETTER_THAN` of `RANDOM_MAPS` random maps, and edges. `weak`: beats the random maps, but
    not edges, or by a method whose maps outlast random weights (`medvqa.checks.randomisation`). `chance`:
    does not, or hiding cells hardly changes the answer.

    Args:
        model: What answered.
        image: What it was asked about.
        question: What was asked.
        generation: What it answered.
        heatmap: The map to grade.
        target: What the heatmap explains.
        seed: Of the random maps.
    """
    trial = Trial(model, image, probability(model, image, question, generation, target), seed=seed)
    values = cell_means(heatmap.values, trial.cells.edges)
    own, edges = trial.measure([values, cell_means(find_edges(image), trial.cells.edges)])
    random = trial.measure_until_lost(own, _elsewhere(values, trial.rng))
    beaten = float(np.mean([own.gain > one.gain for one in random])) if np.ptp(values) > 0 else 0.0
    calibration = model.calibration if is_open(model) else None
    known = {} if calibration is None else calibration.randomisation
    randomisation = known.get(heatmap.method)
    level, why = _judge(
        beaten=beaten,
        beats_edges=own.gain > edges.gain,
        change=trial.change,
        randomisation=randomisation,
    )
    return HeatmapGrade(
        level=level,
        reason=f"This {heatmap.method.replace('_', ' ')} map {why}.",
        fractions=FRACTIONS,
        curves=own,
        edges=edges,
        random=_mean(random),
        beaten=beaten,
        infidelity=trial.infidelity(values),
        randomisation=randomisation,
    )


class Trial:
    """Hides cells of one image, and remembers what that did."""

    def __init__(
        self, model: VisionLanguageModel, image: Image, score: Callable[[Any], Tensor], *, seed: int
    ) -> None:
        self.cells = cut(model, image)
        self.rng = np.random.default_rng(seed)
        self._score = score
        ends = np.stack([np.ones(self.cells.shape, dtype=bool), np.zeros(self.cells.shape, dtype=bool)])
        self._whole, self._nothing = map(float, measure(score, self.cells, ends))
        self._hidden: list[NDArray[np.bool_]] = [ends[1:]]
        self._left: list[NDArray[np.float64]] = [np.array([self._nothing])]

    @property
    def change(self) -> float:
        """By how much the probability differed between any two versions."""
        left = np.concatenate([*self._left, [self._whole]])
        return float(np.ptp(left))

    def measure(self, maps: Sequence[NDArray[np.float64]]) -> list[Curves]:
        """Curves of maps, each of shape (rows, columns) of cells."""
        first = np.stack([_first_cells(one, self.rng) for one in maps])
        shown = np.stack([~first, first], 1)
        measured = measure(self._score, self.cells, shown)
        self._hidden.append(~shown.reshape(-1, *self.cells.shape))
        self._left.append(measured.ravel())
        return [
            Curves(
                deletion=(self._whole, *deletion.tolist(), self._nothing),
                insertion=(self._nothing, *insertion.tolist(), self._whole),
            )
            for deletion, insertion in measured
        ]

    def measure_until_lost(self, own: Curves, maps: Sequence[NDArray[np.float64]]) -> list[Curves]:
        """Curves of random maps, no more than it takes to know that too many are not beaten by `own`."""
        curves: list[Curves] = []
        for start in range(0, len(maps), _AT_ONCE):
            curves += self.measure(maps[start : start + _AT_ONCE])
            if sum(own.gain <= one.gain for one in curves) > (1 - BETTER_THAN) * len(maps):
                break
        return curves

    def infidelity(self, values: NDArray[np.float64]) -> float | None:
        """captum's, normalised, over all versions; as a share of what hiding did."""
        hidden = torch.from_numpy(np.concatenate(self._hidden).reshape(-1, values.size)).double()
        left = torch.from_numpy(np.concatenate(self._left))
        told = (self._whole - left).square().mean()
        if told == 0:
            return None
        inputs = torch.ones(1, values.size, dtype=torch.float64)

        def answer(versions: Tensor) -> Tensor:
            """What was measured already, in the order of `hidden`."""
            return left if len(versions) == len(left) else torch.tensor([self._whole]).double()

        missed = infidelity(
            answer,
            lambda *_: (hidden, inputs - hidden),
            inputs,
            torch.from_numpy(values).reshape(1, -1),
            n_perturb_samples=len(hidden),
            normalize=True,
        )
        return float(missed[0] / told)


def probability(
    model: VisionLanguageModel, image: Image, question: str, generation: Generation, target: Target
) -> Callable[[Any], Tensor]:
    """From versions, as `medvqa.checks.hiding.Parts.show` gives them, to what the curves show, in [0, 1].

    Returns:
        A function to shape (versions,).
    """
    if not is_open(model):
        return partial(_ask_probability, model, question, generation)
    prompt, scalar = model.prompt(image, question), scalar_of(target, model, generation)
    term = scalar.terms[0]
    counted = len(term.token_ids[term.tokens])

    def score(pixel_values: Tensor) -> Tensor:
        nats = scalar.score(model, prompt, model.see(prompt.image, pixel_values))
        return (nats / counted).exp() if len(scalar.terms) == 1 else nats.sigmoid()

    return score


def _ask_probability(
    model: VisionLanguageModel, question: str, generation: Generation, versions: Iterator[Image]
) -> Tensor:
    nats: list[float] = []
    while some := [(image, question) for image in islice(versions, _ASKED_AT_ONCE)]:
        nats += model.log_likelihoods(some, generation.token_ids)
    return (torch.tensor(nats) / len(generation.token_ids)).exp()


def _first_cells(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """The cells that a map marks most, ties at random, (fractions between the ends, rows, columns)."""
    ranks = np.empty(values.size, dtype=np.intp)
    ranks[np.lexsort((rng.random(values.size), -values.ravel()))] = np.arange(values.size)
    counts = [max(1, round(fraction * values.size)) for fraction in FRACTIONS[1:-1]]
    return np.stack([ranks.reshape(values.shape) < count for count in counts])


def _elsewhere(values: NDArray[np.float64], rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """`RANDOM_MAPS` different moves of a map, or as many as there are."""
    rows, columns = values.shape
    moves = [*product(range(rows), range(columns), (1, -1), (1, -1))][1:]  # the first leaves it in place
    chosen = rng.permutation(len(moves))[:RANDOM_MAPS]
    return [
        np.roll(values[::up, ::left], (down, right), (0, 1))
        for down, right, up, left in (moves[place] for place in chosen)
    ]


def _mean(curves: Sequence[Curves]) -> Curves:
    deletion = np.mean([one.deletion for one in curves], 0)
    insertion = np.mean([one.insertion for one in curves], 0)
    return Curves(deletion=tuple(deletion.tolist()), insertion=tuple(insertion.tolist()))


def _judge(
    *, beaten: float, beats_edges: bool, change: float, randomisation: float | None
) -> tuple[HeatmapLevel, str]:
    share = f"{beaten:.0%} of the random maps"
    if change < LEAST_CHANGE:
        return "chance", "is not drawn: hiding parts of the image hardly changes the answer's probability"
    if beaten < BETTER_THAN:
        return (
            "chance",
            f"is not drawn: it marks what decided the answer better than {share}, which is chance",
        )
    if randomisation is not None and randomisation > MOST_ALIKE:
        return "weak", f"beats {share}, but its method gives like maps for a model with random weights"
    if not beats_edges:
        return "weak", f"marks what decided the answer better than {share}, but no better than edges do"
    return "good", f"marks what decided the answer better than {share} and than edges do"
