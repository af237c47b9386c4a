"""The base, frozen and perhaps quantised, with low-rank matrices on its layers (Hu et al. 2022)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

from medvqa.errors import TrainingError
from medvqa.models.families import family_of
from medvqa.models.loading import read_checkpoint
from medvqa.models.precision import quantisation

if TYPE_CHECKING:
    from medvqa.tuning.plan import Plan, Precision

MOST_TRAINABLE = 0.05
"""Share of all parameters that the matrices may have."""

_RANKS = (16, 8, 4, 2, 1)
_DTYPES: dict[Precision, torch.dtype] = {
    "no": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def load_base(folder: Path, plan: Plan, device: torch.device) -> tuple[Any, Any]:
    """Processor and model of a checkpoint, its parameters frozen.

    Raises:
        ModelError: If it cannot be loaded, or is to be quantised and cannot be.
    """
    dtype = _DTYPES[plan.precision]
    if plan.quantise is None:
        processor, model = read_checkpoint(folder, dtype=dtype)
    else:
        config = quantisation(plan.quantise, dtype)
        processor, model = read_checkpoint(
            folder, dtype=dtype, quantization_config=config, device_map={"": device}
        )
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    if plan.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return processor, model.requires_grad_(False)


def with_adapter(model: Any, plan: Plan, *, base: str) -> Any:
    """Put matrices on `model`, of the rank that the plan names or the highest that is small enough.

    Args:
        model: The base, which is changed in place.
        plan: Rank, targets and seed.
        base: Name of the base, for the adapter's settings.

    Raises:
        TrainingError: If no layer is a target, or the share to train is `MOST_TRAINABLE` or more.
    """
    targets: str | list[str] = plan.targets
    if plan.targets != "all-linear":
        targets = [name.strip() for name in plan.targets.split(",")]

    whole_modules = list(family_of(model.config.model_type).trained_whole)

    def adapted(rank: int) -> Any:
        torch.manual_seed(plan.seed)
        config = LoraConfig(
            r=rank,
            lora_alpha=2 * rank,
            lora_dropout=0.05,
            target_modules=targets,
            modules_to_save=whole_modules or None,
            task_type="CAUSAL_LM",
            base_model_name_or_path=base,
        )
        return get_peft_model(model, config)

    try:
        smallest = adapted(1)
    except ValueError as error:
        raise TrainingError(
            f"no linear layer of {base} is named {plan.targets}; give all-linear, or names such as "
            "q_proj,v_proj"
        ) from error
    trainable, whole = _matrices(smallest), smallest.get_nb_trainable_parameters()[1]
    smallest.unload()
    rank = plan.rank or next((rank for rank in _RANKS if _share(rank, trainable, whole) < MOST_TRAINABLE), 1)
    if (share := _share(rank, trainable, whole)) >= MOST_TRAINABLE:
        raise TrainingError(
            f"rank {rank} on {plan.targets} would train {share:.1%} of the parameters, and less than "
            f"{MOST_TRAINABLE:.0%} is allowed; give a lower --rank, or fewer --targets such as q_proj,v_proj"
        )
    whole_adapter = adapted(rank)
    whole_adapter.peft_config["default"].base_model_name_or_path = base
    return whole_adapter


def trainable_share(model: Any) -> tuple[int, int]:
    """Number of parameters that are trained, and of all."""
    trainable, whole = model.get_nb_trainable_parameters()
    return trainable, whole


def _matrices(model: Any) -> int:
    """Number of parameters in low-rank matrices."""
    return sum(one.numel() for name, one in model.named_parameters() if "lora_" in name)


def _share(rank: int, smallest: int, whole: int) -> float:
    """Of all parameters, from what rank 1 trains and has altogether."""
    return rank * smallest / (whole - smallest + rank * smallest)
