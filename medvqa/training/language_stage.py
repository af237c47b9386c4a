"""Stages 2 and 3: the whole model learns to answer in words, then LoRA adapters tune it, mostly on places.

All questions about one picture travel in one sequence behind one copy of its image tokens. Each sees the
image and itself, never another question, so the model learns just what it would from separate prompts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from torch.nn import functional

from medvqa.training.architecture import IMAGE_TOKENS
from medvqa.training.questions import CHINESE_SHARE, ask_everything
from medvqa.training.schedule import train_steps
from medvqa.training.vision_stage import pixel_values

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import DeepseekVLForConditionalGeneration, LlavaProcessor

    from medvqa.training.phrasing import Language
    from medvqa.training.pictures import Picture, Sampler
    from medvqa.training.questions import Asked, Content
    from medvqa.training.schedule import Course, Progress

_IMAGE, _PADDING = 0, -1
_IGNORED = -100


class _Answering(nn.Module):
    """The loss of the model on packed questions."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def train(self, mode: bool = True) -> _Answering:
        """What is not trained is not disturbed either, as by the dropped paths of a frozen tower."""
        super().train(mode)
        for module in self.model.modules():
            if not any(parameter.requires_grad for parameter in module.parameters()):
                module.eval()
        return self

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, position_ids: Tensor, segment: Tensor, labels: Tensor
    ) -> Tensor:
        whole: Any = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        output = whole.model(
            pixel_values=pixel_values,
            input_ids=input_ids,
            position_ids=position_ids,
            attention_mask=packed_mask(segment),
            use_cache=False,
        )
        # Most tokens are not to be predicted, and logits of a whole vocabulary cost as much as a layer.
        wanted = labels[:, 1:] != _IGNORED
        logits = whole.lm_head(output.last_hidden_state[:, :-1][wanted])
        return functional.cross_entropy(logits, labels[:, 1:][wanted])


def learn_to_answer(
    model: DeepseekVLForConditionalGeneration,
    processor: LlavaProcessor,
    sampler: Sampler,
    accelerator: Accelerator,
    *,
    course: Course,
    progress: Progress,
) -> None:
    """Train what `model` has to train, in place, on questions about pictures from `sampler`."""
    rng = np.random.default_rng(course.seed)

    def draw() -> dict[str, Tensor]:
        pictures = sampler.draw(course.batch_size)
        asked = [_ask(picture.content, rng) for picture in pictures]
        return pack(pictures, asked, processor)

    train_steps(_Answering(model), draw, accelerator, course=course, progress=progress)


def _ask(content: Content, rng: np.random.Generator) -> tuple[Asked, ...]:
    language: Language = "zh" if rng.random() < CHINESE_SHARE else "en"
    return ask_everything(content, rng, language=language)


def with_lora(model: DeepseekVLForConditionalGeneration, *, rank: int = 16) -> nn.Module:
    """Freeze `model` and put a LoRA adapter on every linear layer (Hu et al. 2022)."""
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", lora_dropout=0.05, task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config)


def pack(
    pictures: list[Picture], asked: list[tuple[Asked, ...]], processor: LlavaProcessor
) -> dict[str, Tensor]:
    """One row a picture: its image tokens, then every question with its answer.

    Returns:
        `pixel_values` (n, 3, side, side); `input_ids`, `position_ids`, `segment` and `labels`, each
        (n, tokens). `segment` is 0 for the image, j for question j and -1 for padding.
    """
    rows = [_row(questions, processor) for questions in asked]
    longest = max(len(row) for row in rows)
    padding = (processor.tokenizer.pad_token_id, 0, _PADDING, _IGNORED)
    columns = torch.tensor([row + [padding] * (longest - len(row)) for row in rows]).unbind(-1)
    names = ("input_ids", "position_ids", "segment", "labels")
    return {"pixel_values": pixel_values(pictures), **dict(zip(names, columns, strict=True))}


def packed_mask(segment: Tensor) -> Tensor:
    """Who may look at whom, (n, 1, tokens, tokens): earlier tokens of the image or of the same question."""
    tokens = segment.shape[1]
    same = segment[:, :, None] == segment[:, None, :]
    image = (segment == _IMAGE)[:, None, :]
    causal = torch.ones(tokens, tokens, dtype=torch.bool, device=segment.device).tril()
    return ((same | image) & causal)[:, None]


def _row(asked: tuple[Asked, ...], processor: LlavaProcessor) -> list[tuple[int, int, int, int]]:
    """(token, position, segment, label) of one picture's whole sequence."""
    tokenizer = processor.tokenizer
    image = [tokenizer.bos_token_id, tokenizer.convert_tokens_to_ids("<user>")]
    image += [processor.image_token_id] * IMAGE_TOKENS
    row = [(token, position, _IMAGE, _IGNORED) for position, token in enumerate(image)]
    for number, one in enumerate(asked, start=1):
        question = tokenizer.encode(f"{one.question}<assistant>", add_special_tokens=False)
        answer = tokenizer.encode(f"{one.answer}</s>", add_special_tokens=False)
        labels = [_IGNORED] * len(question) + answer
        tokens = zip(question + answer, labels, strict=True)
        row += [(token, len(image) + at, number, label) for at, (token, label) in enumerate(tokens)]
    return row
