"""Models small enough for a test: a LLaVA checkpoint with random weights, and a fake that has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from medvqa.models.base import Generation
from medvqa.training.architecture import build_processor
from medvqa.types import Image, ImageRef, ModelIdentity, Token

SIDE, PATCH = 56, 14

REF = ImageRef(
    study_instance_uid="1.2.3",
    series_instance_uid="1.2.3.4",
    sop_instance_uid="1.2.3.4.5",
    frame_number=1,
    pixel_sha256="0" * 64,
    file_sha256="1" * 64,
)
IDENTITY = ModelIdentity(
    name="fake",
    model_type="fake",
    weights_sha256="2" * 64,
    tokenizer_sha256="3" * 64,
    adapter=None,
    adapter_sha256=None,
    prompt_version="1",
    parameters={},
    libraries={},
)


def shown(pixels: np.ndarray, *, modality: str = "MR") -> Image:
    """Present display intensities in [0, 1], (rows, columns) or (rows, columns, 3), as an image."""
    return Image(ref=REF, pixels=np.asarray(pixels, dtype=np.float32), modality=modality)


def noise(rows: int = 90, columns: int = 70, *, seed: int = 0) -> Image:
    """An image of random pixels."""
    return shown(np.random.default_rng(seed).random((rows, columns)))


def llava_processor() -> LlavaProcessor:
    """LLaVA's processor: the shortest edge to `SIDE`, then CLIP's centre crop."""
    tokenizer = build_processor(
        ["is there a nodule in this image?", "yes", "no"] * 9, vocabulary=300
    ).tokenizer
    return LlavaProcessor(
        CLIPImageProcessorPil(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, resample=2
        ),
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=build_processor([""]).chat_template,
    )


def write_llava(folder: Path, *, seed: int = 0, hidden_size: int = 32) -> Path:
    """Write a LLaVA checkpoint with random weights, CLIP's tower and a Llama decoder."""
    torch.manual_seed(seed)
    processor = llava_processor()
    tokenizer = processor.tokenizer
    vision = CLIPVisionConfig(
        hidden_size=hidden_size,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=PATCH,
        initializer_range=0.2,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=processor.image_token_id,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=(SIDE // PATCH) ** 2,
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


class FakeModel:
    """A `VisionLanguageModel` whose probability of its one answer, "yes", is a function of the image."""

    def __init__(self, probability: Callable[[Image], float]) -> None:
        self.identity = IDENTITY
        self.modalities: frozenset[str] = frozenset()
        self._probability = probability

    def generate(self, image: Image, question: str) -> Generation:
        log_probability = self.log_likelihood(image, question, (7,))
        return Generation(
            text="yes", tokens=(Token(text="yes", log_probability=log_probability),), token_ids=(7,)
        )

    def log_likelihood(self, image: Image, question: str, token_ids: tuple[int, ...]) -> float:  # noqa: ARG002
        assert token_ids == (7,)
        return float(np.log(self._probability(image)))

    def log_likelihoods(self, asked: Sequence[tuple[Image, str]], token_ids: tuple[int, ...]) -> list[float]:
        return [self.log_likelihood(image, question, token_ids) for image, question in asked]
