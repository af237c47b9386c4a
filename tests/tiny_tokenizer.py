"""A tokenizer of bytes that knows some special tokens; nothing is downloaded."""

# ruff: noqa: S106
# Tokens are words here, not passwords.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers


def tiny_tokenizer(special: Sequence[str], *, words: int, **named: str) -> Any:
    """Bytes, pieces of English up to `words` in all, and special tokens.

    The latter begin with those of padding, beginning, end and the unknown; they are attributes of the
    tokenizer where `named` says so.
    """
    bpe = Tokenizer(models.BPE(unk_token=None))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=words,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(["is there a nodule in this image? where is it? yes, no"] * 9, trainer)
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens=named,
    )
