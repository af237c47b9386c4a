"""A checkpoint by transformers' plain calls: nothing is kept between questions, and pixels go in each time.

So it serves what the generic class cannot look into: prompts with several images, and checkpoints that bring
code of their own. It has no heatmaps but by occlusion.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from medvqa.errors import ModelError
from medvqa.models.decoding import describe_answer, greedy, image_token_of
from medvqa.models.encoding import content_digest
from medvqa.models.families import FAMILIES, Family
from medvqa.models.network import chosen, generate
from medvqa.models.prompting import Prompting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medvqa.models.base import Generation, Shot
    from medvqa.types import Image, ModelIdentity


class PlainModel:
    """A `VisionLanguageModel`; make one with `load_model`, or with `HuggingFaceModel.with_shots`.

    With examples it is asked as Med-Flamingo is: images with their questions and answers come first, then the
    image and the question (Moor et al. 2023, "Med-Flamingo: a Multimodal Medical Few-shot Learner").
    """

    calibration = None
    """Nothing was measured of a model that is asked so."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        identity: ModelIdentity,
        *,
        shots: Sequence[Shot] = (),
        modalities: frozenset[str] = frozenset(),
    ) -> None:
        """Wrap a model; it is put in eval mode, and its parameters are frozen.

        Raises:
            ModelError: If there are examples and it reads one image at a time.
        """
        self._family = FAMILIES.get(model.config.model_type, Family())
        if shots and not self._family.several_images:
            raise ModelError(
                f"models of family {model.config.model_type} read one image at a time and cannot be shown "
                "examples; choose another, such as idefics, idefics3, qwen2_5_vl or llava_onevision"
            )
        self._module = model.eval().requires_grad_(False)
        self._tokenizer = processor.tokenizer
        self._shots = tuple(shots)
        self._prompting = Prompting(
            model,
            processor,
            family=self._family,
            name=identity.name,
            max_new_tokens=identity.parameters["max_new_tokens"],
        )
        self._decoding = greedy(identity, image_token_of(model.config, processor))
        self.identity = _shown(identity, self._shots)
        self.modalities = modalities

    def generate(self, image: Image, question: str) -> Generation:
        """Answer by greedy decoding.

        Raises:
            QuestionError: If examples, image and question are longer than the model can read, or the question
                holds one of its special tokens.
        """
        inputs = self._prompting.process([image], [question], shots=self._shots)
        answers, logarithms = generate(self._module, inputs, **self._decoding)
        prompt = inputs["input_ids"][0]
        return describe_answer(
            self._module, self._tokenizer, prompt, answers[0].tolist(), logarithms[0].tolist()
        )

    def log_likelihood(self, image: Image, question: str, token_ids: tuple[int, ...]) -> float:
        """Natural logarithm of the probability of answering with `token_ids`."""
        return self.log_likelihoods([(image, question)], token_ids)[0]

    def log_likelihoods(self, asked: Sequence[tuple[Image, str]], token_ids: tuple[int, ...]) -> list[float]:
        """Natural logarithms of the probability of one answer to each of several questions, one by one.

        Raises:
            QuestionError: As for `generate`.
        """
        return [self._force(*one, token_ids) for one in asked]

    def tokens_of(self, answer: str) -> tuple[int, ...]:
        """The tokens that spell an answer, without the one that ends it."""
        return tuple(self._tokenizer(answer, add_special_tokens=False)["input_ids"])

    def text_of(self, token_ids: tuple[int, ...]) -> str:
        """What tokens spell, special ones left out."""
        return self._tokenizer.decode(token_ids, skip_special_tokens=True)

    def _force(self, image: Image, question: str, token_ids: tuple[int, ...]) -> float:
        inputs = self._prompting.process([image], [question], shots=self._shots)
        answer = torch.tensor([token_ids], device=inputs["input_ids"].device)
        longer = self._family.follow(inputs, answer, self._family.answer_fill, self._module.config)
        with torch.inference_mode():
            logits = self._module(**longer, use_cache=False, logits_to_keep=len(token_ids) + 1).logits
        return chosen(logits, token_ids).sum().item()


def _shown(identity: ModelIdentity, shots: tuple[Shot, ...]) -> ModelIdentity:
    """The identity with a digest of each example: its image as the model is shown it, question and answer."""
    if not shots:
        return identity
    told = [
        hashlib.sha256(
            json.dumps([content_digest(shot.image), shot.question, shot.answer]).encode()
        ).hexdigest()
        for shot in shots
    ]
    return replace(identity, parameters={**identity.parameters, "shots": told}, calibration_sha256=None)
