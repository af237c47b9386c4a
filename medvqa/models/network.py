"""The network of a checkpoint, called in tensors: what it sees, remembers of an image, and says is likely."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch
from transformers import StoppingCriteria
from transformers.cache_utils import DynamicLayer

from medvqa.errors import ModelError
from medvqa.long_work import go_on
from medvqa.models.attention import Attention, eager_attention
from medvqa.models.batching import in_batches, prefixes_of
from medvqa.models.encoding import (
    Prefix,
    Prompt,
    beginning,
    cache_of,
    can_be_shared,
    with_features,
)
from medvqa.models.families import family_of
from medvqa.models.precision import is_rounded

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import DynamicCache


class Network:
    """A module of transformers with image tower and decoder, in eval mode; its parameters are frozen."""

    def __init__(self, module: Any) -> None:
        # Frozen, since only inputs are ever differentiated.
        self.module = module.eval().requires_grad_(False)
        self.family = family_of(module.config.model_type)
        self.rounded = is_rounded(module)

    @cached_property
    def tower_inputs(self) -> frozenset[str]:
        """Names of what the image tower takes."""
        if self.family.seen_inputs is not None:
            return self.family.seen_inputs
        return frozenset(inspect.signature(self.core.get_image_features).parameters)

    def for_decoder(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those of the processor's inputs that the decoder reads."""
        elsewhere = self.tower_inputs - self.family.also_read
        return {name: value for name, value in inputs.items() if name not in elsewhere}

    def see(self, inputs: Mapping[str, Tensor]) -> Any:
        """The output of the family's `see`, of one or more rows of pixel values."""
        go_on()
        return self.family.see(self.core, self.unpacked(inputs))

    def unpacked(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Inputs of the tower as it takes them: without a batch dimension where the family has none."""
        if not self.family.loose:
            return dict(inputs)
        return {**inputs, "pixel_values": inputs["pixel_values"].flatten(0, 1)}

    def remember(self, inputs: Mapping[str, Tensor], output: Any, *, end: int, closing: str) -> Prefix | None:
        """Let the decoder read the first `end` tokens; None where what it keeps of them cannot be shared."""
        inputs = beginning(inputs, end)
        with torch.no_grad():
            read = self.module(
                **inputs, mm_encoder_outputs={"image": output}, use_cache=True, logits_to_keep=1
            )
        if not can_be_shared(read.past_key_values):
            return None
        name = self.family.remembered
        return Prefix(
            inputs=inputs,
            closing=closing,
            cache=read.past_key_values,
            remembered=None if name is None else getattr(self.core, name),
        )

    def resume(self, prefixes: Sequence[Prefix]) -> DynamicCache:
        """Put the module where it was after reading these, a row each."""
        remembered = [prefix.remembered for prefix in prefixes if prefix.remembered is not None]
        if self.family.remembered is not None:
            setattr(self.core, self.family.remembered, torch.cat(remembered))
        return cache_of([prefix.cache for prefix in prefixes])

    def answer_log_probabilities(
        self, prompt: Prompt, token_ids: tuple[int, ...], features: Tensor
    ) -> Tensor:
        """As `HuggingFaceModel.answer_log_probabilities`."""
        return chosen(self._force(prompt, token_ids, features)().logits, token_ids)

    def attentions(
        self, prompt: Prompt, token_ids: tuple[int, ...], features: Tensor
    ) -> tuple[Tensor, tuple[Attention, ...]]:
        """As `HuggingFaceModel.attentions`."""
        with eager_attention(self._language):
            output, layers = self.family.attend(self._force(prompt, token_ids, features), self.module)
        return chosen(output.logits, token_ids), layers

    def looks(self, prompt: Prompt, token_ids: tuple[int, ...]) -> tuple[Tensor, ...]:
        """As `HuggingFaceModel.looks`."""
        prefix = prompt.image.prefix
        whole = prefix is not None and all(type(layer) is DynamicLayer for layer in prefix.cache.layers)
        if prefix is None or not whole or self.family.looked_up:
            _, layers = self.attentions(prompt, token_ids, prompt.image.features)
            seen = "memory" if self.family.looked_up else "words"
            return tuple(layer.weights for layer in layers if (layer.rows, layer.columns) == ("words", seen))
        answer = torch.tensor([token_ids], device=prompt.input_ids.device)
        with eager_attention(self._language):
            read = self.module(
                input_ids=torch.cat([prompt.input_ids[:, prefix.input_ids.shape[1] :], answer], 1),
                past_key_values=self.resume([prefix]),
                use_cache=True,
                output_attentions=True,
                logits_to_keep=1,
            )
        return tuple(read.attentions)

    def log_likelihoods(self, prompts: Sequence[Prompt], answers: Sequence[tuple[int, ...]]) -> list[float]:
        """Natural logarithms of the probability of one answer to each prompt."""
        found: dict[int, float] = {}
        with torch.inference_mode():
            for places in in_batches(prompts, answers=answers):
                together = [prompts[place] for place in places], [answers[place] for place in places]
                force = self._continue_prefixes if prefixes_of(together[0]) else self._force_alone
                found |= zip(places, force(*together), strict=True)
        return [found[place] for place in range(len(prompts))]

    def _force_alone(self, prompts: Sequence[Prompt], answers: Sequence[tuple[int, ...]]) -> list[float]:
        """Teacher forcing from the first token on, one prompt after the other."""
        return [
            self.answer_log_probabilities(prompt, answer, prompt.image.features).sum().item()
            for prompt, answer in zip(prompts, answers, strict=True)
        ]

    def _continue_prefixes(
        self, prompts: Sequence[Prompt], answers: Sequence[tuple[int, ...]]
    ) -> list[float]:
        """Teacher forcing from the end of the images on, padded on the right, where no answer looks."""
        go_on()
        prefixes = prefixes_of(prompts)
        rows = [
            torch.cat([prompt.input_ids[0, prefix.input_ids.shape[1] :], prompt.input_ids.new_tensor(answer)])
            for prefix, prompt, answer in zip(prefixes, prompts, answers, strict=True)
        ]
        ends = torch.tensor([len(row) for row in rows])
        first = int(min(ends - torch.tensor([len(answer) for answer in answers]))) - 1
        logits = self.module(
            input_ids=torch.nn.utils.rnn.pad_sequence(rows, batch_first=True),
            past_key_values=self.resume(prefixes),
            use_cache=True,
            # What comes before the first answer predicts none of its tokens.
            logits_to_keep=int(max(ends)) - first,
        ).logits
        return [
            chosen(logits[place : place + 1, : end - first], answer).sum().item()
            for place, (end, answer) in enumerate(zip(ends.tolist(), answers, strict=True))
        ]

    @property
    def core(self) -> Any:
        """The module that encodes images."""
        return self.module.model if hasattr(self.module, "model") else self.module

    @property
    def _language(self) -> Any:
        """The module that reads words."""
        return getattr(self.core, "language_model", None) or self.module.get_decoder()

    def _force(self, prompt: Prompt, token_ids: tuple[int, ...], features: Tensor) -> partial[Any]:
        """Teacher forcing: the prompt followed by the answer, once for each version of the image's tokens.

        Returns:
            What gives the decoder's output, and takes further options.
        """
        go_on()
        if self.rounded and features.requires_grad and torch.is_grad_enabled():
            raise ModelError(
                "this heatmap needs gradients, which int8 weights do not have; choose attention, rollout or "
                "occlusion, or load the model in another precision"
            )
        versions = len(features)
        answer = torch.tensor([token_ids], device=features.device).expand(versions, -1)
        inputs = {name: repeated(value, versions) for name, value in prompt.inputs.items()}
        fill, config = self.family.answer_fill, self.module.config
        return partial(
            self.family.read,
            self.module,
            self.family.follow(inputs, answer, fill, config),
            with_features(prompt.image.output, features),
            logits_to_keep=len(token_ids) + 1,
        )


def generate(module: Any, inputs: Mapping[str, Any], **decoding: Any) -> tuple[Tensor, Tensor]:
    """New tokens, (rows, tokens), and their log-probabilities; all rows are as long as the longest."""
    with torch.inference_mode():
        output = module.generate(
            **inputs,
            **decoding,
            return_dict_in_generate=True,
            output_logits=True,
            stopping_criteria=[_GoOn()],
        )
    answers = output.sequences[:, -len(output.logits) :]
    log_probabilities = torch.stack(output.logits, 1).float().log_softmax(-1)
    return answers, log_probabilities.gather(2, answers[:, :, None])[:, :, 0]


class _GoOn(StoppingCriteria):
    """Never ends an answer by itself, but lets whoever waits for it do so between two tokens."""

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:  # noqa: ARG002
        go_on()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def repeated(value: Tensor, times: int) -> Tensor:
    """A batch of one, repeated along the batch."""
    return value.repeat(times, *[1] * (value.ndim - 1))


def chosen(logits: Tensor, token_ids: tuple[int, ...]) -> Tensor:
    """Log-probabilities of the tokens that end a sequence, (batch, tokens), from its logits."""
    answer = torch.tensor(token_ids, device=logits.device).expand(len(logits), -1)
    log_probabilities = logits[:, -len(token_ids) - 1 : -1].float().log_softmax(-1)
    return log_probabilities.gather(2, answer[..., None])[..., 0]
