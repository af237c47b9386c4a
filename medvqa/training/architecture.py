"""The default model before it has learned anything: transformers' own classes, small enough for one CPU core.

DeepSeek-VL is the transformers architecture that joins any vision backbone to any decoder through its last
hidden state; a ConvNeXt backbone learns from a few thousand images where a plain ViT does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    DeepseekVLConfig,
    DeepseekVLForConditionalGeneration,
    DINOv3ConvNextConfig,
    LlamaConfig,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    SiglipImageProcessorPil,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

SIDE = 128
"""Pixels along each edge of what the vision tower sees."""
STRIDE = 16
"""Pixels along each edge of what one image token stands for."""
IMAGE_TOKENS = (SIDE // STRIDE) ** 2 + 1
"""One global token, then the grid in reading order."""

_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>", "<user>", "<assistant>")
_CHAT_TEMPLATE = (
    "<s>{% for message in messages %}<{{ message['role'] }}>"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% if message['role'] == 'assistant' %}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def build_processor(texts: Iterable[str], *, vocabulary: int = 3072) -> LlavaProcessor:
    """Make the processor: a byte-level BPE tokenizer learned from `texts`, and a square resize to `SIDE`."""
    bpe = Tokenizer(models.BPE(unk_token=None))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=list(_SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        padding_side="left",
        extra_special_tokens={"image_token": "<image>"},
    )
    images = SiglipImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.5] * 3, resample=2
    )
    return LlavaProcessor(
        images,
        tokenizer,
        patch_size=STRIDE,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=1,
        chat_template=_CHAT_TEMPLATE,
    )


def build_model(processor: LlavaProcessor, *, seed: int) -> DeepseekVLForConditionalGeneration:
    """Make the untrained network, with about 4 million parameters drawn from `seed`."""
    torch.manual_seed(seed)
    tokenizer = processor.tokenizer
    vision = DINOv3ConvNextConfig(
        hidden_sizes=[32, 64, 192],
        depths=[1, 2, 6],
        image_size=SIDE,
        layer_scale_init_value=0.5,
        drop_path_rate=0.1,
    )
    # DeepSeek-VL sizes its aligner by this name, which ConvNeXt's own settings lack.
    vision.hidden_size = 192  # pyright: ignore[reportAttributeAccessIssue]
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = DeepseekVLConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=processor.image_token_id,
        tie_word_embeddings=True,
    )
    return DeepseekVLForConditionalGeneration(config)
