"""Greedy decoding: how a model is told to answer, and what its tokens say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medvqa.models.base import Generation
from medvqa.types import Token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from medvqa.types import ModelIdentity


def decoding_parameters(max_new_tokens: int) -> dict[str, Any]:
    """How answers are made, for a model's identity."""
    return {"decoding": "greedy", "max_new_tokens": max_new_tokens}


def greedy(identity: ModelIdentity, image_token_id: int | None) -> dict[str, Any]:
    """Options of `generate`.

    A checkpoint's own generation settings may ask for beams; an image token is no word of an answer.
    """
    return {
        "do_sample": False,
        "num_beams": 1,
        "suppress_tokens": None if image_token_id is None else [image_token_id],
        "max_new_tokens": identity.parameters["max_new_tokens"],
    }


def image_token_of(config: Any, processor: Any) -> int | None:
    """The token that marks an image's place in a prompt."""
    known = getattr(config, "image_token_id", None)
    return getattr(processor, "image_token_id", None) if known is None else known


def describe_answer(
    module: Any, tokenizer: Any, prompt: Tensor, token_ids: Sequence[int], logarithms: Sequence[float]
) -> Generation:
    """What a model said, cut at its end.

    Args:
        module: Of transformers; it knows what ends an answer.
        tokenizer: Of the checkpoint.
        prompt: Tokens that it went on from, shape (tokens,).
        token_ids: What followed, perhaps padded after its end.
        logarithms: Of their probabilities.
    """
    ends = module.generation_config.eos_token_id
    last = {ends} if isinstance(ends, int) else set(ends or ())
    count = next((place for place, token in enumerate(token_ids, 1) if token in last), len(token_ids))
    return Generation(
        text=_writable(tokenizer.decode(token_ids[:count], skip_special_tokens=True)).strip(),
        tokens=tuple(
            Token(text=_writable(tokenizer.decode([token_id])), log_probability=logarithm)
            for token_id, logarithm in zip(token_ids[:count], logarithms, strict=False)
        ),
        token_ids=tuple(token_ids[:count]),
        prompt_token_ids=tuple(prompt.tolist()),
    )


def _writable(text: str) -> str:
    """Text as a database takes it: a model that writes bytes may write the NUL character."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
