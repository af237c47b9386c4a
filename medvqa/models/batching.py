"""Which prompts a decoder reads together, and how they are padded."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from medvqa.models.encoding import Prefix, Prompt

ROWS = 32
"""Most prompts that are read together: more need memory and save no time."""


def in_batches(
    prompts: Sequence[Prompt], *, answers: Sequence[tuple[int, ...]] | None = None
) -> list[list[int]]:
    """Places of prompts that can be read together: of images with as many tokens, those of like length.

    Args:
        prompts: In any order; those of a family that shares no beginnings come alone.
        answers: That follow them, one a prompt; none where they are yet to be found.
    """
    batches: list[list[int]] = []
    kinds: defaultdict[int, list[int]] = defaultdict(list)
    for place, prompt in enumerate(prompts):
        if prompt.image.prefix is None:
            batches.append([place])
        else:
            kinds[prompt.image.prefix.input_ids.shape[1]].append(place)

    def length(place: int) -> int:
        return prompts[place].input_ids.shape[1] + (0 if answers is None else len(answers[place]))

    for places in kinds.values():
        ordered = sorted(places, key=length)
        batches += [ordered[start : start + ROWS] for start in range(0, len(ordered), ROWS)]
    return batches


def prefixes_of(prompts: Sequence[Prompt]) -> list[Prefix]:
    """What was read of the image of each prompt; none for one of a family that shares no beginnings."""
    return [prompt.image.prefix for prompt in prompts if prompt.image.prefix is not None]


def padded_after_image(prompts: Sequence[Prompt]) -> dict[str, Tensor]:
    """`input_ids` and `attention_mask`, a row a prompt, padded between image and words.

    So the words of all end together, and what was read of the images keeps its place.

    Args:
        prompts: Of images with as many tokens.
    """
    read = prefixes_of(prompts)[0].input_ids.shape[1]
    longest = max(prompt.input_ids.shape[1] for prompt in prompts)
    return {
        name: torch.cat(
            [
                torch.cat([row[:, :read], row.new_zeros(1, longest - row.shape[1]), row[:, read:]], 1)
                for row in (prompt.inputs[name] for prompt in prompts)
            ]
        )
        for name in ("input_ids", "attention_mask")
    }
