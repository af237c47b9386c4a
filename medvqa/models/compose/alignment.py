"""What the alignment stage makes alike: an image's tokens, and what the decoder makes of a sentence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

TEMPERATURE = 0.07
"""Of the contrastive loss; CLIP's at the start of its training."""


def contrastive_loss(images: Tensor, texts: Tensor, same: Tensor) -> Tensor:
    """Symmetric InfoNCE: each image is to find its texts among all, and each text its images.

    Args:
        images: Embeddings, (pairs, width), of any length.
        texts: Likewise.
        same: Which image and which text belong together, bool (pairs, pairs), the diagonal at least: two
            pairs may share an image, or say the same. Those that do share the probability evenly.

    Returns:
        Mean negative log-probability in nats, a scalar.

    Reference: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021,
    figure 3; with several partners, Khosla et al., "Supervised Contrastive Learning", 2020.
    """
    similar = normalize(images.float(), dim=1) @ normalize(texts.float(), dim=1).T / TEMPERATURE
    wanted = same.float()
    found = (
        torch.nn.functional.cross_entropy(similar, wanted / wanted.sum(1, keepdim=True)),
        torch.nn.functional.cross_entropy(similar.T, wanted.T / wanted.T.sum(1, keepdim=True)),
    )
    return (found[0] + found[1]) / 2


def embed_images(model: Any, patches: Tensor) -> Tensor:
    """Mean of the tokens that the bridge makes of patches, (images, width)."""
    return model.bridge(patches).pooler_output.float().mean(1)


def embed_texts(model: Any, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Mean of the language model's last hidden states, (texts, width), padding on the right left out."""
    read = model.get_decoder()(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
    said = attention_mask[..., None].to(read.last_hidden_state.dtype)
    return ((read.last_hidden_state * said).sum(1) / said.sum(1)).float()
