"""From a text model and an image tower to one checkpoint that has both and an untrained bridge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image as PillowImage
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
)

from medvqa.errors import ModelError
from medvqa.models.attention import captured
from medvqa.models.checkpoints import UNLOADABLE, find_checkpoint, first_line
from medvqa.models.compose.composed import ComposedForConditionalGeneration, GatedForConditionalGeneration
from medvqa.models.compose.configuration import Bridge, ComposedConfig, GatedConfig
from medvqa.models.compose.processing import (
    DEFAULT_TEMPLATE,
    IMAGE_TOKEN,
    ComposedProcessor,
    Placement,
)
from medvqa.models.compose.saving import require_new, save_checkpoint
from medvqa.models.compose.towers import PatchGrid, grid_of, vision_part

if TYPE_CHECKING:
    from torch import nn


def compose(
    llm: str | Path,
    vision: str | Path,
    out: Path,
    *,
    bridge: Bridge = "mlp",
    placement: Placement = "interleaved",
    seed: int = 0,
) -> None:
    """Write a checkpoint that `load_model` reads: both models as they are, and a bridge with random weights.

    Args:
        llm: Folder or hub name of a causal language model with its tokenizer.
        vision: Folder or hub name of an image tower, or of a model that has one beside other parts, with its
            image processor.
        out: Folder to write, which must not be there or be empty.
        bridge: What joins them.
        placement: Whether images stand where a message has them, or all before the text.
        seed: Of the bridge.

    Raises:
        ModelError: If one of them cannot be loaded, they cannot be joined, or `out` is taken.
    """
    require_new(out)
    tokenizer, language_model = _load_llm(find_checkpoint(llm), str(llm))
    image_processor, tower = _load_vision(find_checkpoint(vision), str(vision))
    tower = tower.to(language_model.dtype).eval()
    pixel_values = _example(image_processor, tower)
    grid = _measure(tower, pixel_values)
    torch.manual_seed(seed)
    config = _settings(language_model, tower, tokenizer, grid, bridge)
    try:
        kind = GatedForConditionalGeneration if config.is_gated else ComposedForConditionalGeneration
        model = kind(config, language_model=language_model, vision_tower=tower).eval()
    except ValueError as error:
        raise ModelError(f"{str(llm)!r} cannot be given a bridge: {error}; choose another bridge") from error
    model.bridge.to(language_model.dtype)
    model.generation_config = _decoding(language_model.generation_config, config)
    _fit_scale(model, pixel_values)
    _require_sight(model, pixel_values, str(llm))
    processor = ComposedProcessor(
        image_processor,
        tokenizer,
        image_tokens=config.image_tokens,
        grid=(grid.rows, grid.columns),
        placement=placement,
        chat_template=tokenizer.chat_template or DEFAULT_TEMPLATE,
    )
    save_checkpoint(out, model, processor)


def _load_llm(folder: Path, name: str) -> tuple[Any, Any]:
    """Tokenizer, which learns the word for an image, and model."""
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", use_safetensors=True)
    except UNLOADABLE as error:
        raise ModelError(
            f"{name!r} cannot be loaded as a text model with its tokenizer: {first_line(error)}"
        ) from error
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN]})
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, model


def _load_vision(folder: Path, name: str) -> tuple[Any, Any]:
    """Image processor and tower."""
    try:
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        whole: Any = AutoModel.from_pretrained(folder, dtype="auto", use_safetensors=True)
    except UNLOADABLE as error:
        raise ModelError(
            f"{name!r} cannot be loaded as an image tower with its image processor: {first_line(error)}"
        ) from error
    return processor, vision_part(whole)


def _example(image_processor: Any, tower: nn.Module) -> torch.Tensor:
    """Pixel values of a picture of noise."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    values = image_processor([PillowImage.fromarray(noise)], return_tensors="pt")["pixel_values"]
    return values.to(next(tower.parameters()).dtype)


def _measure(tower: Any, pixel_values: torch.Tensor) -> PatchGrid:
    with torch.no_grad():
        seen = tower(pixel_values=pixel_values, return_dict=True).last_hidden_state
    height, width = pixel_values.shape[-2:]
    patch = getattr(tower.config, "patch_size", None)
    return grid_of(seen, height=height, width=width, patch_size=patch if isinstance(patch, int) else None)


def _settings(
    language_model: Any, tower: Any, tokenizer: Any, grid: PatchGrid, bridge: Bridge
) -> ComposedConfig:
    text = language_model.config
    newline = tokenizer("\n", add_special_tokens=False)["input_ids"]
    # Heads of a Q-Former have 64 dimensions.
    query_width = max(64, min(768, text.hidden_size // 64 * 64))
    kind = GatedConfig if bridge == "gated_cross_attention" else ComposedConfig
    return kind(
        text_config=AutoConfig.for_model(**text.to_dict()),
        vision_config=AutoConfig.for_model(**tower.config.to_dict()),
        bridge=bridge,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        placeholder_id=newline[-1] if newline else 0,
        grid_rows=grid.rows,
        grid_columns=grid.columns,
        global_tokens=grid.global_tokens,
        vision_width=grid.width,
        query_width=query_width,
        dtype=language_model.dtype,
    )


def _decoding(given: GenerationConfig, config: ComposedConfig) -> GenerationConfig:
    """The language model's, but for penalties that would look up an image's token in its vocabulary."""
    text: Any = config.text_config
    if config.image_token_id >= text.vocab_size:
        given.repetition_penalty = None
    return given


def _fit_scale(model: Any, pixel_values: torch.Tensor) -> None:
    """Let image tokens begin as large as words are, whatever the tower returns."""
    leave = getattr(model.bridge, "leave", None)
    if leave is None:  # what gated blocks read has a norm
        return
    with torch.no_grad():
        words = model.get_input_embeddings().weight.float().std()
        seen = model.get_image_features(pixel_values).pooler_output.float().std()
        leave.weight.mul_(words / seen)
        leave.bias.mul_(words / seen)


def _require_sight(model: Any, pixel_values: torch.Tensor, name: str) -> None:
    """Refuse a language model that is not told of the image."""
    config, blocks = model.config, getattr(model.bridge, "blocks", {})
    words = torch.full((1, config.image_tokens + 1), config.image_token_id)
    words[0, -1] = config.placeholder_id
    try:
        with torch.no_grad(), captured(block.look for block in blocks.values()) as looks:
            model(input_ids=words, pixel_values=pixel_values)
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise ModelError(
            f"{name!r} does not read the image through {config.bridge}: {first_line(error)}; choose another "
            "bridge or text model"
        ) from error
    if len(looks) != len(blocks):
        raise ModelError(
            f"{name!r} does not hand the image to its layers; choose the mlp or the qformer bridge"
        )
