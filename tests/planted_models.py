"""Models with a known fault, planted to see whether the checks find it: the default one, spoilt."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Sequence
from typing import Any

import torch

from medvqa.models.base import Generation
from medvqa.models.encoding import content_digest
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.loading import load_model
from medvqa.types import Image, Token

ANSWERS = (
    *(
        "glioma",
        "meningioma",
        "pituitary tumor",
        "no tumor",
        "pneumonia",
        "no finding",
        "benign",
        "malignant",
    ),
    *("normal", "abnormal", "upper left quadrant", "upper right quadrant", "lower left quadrant"),
    *("lower right quadrant", "left side of the image", "right side of the image"),
)


def text_only_model() -> HuggingFaceModel:
    """Every image token is zero, so that the words alone are left."""
    planted = load_model(device="cpu")
    core: Any = planted.module.model
    look = core.get_image_features

    @functools.wraps(look)
    def look_away(*args: Any, **kwargs: Any) -> Any:
        output = look(*args, **kwargs)
        output.pooler_output = torch.zeros_like(output.pooler_output)
        return output

    core.get_image_features = look_away
    return planted


def scrambled_model(*, seed: int = 0) -> HuggingFaceModel:
    """The decoder has random weights and a head so large that it is sure of every token."""
    planted = load_model(device="cpu", max_new_tokens=6)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in planted.module.get_decoder().parameters():
            if weights.ndim == 2:
                weights.normal_(0, 2 / math.sqrt(weights.shape[1]), generator=random)
        head = planted.module.get_output_embeddings()
        # A parameter of its own, since the head's weights are those of the embedding.
        head.weight = torch.nn.Parameter(
            torch.randn(head.weight.shape, generator=random), requires_grad=False
        )
    return planted


class NoiseModel(HuggingFaceModel):
    """Sure of an answer that the bits of image and question decide, as dice would."""

    def __init__(self, answers: Sequence[str] = ANSWERS, *, sure: float = 0.97) -> None:
        base = load_model(device="cpu")
        super().__init__(base.module, base._processor, base.identity)
        tokenizer = base._processor.tokenizer
        self._answers = [
            (*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id)
            for answer in answers
        ]
        self._sure = sure

    def generate(self, image: Image, question: str) -> Generation:
        token_ids = self._throw(image, question)
        share = math.log(self._sure) / len(token_ids)
        return Generation(
            text=self._processor.tokenizer.decode(token_ids, skip_special_tokens=True),
            tokens=tuple(Token(text="", log_probability=share) for _ in token_ids),
            token_ids=token_ids,
        )

    def log_likelihoods(self, asked: Sequence[tuple[Image, str]], token_ids: tuple[int, ...]) -> list[float]:
        other = (1 - self._sure) / (len(self._answers) - 1)
        return [
            math.log(self._sure if self._throw(image, question) == token_ids else other)
            for image, question in asked
        ]

    def _throw(self, image: Image, question: str) -> tuple[int, ...]:
        thrown = hashlib.sha256(f"{content_digest(image)} {question}".encode()).digest()
        return self._answers[int.from_bytes(thrown[:8], "big") % len(self._answers)]
