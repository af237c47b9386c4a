"""The one generic model: any image-text-to-text checkpoint of transformers, with a peft adapter on top."""

from __future__ import annotations

import platform
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from peft import PeftModel, get_peft_model_state_dict
from peft.utils.save_and_load import load_peft_weights
from PIL import Image as PillowImage
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from medvqa.errors import ModelError, QuestionError
from medvqa.imaging import to_uint8
from medvqa.models.base import Generation
from medvqa.models.checkpoints import (
    DEFAULT_MODEL,
    adapter_sha256,
    declared_modalities,
    find_checkpoint,
    tokenizer_sha256,
    weights_sha256,
)
from medvqa.models.families import TokenGrid, family_of
from medvqa.prompts import PROMPT_VERSION, chat_messages
from medvqa.types import ModelIdentity, Token

if TYPE_CHECKING:
    from medvqa.types import Image

_LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "numpy", "pillow", "monai", "pydicom", "captum")
_UNLOADABLE = (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError, SafetensorError)


class HuggingFaceModel:
    """A loaded checkpoint; make one with `load_model`."""

    def __init__(
        self, model: Any, processor: Any, identity: ModelIdentity, *, modalities: frozenset[str] = frozenset()
    ) -> None:
        """Wrap a model in eval mode; its parameters are frozen, since only inputs are ever differentiated."""
        self._model = model.eval().requires_grad_(False)
        self._processor = processor
        self._family = family_of(model.config.model_type)
        self._image_token_id: int = model.config.image_token_id
        # A checkpoint's own generation settings may ask for beams; an image token is no word of an answer.
        self._decoding: dict[str, Any] = {
            "do_sample": False,
            "num_beams": 1,
            "suppress_tokens": [self._image_token_id],
            "max_new_tokens": identity.parameters["max_new_tokens"],
        }
        self.identity = identity
        self.modalities = modalities

    def generate(self, image: Image, question: str) -> Generation:
        """Answer by greedy decoding, one image and one question at a time.

        Raises:
            QuestionError: If image and question together are longer than the model can read, or the question
                holds one of its special tokens.
        """
        inputs = self.inputs(image, question)
        with torch.inference_mode():
            output = self._model.generate(
                **inputs, **self._decoding, return_dict_in_generate=True, output_logits=True
            )
        token_ids = output.sequences[0, inputs["input_ids"].shape[1] :]
        log_probabilities = torch.stack(output.logits)[:, 0].float().log_softmax(-1)
        chosen = log_probabilities.gather(1, token_ids[:, None])[:, 0].tolist()
        tokenizer = self._processor.tokenizer
        return Generation(
            text=tokenizer.decode(token_ids, skip_special_tokens=True).strip(),
            tokens=tuple(
                Token(text=tokenizer.decode([token_id]), log_probability=log_probability)
                for token_id, log_probability in zip(token_ids.tolist(), chosen, strict=True)
            ),
            token_ids=tuple(token_ids.tolist()),
            prompt_token_ids=tuple(inputs["input_ids"][0].tolist()),
        )

    def answer_many(self, images: Sequence[Image], questions: Sequence[str]) -> list[str]:
        """The texts alone, for one question about each image, as one batch padded on the left."""
        inputs = self._encode(images, questions)
        with torch.inference_mode():
            sequences = self._model.generate(**inputs, **self._decoding)
        answers = sequences[:, inputs["input_ids"].shape[1] :]
        return [
            text.strip() for text in self._processor.tokenizer.batch_decode(answers, skip_special_tokens=True)
        ]

    def log_likelihood(self, image: Image, question: str, token_ids: tuple[int, ...]) -> float:
        """Natural logarithm of the probability of answering with `token_ids`."""
        inputs = self.inputs(image, question)
        with torch.inference_mode():
            return self.answer_log_likelihood(inputs, inputs["pixel_values"], token_ids).item()

    def inputs(self, image: Image, question: str) -> dict[str, Tensor]:
        """What the processor makes of image and question: `input_ids` (1, tokens), `pixel_values`, ..."""
        return self._encode([image], [question])

    def answer_log_likelihood(
        self, inputs: dict[str, Tensor], pixel_values: Tensor, token_ids: tuple[int, ...]
    ) -> Tensor:
        """Log-likelihood of the answer for each of several versions of the pixels, differentiable in them.

        Args:
            inputs: Of one image and question.
            pixel_values: (versions, *shape of one image's pixel values).
            token_ids: The answer.

        Returns:
            Natural logarithms, shape (versions,).
        """
        output = self._forward(inputs, pixel_values, token_ids)
        answer = torch.tensor(token_ids, device=output.logits.device)
        log_probabilities = output.logits[:, -len(token_ids) - 1 : -1].float().log_softmax(-1)
        return log_probabilities.gather(2, answer.expand(len(pixel_values), -1)[..., None])[..., 0].sum(1)

    def attention_to_image(self, inputs: dict[str, Tensor], token_ids: tuple[int, ...]) -> Tensor:
        """Attention that predicting each answer token pays to each image token, mean over layers and heads.

        Returns:
            Shape (answer tokens, image tokens); each row sums to at most 1.
        """
        with torch.inference_mode(), self._eager_attention():
            output = self._forward(inputs, inputs["pixel_values"], token_ids, output_attentions=True)
        attention = torch.stack([layer[0].float().mean(0) for layer in output.attentions]).mean(0)
        at_image = (inputs["input_ids"][0] == self._image_token_id).nonzero()[:, 0]
        return attention[-len(token_ids) - 1 : -1][:, at_image]

    def token_grid(self, inputs: dict[str, Tensor], shape: tuple[int, int]) -> TokenGrid:
        """Where the image tokens lie on an image of `shape` (rows, columns)."""
        tokens = int((inputs["input_ids"] == self._image_token_id).sum())
        return self._family.grid(tokens, self._family.covered(self._processor.image_processor, shape))

    def _encode(self, images: Sequence[Image], questions: Sequence[str]) -> dict[str, Tensor]:
        """One row a pair, padded on the left; refuse what is longer than the model reads."""
        inputs = self._processor(
            text=[self._render(question) for question in questions],
            images=[PillowImage.fromarray(to_uint8(image)) for image in images],
            return_tensors="pt",
            padding=True,
            add_special_tokens=False,
        )
        longest = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        needed = inputs["input_ids"].shape[1] + self.identity.parameters["max_new_tokens"]
        if longest and needed > longest:
            raise QuestionError(
                f"image, question and answer need {needed} tokens but {self.identity.name} reads {longest}; "
                "shorten the question"
            )
        return dict(inputs.to(self._model.device, self._model.dtype))

    def _render(self, question: str) -> str:
        """Refuse what would be read as an image or as the end of the question, not as words."""
        for token in self._processor.tokenizer.added_tokens_decoder.values():
            if token.special and token.content in question:
                raise QuestionError(
                    f"the question holds {token.content!r}, a special token of {self.identity.name}; "
                    "leave it out"
                )
        return self._processor.apply_chat_template(chat_messages(question), add_generation_prompt=True)

    def _forward(
        self, inputs: dict[str, Tensor], pixel_values: Tensor, token_ids: tuple[int, ...], **options: Any
    ) -> Any:
        """Teacher forcing: the prompt followed by the answer, once for each version of the pixels."""
        answer = torch.tensor([token_ids], device=pixel_values.device)
        input_ids = torch.cat([inputs["input_ids"], answer], 1).expand(len(pixel_values), -1)
        return self._model(
            input_ids=input_ids,
            attention_mask=torch.ones_like(input_ids),
            pixel_values=pixel_values,
            use_cache=False,
            **options,
        )

    @contextmanager
    def _eager_attention(self) -> Generator[None]:
        """Switch the decoder, since its fused kernels return no attention weights."""
        decoder = self._model.get_decoder()
        before = decoder.config._attn_implementation
        decoder.set_attn_implementation("eager")
        try:
            yield
        finally:
            decoder.set_attn_implementation(before)


def load_model(
    name_or_path: str | Path = DEFAULT_MODEL,
    *,
    adapter: str | Path | None = None,
    device: str | None = None,
    max_new_tokens: int = 32,
) -> HuggingFaceModel:
    """Load a checkpoint through transformers' Auto classes, and a peft adapter on top of it.

    Args:
        name_or_path: `default`, a folder, or a name on the Hugging Face hub.
        adapter: A folder or hub name of a peft adapter made for that model.
        device: Such as `cpu` or `cuda:0`; by default the GPU where there is one.
        max_new_tokens: Longest answer.

    Raises:
        ModelError: If the checkpoint or adapter cannot be found or loaded, they do not fit, or there is no
            such device.
    """
    folder = find_checkpoint(name_or_path)
    place = _usable_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    processor, model = _read_checkpoint(folder, dtype=torch.float32 if place.type == "cpu" else "auto")
    adapter_folder = find_checkpoint(adapter) if adapter is not None else None
    if adapter_folder is not None:
        model = _with_adapter(model, adapter_folder)
    identity = ModelIdentity(
        name=str(name_or_path),
        model_type=model.config.model_type,
        weights_sha256=weights_sha256(folder),
        tokenizer_sha256=tokenizer_sha256(folder),
        adapter=None if adapter is None else str(adapter),
        adapter_sha256=None if adapter_folder is None else adapter_sha256(adapter_folder),
        prompt_version=PROMPT_VERSION,
        parameters={
            "decoding": "greedy",
            "max_new_tokens": max_new_tokens,
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": place.type,
            "threads": torch.get_num_threads(),
            "attention": model.config._attn_implementation,
            "hardware": _hardware(place),
        },
        libraries={"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
    )
    return HuggingFaceModel(model.to(place), processor, identity, modalities=declared_modalities(folder))


def _usable_device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # builds without CUDA assert
        raise ModelError(f"device {name!r} cannot be used: {_first_line(error)}; choose cpu") from error


def _hardware(place: torch.device) -> str:
    """What decides how floats are summed: the GPU, or the processor's instruction set as PyTorch uses it."""
    if place.type == "cuda":
        return torch.cuda.get_device_name(place)
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def _read_checkpoint(folder: Path, *, dtype: Any) -> tuple[Any, Any]:
    """Processor and model; only safetensors files are read, since only they are in the model's digest."""
    try:
        # Before the weights, which may be many gigabytes.
        family_of(AutoConfig.from_pretrained(folder).model_type)
        processor = AutoProcessor.from_pretrained(folder, backend="pil")
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
        model, report = loaded
    except _UNLOADABLE as error:
        raise ModelError(
            f"{folder.name!r} cannot be loaded as an image-text-to-text model: {_first_line(error)}"
        ) from error
    if missing := report["missing_keys"]:
        raise ModelError(
            f"weights in {folder.name!r} lack {len(missing)} of the model's tensors, such as {min(missing)}; "
            "they would be random, so fetch the checkpoint again"
        )
    if getattr(processor, "image_processor", None) is None or not processor.chat_template:
        raise ModelError(
            f"{folder.name!r} has no image processor or no chat template; add preprocessor_config.json and "
            "chat_template.jinja"
        )
    return processor, model


def _with_adapter(model: Any, folder: Path) -> Any:
    """Merge the adapter into the weights, so that it costs nothing at each question."""
    try:
        adapted = cast("Any", PeftModel.from_pretrained(model, folder))
        # peft only warns of matrices without a place, and of places without a matrix.
        stored = load_peft_weights(str(folder), device="cpu").keys()
        strays = sorted(key for key in stored ^ get_peft_model_state_dict(adapted).keys() if "lora_" in key)
        if strays:
            raise ValueError(f"{len(strays)} matrices do not match, such as {strays[0]}")
        return adapted.merge_and_unload()
    except _UNLOADABLE as error:
        raise ModelError(
            f"adapter {folder.name!r} does not fit this model: {_first_line(error)}; "
            "pass the base model that it was tuned from with --model"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
