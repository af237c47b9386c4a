"""One tiny model with random weights, and its processor, for every model family; nothing is downloaded."""

# ruff: noqa: S105, S106
# Tokens are words here, not passwords.

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
import torch
import transformers as hf
from tiny_models import llava_processor
from tiny_tokenizer import tiny_tokenizer
from transformers.models.smolvlm import processing_smolvlm

from medvqa.models.compose.composed import ComposedForConditionalGeneration, GatedForConditionalGeneration
from medvqa.models.compose.configuration import ComposedConfig, GatedConfig
from medvqa.models.compose.processing import ComposedProcessor
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
    return tiny_tokenizer(_SPECIAL, words=400, **named)


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


_QFORMER: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "encoder_hidden_size": 32,
    "cross_attention_frequency": 1,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def _blip_2() -> tuple[Any, Any]:
    words = tokenizer()
    processor = hf.Blip2Processor(hf.BlipImageProcessorPil(size=_SQUARE), words, num_query_tokens=8)
    text = hf.OPTConfig(
        vocab_size=len(words),
        hidden_size=32,
        ffn_dim=64,
        word_embed_proj_dim=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        dropout=0.0,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    config = hf.Blip2Config(
        vision_config=hf.Blip2VisionConfig(**_VISION),
        qformer_config=hf.Blip2QFormerConfig(**_QFORMER),
        text_config=text,
        num_query_tokens=8,
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    return hf.Blip2ForConditionalGeneration(config), processor


def _instructblip() -> tuple[Any, Any]:
    words, short = tokenizer(), tokenizer()
    processor = hf.InstructBlipProcessor(
        hf.BlipImageProcessorPil(size=_SQUARE), words, short, num_query_tokens=8
    )
    config = hf.InstructBlipConfig(
        vision_config=hf.InstructBlipVisionConfig(**_VISION),
        qformer_config=hf.InstructBlipQFormerConfig(vocab_size=len(short), **_QFORMER),
        text_config=_llama(words),
        num_query_tokens=8,
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    return hf.InstructBlipForConditionalGeneration(config), processor


def _florence2() -> tuple[Any, Any]:
    words = tokenizer(image_token="<image>")
    images = hf.CLIPImageProcessorPil(
        size={"height": 128, "width": 128}, crop_size={"height": 128, "width": 128}, do_center_crop=False
    )
    images.image_seq_length = 17
    text = hf.BartConfig(
        vocab_size=len(words),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=512,
        dropout=0.0,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        decoder_start_token_id=2,
        forced_eos_token_id=None,
    )
    vision = {
        "depths": [1, 1, 1, 1],
        "embed_dim": [16, 32, 32, 32],
        "num_heads": [2, 4, 4, 4],
        "num_groups": [2, 4, 4, 4],
        "window_size": 4,
        "drop_path_rate": 0.0,
        "projection_dim": 32,
    }
    config = hf.Florence2Config(text_config=text, vision_config=vision, image_token_id=words.image_token_id)
    return hf.Florence2ForConditionalGeneration(config), hf.Florence2Processor(images, words)


def _idefics() -> tuple[Any, Any]:
    words = tokenizer()
    config = hf.IdeficsConfig(
        vocab_size=len(words),
        alpha_initializer="ones",
        alpha_type="float",
        cross_layer_interval=1,
        use_resampler=True,
        vision_config={
            "embed_dim": 32,
            "image_size": 56,
            "patch_size": 14,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
        },
        perceiver_config={
            "use_resampler": True,
            "resampler_n_latents": 8,
            "resampler_depth": 2,
            "resampler_n_heads": 4,
            "resampler_head_dim": 8,
        },
        **{name: value for name, value in _TEXT.items() if name != "num_key_value_heads"},
    )
    processor = hf.IdeficsProcessor(hf.IdeficsImageProcessorPil(image_size=56), words)
    return hf.IdeficsForVisionText2Text(config), processor


def _idefics2() -> tuple[Any, Any]:
    words = tokenizer()
    config = hf.Idefics2Config(
        vision_config=_VISION | {"image_size": 140},
        perceiver_config={
            "hidden_size": 32,
            "resampler_n_latents": 8,
            "resampler_depth": 2,
            "resampler_n_heads": 4,
            "resampler_head_dim": 8,
            "num_key_value_heads": 2,
        },
        text_config=_llama(words),
        image_token_id=words.convert_tokens_to_ids("<image>"),
    )
    images = hf.Idefics2ImageProcessorPil(
        size={"shortest_edge": 42, "longest_edge": 112}, do_image_splitting=True
    )
    processor = hf.Idefics2Processor(images, words, image_seq_len=8, chat_template=template("<image>"))
    return hf.Idefics2ForConditionalGeneration(config), processor


def _llava_onevision() -> tuple[Any, Any]:
    words = tokenizer(image_token="<image>", video_token="<video>")
    pinpoints = [[56 * rows, 56 * columns] for rows in (1, 2, 3) for columns in (1, 2, 3)]
    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(vision_use_head=False, **_VISION),
        text_config=_llama(words),
        image_token_index=words.image_token_id,
        video_token_index=words.video_token_id,
        image_grid_pinpoints=pinpoints,
        vision_aspect_ratio="anyres_max_4",
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
    )
    images = hf.LlavaOnevisionImageProcessorPil(size=_SQUARE, image_grid_pinpoints=pinpoints)
    processor = without_video(hf.LlavaOnevisionProcessor)(
        images,
        words,
        video_processor=None,
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_4",
        chat_template=template("<image>"),
    )
    return hf.LlavaOnevisionForConditionalGeneration(config), processor


def _mllama() -> tuple[Any, Any]:
    words = tokenizer(image_token="<|image|>")
    text = {name: value for name, value in _TEXT.items() if name != "num_hidden_layers"}
    config = hf.MllamaConfig(
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 4,
            "intermediate_size": 64,
            "vision_output_dim": 64,
            "image_size": 56,
            "patch_size": 14,
            "max_num_tiles": 4,
            "intermediate_layers_indices": [0],
        },
        text_config={
            **text,
            "vocab_size": len(words),
            "num_hidden_layers": 4,
            "cross_attention_layers": [1, 3],
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
        image_token_index=words.image_token_id,
    )
    images = hf.MllamaImageProcessorPil(size=_SQUARE, max_image_tiles=4)
    return hf.MllamaForConditionalGeneration(config), hf.MllamaProcessor(
        images, words, chat_template=template("<|image|>")
    )


def _composed(bridge: str) -> tuple[Any, Any]:
    """A Qwen2 and a CLIP tower of medvqa's own composing."""
    words = tokenizer()
    words.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    gated = bridge == "gated_cross_attention"
    config = (GatedConfig if gated else ComposedConfig)(
        text_config=hf.Qwen2Config(vocab_size=len(words), **_TEXT),
        vision_config=hf.CLIPVisionConfig(**_VISION),
        bridge=bridge,
        dropout=0.0,
        image_token_id=words.convert_tokens_to_ids("<image>"),
        placeholder_id=words("\n")["input_ids"][0],
        grid_rows=4,
        grid_columns=4,
        vision_width=32,
        query_width=32,
        query_layers=2,
        cross_attention_every=1,
    )
    images = hf.CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size=_SQUARE, resample=2)
    processor = ComposedProcessor(
        images, words, image_tokens=config.image_tokens, grid=(4, 4), chat_template=words.chat_template
    )
    model = GatedForConditionalGeneration if gated else ComposedForConditionalGeneration
    return model(config), processor


def _aya_vision() -> tuple[Any, Any]:
    words = tokenizer()
    words.add_special_tokens(
        {"additional_special_tokens": ["<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>"]}
    )
    config = hf.AyaVisionConfig(
        vision_config=hf.SiglipVisionConfig(vision_use_head=False, **_VISION),
        text_config=hf.Cohere2Config(vocab_size=len(words), head_dim=8, sliding_window=512, **_TEXT),
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        downsample_factor=2,
        alignment_intermediate_size=64,
        image_token_index=words.convert_tokens_to_ids("<|IMG_PATCH|>"),
    )
    images = hf.GotOcr2ImageProcessorPil(size=_SQUARE, max_patches=6)
    processor = hf.AyaVisionProcessor(
        images, words, patch_size=14, img_size=56, downsample_factor=2, chat_template=template("<image>")
    )
    return hf.AyaVisionForConditionalGeneration(config), processor


TINY: dict[str, Callable[[], tuple[Any, Any]]] = {
    "aya_vision": _aya_vision,
    "blip-2": _blip_2,
    "deepseek_vl": _padded_deepseek_vl,
    "florence2": _florence2,
    "gemma3": _gemma3,
    "idefics": _idefics,
    "idefics2": _idefics2,
    "idefics3": _idefics3,
    "instructblip": _instructblip,
    "internvl": _internvl,
    "llava": _llava,
    "llava_next": _llava_next,
    "llava_onevision": _llava_onevision,
    "medvqa_composed": partial(_composed, "mlp"),
    "medvqa_composed_gated": partial(_composed, "gated_cross_attention"),
    "mllama": _mllama,
    "paligemma": _paligemma,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen2_vl": _qwen2_vl,
    "qwen3_vl": _qwen3_vl,
    "smolvlm": _smolvlm,
}
"""By transformers' `model_type`."""


_ONE_OF_A_KIND = frozenset(
    (
        "florence2",
        "idefics2",
        "instructblip",
        "llava",
        "mllama",
        "qwen3_vl",
    )
)
"""One for each way of laying out and reading an image; the others are as slow and seldom tell more."""


def each_of(families: Iterable[str]) -> list[Any]:
    """Parameters of a test: the families that are one of a kind, and the others among the slow tests."""
    return [
        name if name in _ONE_OF_A_KIND else pytest.param(name, marks=pytest.mark.slow)
        for name in sorted(families)
    ]


def build_tiny(model_type: str) -> tuple[Any, Any]:
    """The model, its weights large enough that answers depend on the image, and the processor."""
    torch.manual_seed(0)
    model, processor = TINY[model_type]()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.2)
            elif "gate" in name:  # of looks at the image, which begin shut
                parameter.fill_(1)
    return model, processor
