"""How much memory a model needs to answer one question, estimated before anything is fetched.

The estimate is `parameters x (bytes of a weight + kept x bytes of a number) + PROCESS_GB`. What a whole
`medvqa ask` takes beside it is measured by `benchmarks/memory.py`; docs/models.md has the figures.
"""

from __future__ import annotations

from medvqa.types import Precision

WEIGHT_BYTES: dict[Precision, float] = {"fp32": 4, "bf16": 2, "int8": 5, "8bit": 1.1, "4bit": 0.6}
"""At the worst moment: weights to be rounded to int8 are read in fp32, and both are held for a while. Those in
8 and 4 bits, by bitsandbytes, come with their scales."""
_NUMBER_BYTES: dict[Precision, float] = {"fp32": 4, "bf16": 2, "int8": 4, "8bit": 2, "4bit": 2}
KEPT = 0.25
"""Numbers kept beside the weights, a parameter, where the catalogue has no other estimate.

They are keys and values of 22 prompts, for the most part: the checks ask one question of five images and in
twelve wordings, as one batch, and five images are kept for the next question. That is `2 x layers x heads
with keys x width of a head x tokens x 22 / parameters`: 0.1 where heads share keys and an image is 256
tokens, 0.5 for LLaVA 1.5 7B with 576 tokens and keys for all heads, 1.2 for SmolVLM, whose 1,200 tokens meet
a small decoder.
"""
_GRADIENTS = 2.0
"""How many times as many numbers stay where a heatmap goes backwards through the model."""
PROCESS_GB = 1.3
"""Python, PyTorch and the libraries that read images; about 0.5 of it is on the GPU where there is one."""


def estimate_gb(
    parameters: float, width: Precision, *, kept: float | None = None, gradients: bool = False
) -> float:
    """Memory at most while a question is answered and checked, in GB (10^9 bytes).

    Args:
        parameters: In billions.
        width: Of the weights.
        kept: Numbers kept beside them, a parameter; `KEPT` where nobody has worked it out.
        gradients: Whether a heatmap by gradients is wanted.
    """
    numbers = (KEPT if kept is None else kept) * (_GRADIENTS if gradients else 1)
    return parameters * (WEIGHT_BYTES[width] + numbers * _NUMBER_BYTES[width]) + PROCESS_GB
