"""What became of a finding between a prior and the current image.

Each image is asked by itself whether the finding is there. The change is the difference of two log-odds:

    odds(image) = log p(yes | image) - log p(no | image),    change = odds(current) - odds(prior)    in nats

and the three labels share probability as in an ordered logit model with cut points at -`STEP` and `STEP`:

    worse = 1 / (1 + exp(STEP - change)),  better = 1 / (1 + exp(STEP + change)),  unchanged = the rest

Swapping the two images turns `change` into its negative, and so swaps `worse` and `better`, exactly. "Worse"
means more of the finding. The probabilities order comparisons of one model; none is a chance of being right.

Reference: McCullagh 1980, Regression models for ordinal data.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from medvqa.tasks.choosing import spell
from medvqa.tasks.results import Comparison

if TYPE_CHECKING:
    from medvqa.tasks.choosing import Answering
    from medvqa.tasks.results import Course
    from medvqa.types import Image

STEP = 2.5
"""In nats: a change that is as likely to be one as to be none. Chosen on 30 pairs of phantoms for the default
model (`benchmarks/change.py` measures it on others)."""


def compare(model: Answering, current: Image, prior: Image, finding: str) -> Comparison:
    """Say whether there is more or less of a finding than before.

    Args:
        model: What is asked.
        current: The later image.
        prior: The earlier one.
        finding: As it follows "Is there", such as "a nodule".
    """
    question = f"Is there {finding.rstrip('?. ')}?"
    change = _odds(model, current, question) - _odds(model, prior, question)
    return Comparison(question=question, change=change, **weigh_change(change))


def weigh_change(change: float) -> dict[str, Any]:
    """Label and probabilities of a change in nats; the label is the most probable, of equals `unchanged`."""
    worse, better = _logistic(change - STEP), _logistic(-change - STEP)
    unchanged = max(0.0, 1 - (worse + better))
    label: Course = "unchanged"
    if max(worse, better) > unchanged:
        label = "worse" if worse > better else "better"
    return {"label": label, "better": better, "worse": worse, "unchanged": unchanged}


def _odds(model: Answering, image: Image, question: str) -> float:
    """One image at a time: what a batch adds up depends on what else is in it."""
    said = model.generate(image, question)
    yes, no = (
        model.log_likelihood(image, question, spell(model, answer, like=said)) for answer in ("yes", "no")
    )
    return yes - no


def _logistic(value: float) -> float:
    """Without overflow at either end."""
    return 0.5 * (1 + math.tanh(value / 2))
