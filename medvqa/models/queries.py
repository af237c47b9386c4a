"""Where image tokens look that stand for no place: those of a Q-Former or a resampler.

Such a token gathers from all patches by cross-attention. Its score is divided among them as it looks, mean
over layers and heads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from medvqa.models.attention import captured, eager_attention

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from medvqa.models.encoding import EncodedImage
    from medvqa.models.network import Network


def qformer_looks(network: Network, encoded: EncodedImage) -> Tensor:
    """Of BLIP-2's and InstructBLIP's queries at class token and patches, shape (tokens, 1 + patches)."""
    qformer = network.module.qformer
    crossing = [
        layer.crossattention.attention for layer in qformer.encoder.layer if layer.has_cross_attention
    ]
    with torch.no_grad(), eager_attention(qformer), captured(crossing) as weights:
        network.see(encoded.inputs)
    return _mean(weights)[0]


def latent_looks(network: Network, encoded: EncodedImage) -> Tensor:
    """Of Idefics2's latents at the patches of their own crop, shape (tokens, patches of all crops)."""
    resampler = network.core.connector.perceiver_resampler
    crossing = [layer.self_attn for layer in resampler.layers]
    with torch.no_grad(), eager_attention(resampler), captured(crossing) as weights:
        network.see(encoded.inputs)
    looks = _mean(weights)
    return torch.block_diag(*looks[..., : -looks.shape[1]])  # without what latents see of each other


def perceiver_looks(network: Network, encoded: EncodedImage) -> Tensor | None:
    """Of the latents of IDEFICS at class token and patches, (tokens, 1 + patches); None without a resampler.

    Its attention returns no weights: they are computed again from what went in.
    """
    if not network.core.config.use_resampler:
        return None
    weights: list[Tensor] = []
    blocks = [attention for attention, _ in network.core.perceiver_resampler.blocks]

    def weigh(block: Any, given: Any) -> None:
        weights.append(_perceiver_weights(block, *given))

    hooks = [block.register_forward_pre_hook(weigh) for block in blocks]
    try:
        with torch.no_grad():
            network.see(encoded.inputs)
    finally:
        for hook in hooks:
            hook.remove()
    looks = _mean(weights)[0]
    return looks[:, : -len(looks)]  # without what latents see of each other


def _perceiver_weights(block: Any, context: Tensor, latents: Tensor) -> Tensor:
    """Shape (images, heads, latents, context and latents)."""
    context, latents = block.context_layer_norm(context), block.latents_layer_norm(latents)
    queries, keys = block.q_proj(latents), block.k_proj(torch.cat([context, latents], 1))
    queries, keys = (
        one.reshape(*one.shape[:2], block.n_heads, block.head_dim).transpose(1, 2) for one in (queries, keys)
    )
    if block.qk_layer_norms:
        queries, keys = block.q_layer_norm(queries), block.k_layer_norm(keys)
    return (queries @ keys.transpose(-1, -2) * block.qk_scale).softmax(-1)


def _mean(weights: Sequence[Tensor]) -> Tensor:
    """Over layers and heads: (images, queries, looked at)."""
    return torch.stack([layer.float().mean(1) for layer in weights]).mean(0)
