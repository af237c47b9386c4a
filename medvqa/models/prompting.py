"""How a question about an image becomes what a checkpoint reads: its chat template, processor and limits."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError
from PIL import Image as PillowImage

from medvqa.errors import QuestionError
from medvqa.imaging import to_uint8
from medvqa.prompts import chat_messages, words_alone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from medvqa.models.base import Shot
    from medvqa.models.families import Family
    from medvqa.types import Image

_PROBE = "yes"


class Prompting:
    """The prompts of one loaded checkpoint."""

    def __init__(self, model: Any, processor: Any, *, family: Family, name: str, max_new_tokens: int) -> None:
        """`name` of the checkpoint is for messages; `max_new_tokens` is the room that an answer needs."""
        self._model = model
        self._processor = processor
        self._processor.tokenizer.padding_side = family.padding_side
        self._family = family
        self._name = name
        self._max_new_tokens = max_new_tokens
        self.ids_after_image = lru_cache(maxsize=1024)(self._ids_after_image)
        """Tokens of a question's prompt after the image, shape (1, tokens); errors as of `around_image`."""

    def process(
        self, images: Sequence[Image], questions: Sequence[str], *, shots: Sequence[Shot] = ()
    ) -> dict[str, Tensor]:
        """One row a pair of image and question, padded.

        Args:
            images: One a question.
            questions: In plain words.
            shots: Examples that stand before each question.

        Raises:
            QuestionError: If it is longer than the model can read, or the question holds a special token.
        """
        shown = [shot.image for shot in shots]
        inputs = self._family.process(
            self._processor,
            [[PillowImage.fromarray(to_uint8(one)) for one in (*shown, image)] for image in images],
            [self._render(question, shots) for question in questions],
            self._family.processing,
        )
        inputs.pop("labels", None)
        if not shots:
            inputs.pop("batch_num_images", None)
        self.require_room(inputs["input_ids"].shape[1])
        return dict(inputs.to(self._model.device, self._model.dtype))

    def process_words(self, words: str) -> Tensor:
        """Tokens of a prompt without an image, shape (1, tokens).

        Raises:
            QuestionError: As for `process`.
        """
        self._require_words([words])
        tokens = self.word_ids(self._written(words_alone(words), add_generation_prompt=True))
        self.require_room(tokens.shape[1])
        return tokens

    def around_image(self, question: str) -> tuple[str, str]:
        """The prompt before and after the place of the image, as the chat template writes it.

        Raises:
            QuestionError: If the question holds a special token.
        """
        before, _, after = self._render(question).rpartition(self._processor.image_token)
        return before, after

    def around_answer(self, ends: Sequence[int]) -> tuple[str, int]:
        """What the chat template writes before an answer, and the token that it ends a turn with.

        Args:
            ends: Tokens that may end an answer.
        """
        asked = chat_messages("?")
        turn = {"role": "assistant", "content": [{"type": "text", "text": _PROBE}]}
        prompt = self._written(asked, add_generation_prompt=True)
        try:
            whole = self._written([*asked, turn], add_generation_prompt=False)
        except (TemplateError, TypeError, ValueError):
            whole = ""  # a template for questions alone
        opening, found, closing = whole.removeprefix(prompt).partition(_PROBE)
        tokenizer = self._processor.tokenizer
        if not (whole.startswith(prompt) and found):
            return "", tokenizer.eos_token_id
        written = tokenizer(closing, add_special_tokens=False)["input_ids"]
        return opening, next((token for token in written if token in ends), tokenizer.eos_token_id)

    def word_ids(self, text: str) -> Tensor:
        """Tokens of a part of a prompt, shape (1, tokens)."""
        tokens = self._processor.tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
        return tokens.to(self._model.device)

    def require_room(self, tokens: int) -> None:
        """Refuse a prompt of so many tokens that an answer may not fit behind it.

        Raises:
            QuestionError: If so.
        """
        longest = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        needed = tokens + self._max_new_tokens
        if longest and needed > longest:
            raise QuestionError(
                f"image, question and answer need {needed} tokens but {self._name} reads {longest}; "
                "shorten the question"
            )

    def _ids_after_image(self, closing: str, question: str) -> Tensor:
        return self.word_ids(closing + self.around_image(question)[1])

    def _render(self, question: str, shots: Sequence[Shot] = ()) -> str:
        """Refuse what would be read as an image or as the end of the question, not as words."""
        before = [(shot.question, shot.answer) for shot in shots]
        self._require_words((question, *chain(*before)))
        return self._written(chat_messages(question, before=before), add_generation_prompt=True)

    def _require_words(self, texts: Sequence[str]) -> None:
        for token in self._processor.tokenizer.added_tokens_decoder.values():
            if token.special and any(token.content in text for text in texts):
                raise QuestionError(
                    f"the question holds {token.content!r}, a special token of {self._name}; leave it out"
                )

    def _written(self, messages: list[dict[str, Any]], *, add_generation_prompt: bool) -> str:
        return self._processor.apply_chat_template(
            messages,
            chat_template=self._processor.chat_template or self._family.template,
            add_generation_prompt=add_generation_prompt,
        )
