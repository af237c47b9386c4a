"""The composed model's processor: the language model's own words and template, and places for images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from transformers import ProcessorMixin

Placement = Literal["prefix", "interleaved"]

IMAGE_TOKEN = "<image>"  # noqa: S105
DEFAULT_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n"
    "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)
"""For a language model without a chat template."""


class ComposedProcessor(ProcessorMixin):
    """Images by the tower's processor, text by the language model's tokenizer."""

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        image_tokens: int = 1,
        grid: Sequence[int] = (1, 1),
        placement: Placement = "interleaved",
        chat_template: str | None = None,
        image_token: str = IMAGE_TOKEN,
    ) -> None:
        """Join both.

        Args:
            image_processor: Of the tower.
            tokenizer: Of the language model; it knows `image_token`.
            image_tokens: Places in the text for each image.
            grid: Rows and columns of the tower's patches.
            placement: Whether images stand where a message has them, or all before the text.
            chat_template: The language model's own, whose messages are plain text.
            image_token: Word for one of those places.
        """
        self.image_tokens = image_tokens
        self.grid = list(grid)
        self.placement = placement
        self.image_token = image_token
        self.image_token_id = tokenizer.convert_tokens_to_ids(image_token)
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **_: Any) -> str:  # noqa: ARG002
        """What stands for one image in the text."""
        return self.image_token * self.image_tokens

    def apply_chat_template(self, conversation: Any, *args: Any, **kwargs: Any) -> Any:
        """Render messages, whose content may hold images, by a template that knows text only.

        Models that may think before they answer are told not to, unless `enable_thinking` is given.
        """
        if "enable_thinking" in (self.chat_template or ""):
            kwargs.setdefault("enable_thinking", False)
        flat = [self._flatten(message) for message in conversation]
        if self.placement == "interleaved":
            return super().apply_chat_template(flat, *args, **kwargs)
        images = sum(message["content"].count(self.image_token) for message in flat)
        bare = [
            {**message, "content": message["content"].replace(f"{self.image_token}\n", "")}
            for message in flat
        ]
        rendered = super().apply_chat_template(bare, *args, **kwargs)
        start = getattr(self.tokenizer, "bos_token", None) or ""
        opening = start if rendered.startswith(start) else ""
        return opening + self.image_token * images + rendered.removeprefix(opening)

    def _flatten(self, message: Mapping[str, Any]) -> dict[str, Any]:
        content = message["content"]
        if not isinstance(content, str):
            content = "".join(
                f"{self.image_token}\n" if part["type"] == "image" else part["text"] for part in content
            )
        return {**message, "content": content}
