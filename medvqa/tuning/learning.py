"""The loop: steps, validations, early stopping, and going on where a run was stopped."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import torch
from accelerate import Accelerator
from peft import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.utils.data import DataLoader, Dataset

from medvqa.errors import TrainingError
from medvqa.tuning.examples import Examples, answer_losses
from medvqa.tuning.order import Order, shares
from medvqa.tuning.state import State, Validation, write_state

if TYPE_CHECKING:
    from medvqa.tuning.division import Division
    from medvqa.tuning.plan import Plan

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told what is being done in a few words, the step, and the number of steps."""

STATE, BEST = "state.pt", "best.safetensors"
_WHOLE = StateDictOptions(
    full_state_dict=True,
    cpu_offload=True,
    ignore_frozen_params=True,
    strict=False,  # layers behind the one whose output is read get no gradient, so the optimiser has no state
)
_MOST_STEPS_UNSEEN = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """One process's part in a run; all of them do the same calls."""

    accelerator: Accelerator
    model: Any
    """A `PeftModel` as Accelerate prepared it."""
    bare: Any
    """The same before."""
    optimizer: Any
    examples: Examples
    division: Division
    plan: Plan
    run: Path
    """Folder for state and best weights."""

    @property
    def order(self) -> Order:
        """Who reads what when."""
        return Order(
            cases=len(self.division.train),
            batch_size=self.plan.batch_size,
            accumulate=self.plan.accumulate,
            processes=self.accelerator.num_processes,
            seed=self.plan.seed,
        )

    @property
    def steps(self) -> int:
        """Steps of the whole run, if it is not stopped early."""
        return self.plan.epochs * self.order.steps_per_epoch

    def learn(self, state: State, progress: Progress, asked_to_stop: Callable[[], bool]) -> bool:
        """Go on from `state`, in place, to the end.

        Args:
            state: Of a fresh run, or as it was kept; its adapter is in the model already.
            progress: Told of every step and validation.
            asked_to_stop: Whether a person or the machine wants this process to stop, asked after each step.

        Returns:
            Whether the run is finished; if not, it can go on from its state later.
        """
        if state.optimizer:
            optimizer = self.optimizer.optimizer
            set_optimizer_state_dict(self.model, optimizer, state.optimizer, options=_WHOLE)
            if self.accelerator.scaler is not None and state.scaler:
                self.accelerator.scaler.load_state_dict(state.scaler)
        if not state.validations:
            self._validate(state, progress)
        every = self.plan.validate_every or min(self.order.steps_per_epoch, _MOST_STEPS_UNSEEN)
        batches = self._batches(state.step)
        while not self._is_over(state):
            state.step += 1
            loss, stop = self._step(state.step, batches, asked_to_stop)
            state.losses.append(loss)
            progress(f"loss {np.mean(state.losses[-20:]):.3f}", state.step, self.steps)
            if validated := state.step % every == 0 or state.step == self.steps:
                self._validate(state, progress)
            if validated or stop or state.step % self.plan.save_every == 0:
                self._keep(state)
            if stop:
                break
        return self._is_over(state)

    def _is_over(self, state: State) -> bool:
        if state.step >= self.steps:
            return True
        after = len(state.validations) - 1
        behind = after - state.validations.index(state.best) if after else 0
        return 0 < self.plan.patience <= behind

    def _step(
        self, step: int, batches: Iterator[dict[str, Tensor]], asked_to_stop: Callable[[], bool]
    ) -> tuple[float, bool]:
        """Mean loss over all processes, and whether one of them was asked to stop."""
        accelerator, count = self.accelerator, self.plan.accumulate
        self.model.train()
        seed = np.random.SeedSequence((self.plan.seed, step, accelerator.process_index))
        torch.manual_seed(int(seed.generate_state(1)[0]))
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.learning_rate * _rate(step, self.steps)
        total = torch.zeros((), device=accelerator.device)
        for number in range(1, count + 1):
            with accelerator.no_sync(self.model) if number < count else nullcontext():
                loss = self._losses(next(batches))[0].mean() / count
                accelerator.backward(loss)
            total += loss.detach()
        accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        told = torch.stack([total, total.new_tensor(float(asked_to_stop()))])
        mean, stop = cast("Tensor", accelerator.reduce(told, "mean")).tolist()
        if not math.isfinite(mean):
            raise TrainingError(
                f"the loss is not a number after step {step}; use a lower --learning-rate, or --precision "
                "bf16 instead of fp16"
            )
        return mean, stop > 0

    def _losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Of each case of a batch, as of `answer_losses`."""
        dtype = self.bare.dtype
        inputs = {
            name: value.to(self.accelerator.device, dtype if value.is_floating_point() else None)
            for name, value in batch.items()
        }
        labels = inputs.pop("labels")
        with self.accelerator.autocast():
            output = self.model(**inputs, use_cache=False, logits_to_keep=labels.shape[1] + 1)
        return answer_losses(output.logits, labels)

    def _validate(self, state: State, progress: Progress) -> None:
        """Measure the held-out cases, and keep the weights if they are the best so far."""
        self.model.eval()
        cases, accelerator = self.division.val, self.accelerator
        places = shares(len(cases), batch_size=self.plan.batch_size, processes=accelerator.num_processes)
        found: list[Tensor] = []
        with torch.no_grad():
            for number, row in enumerate(places[:, accelerator.process_index], 1):
                progress(f"validating {number}/{len(places)}", state.step, self.steps)
                batch = self.examples.batch([cases[place] for place in row])
                found.append(torch.stack([value.float() for value in self._losses(batch)], -1))
        gathered = cast("Tensor", accelerator.gather(torch.stack(found)[None]))
        # (processes, batches, batch, 2)
        measured = gathered.cpu().transpose(0, 1).reshape(-1, 2)[: len(cases)]
        right: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        for case, told in zip(cases, measured[:, 1].tolist(), strict=True):
            right[case.kind][0] += int(told)
            right[case.kind][1] += 1
        state.validations.append(
            Validation(
                step=state.step,
                loss=measured[:, 0].mean().item(),
                right={kind: (known, count) for kind, (known, count) in sorted(right.items())},
            )
        )
        if state.step and state.best is state.validations[-1]:
            weights = self._adapter()
            if accelerator.is_main_process:
                _save(weights, self.run / BEST)

    def _keep(self, state: State) -> None:
        state.adapter = self._adapter()
        state.optimizer = get_optimizer_state_dict(self.model, self.optimizer.optimizer, options=_WHOLE)
        if self.accelerator.scaler is not None:
            state.scaler = self.accelerator.scaler.state_dict()
        if self.accelerator.is_main_process:
            write_state(self.run / STATE, state)
        self.accelerator.wait_for_everyone()

    def _adapter(self) -> dict[str, Tensor]:
        """The adapter's weights as peft writes them, whole on the main process."""
        weights = get_model_state_dict(self.model, options=_WHOLE)
        return get_peft_model_state_dict(self.bare, state_dict=weights, save_embedding_layers=False)

    def _batches(self, done: int) -> Iterator[dict[str, Tensor]]:
        """What this process reads after so many steps."""
        source = _Batches(self, first=done + 1)
        workers = self.plan.workers
        loader = DataLoader(
            source,
            batch_size=None,
            num_workers=workers,
            multiprocessing_context="fork" if workers else None,
            pin_memory=self.accelerator.device.type == "cuda",
            generator=torch.Generator(),  # else it draws from the numbers that dropout is to draw from
        )
        for batch in loader:
            if isinstance(batch, TrainingError):
                raise batch
            yield batch


class _Batches(Dataset[Any]):
    """Batches by number; an error is handed on, since a worker would wrap it in its traceback."""

    def __init__(self, learner: Learner, *, first: int) -> None:
        """`first` is the step that the first batch is for."""
        self._examples, self._cases = learner.examples, learner.division.train
        self._plan, self._order = learner.plan, learner.order
        self._process, self._first = learner.accelerator.process_index, first
        self._steps = learner.steps - first + 1

    def __len__(self) -> int:
        return self._steps * self._plan.accumulate

    def __getitem__(self, number: int) -> dict[str, Tensor] | TrainingError:
        step, part = divmod(number, self._plan.accumulate)
        epoch, places = self._order.batches(self._first + step, self._process)[part]
        brightness = [np.random.default_rng((self._plan.seed, epoch, place)) for place in places]
        try:
            return self._examples.batch(
                [self._cases[place] for place in places],
                brightness=brightness if self._plan.augment else None,
            )
        except TrainingError as error:
            return error


def _rate(step: int, steps: int) -> float:
    """Share of the highest rate: linear up over a twentieth of the steps, then a cosine down to 2 %."""
    warm = max(1, steps // 20)
    if step <= warm:
        return step / warm
    return 0.02 + 0.98 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2


def _save(weights: dict[str, Tensor], path: Path) -> None:
    unfinished = path.with_suffix(".part")
    save_file({name: value.contiguous() for name, value in weights.items()}, unfinished, {"format": "pt"})
    unfinished.replace(path)
