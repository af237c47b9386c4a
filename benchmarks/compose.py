"""What a text model learns of images through each bridge.

    python benchmarks/compose.py [--quick] [--bridges mlp qformer gated_cross_attention]

A tiny text model with random weights and a tiny ViT, which learned here to tell organs and sides apart, are
composed. Phantoms of three organs have a bright disc on the left, on the right, or none. The alignment stage
trains the bridge alone: retrieval is the share of held-out images whose nearest sentence is one of theirs.
Then the model is tuned with LoRA to name organ and side. The peer is tuned alike on the same questions and
answers with one blank image in all of them: it reads the text alone. The last line is JSON; ratios are to
chance and to the peer.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers as hf
from PIL import Image as PillowImage
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers.utils.logging import disable_progress_bar

from medvqa.cases import Case, read_cases, read_image, write_cases
from medvqa.models.compose.building import compose
from medvqa.models.loading import load_model
from medvqa.simulation.phantoms import phantom
from medvqa.tuning.adaptation import tune_adapter
from medvqa.tuning.alignment import AlignmentPlan, align_bridge
from medvqa.tuning.plan import Plan

if TYPE_CHECKING:
    from medvqa.models.compose.configuration import Bridge
    from medvqa.types import Pixels

SIDE, PATCH = 64, 8
ORGANS = ("brain", "chest", "breast")
PLACES = ("on the left", "on the right", "nowhere")
_SPECIAL = ("<pad>", "<s>", "</s>")
QUESTION = "Which organ is it, and where is the disc?"


def draw(number: int) -> tuple[Pixels, str, str]:
    """A phantom with its organ and place, each kind as often as any other."""
    rng = np.random.default_rng(number)
    organ, place = ORGANS[number % 3], PLACES[number // 3 % 3]
    pixels = phantom(organ, rng, shape=(SIDE, SIDE))
    rows, columns = np.indices(pixels.shape)
    across = {"on the left": 0.25, "on the right": 0.75}.get(place)
    if across is not None:
        centre = rng.uniform(0.3, 0.7) * SIDE, (across + rng.uniform(-0.1, 0.1)) * SIDE
        pixels = np.where(np.hypot(rows - centre[0], columns - centre[1]) < SIDE / 9, 1, pixels * 0.9)
    return pixels.astype(np.float32), organ, place


def write_data(folder: Path, count: int) -> None:
    """Cases with their images, and the same with a blank image in all of them."""
    seeing: list[Case] = []
    blind: list[Case] = []
    blank = folder / "blank.png"
    PillowImage.new("L", (SIDE, SIDE), 80).save(blank)
    for number in range(count):
        pixels, organ, place = draw(number)
        path = folder / f"{number}.png"
        PillowImage.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(path)
        turn = number // 9 % 18
        split = "train" if turn < 12 else "val" if turn < 15 else "test"
        for image, cases in ((path, seeing), (blank, blind)):
            cases.append(
                Case(
                    image=image,
                    question=QUESTION,
                    answer=f"{organ}, {place}",
                    answer_type="open",
                    kind="organ and place",
                    group=str(number),
                    split=split,
                )
            )
    write_cases(folder / "seeing.jsonl", seeing)
    write_cases(folder / "blind.jsonl", blind)


def write_llm(folder: Path) -> None:
    """A Llama with random weights, and a tokenizer that knows the words."""
    bpe = Tokenizer(models.BPE(unk_token=None))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    said = [f"{QUESTION} {organ}, {place}" for organ in ORGANS for place in PLACES]
    bpe.train_from_iterator(said * 5, trainer)
    special = dict(zip(("pad_token", "bos_token", "eos_token"), _SPECIAL, strict=True))
    words: Any = hf.PreTrainedTokenizerFast(tokenizer_object=bpe, **special)
    torch.manual_seed(0)
    config = hf.LlamaConfig(
        vocab_size=len(words),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        initializer_range=0.1,
    )
    hf.LlamaForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)


def train_tower(folder: Path, steps: int) -> float:
    """Train a tiny ViT to tell the nine kinds apart; its share of right ones on new pictures."""
    torch.manual_seed(0)
    kind: Any = hf.ViTConfig
    config = kind(
        hidden_size=96,
        intermediate_size=192,
        num_hidden_layers=3,
        num_attention_heads=6,
        image_size=SIDE,
        patch_size=PATCH,
        num_labels=9,
    )
    model = hf.ViTForImageClassification(config)
    images = hf.ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}, resample=2)
    drawn = {first: [draw(first + number)[0] for number in range(360)] for first in (90_000, 99_000)}

    def batch(first: int, places: np.ndarray[Any, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = np.stack([drawn[first][place] for place in places])
        values = torch.from_numpy(pixels)[:, None].expand(-1, 3, -1, -1) * 2 - 1
        return values, torch.tensor([(first + place) % 9 for place in places])

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=steps)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        values, kinds = batch(90_000, rng.integers(0, 360, 32))
        model(values, labels=kinds).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    model.eval()
    with torch.no_grad():
        values, kinds = batch(99_000, np.arange(180))
        right = (model(values).logits.argmax(1) == kinds).float().mean().item()
    model.vit.save_pretrained(folder)
    images.save_pretrained(folder)
    return right


def tune(work: Path, base: Path, cases: str, epochs: int) -> float:
    """Share of test questions that are answered word for word after tuning."""
    out = work / f"{base.name}-{cases}"
    plan = Plan(epochs=epochs, batch_size=12, learning_rate=5e-3, patience=0, targets="all-linear")
    tune_adapter(work / f"{cases}.jsonl", str(base), out, plan=plan, progress=lambda *_: None)
    model = load_model(base, adapter=out, max_new_tokens=16)
    asked = read_cases(work / f"{cases}.jsonl", split="test")
    images = [read_image(case) for case in asked]
    answers = model.answer_many(images, [case.question for case in asked])
    return float(np.mean([said == case.answer for said, case in zip(answers, asked, strict=True)]))


def measure(work: Path, bridge: Bridge, *, align_epochs: int, tune_epochs: int) -> dict[str, Any]:
    begun = time.perf_counter()
    compose(work / "llm", work / "tower", work / bridge, bridge=bridge)
    aligned = align_bridge(
        work / "seeing.jsonl",
        str(work / bridge),
        work / f"{bridge}-aligned",
        plan=AlignmentPlan(epochs=align_epochs, batch_size=36),
        progress=lambda *_: None,
    )
    right, alone = (
        tune(work, work / f"{bridge}-aligned", cases, tune_epochs) for cases in ("seeing", "blind")
    )
    return {
        "retrieval_before": round(aligned.before.retrieval, 3),
        "retrieval_after": round(aligned.after.retrieval, 3),
        "retrieval_over_chance": round(aligned.after.retrieval / aligned.after.chance, 2),
        "right": round(right, 3),
        "right_text_only": round(alone, 3),
        "right_over_text_only": round(right / max(alone, 1 / 9), 2),
        "bridge_parameters": aligned.trained,
        "seconds": round(time.perf_counter() - begun),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="216 pictures and shorter training")
    known: list[Bridge] = ["mlp", "qformer", "gated_cross_attention"]
    parser.add_argument("--bridges", nargs="+", choices=known, default=known)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_data(work, 216 if options.quick else 972)
        write_llm(work / "llm")
        tower = train_tower(work / "tower", 160 if options.quick else 600)
        print(f"tower alone: {tower:.3f} of nine kinds right")
        found: dict[str, Any] = {"tower": round(tower, 3)}
        for bridge in options.bridges:
            epochs = (10, 5) if options.quick else (15, 10)
            found[bridge] = measure(work, bridge, align_epochs=epochs[0], tune_epochs=epochs[1])
            print(bridge, found[bridge], flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
