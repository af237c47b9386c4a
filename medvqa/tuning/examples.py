"""Cases as batches of prompts with answers, as a model is to read them while it learns."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from medvqa.cases import read_image
from medvqa.errors import QuestionError, TrainingError
from medvqa.models.families import family_of
from medvqa.models.prompting import Prompting
from medvqa.prompts import clean_question

if TYPE_CHECKING:
    from medvqa.cases import Case
    from medvqa.types import Image

IGNORED = -100
"""Label of a place that holds no token of an answer."""

_CACHED_BYTES = 512 * 2**20
"""Of presented images, in each process."""


class Examples:
    """Makes batches on the CPU, in float32; the model itself is not needed, only its configuration."""

    def __init__(self, config: Any, processor: Any, *, name: str, ends: Sequence[int]) -> None:
        """`name` of the base is for messages; `ends` are the tokens that may end an answer."""
        self._family = family_of(config.model_type)
        self._tokenizer = processor.tokenizer
        self._config = config
        self._name = name
        self._prompting = Prompting(
            SimpleNamespace(config=config, device=torch.device("cpu"), dtype=torch.float32),
            processor,
            family=self._family,
            name=name,
            max_new_tokens=0,
        )
        self._opening, self._end = self._prompting.around_answer(ends)
        self._images: OrderedDict[tuple[str, int | None], Image] = OrderedDict()
        self._held = 0

    def answer_ids(self, answer: str) -> list[int]:
        """Tokens of an answer, and the one that ends it."""
        words = self._tokenizer(self._opening + answer.strip(), add_special_tokens=False)["input_ids"]
        return [*words, self._end]

    def batch(
        self, cases: Sequence[Case], *, brightness: Sequence[np.random.Generator] | None = None
    ) -> dict[str, Tensor]:
        """One row a case: its prompt padded on the left, its answer on the right.

        Args:
            cases: To read.
            brightness: For each case, where its brightness and contrast are drawn from; None to leave them.

        Returns:
            The model's inputs, and `labels`, shape (cases, longest answer): tokens, or `IGNORED`.

        Raises:
            TrainingError: If an image cannot be read, or a question or answer is longer than the model reads.
        """
        images = [self._image(case) for case in cases]
        if brightness is not None:
            images = [_vary(image, rng) for image, rng in zip(images, brightness, strict=True)]
        try:
            inputs = self._prompting.process(images, [clean_question(case.question) for case in cases])
            answers = [torch.tensor(self.answer_ids(case.answer)) for case in cases]
            labels = pad_sequence(answers, batch_first=True, padding_value=IGNORED)
            self._prompting.require_room(inputs["input_ids"].shape[1] + labels.shape[1])
        except QuestionError as error:
            raise TrainingError(f"a case about {cases[0].image.name} or near it: {error}") from error
        said = labels != IGNORED
        padding = self._tokenizer.pad_token_id or 0
        answer, fill = labels.where(said, padding), self._family.answer_fill
        longer = self._family.follow(inputs, answer, fill, self._config)
        if longer["attention_mask"].shape != inputs["attention_mask"].shape:
            longer["attention_mask"][:, -labels.shape[1] :] = said.long()
        return longer | {"labels": labels}

    def _image(self, case: Case) -> Image:
        key = (str(case.image), case.frame)
        if key not in self._images:
            self._images[key] = image = read_image(case)
            self._held += image.pixels.nbytes
            while self._held > _CACHED_BYTES and len(self._images) > 1:
                self._held -= self._images.popitem(last=False)[1].pixels.nbytes
        self._images.move_to_end(key)
        return self._images[key]


def answer_losses(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """How well an answer is foretold.

    Args:
        logits: Shape (cases, answer + 1, vocabulary): those that foretell the answer, and one more.
        labels: Shape (cases, answer): tokens, or `IGNORED`.

    Returns:
        Mean negative log-probability of the answer's tokens in nats, and whether greedy decoding writes just
        these tokens, both of shape (cases,).
    """
    foretold, said = logits[:, :-1].float(), labels != IGNORED
    losses = torch.nn.functional.cross_entropy(
        foretold.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
    )
    right = ((foretold.argmax(-1) == labels) | ~said).all(1)
    return losses.sum(1) / said.sum(1), right


def _vary(image: Image, rng: np.random.Generator) -> Image:
    """Contrast up to 15 % and brightness up to 0.05 more or less, and a mild gamma."""
    contrast, shift, gamma = rng.uniform(0.85, 1.15), rng.uniform(-0.05, 0.05), rng.uniform(0.85, 1.15)
    varied = np.clip((image.pixels**gamma - 0.5) * contrast + 0.5 + shift, 0.0, 1.0)
    return replace(image, pixels=varied.astype(np.float32))
