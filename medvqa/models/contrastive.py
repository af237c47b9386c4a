"""CLIP and its kin: models that place images and texts in one space, close where they belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from PIL import Image as PillowImage
from torch.nn import functional
from transformers import AutoConfig, AutoModel

from medvqa.errors import ModelError, QuestionError
from medvqa.imaging import to_uint8
from medvqa.long_work import go_on
from medvqa.models.checkpoints import (
    UNLOADABLE,
    declared_modalities,
    find_checkpoint,
    first_line,
    read_weights,
)
from medvqa.models.devices import parse_device, require_one
from medvqa.models.identifying import identify
from medvqa.models.processors import read_processor

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from medvqa.types import Image, ModelIdentity

    Embeddings: TypeAlias = NDArray[np.float32]
    """Unit vectors, shape (n, width)."""

TEXT_VERSION = "contrastive 1"
"""Of how texts reach the model: as they are, without a template around them."""

_AT_ONCE = 16
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What differs between kinds of contrastive models."""

    sigmoid: bool = False
    """Trained to tell of each pair alone whether it belongs together; else which pair of many does."""
    longest: int | None = None
    """Tokens of a text in training, where the text tower would read more."""


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "align": Kind(longest=64),
        "clip": Kind(),
        "siglip": Kind(sigmoid=True),
        "siglip2": Kind(sigmoid=True),
        "vision-text-dual-encoder": Kind(),
    }
)
"""By transformers' `model_type`. SigLIP 2 of a fixed resolution has the type `siglip`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of the options put beside an image; no figure of it is a chance of being right."""

    option: str
    similarity: float
    """Cosine of the angle between image and text, in [-1, 1]."""
    probability: float
    """In [0, 1], 1 over all options: softmax of the model's logits, so it rests on what else is offered. Of a
    model trained by sigmoid: what each option has if it is taken for granted that exactly one is true."""
    match: float | None
    """Sigmoid of the logit, in [0, 1], whatever else is offered: near 0 for all options where none fits. None
    for a model that was trained by softmax and cannot say so."""


class ContrastiveModel:
    """A loaded checkpoint; make one with `load_contrastive`."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        identity: ModelIdentity,
        *,
        modalities: frozenset[str] = frozenset(),
    ) -> None:
        """Wrap a model; it is put in eval mode, and its parameters are frozen."""
        self._model = model.eval().requires_grad_(False)
        self._processor = processor
        self._kind = KINDS[identity.model_type]
        self.identity = identity
        self.modalities = modalities
        """DICOM modalities that it was made for; empty where nobody has said."""

    def embed_images(self, images: Sequence[Image]) -> Embeddings:
        """One unit vector an image, shape (images, width): the same in a batch as alone, within 1e-5."""
        return self._embed(images, lambda batch: self._model.get_image_features(**self._read_images(batch)))

    def embed_texts(self, texts: Sequence[str]) -> Embeddings:
        """One unit vector a text, shape (texts, width), read as it is.

        Raises:
            QuestionError: If a text is empty, longer than the model reads, or holds a special token.
        """
        for text in texts:
            self._require_readable(text)
        return self._embed(texts, lambda batch: self._model.get_text_features(**self._read_texts(batch)))

    def choose(self, image: Image, options: Sequence[str]) -> tuple[Choice, ...]:
        """Compare an image with several texts, in their order.

        Args:
            image: As it is shown.
            options: Two at least, all different. Whole sentences, such as "chest X-ray with a pneumothorax",
                lie closer to what such models have read than bare words.

        Raises:
            QuestionError: If the options will not do; see `embed_texts`.
        """
        if len(set(options)) < max(2, len(options)):
            raise QuestionError("a choice needs at least two options, all of them different")
        similarities = self.embed_texts(options) @ self.embed_images([image])[0]
        logits = self.logits(similarities)
        matches = functional.sigmoid(logits).tolist() if self._kind.sigmoid else [None] * len(options)
        return tuple(
            Choice(option=option, similarity=similarity, probability=probability, match=match)
            for option, similarity, probability, match in zip(
                options, similarities.tolist(), logits.softmax(0).tolist(), matches, strict=True
            )
        )

    def logits(self, similarities: Embeddings) -> Tensor:
        """Cosines, of any shape, as the model's training scaled and shifted them; float64."""
        cosines = torch.from_numpy(np.asarray(similarities, dtype=np.float64))
        if hasattr(self._model, "temperature"):
            return cosines / self._model.temperature.item()
        bias = self._model.logit_bias.item() if self._kind.sigmoid else 0.0
        return cosines * self._model.logit_scale.double().exp().item() + bias

    def _embed(self, what: Sequence[Any], features: Any) -> Embeddings:
        parts: list[Tensor] = []
        with torch.inference_mode():
            for start in range(0, len(what), _AT_ONCE):
                go_on()
                pooled = features(what[start : start + _AT_ONCE]).pooler_output
                parts.append(functional.normalize(pooled.float(), dim=-1).cpu())
        if not parts:
            raise QuestionError("there is nothing to compare: give at least one image or text")
        return torch.cat(parts).numpy()

    def _read_images(self, images: Sequence[Image]) -> dict[str, Tensor]:
        pictures = [PillowImage.fromarray(to_uint8(image)) for image in images]
        read = self._processor.image_processor(images=pictures, return_tensors="pt")
        return dict(read.to(self._model.device))

    def _read_texts(self, texts: Sequence[str]) -> dict[str, Tensor]:
        tokenizer = self._processor.tokenizer
        if not self._kind.sigmoid:
            read = tokenizer(list(texts), padding=True, padding_side="right", return_tensors="pt")
            return dict(read.to(self._model.device))
        # SigLIP was trained on texts filled up to full length, with the filling in sight.
        read = tokenizer(list(texts), padding="max_length", max_length=self._longest, return_tensors="pt")
        return {"input_ids": read["input_ids"].to(self._model.device)}

    @property
    def _longest(self) -> int:
        """Tokens of the longest text that the model reads."""
        stated = self._model.config.get_text_config().max_position_embeddings
        return min(stated, self._processor.tokenizer.model_max_length, self._kind.longest or stated)

    def _require_readable(self, text: str) -> None:
        name, tokenizer = self.identity.name, self._processor.tokenizer
        if not text.strip():
            raise QuestionError("a text is empty; describe what you look for in a sentence")
        for token in tokenizer.added_tokens_decoder.values():
            if token.special and token.content in text:
                raise QuestionError(
                    f"a text holds {token.content!r}, a special token of {name}; leave it out"
                )
        tokens = len(tokenizer(text)["input_ids"])
        if tokens > self._longest:
            raise QuestionError(
                f"a text needs {tokens} tokens but {name} reads {self._longest}; shorten the text"
            )


def load_contrastive(name_or_path: str | Path, *, device: str | None = None) -> ContrastiveModel:
    """Load a CLIP, ALIGN, SigLIP, SigLIP 2 or VisionTextDualEncoder checkpoint of transformers, in float32.

    Its vectors are kept on disk and compared with those of other machines, so no other precision is offered.

    Args:
        name_or_path: A folder, or a name on the Hugging Face hub.
        device: Such as `cpu` or `cuda:0`; by default the GPU where there is one.

    Raises:
        ModelError: If the checkpoint cannot be found or loaded, is of another kind or lacks weights, or there
            is no such device.
    """
    folder = find_checkpoint(name_or_path)
    place = require_one(parse_device(device))
    processor, model = _read_checkpoint(folder)
    identity = identify(str(name_or_path), folder, model, place=place, parameters={})
    identity = replace(identity, prompt_version=TEXT_VERSION)
    return ContrastiveModel(model.to(place), processor, identity, modalities=declared_modalities(folder))


def _read_checkpoint(folder: Path) -> tuple[Any, Any]:
    """Processor and model."""
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        # Without one, transformers makes up a tokenizer that knows no words.
        raise ModelError(
            f"{folder.name!r} has no tokenizer; add tokenizer.json, or the vocabulary that it had"
        )
    try:
        model_type = AutoConfig.from_pretrained(folder).model_type
        if model_type not in KINDS:
            raise ModelError(
                f"{folder.name!r} is of the type {model_type!r}, which compares no images with texts as "
                f"{', '.join(sorted(KINDS))} do; give a folder of one of those"
            )
        processor = read_processor(folder, model_type)
        model = read_weights(AutoModel, folder, dtype=torch.float32)
    except UNLOADABLE as error:
        raise ModelError(
            f"{folder.name!r} cannot be loaded as a contrastive model: {first_line(error)}"
        ) from error
    if getattr(processor, "image_processor", None) is None:
        raise ModelError(f"{folder.name!r} has no image processor; add preprocessor_config.json")
    return processor, model
