"""Tiny text models and image towers with random weights, as folders, to compose models of."""

# Tokens are words here, not passwords.

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tiny_tokenizer import tiny_tokenizer

_TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "initializer_range": 0.2,
}
_VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 14,
    "initializer_range": 0.2,
}
_WORDS = ("<pad>", "<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>")
_TEMPLATE = (
    "<s>{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIDE = 56


def tokenizer() -> Any:
    """Bytes, a few words of English, and no word for an image."""
    return tiny_tokenizer(_WORDS, words=340)


def write_llm(folder: Path, kind: str, *, unused: int = 16, dtype: torch.dtype = torch.float32) -> Path:
    """Write a text model of `kind`, such as llama, with a tokenizer and a template for plain text.

    Many models have embeddings for more words than their tokenizers know: `unused`.
    """
    torch.manual_seed(0)
    words: Any = tokenizer()
    words.chat_template = _TEMPLATE
    settings = _TEXT | {"vocab_size": len(words) + unused}
    if kind == "youtu":
        settings |= {
            "num_key_value_heads": 4,
            "kv_lora_rank": 16,
            "q_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 16,
        }
    if kind == "qwen3":
        settings |= {"head_dim": 16}
    model: Any = hf.AutoModelForCausalLM.from_config(hf.AutoConfig.for_model(kind, **settings))
    model.to(dtype).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def write_vision(folder: Path, kind: str) -> Path:
    """Write an image tower of `kind`: clip, siglip (both with their text part), vit or mobilevit."""
    torch.manual_seed(1)
    model, processor = _TOWERS[kind]()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _clip() -> tuple[Any, Any]:
    text = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 60}
    config = hf.CLIPConfig(text_config=text, vision_config=_VISION)
    images = hf.CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, resample=2
    )
    return hf.CLIPModel(config), images


def _siglip() -> tuple[Any, Any]:
    text = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 60}
    config = hf.SiglipConfig(text_config=text, vision_config=_VISION)
    return hf.SiglipModel(config), hf.SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})


def _vit() -> tuple[Any, Any]:
    return hf.ViTModel(hf.ViTConfig(**_VISION)), hf.ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})


def _mobilevit() -> tuple[Any, Any]:
    config = hf.MobileViTConfig(
        image_size=128,
        hidden_sizes=[16, 24, 32],
        neck_hidden_sizes=[8, 8, 16, 16, 24, 24, 48],
        num_attention_heads=4,
        initializer_range=0.2,
    )
    images = hf.MobileViTImageProcessorPil(
        size={"shortest_edge": 144}, crop_size={"height": 128, "width": 128}
    )
    return hf.MobileViTModel(config), images


_TOWERS = {"clip": _clip, "mobilevit": _mobilevit, "siglip": _siglip, "vit": _vit}
