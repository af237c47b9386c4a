"""From a file of cases and a base to an adapter: the whole way."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list
from peft import set_peft_model_state_dict

from medvqa.digests import digest_model
from medvqa.errors import TrainingError
from medvqa.models.checkpoints import adapter_sha256, find_checkpoint, tokenizer_sha256, weights_sha256
from medvqa.prompts import PROMPT_VERSION
from medvqa.tuning.card import write_card
from medvqa.tuning.division import divide_cases
from medvqa.tuning.examples import Examples
from medvqa.tuning.learning import BEST, STATE, Learner
from medvqa.tuning.lora import load_base, trainable_share, with_adapter
from medvqa.tuning.record import describe_run, require_same, write_curves, write_settings
from medvqa.tuning.state import State, read_state
from medvqa.tuning.stopping import memory_advice, stop_requests
from medvqa.types import ModelIdentity

if TYPE_CHECKING:
    from medvqa.tuning.learning import Progress
    from medvqa.tuning.plan import Plan

_WEIGHTS, _SETTINGS = "adapter_model.safetensors", "adapter_config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What came of a run."""

    finished: bool
    """If not, the same command goes on."""
    state: State
    steps: int
    """Of the whole run, if it is not stopped early."""
    rank: int
    trainable: int
    """Parameters that are trained."""
    parameters: int
    """All of them."""
    first: bool
    """Whether this process is the one that writes and prints."""


def tune_adapter(data: Path, base: str, out: Path, *, plan: Plan, progress: Progress) -> Tuned:
    """Tune `base` on the cases of `data`, and write the adapter to `out`, its course to `out/run`.

    A run that was stopped goes on from its last state. Started with torchrun or accelerate launch, all
    processes do their share.

    Args:
        data: As for `read_cases`.
        base: As for `load_model`.
        out: Folder of the adapter; made where it is not there.
        plan: Settings.
        progress: Told of every step, in the first process alone.

    Raises:
        ModelError: If the base cannot be loaded.
        TrainingError: If the cases, the settings or a run in `out` do not fit, or memory runs out.
    """
    with memory_advice(), stop_requests() as asked_to_stop:
        division = divide_cases(data, seed=plan.seed)
        folder, run = find_checkpoint(base), _run_folder(out)
        digests = {"weights": weights_sha256(folder), "tokenizer": tokenizer_sha256(folder)}
        accelerator = _accelerator(plan)
        named = {"name": base, "weights_sha256": digests["weights"], "tokenizer_sha256": digests["tokenizer"]}
        described = describe_run(plan, division, named, accelerator.num_processes)
        described["data"]["name"] = data.name
        state = _begin(run, described, accelerator)

        processor, model = load_base(folder, plan, accelerator.device)
        ends = model.generation_config.eos_token_id
        examples = Examples(
            model.config, processor, name=base, ends=[ends] if isinstance(ends, int) else ends or ()
        )
        adapted = with_adapter(model, plan, base=base)
        if state.adapter:
            set_peft_model_state_dict(adapted, state.adapter)
        trainable, parameters = trainable_share(adapted)
        optimizer = torch.optim.AdamW(
            [one for one in adapted.parameters() if one.requires_grad], weight_decay=0.0
        )
        prepared, prepared_optimizer = accelerator.prepare(adapted, optimizer)
        learner = Learner(
            accelerator=accelerator,
            model=prepared,
            bare=adapted,
            optimizer=prepared_optimizer,
            examples=examples,
            division=division,
            plan=plan,
            run=run,
        )
        tell = progress if accelerator.is_main_process else _keep_quiet
        tuned = Tuned(
            finished=learner.learn(state, tell, asked_to_stop),
            state=state,
            steps=learner.steps,
            rank=adapted.peft_config["default"].r,
            trainable=trainable,
            parameters=parameters,
            first=accelerator.is_main_process,
        )
        if accelerator.is_main_process:
            write_curves(run, state)
            if tuned.finished:
                _finish(out, tuned, described, adapted.peft_config["default"])
        accelerator.wait_for_everyone()
        return tuned


def _run_folder(out: Path) -> Path:
    run = out / "run"
    if (out / _WEIGHTS).is_file() and not (run / STATE).is_file():
        raise TrainingError(f"{out} holds an adapter already; give another --out")
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"{out} cannot be made a folder: {error.strerror}; give another --out") from error
    return run


def _accelerator(plan: Plan) -> Accelerator:
    on_cpu = not torch.cuda.is_available()
    if on_cpu and plan.precision == "fp16":
        raise TrainingError("--precision fp16 needs a GPU; give bf16, or leave it out")
    return Accelerator(
        # Without a GPU, Accelerate joins the processes of torchrun only when told to stay on the CPU.
        cpu=on_cpu,
        mixed_precision=plan.precision,
        # Some towers have layers behind the one whose output is read; these get no gradient.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def _begin(run: Path, described: dict[str, Any], accelerator: Accelerator) -> State:
    """The state to go on from, the same in all processes, whose disks may differ."""
    found: list[State | TrainingError | None] = [None]
    if accelerator.is_main_process:
        try:
            found[0] = read_state(run / STATE)
            if found[0] is not None:
                require_same(run, described)
        except TrainingError as error:
            found[0] = error
        else:
            write_settings(run, described, accelerator)
    (kept,) = broadcast_object_list(found)
    if isinstance(kept, TrainingError):
        raise kept
    return kept or State()


def _finish(out: Path, tuned: Tuned, described: dict[str, Any], settings: Any) -> None:
    """Write the adapter and its card; the state goes last, so that a kill before is made good by going on."""
    run = out / "run"
    settings.inference_mode = True
    settings.save_pretrained(out)
    shutil.copyfile(run / BEST, out / _WEIGHTS)
    base = described["base"]
    identity = ModelIdentity(
        name=base["name"],
        model_type="",
        weights_sha256=base["weights_sha256"],
        tokenizer_sha256=base["tokenizer_sha256"],
        adapter=str(out),
        adapter_sha256=adapter_sha256(out),
        prompt_version=PROMPT_VERSION,
        parameters={},
        libraries={},
    )
    digests = {
        "base weights": base["weights_sha256"],
        "base tokenizer": base["tokenizer_sha256"],
        "adapter": identity.adapter_sha256 or "",
        "model with adapter, as the audit trail names it": digest_model(identity),
    }
    share = tuned.trainable / tuned.parameters
    card = write_card(described, tuned.state, rank=tuned.rank, share=share, digests=digests)
    (out / "README.md").write_text(card, encoding="utf-8")
    (run / STATE).unlink()
    (run / BEST).unlink()


def _keep_quiet(_text: str, _step: int, _steps: int) -> None:
    pass
