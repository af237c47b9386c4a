"""Contrastive models small enough for a test: one of each kind, with random weights."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AlignConfig,
    AlignModel,
    AlignProcessor,
    BertConfig,
    BertTokenizer,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    EfficientNetImageProcessorPil,
    PreTrainedTokenizerFast,
    Siglip2Config,
    Siglip2ImageProcessorPil,
    Siglip2Model,
    Siglip2Processor,
    Siglip2Tokenizer,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipProcessor,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
    VisionTextDualEncoderProcessor,
    ViTConfig,
    ViTImageProcessorPil,
)

SIDE, PATCH = 32, 8
WORDS = [
    *("a", "an", "chest", "head", "with", "without", "nodule", "tumor", "x", "ray", "scan", "of", "the"),
    *("is", "there", "no", "bright", "dark", "square", "left", "right"),
]
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_ENDS = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
_SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_LIVELY = {"initializer_range": 0.2}


def _bert_tokenizer() -> BertTokenizer:
    vocabulary = {word: place for place, word in enumerate([*_SPECIAL, *WORDS])}
    return BertTokenizer(vocab=vocabulary, model_max_length=64)


def _ending_tokenizer() -> PreTrainedTokenizerFast:
    """Words between a beginning and an end, at which CLIP pools."""
    vocabulary = {word: place for place, word in enumerate(["<pad>", "<unk>", "<s>", "</s>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=16,
        **_ENDS,
    )


def _letter_tokenizer() -> Siglip2Tokenizer:
    """Letters; transformers reads every checkpoint of this type with this class."""
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *string.ascii_lowercase]
    vocabulary = {piece: place for place, piece in enumerate(pieces)}
    return Siglip2Tokenizer(vocab=vocabulary, model_max_length=64)


def _clip() -> tuple[Any, Any]:
    text = {**_SMALL, "vocab_size": 40, "max_position_embeddings": 16, "bos_token_id": 2, "eos_token_id": 3}
    vision = {**_SMALL, "image_size": SIDE, "patch_size": PATCH}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=24, initializer_factor=8.0)
    images = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return CLIPModel(config), CLIPProcessor(images, _ending_tokenizer())


def _align() -> tuple[Any, Any]:
    text = {**_SMALL, **_LIVELY, "vocab_size": 40, "max_position_embeddings": 128}
    vision = {
        "image_size": SIDE,
        "width_coefficient": 1.0,
        "depth_coefficient": 1.0,
        "kernel_sizes": [3, 3],
        "in_channels": [32, 16],
        "out_channels": [16, 24],
        "depthwise_padding": [],
        "strides": [1, 2],
        "num_block_repeats": [1, 1],
        "expand_ratios": [1, 6],
        "hidden_dim": 24,
        "initializer_range": 0.2,
    }
    config = AlignConfig(text_config=text, vision_config=vision, projection_dim=24, initializer_range=0.2)
    images = EfficientNetImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return AlignModel(config), AlignProcessor(images, _bert_tokenizer())


def _siglip() -> tuple[Any, Any]:
    text = {**_SMALL, "vocab_size": 40, "max_position_embeddings": 16, "projection_size": 32}
    vision = {**_SMALL, "image_size": SIDE, "patch_size": PATCH}
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    _set_scale(model)
    images = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return model, SiglipProcessor(images, _ending_tokenizer())


def _siglip2() -> tuple[Any, Any]:
    text = {**_SMALL, "vocab_size": 40, "max_position_embeddings": 64, "projection_size": 32}
    vision = {**_SMALL, "patch_size": PATCH, "num_patches": 16}
    model = Siglip2Model(Siglip2Config(text_config=text, vision_config=vision))
    _set_scale(model)
    images = Siglip2ImageProcessorPil(patch_size=PATCH, max_num_patches=24)
    return model, Siglip2Processor(images, _letter_tokenizer())


def _dual_encoder() -> tuple[Any, Any]:
    config = VisionTextDualEncoderConfig.from_vision_text_configs(
        ViTConfig(**_SMALL, **_LIVELY, image_size=SIDE, patch_size=PATCH),
        BertConfig(**_SMALL, **_LIVELY, vocab_size=40, max_position_embeddings=64),
        projection_dim=24,
    )
    images = ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return VisionTextDualEncoderModel(config), VisionTextDualEncoderProcessor(images, _bert_tokenizer())


def _set_scale(model: Any) -> None:
    """As SigLIP's own training begins; transformers begins at 0."""
    with torch.no_grad():
        model.logit_scale.fill_(2.3)
        model.logit_bias.fill_(-1.5)


KINDS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "clip": _clip,
    "align": _align,
    "siglip": _siglip,
    "siglip2": _siglip2,
    "vision-text-dual-encoder": _dual_encoder,
}


def write_contrastive(folder: Path, kind: str = "clip", *, seed: int = 0) -> Path:
    """Write a checkpoint of a kind with random weights."""
    torch.manual_seed(seed)
    model, processor = KINDS[kind]()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
