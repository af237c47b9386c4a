"""The whole training of the default model: see, answer, tune with LoRA, save.

Started with `torchrun`, every process takes its share; with one process it needs nothing else. Each stage
leaves its weights in the run folder, an unfinished one its state too: a run that was stopped goes on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors.torch import load_file, save_file
from transformers import LlavaProcessor

from medvqa.training.architecture import SIDE, build_model, build_processor
from medvqa.training.language_stage import learn_to_answer, with_lora
from medvqa.training.pictures import Sampler, load_pictures, make_phantoms
from medvqa.training.questions import every_text
from medvqa.training.schedule import Course
from medvqa.training.vision_stage import learn_to_see

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import nn

    from medvqa.training.schedule import Progress

MODALITIES = ("CR", "DX", "MR", "US")
"""What the pictures of `datasets/README.md` are, in DICOM's terms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many batches each process takes in each stage, and how many pictures a batch holds."""

    see_steps: int = 5000
    answer_steps: int = 3000
    tune_steps: int = 2600
    see_batch: int = 32
    answer_batch: int = 16
    phantoms: int = 600
    seed: int = 0


def train_default_model(data: Path, run: Path, *, plan: Plan, progress: Progress) -> Path:
    """Train from nothing on the pictures under `data`, and write the finished model to `run/model`.

    Args:
        data: Folder with `images.csv`, see `datasets/README.md`.
        run: Folder for the stages; what is there already is not trained again.
        plan: Lengths and seed.
        progress: Told of every step.

    Returns:
        The folder of the finished model: a transformers checkpoint with float16 weights.

    Raises:
        TrainingError: If the data are missing or malformed.
    """
    # Without a GPU, Accelerate joins the processes of torchrun only when told to stay on the CPU.
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    run.mkdir(parents=True, exist_ok=True)
    share = plan.seed + accelerator.process_index
    processor = _processor(run / "processor", accelerator, seed=plan.seed)
    model = build_model(processor, seed=plan.seed)
    phantoms = make_phantoms(plan.phantoms, np.random.default_rng(plan.seed + 1), side=SIDE)
    everything = [*load_pictures(data, split="train", side=SIDE), *phantoms]
    set_seed(share)

    vision = model.model.vision_model
    course = Course(
        steps=plan.see_steps, batch_size=plan.see_batch, learning_rate=1.5e-3, state=run / "1-see.state"
    )
    sampler = Sampler(everything, side=SIDE, seed=share + 2, simulated_share=0.5)
    see = partial(learn_to_see, sampler=sampler, course=course, progress=progress)
    _stage(run / "1-see.safetensors", vision, accelerator, see)

    answer = partial(learn_to_answer, processor=processor, progress=progress)
    vision.requires_grad_(False)
    course = Course(
        steps=plan.answer_steps,
        batch_size=plan.answer_batch,
        learning_rate=1e-3,
        seed=share,
        state=run / "2-answer.state",
    )
    sampler = Sampler(everything, side=SIDE, seed=share + 100, simulated_share=0.5)
    _stage(run / "2-answer.safetensors", model, accelerator, partial(answer, sampler=sampler, course=course))

    adapted = with_lora(model)
    course = Course(
        steps=plan.tune_steps,
        batch_size=plan.answer_batch,
        learning_rate=1e-3,
        seed=share + 1,
        state=run / "3-tune.state",
    )
    sampler = Sampler(everything, side=SIDE, seed=share + 200, simulated_share=0.8)
    _stage(run / "3-tune.safetensors", adapted, accelerator, partial(answer, sampler=sampler, course=course))

    if accelerator.is_main_process:
        finished = cast("Any", adapted).merge_and_unload()
        finished.half().save_pretrained(run / "model")
        processor.save_pretrained(run / "model")
        (run / "model" / "medvqa.json").write_text(json.dumps({"modalities": MODALITIES}, indent=2) + "\n")
    accelerator.wait_for_everyone()
    return run / "model"


def _processor(folder: Path, accelerator: Accelerator, *, seed: int) -> LlavaProcessor:
    """The tokens of a run stay what they were at its start, even where the wordings have changed since."""
    with accelerator.main_process_first():
        if not folder.is_dir():
            unfinished = folder.with_suffix(".part")
            build_processor(every_text(np.random.default_rng(seed), count=6000)).save_pretrained(unfinished)
            unfinished.rename(folder)
    return LlavaProcessor.from_pretrained(folder, backend="pil")


def _stage(path: Path, module: nn.Module, accelerator: Accelerator, train: Callable[..., None]) -> None:
    """Train `module` and keep its weights at `path`, or take them from there."""
    if path.is_file():
        module.load_state_dict(load_file(path), strict=False)
        return
    train(module, accelerator=accelerator)
    if accelerator.is_main_process:
        unfinished = path.with_suffix(".part")
        weights = {name: tensor.clone().contiguous() for name, tensor in module.state_dict().items()}
        save_file(weights, unfinished)
        unfinished.replace(path)
        path.with_suffix(".state").unlink(missing_ok=True)
    accelerator.wait_for_everyone()
