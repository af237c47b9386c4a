"""The first stage of a composed model: its bridge learns to say of an image what sentences say of it."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoConfig

from medvqa.cases import read_image
from medvqa.errors import TrainingError
from medvqa.imaging import to_uint8
from medvqa.models.checkpoints import find_checkpoint, weights_sha256
from medvqa.models.compose.alignment import TEMPERATURE, contrastive_loss, embed_images, embed_texts
from medvqa.models.compose.configuration import GATED_MODEL_TYPE, MODEL_TYPE
from medvqa.models.compose.saving import require_new, save_checkpoint
from medvqa.models.loading import read_checkpoint
from medvqa.tuning.division import Division, divide_cases
from medvqa.tuning.stopping import memory_advice

if TYPE_CHECKING:
    from medvqa.cases import Case

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told what is being done in a few words, the step, and the number of steps."""

_KEPT_BYTES = 512 * 2**20
_TEXTS_AT_ONCE, _IMAGES_AT_ONCE = 16, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentPlan:
    """What a person decides about an alignment."""

    epochs: int = 20
    batch_size: int = 32
    """Pairs that are told apart at once: with more, the task is harder and more is learned."""
    learning_rate: float = 1e-3
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """How well images find their sentences among those of the validation cases."""

    loss: float
    """Symmetric contrastive loss in nats."""
    retrieval: float
    """Share of images whose nearest sentence is one of theirs, in [0, 1]."""
    chance: float
    """The same of a guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    """What came of it."""

    before: Alignment
    after: Alignment
    epoch: int
    """After which the loss was lowest; its bridge was written."""
    trained: int
    """Parameters of the bridge."""
    parameters: int
    """All of them."""


def align_bridge(data: Path, base: str, out: Path, *, plan: AlignmentPlan, progress: Progress) -> Aligned:
    """Train the bridge of a composed model, and write the whole model to `out` beside `alignment.json`.

    Image tower and language model stay as they are. A sentence is a question with its answer.

    Args:
        data: As for `read_cases`.
        base: Folder or hub name of a composed checkpoint.
        out: Folder to write, which must not be there or be empty.
        plan: Settings.
        progress: Told of every step.

    Raises:
        ModelError: If the model cannot be loaded, or `out` is taken.
        TrainingError: If the cases do not fit, the model has no bridge, or memory runs out.
    """
    with memory_advice():
        require_new(out)
        division, folder = divide_cases(data, seed=plan.seed), find_checkpoint(base)
        processor, model = read_checkpoint(folder, dtype=torch.float32)
        if model.config.model_type not in (MODEL_TYPE, GATED_MODEL_TYPE):
            raise TrainingError(f"{base} has no bridge to align; make a model with medvqa compose first")
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        learner = _Learner(model.to(device), processor, division, plan)
        aligned = learner.learn(progress)
        described = {
            "plan": asdict(plan) | {"temperature": TEMPERATURE},
            "base": {"name": base, "weights_sha256": weights_sha256(folder)},
            "data": {"name": data.name, "sha256": division.sha256, **division.counts},
            **asdict(aligned),
        }

        def describe(written: Path) -> None:
            text = json.dumps(described, indent=2) + "\n"
            (written / "alignment.json").write_text(text, encoding="utf-8")

        kept = AutoConfig.from_pretrained(folder).dtype or torch.float32
        save_checkpoint(out, model.cpu().to(kept), processor, beside=describe)
        return aligned


class _Learner:
    """One run; only the bridge is in training."""

    def __init__(self, model: Any, processor: Any, division: Division, plan: AlignmentPlan) -> None:
        self._model = model.eval().requires_grad_(False)
        model.bridge.requires_grad_(True)
        self._processor = processor
        self._division = division
        self._plan = plan
        self._patches: dict[tuple[str, int | None], Tensor] = {}
        self._kept = 0
        self._texts = self._embed_sentences()

    def learn(self, progress: Progress) -> Aligned:
        """Train, and leave the best bridge in the model."""
        bridge, plan = self._model.bridge, self._plan
        cases = self._division.train
        optimizer = torch.optim.AdamW(bridge.parameters(), lr=plan.learning_rate, weight_decay=0.01)
        per_epoch = math.ceil(len(cases) / plan.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=plan.learning_rate, total_steps=plan.epochs * per_epoch, pct_start=0.1
        )
        before = best = self._measure()
        chosen, epoch_of_best = copy.deepcopy(bridge.state_dict()), 0
        torch.manual_seed(plan.seed)
        for epoch in range(plan.epochs):
            order = np.random.default_rng((plan.seed, epoch)).permutation(len(cases))
            for number, places in enumerate(np.array_split(order, per_epoch), 1):
                loss = self._step(optimizer, [cases[place] for place in places])
                schedule.step()
                progress(f"loss {loss:.3f}", epoch * per_epoch + number, plan.epochs * per_epoch)
            measured = self._measure()
            if measured.loss < best.loss:
                best, epoch_of_best = measured, epoch + 1
                chosen = copy.deepcopy(bridge.state_dict())
        bridge.load_state_dict(chosen)
        return Aligned(
            before=before,
            after=best,
            epoch=epoch_of_best,
            trained=sum(one.numel() for one in bridge.parameters()),
            parameters=sum(one.numel() for one in self._model.parameters()),
        )

    def _step(self, optimizer: torch.optim.Optimizer, cases: Sequence[Case]) -> float:
        bridge = self._model.bridge.train()
        images = embed_images(self._model, self._see(cases))
        loss = contrastive_loss(images, self._read(cases), _together(cases).to(images.device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(bridge.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        bridge.eval()
        if not math.isfinite(value := loss.item()):
            raise TrainingError("the loss is not a number; use a lower --learning-rate")
        return value

    @torch.no_grad()
    def _measure(self) -> Alignment:
        """On the validation cases."""
        cases = self._division.val
        images = torch.cat(
            [
                embed_images(self._model, self._see(cases[start : start + _IMAGES_AT_ONCE]))
                for start in range(0, len(cases), _IMAGES_AT_ONCE)
            ]
        )
        texts, together = self._read(cases), _together(cases).to(images.device)
        nearest = (normalize(images, dim=1) @ normalize(texts, dim=1).T).argmax(1)
        right, chance = _retrieved(cases, nearest.tolist())
        loss = contrastive_loss(images, texts, together).item()
        return Alignment(loss=loss, retrieval=right, chance=chance)

    @torch.no_grad()
    def _embed_sentences(self) -> Mapping[str, Tensor]:
        """All sentences, less their mean: what a decoder's states have in common says nothing.

        Reference: Ethayarajh, "How Contextual are Contextualized Word Representations?", 2019.
        """
        sentences = sorted({_sentence(case) for case in (*self._division.train, *self._division.val)})
        found: list[Tensor] = []
        for start in range(0, len(sentences), _TEXTS_AT_ONCE):
            words = self._processor.tokenizer(
                sentences[start : start + _TEXTS_AT_ONCE],
                return_tensors="pt",
                padding=True,
                padding_side="right",
                truncation=True,
                max_length=getattr(self._model.config.text_config, "max_position_embeddings", None),
            ).to(self._model.device)
            found.append(embed_texts(self._model, words["input_ids"], words["attention_mask"]))
        embedded = torch.cat(found)
        return dict(zip(sentences, embedded - embedded.mean(0), strict=True))

    def _read(self, cases: Sequence[Case]) -> Tensor:
        return torch.stack([self._texts[_sentence(case)] for case in cases])

    def _see(self, cases: Sequence[Case]) -> Tensor:
        """Patches of the cases' images, (cases, patches, width); as many as fit are kept."""
        return torch.stack([self._look(case) for case in cases]).to(self._model.device)

    @torch.no_grad()
    def _look(self, case: Case) -> Tensor:
        if (key := _image_of(case)) in self._patches:
            return self._patches[key]
        picture = PillowImage.fromarray(to_uint8(read_image(case))).convert("RGB")
        values = self._processor.image_processor([picture], return_tensors="pt")["pixel_values"]
        patches = self._model.get_patches(values.to(self._model.device))[0].cpu()
        if self._kept < _KEPT_BYTES:
            self._patches[key] = patches
            self._kept += patches.nbytes
        return patches


def _sentence(case: Case) -> str:
    return f"{case.question.strip()} {case.answer.strip()}"


def _image_of(case: Case) -> tuple[str, int | None]:
    return str(case.image), case.frame


def _together(cases: Sequence[Case]) -> Tensor:
    """Which cases share an image or a sentence, bool (cases, cases)."""
    images, sentences = [_image_of(case) for case in cases], [_sentence(case) for case in cases]
    return torch.tensor(
        [
            [image == images[place] or sentence == sentences[place] for place in range(len(cases))]
            for image, sentence in zip(images, sentences, strict=True)
        ]
    )


def _retrieved(cases: Sequence[Case], nearest: Sequence[int]) -> tuple[float, float]:
    """Share of images whose nearest case says a sentence of theirs, and that of a guess among sentences."""
    said: dict[tuple[str, int | None], set[str]] = {}
    for case in cases:
        said.setdefault(_image_of(case), set()).add(_sentence(case))
    found = {
        _image_of(case): _sentence(cases[place]) in said[_image_of(case)]
        for case, place in zip(cases, nearest, strict=True)
    }
    sentences = {_sentence(case) for case in cases}
    return (
        sum(found.values()) / len(found),
        sum(len(own) for own in said.values()) / len(said) / len(sentences),
    )
