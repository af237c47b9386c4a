"""The one generic model: any image-text-to-text checkpoint of transformers."""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image as PillowImage
from torch import Tensor

from medvqa.errors import QuestionError
from medvqa.imaging import to_uint8
from medvqa.models.base import Generation
from medvqa.models.encoding import (
    EncodedImage,
    Prefix,
    Prompt,
    cache_of,
    content_digest,
    features_of,
    layers_of,
)
from medvqa.models.families import TokenGrid, family_of
from medvqa.prompts import chat_messages
from medvqa.types import Token

if TYPE_CHECKING:
    from medvqa.models.calibration import Calibration
    from medvqa.types import Image, ModelIdentity

_KEPT = 6
"""Encoded images that are kept: the last one, its blanked version, and those it is compared with."""


class HuggingFaceModel:
    """A loaded checkpoint; make one with `load_model`.

    An image is encoded once, and its tokens go through the decoder once, however many questions are asked
    about it. Both happen in a batch of one, so that the bits do not depend on what was asked before.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        identity: ModelIdentity,
        *,
        modalities: frozenset[str] = frozenset(),
        calibration: Calibration | None = None,
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
        self._encoded: OrderedDict[str, EncodedImage] = OrderedDict()
        self.identity = identity
        self.modalities = modalities
        self.calibration = calibration

    def generate(self, image: Image, question: str) -> Generation:
        """Answer by greedy decoding, one image and one question at a time.

        Raises:
            QuestionError: If image and question together are longer than the model can read, or the question
                holds one of its special tokens.
        """
        prompt = self.prompt(image, question)
        prefix = prompt.image.prefix
        known = (
            {"mm_encoder_outputs": {"image": prompt.image.output}}
            if prefix is None
            else {"past_key_values": cache_of([prefix.layers])}
        )
        with torch.inference_mode():
            output = self._model.generate(
                **prompt.inputs,
                **known,
                **self._decoding,
                return_dict_in_generate=True,
                output_logits=True,
            )
        token_ids = output.sequences[0, prompt.input_ids.shape[1] :]
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
            prompt_token_ids=tuple(prompt.input_ids[0].tolist()),
        )

    def answer_many(self, images: Sequence[Image], questions: Sequence[str]) -> list[str]:
        """The texts alone, for one question about each image, as one batch padded on the left."""
        inputs = self._process(images, questions)
        with torch.inference_mode():
            sequences = self._model.generate(**inputs, **self._decoding)
        answers = sequences[:, inputs["input_ids"].shape[1] :]
        return [
            text.strip() for text in self._processor.tokenizer.batch_decode(answers, skip_special_tokens=True)
        ]

    def log_likelihood(self, image: Image, question: str, token_ids: tuple[int, ...]) -> float:
        """Natural logarithm of the probability of answering with `token_ids`."""
        return self.log_likelihoods([(image, question)], token_ids)[0]

    def log_likelihoods(self, asked: Sequence[tuple[Image, str]], token_ids: tuple[int, ...]) -> list[float]:
        """Natural logarithms of the probability of one answer to each of several questions, as one batch.

        Args:
            asked: Images with questions about them.
            token_ids: The answer.

        Raises:
            QuestionError: As for `generate`.
        """
        prompts = [self.prompt(image, question) for image, question in asked]
        prefixes = [prompt.image.prefix for prompt in prompts if prompt.image.prefix is not None]
        together = len(prefixes) == len(prompts) and len({prefix.input_ids.shape for prefix in prefixes}) == 1
        with torch.inference_mode():
            if together:
                return self._continue_prefixes(prefixes, prompts, token_ids)
            return [
                self.answer_log_probabilities(prompt, token_ids, prompt.image.features).sum().item()
                for prompt in prompts
            ]

    def encode(self, image: Image) -> EncodedImage:
        """The image after the vision tower; kept, so that the next question about it finds it."""
        digest = content_digest(image)
        if digest not in self._encoded:
            self._encoded[digest] = self._encode(image)
            if len(self._encoded) > _KEPT:
                self._encoded.popitem(last=False)
        self._encoded.move_to_end(digest)
        return self._encoded[digest]

    def prompt(self, image: Image, question: str) -> Prompt:
        """Image and question as the decoder reads them.

        Raises:
            QuestionError: As for `generate`.
        """
        encoded = self.encode(image)
        if encoded.prefix is None:
            inputs = self._process([image], [question])
        else:
            input_ids = torch.cat([encoded.prefix.input_ids, self._tokens_after_image(question)], 1)
            inputs = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
            self._require_room(input_ids.shape[1])
        read = {name: value for name, value in inputs.items() if name not in encoded.inputs}
        return Prompt(image=encoded, inputs=read)

    def pixel_values(self, image: Image) -> Tensor:
        """What the processor makes of an image's pixels, as `encode` has it, without encoding it."""
        return self._process([image], ["?"])["pixel_values"]

    def see(self, encoded: EncodedImage, pixel_values: Tensor) -> Tensor:
        """Image tokens for versions of the image's pixel values, differentiable in them.

        Args:
            encoded: The image; what the tower wants besides the pixels is taken from it.
            pixel_values: (versions, *shape of one image's pixel values).

        Returns:
            Shape (versions, tokens, width).
        """
        inputs = {name: _repeated(value, len(pixel_values)) for name, value in encoded.inputs.items()}
        return features_of(self._vision(inputs | {"pixel_values": pixel_values}))

    def answer_log_probabilities(
        self, prompt: Prompt, token_ids: tuple[int, ...], features: Tensor
    ) -> Tensor:
        """Log-probability of each token of an answer, for versions of the image's tokens.

        Args:
            prompt: Image and question.
            token_ids: The answer.
            features: Image tokens, (versions, tokens, width); what is returned is differentiable in them.

        Returns:
            Natural logarithms, shape (versions, answer tokens).
        """
        return _chosen(self._force(prompt, token_ids, features).logits, token_ids)

    def attentions(
        self, prompt: Prompt, token_ids: tuple[int, ...], features: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What each token attends to while it is read, with the answer's log-probabilities.

        Args:
            prompt: Image and question.
            token_ids: The answer.
            features: Image tokens, (1, tokens, width).

        Returns:
            Log-probabilities, shape (1, answer tokens), and of each layer the weights, shape (1, heads,
            tokens, tokens): prompt and answer. Row `tokens - answer tokens - 1 + i` predicts answer token i.
            All are differentiable, and the logarithms in the weights.
        """
        with self._eager_attention():
            output = self._force(prompt, token_ids, features, output_attentions=True)
        return _chosen(output.logits, token_ids), tuple(output.attentions)

    def image_positions(self, prompt: Prompt) -> Tensor:
        """Places of the image's tokens in the prompt, shape (tokens,)."""
        return (prompt.input_ids[0] == self._image_token_id).nonzero()[:, 0]

    def token_grid(self, encoded: EncodedImage) -> TokenGrid:
        """Where the image tokens lie on the image."""
        covered = self._family.covered(self._processor.image_processor, encoded.shape)
        return self._family.grid(encoded.features.shape[1], covered)

    def altered(self, alter: Callable[[Any], None]) -> HuggingFaceModel:
        """A copy whose weights went through `alter`, which is given the PyTorch module."""
        module = copy.deepcopy(self._model)
        alter(module)
        return HuggingFaceModel(
            module, self._processor, self.identity, modalities=self.modalities, calibration=self.calibration
        )

    def _encode(self, image: Image) -> EncodedImage:
        with torch.no_grad():  # not inference_mode: explanations go through these tensors backwards
            whole = self._process([image], ["?"])
            wanted = inspect.signature(self._core.get_image_features).parameters.keys()
            seen = {name: value for name, value in whole.items() if name in wanted}
            output = self._vision(seen)
        return EncodedImage(
            inputs=seen,
            output=output,
            features=features_of(output),
            shape=image.shape,
            prefix=self._read_prefix(whole["input_ids"], output) if self._family.shares_prefix else None,
        )

    def _read_prefix(self, input_ids: Tensor, output: Any) -> Prefix | None:
        """Let the decoder read as far as the image's end; None where that cannot be told or kept."""
        words = self._tokens_after_image("?")
        if not torch.equal(input_ids[:, -words.shape[1] :], words):
            return None
        beginning = input_ids[:, : -words.shape[1]]
        with torch.no_grad():
            read = self._model(
                input_ids=beginning, mm_encoder_outputs={"image": output}, use_cache=True, logits_to_keep=1
            )
        layers = layers_of(read.past_key_values)
        return None if layers is None else Prefix(input_ids=beginning, layers=layers)

    @property
    def _core(self) -> Any:
        """The module that encodes images."""
        return self._model.model if hasattr(self._model, "model") else self._model

    def _vision(self, inputs: Mapping[str, Tensor]) -> Any:
        return self._core.get_image_features(**inputs, return_dict=True)

    def _continue_prefixes(
        self, prefixes: Sequence[Prefix], prompts: Sequence[Prompt], token_ids: tuple[int, ...]
    ) -> list[float]:
        """Teacher forcing from the end of the images on, padded on the right, where no answer looks."""
        answer = torch.tensor([token_ids], device=prompts[0].input_ids.device)
        rows = [
            torch.cat([prompt.input_ids[:, prefix.input_ids.shape[1] :], answer], 1)[0]
            for prefix, prompt in zip(prefixes, prompts, strict=True)
        ]
        logits = self._model(
            input_ids=torch.nn.utils.rnn.pad_sequence(rows, batch_first=True),
            past_key_values=cache_of([prefix.layers for prefix in prefixes]),
            use_cache=True,
        ).logits
        ends = [len(row) for row in rows]
        return [
            _chosen(logits[place : place + 1, :end], token_ids).sum().item() for place, end in enumerate(ends)
        ]

    def _force(self, prompt: Prompt, token_ids: tuple[int, ...], features: Tensor, **options: Any) -> Any:
        """Teacher forcing: the prompt followed by the answer, once for each version of the image's tokens."""
        versions, answer = len(features), torch.tensor([token_ids], device=features.device)
        inputs = {name: _repeated(value, versions) for name, value in prompt.inputs.items()}
        for name, value in inputs.items():
            if name == "input_ids":
                added = answer.expand(versions, -1)
            elif value.shape[1:] == prompt.input_ids.shape[1:]:
                added = value.new_full((versions, len(token_ids)), self._family.answer_fill.get(name, 1))
            else:
                continue
            inputs[name] = torch.cat([value, added], 1)
        output = copy.copy(prompt.image.output)
        output["pooler_output"] = features if torch.is_tensor(output.pooler_output) else list(features)
        return self._model(**inputs, mm_encoder_outputs={"image": output}, use_cache=False, **options)

    def _process(self, images: Sequence[Image], questions: Sequence[str]) -> dict[str, Tensor]:
        """One row a pair, padded on the left."""
        inputs = self._processor(
            text=[self._render(question) for question in questions],
            images=[PillowImage.fromarray(to_uint8(image)) for image in images],
            return_tensors="pt",
            padding=True,
            add_special_tokens=False,
        )
        self._require_room(inputs["input_ids"].shape[1])
        return dict(inputs.to(self._model.device, self._model.dtype))

    def _require_room(self, tokens: int) -> None:
        longest = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        needed = tokens + self.identity.parameters["max_new_tokens"]
        if longest and needed > longest:
            raise QuestionError(
                f"image, question and answer need {needed} tokens but {self.identity.name} reads {longest}; "
                "shorten the question"
            )

    def _tokens_after_image(self, question: str) -> Tensor:
        """The prompt's tokens from the end of the image on, (1, tokens)."""
        text = self._render(question).rpartition(self._processor.image_token)[2]
        words = self._processor.tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
        return words.to(self._model.device)

    def _render(self, question: str) -> str:
        """Refuse what would be read as an image or as the end of the question, not as words."""
        for token in self._processor.tokenizer.added_tokens_decoder.values():
            if token.special and token.content in question:
                raise QuestionError(
                    f"the question holds {token.content!r}, a special token of {self.identity.name}; "
                    "leave it out"
                )
        return self._processor.apply_chat_template(chat_messages(question), add_generation_prompt=True)

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


def _repeated(value: Tensor, times: int) -> Tensor:
    """A batch of one, repeated along the batch."""
    return value.repeat(times, *[1] * (value.ndim - 1))


def _chosen(logits: Tensor, token_ids: tuple[int, ...]) -> Tensor:
    """Log-probabilities of the tokens that end a sequence, (batch, tokens), from its logits."""
    answer = torch.tensor(token_ids, device=logits.device).expand(len(logits), -1)
    log_probabilities = logits[:, -len(token_ids) - 1 : -1].float().log_softmax(-1)
    return log_probabilities.gather(2, answer[..., None])[..., 0]
