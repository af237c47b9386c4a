"""The one generic model: any image-text-to-text checkpoint of transformers."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from medvqa.errors import ModelError
from medvqa.models.batching import in_batches, padded_after_image, prefixes_of
from medvqa.models.decoding import describe_answer, greedy, image_token_of
from medvqa.models.encoding import EncodedImage, Prompt, content_digest, continued, features_of
from medvqa.models.network import Network, generate, repeated
from medvqa.models.plain import PlainModel
from medvqa.models.prompting import Prompting

if TYPE_CHECKING:
    from medvqa.models.attention import Attention, Tokens
    from medvqa.models.base import Generation, Shot
    from medvqa.models.calibration import Calibration
    from medvqa.models.encoding import Prefix
    from medvqa.models.layouts import Box, TokenGrid
    from medvqa.types import Image, ModelIdentity

_COMPARED = 8
"""Encoded pictures that are kept beside images asked about: empty ones and stand-ins to compare with."""


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
        """Wrap a model; it is put in eval mode, and its parameters are frozen."""
        self._network = Network(model)
        self._processor = processor
        self._family = self._network.family
        self._prompting = Prompting(
            model,
            processor,
            family=self._family,
            name=identity.name,
            max_new_tokens=identity.parameters["max_new_tokens"],
        )
        self.image_token_id = image_token_of(model.config, processor)
        """Marks an image's place in a prompt."""
        self._decoding = greedy(identity, self.image_token_id)
        self._encoded: OrderedDict[tuple[str, str], EncodedImage] = OrderedDict()
        self.identity = identity
        self.modalities = modalities
        self.calibration = calibration
        self.images_together = 2
        """About how many images questions are answered at once; memory grows with what is kept of each."""

    @property
    def module(self) -> Any:
        """The module of transformers."""
        return self._network.module

    def generate(self, image: Image, question: str) -> Generation:
        """Answer by greedy decoding, one image and one question at a time.

        Raises:
            QuestionError: If image and question together are longer than the model can read, or the question
                holds one of its special tokens.
        """
        prompt = self.prompt(image, question)
        prefix, inputs = prompt.image.prefix, dict[str, Any](prompt.inputs)
        if self._family.generates_from_pixels:
            inputs |= self._network.unpacked(prompt.image.inputs)
        elif prefix is None:
            inputs["mm_encoder_outputs"] = {"image": prompt.image.output}
        else:
            inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
            inputs["past_key_values"] = self._network.resume([prefix])
        return self._generate([prompt], inputs)[0]

    def reply(self, words: str) -> Generation:
        """What the decoder says to words without an image, by greedy decoding; no answer about any image.

        Raises:
            QuestionError: As for `generate`.
            ModelError: If its decoder reads no words without an image.
        """
        if not self._family.shares_prefix:
            raise ModelError(f"{self.identity.name} reads words only beside an image; send one")
        tokens = self._prompting.process_words(words)
        inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        answers, logarithms = generate(self.module, inputs, **self._decoding)
        return describe_answer(
            self.module, self._processor.tokenizer, tokens[0], answers[0].tolist(), logarithms[0].tolist()
        )

    def generate_many(self, asked: Sequence[tuple[Image, str]]) -> list[Generation]:
        """Answers to several questions, as one batch where the family allows.

        A batch sums in another order than `generate`: log-probabilities differ by about 1e-6. Questions
        about images that the decoder reads in as many tokens go together.

        Args:
            asked: Images with questions about them.

        Raises:
            QuestionError: As for `generate`.
        """
        prompts = [self.prompt(image, question) for image, question in asked]
        found: dict[int, Generation] = {}
        for places in in_batches(prompts):
            together = [prompts[place] for place in places]
            prefixes = prefixes_of(together)
            if not prefixes or prefixes[0].remembered is not None:
                found |= {place: self.generate(*asked[place]) for place in places}
                continue
            inputs: dict[str, Any] = {
                **padded_after_image(together),
                "past_key_values": self._network.resume(prefixes),
            }
            found |= zip(places, self._generate(together, inputs), strict=True)
        return [found[place] for place in range(len(asked))]

    def answer_many(self, images: Sequence[Image], questions: Sequence[str]) -> list[str]:
        """The texts alone, for one question about each image, as one batch padded on the left."""
        inputs = self._prompting.process(images, questions)
        with torch.inference_mode():
            answers, _ = generate(self.module, inputs, **self._decoding)
        return [
            text.strip() for text in self._processor.tokenizer.batch_decode(answers, skip_special_tokens=True)
        ]

    def log_likelihood(self, image: Image, question: str, token_ids: tuple[int, ...]) -> float:
        """Natural logarithm of the probability of answering with `token_ids`."""
        return self.log_likelihoods([(image, question)], token_ids)[0]

    def log_likelihoods(self, asked: Sequence[tuple[Image, str]], token_ids: tuple[int, ...]) -> list[float]:
        """Natural logarithms of the probability of one answer to each of several questions.

        Images that the decoder reads in as many tokens go as one batch.

        Args:
            asked: Images with questions about them.
            token_ids: The answer.

        Raises:
            QuestionError: As for `generate`.
        """
        return self.likelihoods_of_answers([(*one, token_ids) for one in asked])

    def likelihoods_of_answers(self, asked: Sequence[tuple[Image, str, tuple[int, ...]]]) -> list[float]:
        """The same for an answer of its own to each question.

        Args:
            asked: Images with questions about them, and the tokens of an answer.

        Raises:
            QuestionError: As for `generate`.
        """
        # Answers to the same question are compared with the same pictures, and often alike: once is enough.
        distinct = {
            (id(image), question, answer): place for place, (image, question, answer) in enumerate(asked)
        }
        places = sorted(distinct.values())
        found = self._network.log_likelihoods(
            [self.prompt(*asked[place][:2]) for place in places], [asked[place][2] for place in places]
        )
        known = dict(zip(places, found, strict=True))
        return [known[distinct[id(image), question, answer]] for image, question, answer in asked]

    def encode(self, image: Image, question: str = "?") -> EncodedImage:
        """The image after the vision tower; kept, so that the next question about it finds it.

        Args:
            image: Any.
            question: Matters only to a tower that sees it.
        """
        seen = question if self._family.sees_question else "?"
        key = (self._digest_of(image), seen)
        if key not in self._encoded:
            self._encoded[key] = self._encode(image, seen)
            if len(self._encoded) > self.images_together + _COMPARED:
                self._encoded.popitem(last=False)
        self._encoded.move_to_end(key)
        return self._encoded[key]

    def prompt(self, image: Image, question: str) -> Prompt:
        """Image and question as the decoder reads them.

        Raises:
            QuestionError: As for `generate`.
        """
        return self._ask(image, self.encode(image, question), question)

    def pixel_values(self, image: Image) -> Tensor:
        """What the processor makes of an image's pixels, as `encode` has it, without encoding it."""
        values = self._prompting.process([image], ["?"])["pixel_values"]
        return values[None] if self._family.loose else values

    def see(self, encoded: EncodedImage, pixel_values: Tensor) -> Tensor:
        """Image tokens for versions of the image's pixel values, differentiable in them.

        Args:
            encoded: The image; what the tower wants besides the pixels is taken from it.
            pixel_values: Versions of the one row in `encoded.inputs`, one a row.

        Returns:
            Shape (versions, tokens, width).
        """
        inputs = {name: repeated(value, len(pixel_values)) for name, value in encoded.inputs.items()}
        return features_of(self._network.see(inputs | {"pixel_values": pixel_values}), len(pixel_values))

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
        return self._network.answer_log_probabilities(prompt, token_ids, features)

    def attentions(
        self, prompt: Prompt, token_ids: tuple[int, ...], features: Tensor
    ) -> tuple[Tensor, tuple[Attention, ...]]:
        """What each token attends to while it is read, with the answer's log-probabilities.

        Args:
            prompt: Image and question.
            token_ids: The answer.
            features: Image tokens, (1, tokens, width).

        Returns:
            Log-probabilities, shape (1, answer tokens), and the layers in order. Row `words - answer tokens -
            1 + i` of words predicts answer token i. The logarithms are differentiable in the weights.
        """
        return self._network.attentions(prompt, token_ids, features)

    def looks(self, prompt: Prompt, token_ids: tuple[int, ...]) -> tuple[Tensor, ...]:
        """What the last tokens attend to: those of the answer and the words before it, at least.

        Cheaper than `attentions`, since what was read of the image is not read again.

        Args:
            prompt: Image and question.
            token_ids: The answer.

        Returns:
            Of each layer in which words look where the image's tokens are, shape (1, heads, last words,
            tokens looked at): the last rows and all columns of `attentions`.
        """
        return self._network.looks(prompt, token_ids)

    def tokens_of(self, answer: str) -> tuple[int, ...]:
        """The tokens that spell an answer, without the one that ends it."""
        return tuple(self._processor.tokenizer(answer, add_special_tokens=False)["input_ids"])

    def text_of(self, token_ids: tuple[int, ...]) -> str:
        """What tokens spell, special ones left out."""
        return self._processor.tokenizer.decode(token_ids, skip_special_tokens=True)

    def raw_text_of(self, token_ids: tuple[int, ...]) -> str:
        """What tokens spell, special ones kept: some families write places as such, `<loc_123>`."""
        return self._processor.tokenizer.decode(
            token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )

    def image_positions(self, prompt: Prompt) -> Tensor:
        """Places of the image's tokens among those that words look at, shape (tokens,)."""
        places = (prompt.input_ids[0] == self.image_token_id).nonzero()[:, 0]
        tokens = prompt.image.features.shape[1]
        return places if len(places) == tokens else torch.arange(tokens, device=places.device)

    def image_relevance(self, flow: Mapping[Tokens, Tensor], prompt: Prompt) -> Tensor:
        """Of what rows of words stem from, the part of the image's tokens, mean over rows, (tokens,)."""
        carried = flow["memory" if self._family.looked_up else "words"]
        return carried.mean(0)[self.image_positions(prompt)]

    def place(self, scores: Tensor, encoded: EncodedImage) -> Tensor:
        """Scores of the image's tokens, (tokens,), as those of what `token_grids` has places for."""
        looks = self._family.looks and self._family.looks(self._network, encoded)
        return scores if looks is None else scores.to(looks) @ looks

    def token_grid(self, encoded: EncodedImage) -> TokenGrid:
        """Where the image tokens lie that show most of the image at once."""
        return self.token_grids(encoded)[0]

    def token_grids(self, encoded: EncodedImage) -> tuple[TokenGrid, ...]:
        """Where all the image tokens lie, such as those of a view of the whole and of tiles.

        Raises:
            ModelError: If that cannot be told.
        """
        return self._family.grids(self._processor, encoded)

    def pixel_maps(self, attribution: Tensor, encoded: EncodedImage) -> list[tuple[Tensor, Box]]:
        """Maps (rows, columns) of an attribution of the image's pixel values, summed over channels.

        Args:
            attribution: Shaped like `encoded.inputs["pixel_values"]`.
            encoded: The image.

        Returns:
            Each map with the part of the image that it covers; the first is that of `token_grid`.
        """
        return self._family.pixel_maps(attribution, self._processor, encoded)

    def with_shots(self, shots: Sequence[Shot]) -> PlainModel:
        """The same model, shown examples before each question.

        Raises:
            ModelError: If it reads one image at a time.
        """
        return PlainModel(
            self.module, self._processor, self.identity, shots=shots, modalities=self.modalities
        )

    def altered(self, alter: Callable[[Any], None]) -> HuggingFaceModel:
        """A copy whose weights went through `alter`, which is given the PyTorch module.

        Raises:
            ModelError: If they are in int8.
        """
        if self._network.rounded:
            raise ModelError("weights in int8 cannot be altered; load the model in another precision")
        module = copy.deepcopy(self.module)
        alter(module)
        return HuggingFaceModel(
            module, self._processor, self.identity, modalities=self.modalities, calibration=self.calibration
        )

    def _digest_of(self, image: Image) -> str:
        """Reading all pixels costs as much as tokenizing a question: an array seen before is known."""
        if not image.pixels.flags.writeable:
            for (digest, _), encoded in self._encoded.items():
                if encoded.pixels is image.pixels:
                    return digest
        return content_digest(image)

    def _ask(self, image: Image, encoded: EncodedImage, question: str) -> Prompt:
        prefix = encoded.prefix
        if prefix is None:
            inputs = self._network.for_decoder(self._prompting.process([image], [question]))
        else:
            words = self._prompting.ids_after_image(prefix.closing, question)
            inputs = continued(prefix.inputs, words, self._family.answer_fill)
            self._prompting.require_room(inputs["input_ids"].shape[1])
        return Prompt(image=encoded, inputs=inputs)

    def _generate(self, prompts: Sequence[Prompt], inputs: Mapping[str, Any]) -> list[Generation]:
        """Greedy decoding, a row a prompt; a row that ended earlier than others is cut at its end."""
        answers, chosen = generate(self.module, inputs, **self._decoding)
        return [
            describe_answer(
                self.module, self._processor.tokenizer, prompt.input_ids[0], token_ids, logarithms
            )
            for prompt, token_ids, logarithms in zip(prompts, answers.tolist(), chosen.tolist(), strict=True)
        ]

    def _encode(self, image: Image, question: str) -> EncodedImage:
        with torch.no_grad():  # not inference_mode: explanations go through these tensors backwards
            whole = self._prompting.process([image], [question])
            seen = {name: value for name, value in whole.items() if name in self._network.tower_inputs}
            if self._family.loose:
                seen["pixel_values"] = seen["pixel_values"][None]
            output = self._network.see(seen)
        return EncodedImage(
            inputs=seen,
            output=output,
            features=features_of(output, 1),
            pixels=image.pixels,
            shape=image.shape,
            config=self.module.config,
            prefix=self._read_prefix(self._network.for_decoder(whole), output),
        )

    def _read_prefix(self, inputs: Mapping[str, Tensor], output: Any) -> Prefix | None:
        """Let the decoder read as far as the image's end; None where that cannot be told or kept."""
        if not self._family.shares_prefix:
            return None
        (before, after), (same, _) = self._prompting.around_image("?"), self._prompting.around_image("!")
        end = int((inputs["input_ids"][0] == self.image_token_id).nonzero().max()) + 1
        rest = inputs["input_ids"][:, end:]
        written = self._processor.tokenizer.decode(rest[0], clean_up_tokenization_spaces=False)
        closing = written.removesuffix(after)
        told = (
            before == same
            and written.endswith(after)
            and torch.equal(self._prompting.word_ids(closing + after), rest)
        )
        return self._network.remember(inputs, output, end=end, closing=closing) if told else None
