"""One tiny model with random weights, and its processor, for every model family; nothing is downloaded."""

# ruff: noqa: S105, S106
# Tokens are words here, not passwords.

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
import transformers as hf
from tiny_models import llava_processor
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers.models.smolvlm import processing_smolvlm

from medvqa.models.processors import without_video

_SPECIAL = (
    *("<pad>", "<s>", "</s>", "<unk>", "<image>", "<fake_token_around_image>", "<global-img>"),
    *("<end_of_utterance>", "<video>", "<|image_pad|>", "<|video_pad|>", "<|vision_start|>"),
    *("<|vision_end|>", "<start_of_image>", "<end_of_image>", "<image_soft_token>", "<IMG_CONTEXT>"),
    *("<img>", "</img>", "<|im_start|>", "<|im_end|>"),
    *(f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)),
)
_TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 14,
}
_QWEN: dict[str, Any] = {"depth": 2, "num_heads": 4, "patch_size": 14}
_SQUARE = {"height": 56, "width": 56}


def tokenizer(**named: str) -> Any:
    """Bytes and special tokens; the latter are attributes of it where `named` says so."""
    bpe = Tokenizer(models.BPE(unk_token=None))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(_SPECIAL),
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


def template(image: str) -> str:
    """A chat template that puts `image` where the image belongs."""
    return (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}"
        + image
        + "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


def _llama(words: Any) -> Any:
    return hf.LlamaConfig(vocab_size=len(words), **_TEXT)


def _llava() -> tuple[Any, Any]:
    processor = llava_processor()
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**_VISION),
        text_config=_llama(processor.tokenizer),
        image_token_index=processor.image_token_id,
        vision_feature_layer=-2,
        image_seq_length=16,
    )
    return hf.LlavaForConditionalGeneration(config), processor


def _padded_deepseek_vl() -> tuple[Any, Any]:
    words = tokenizer(image_token="<image>")
    config = hf.DeepseekVLConfig(
        vision_config=hf.SiglipVisionConfig(vision_use_head=False, **_VISION),
        text_config=_llama(words),
        image_token_id=words.image_token_id,
    )
    processor = hf.DeepseekVLProcessor(
        hf.DeepseekVLImageProcessorPil(size=_SQUARE, min_size=14),
        words,
        num_image_tokens=16,
        chat_template=template("<image>"),
    )
    processor.image_token = "<image>"
    return hf.DeepseekVLForConditionalGeneration(config), processor


def _llava_next() -> tuple[Any, Any]:
    words = tokenizer(image_token="<image>")
    pinpoints = [[56, 112], [112, 56], [112, 112]]
    config = hf.LlavaNextConfig(
        vision_config=hf.CLIPVisionConfig(**_VISION),
        text_config=_llama(words),
        image_token_index=words.image_token_id,
        image_grid_pinpoints=pinpoints,
        image_seq_length=16,
    )
    processor = hf.LlavaNextProcessor(
        hf.LlavaNextImageProcessorPil(
            size={"shortest_edge": 56}, crop_size=_SQUARE, image_grid_pinpoints=pinpoints
        ),
        words,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template("<image>"),
    )
    return hf.LlavaNextForConditionalGeneration(config), processor


def _qwen(config: type, model: type, processor: type, vision: dict[str, Any]) -> tuple[Any, Any]:
    named = ("vision_start", "vision_end", "image_pad", "video_pad")
    words = tokenizer(
        **{f"{name.replace('_pad', '')}_token": f"<|{name}|>" for name in named},
    )
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    settings: Any = config(
        text_config=_TEXT | {"vocab_size": len(words), "rope_parameters": rope, "head_dim": 8},
        vision_config=_QWEN | vision,
        **{
            f"{name.replace('_pad', '')}_token_id": words.convert_tokens_to_ids(f"<|{name}|>")
            for name in named
        },
    )
    images = hf.Qwen2VLImageProcessorPil(
        size={"shortest_edge": 56 * 56, "longest_edge": 112 * 140}, patch_size=14, merge_size=2
    )
    chat = template("<|vision_start|><|image_pad|><|vision_end|>")
    return model(settings), without_video(processor)(images, words, video_processor=None, chat_template=chat)


def _qwen2_vl() -> tuple[Any, Any]:
    vision = {"embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2}
    return _qwen(hf.Qwen2VLConfig, hf.Qwen2VLForConditionalGeneration, hf.Qwen2VLProcessor, vision)


_QWEN_WIDTHS = {"hidden_size": 32, "out_hidden_size": 32, "intermediate_size": 64}


def _qwen2_5_vl() -> tuple[Any, Any]:
    vision = _QWEN_WIDTHS | {"window_size": 56, "fullatt_block_indexes": [1]}
    return _qwen(hf.Qwen2_5_VLConfig, hf.Qwen2_5_VLForConditionalGeneration, hf.Qwen2_5_VLProcessor, vision)


def _qwen3_vl() -> tuple[Any, Any]:
    vision = _QWEN_WIDTHS | {"deepstack_visual_indexes": [0], "num_position_embeddings": 64}
    return _qwen(hf.Qwen3VLConfig, hf.Qwen3VLForConditionalGeneration, hf.Qwen3VLProcessor, vision)


def _idefics3() -> tuple[Any, Any]:
    words = tokenizer()
    token = words.convert_tokens_to_ids("<image>")
    config = hf.Idefics3Config(
        vision_config=_VISION, text_config=_llama(words), image_token_id=token, scale_factor=2
    )
    images = hf.Idefics3ImageProcessorPil(size={"longest_edge": 168}, max_image_size={"longest_edge": 56})
    processor = hf.Idefics3Processor(images, words, image_seq_len=4, chat_template=template("<image>"))
    return hf.Idefics3ForConditionalGeneration(config), processor


def _smolvlm() -> tuple[Any, Any]:
    words = tokenizer()
    token = words.convert_tokens_to_ids("<image>")
    config = hf.SmolVLMConfig(
        vision_config=_VISION, text_config=_llama(words), image_token_id=token, scale_factor=2
    )
    images = hf.SmolVLMImageProcessorPil(size={"longest_edge": 112}, max_image_size={"longest_edge": 56})
    with patch.object(processing_smolvlm, "num2words", object()):  # which it needs for videos alone
        processor = without_video(hf.SmolVLMProcessor)(
            images, words, video_processor=None, image_seq_len=4, chat_template=template("<image>")
        )
    return hf.SmolVLMForConditionalGeneration(config), processor


def _paligemma() -> tuple[Any, Any]:
    words = tokenizer()
    images = hf.SiglipImageProcessorPil(size=_SQUARE)
    images.image_seq_length = 16
    processor = hf.PaliGemmaProcessor(images, words, chat_template=template("<image>"))
    config = hf.PaliGemmaConfig(
        vision_config=hf.SiglipVisionConfig(vision_use_head=False, projection_dim=32, **_VISION),
        text_config=hf.GemmaConfig(vocab_size=len(words), head_dim=8, **_TEXT),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        projection_dim=32,
        hidden_size=32,
    )
    return hf.PaliGemmaForConditionalGeneration(config), processor


def _gemma3() -> tuple[Any, Any]:
    words = tokenizer(
        boi_token="<start_of_image>", eoi_token="<end_of_image>", image_token="<image_soft_token>"
    )
    config = hf.Gemma3Config(
        # The window is shorter than the prompt, and one of the layers has none.
        text_config=hf.Gemma3TextConfig(
            vocab_size=len(words),
            head_dim=8,
            sliding_window=12,
            layer_types=["sliding_attention", "full_attention"],
            **_TEXT,
        ),
        vision_config=hf.SiglipVisionConfig(vision_use_head=False, **_VISION),
        mm_tokens_per_image=4,
        boi_token_index=words.boi_token_id,
        eoi_token_index=words.eoi_token_id,
        image_token_index=words.image_token_id,
    )
    images = hf.Gemma3ImageProcessorPil(size=_SQUARE)
    chat = template("<start_of_image>")
    processor = hf.Gemma3Processor(images, words, image_seq_length=4, chat_template=chat)
    return hf.Gemma3ForConditionalGeneration(config), processor


def _internvl() -> tuple[Any, Any]:
    words = tokenizer(
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    config = hf.InternVLConfig(
        vision_config=hf.InternVLVisionConfig(**_VISION | {"image_size": [56, 56], "patch_size": [14, 14]}),
        text_config=hf.Qwen2Config(vocab_size=len(words), **_TEXT),
        image_token_id=words.context_image_token_id,
        image_seq_length=4,
    )
    images = hf.GotOcr2ImageProcessorPil(size=_SQUARE, max_patches=6)
    processor = without_video(hf.InternVLProcessor)(
        images, words, video_processor=None, image_seq_length=4, chat_template=template("<IMG_CONTEXT>")
    )
    return hf.InternVLForConditionalGeneration(config), processor


TINY: dict[str, Callable[[], tuple[Any, Any]]] = {
    "deepseek_vl": _padded_deepseek_vl,
    "gemma3": _gemma3,
    "idefics3": _idefics3,
    "internvl": _internvl,
    "llava": _llava,
    "llava_next": _llava_next,
    "paligemma": _paligemma,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen2_vl": _qwen2_vl,
    "qwen3_vl": _qwen3_vl,
    "smolvlm": _smolvlm,
}
"""By transformers' `model_type`."""


def build_tiny(model_type: str) -> tuple[Any, Any]:
    """The model, its weights large enough that answers depend on the image, and the processor."""
    torch.manual_seed(0)
    model, processor = TINY[model_type]()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.2)
    return model, processor
