"""A text model given sight answers text alone as before, to the bit, and images as all families do."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from tiny_models import noise, shown, write_llava
from tiny_parts import write_llm, write_vision
from transformers import AutoModelForCausalLM, AutoTokenizer

from medvqa.errors import ModelError, QuestionError
from medvqa.heatmaps import HEATMAPS
from medvqa.heatmaps.geometry import paint_pixels, paint_tokens
from medvqa.models.compose import gates
from medvqa.models.compose.building import compose
from medvqa.models.compose.configuration import Bridge
from medvqa.models.compose.towers import grid_of
from medvqa.models.loading import load_model
from medvqa.models.network import generate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medvqa.models.huggingface import HuggingFaceModel

QUESTION = "Is there a nodule?"
PARTS: list[tuple[str, str, Bridge]] = [
    ("llama", "clip", "mlp"),
    ("qwen2", "vit", "gated_cross_attention"),
    ("qwen3", "siglip", "qformer"),
    ("youtu", "mobilevit", "gated_cross_attention"),
    ("youtu", "vit", "mlp"),
    ("llama", "mobilevit", "qformer"),
]
every_choice = pytest.mark.parametrize(
    "parts",
    [*PARTS[:3], *(pytest.param(parts, marks=pytest.mark.slow) for parts in PARTS[3:])],
    ids="-".join,
)
GATED = PARTS[1]


@pytest.fixture(scope="module", autouse=True)
def folder() -> Iterator[Path]:
    root = Path(mkdtemp())
    ROOT.append(root)
    yield root
    shutil.rmtree(root)
    for cached in (llm, vision, composed, seeing):
        cached.cache_clear()


ROOT: list[Path] = []


@cache
def llm(kind: str) -> Path:
    return write_llm(ROOT[-1] / kind, kind)


@cache
def vision(kind: str) -> Path:
    return write_vision(ROOT[-1] / kind, kind)


@cache
def composed(parts: tuple[str, str, Bridge]) -> Path:
    """As it is when it was composed."""
    out = ROOT[-1] / "-".join(parts)
    compose(llm(parts[0]), vision(parts[1]), out, bridge=parts[2])
    return out


@cache
def seeing(parts: tuple[str, str, Bridge]) -> HuggingFaceModel:
    """With open gates and an untrained bridge that hands on more than a whisper."""
    model = load_model(composed(parts), max_new_tokens=4)
    with torch.no_grad():
        for name, parameter in model.module.bridge.named_parameters():
            if "gate" in name:
                parameter.fill_(1)
            elif parameter.ndim == 2:
                parameter.normal_(std=0.2)
    return model


def images() -> list[Any]:
    return [noise(90, 70), noise(40, 130, seed=1), noise(64, 64, seed=2)]


QUESTIONS = (QUESTION, "Where in this image is it, then?", "yes or no")


@every_choice
def test_text_alone_is_answered_as_by_the_bare_model_to_the_bit(parts: tuple[str, str, Bridge]) -> None:
    bare = AutoModelForCausalLM.from_pretrained(llm(parts[0])).eval()
    module = seeing(parts).module
    within = module.language_model
    assert all(torch.equal(*pair) for pair in zip(within.parameters(), bare.parameters(), strict=True))
    words = AutoTokenizer.from_pretrained(llm(parts[0]), padding_side="left")
    batch = words(["is there a nodule?", "where", "yes, in this image"], return_tensors="pt", padding=True)
    batch = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        assert torch.equal(module(**batch).logits, bare(**batch).logits)
        found, wanted = (
            one.generate(
                **batch, max_new_tokens=6, do_sample=False, output_logits=True, return_dict_in_generate=True
            )
            # A matrix product of BLAS may differ in its last bit with the address of the weights.
            for one in (module, within)
        )
        assert torch.equal(wanted.sequences, bare.generate(**batch, max_new_tokens=6, do_sample=False))
    assert torch.equal(found.sequences, wanted.sequences)
    assert all(torch.equal(*pair) for pair in zip(found.logits, wanted.logits, strict=True))


def test_with_shut_gates_an_image_changes_nothing() -> None:
    model = load_model(composed(GATED))
    inputs = model._prompting.process([noise()], [QUESTION])
    token, word = model.module.config.image_token_id, model.module.config.placeholder_id
    bare = AutoModelForCausalLM.from_pretrained(llm(GATED[0])).eval()
    read = inputs["input_ids"].masked_fill(inputs["input_ids"] == token, word)
    with torch.no_grad():
        assert torch.equal(model.module(**inputs).logits, bare(input_ids=read).logits)
        opened = seeing(GATED).module(**inputs).logits
    assert not torch.allclose(opened, bare(input_ids=read).logits, atol=1e-2)


@every_choice
def test_likelihoods_are_those_of_generation(parts: tuple[str, str, Bridge]) -> None:
    model = seeing(parts)
    for image, question in zip(images(), QUESTIONS, strict=True):
        said = model.generate(image, question)
        forced = model.log_likelihood(image, question, said.token_ids)
        assert forced == pytest.approx(said.log_likelihood, abs=1e-4)
        prompt = model.prompt(image, question)
        alone = model.answer_log_probabilities(prompt, said.token_ids, prompt.image.features)
        assert alone.sum().item() == pytest.approx(said.log_likelihood, abs=1e-4)
    first, second = (model.log_likelihood(image, QUESTION, said.token_ids) for image in images()[:2])
    assert abs(first - second) > 1e-3  # or the image would not matter


@every_choice
def test_three_in_a_padded_batch_are_answered_as_one_by_one(parts: tuple[str, str, Bridge]) -> None:
    model = seeing(parts)
    inputs = model._prompting.process(images(), QUESTIONS)
    assert (inputs["attention_mask"][:, 0] == 0).any()
    answers, logarithms = generate(model.module, inputs, **model._decoding)
    for row, (image, question) in enumerate(zip(images(), QUESTIONS, strict=True)):
        said = model.generate(image, question)
        assert tuple(answers[row, : len(said.token_ids)].tolist()) == said.token_ids
        found = logarithms[row, : len(said.token_ids)].tolist()
        assert found == pytest.approx([token.log_probability for token in said.tokens], abs=1e-4)


@pytest.mark.slow
@every_choice
@pytest.mark.parametrize("shape", [(120, 120), (200, 80), (90, 240)], ids=str)
def test_maps_lie_where_a_square_is(parts: tuple[str, str, Bridge], shape: tuple[int, int]) -> None:
    """Within one patch; what the tower's crop leaves out is not asked for."""
    model = load_model(composed(parts))
    see_nearby(model.module.vision_tower)
    without = shown(np.full(shape, 0.3))
    before = model.encode(without)
    grid = model.token_grid(before)
    box = [edge * size for edge, size in zip(grid.box, shape * 2, strict=True)]
    cell = ((box[2] - box[0]) / grid.rows, (box[3] - box[1]) / grid.columns)
    side = round(min(cell))
    for down, across in ((0.3, 0.3), (0.3, 0.7), (0.6, 0.45)):
        centre = (box[0] + down * (box[2] - box[0]), box[1] + across * (box[3] - box[1]))
        top, left = (round(at - side / 2) for at in centre)
        pixels = np.full(shape, 0.3)
        pixels[top : top + side, left : left + side] = 1
        encoded = model.encode(shown(pixels))
        moved = (encoded.output.last_hidden_state - before.output.last_hidden_state)[0].norm(dim=-1)
        changed = (encoded.inputs["pixel_values"] - before.inputs["pixel_values"]).abs()
        maps = [paint_pixels(changed, model, encoded)]
        if encoded.output.query_attention is None:
            maps.append(paint_tokens(moved, model, encoded))
        for values in maps:
            highest = np.argwhere(values == values.max()).mean(0) + 0.5
            assert abs(highest - (top + side / 2, left + side / 2)).max() <= max(cell)
            assert (abs(highest - (top + side / 2, left + side / 2)) <= cell).all()


def see_nearby(tower: Any) -> None:
    """Let each token see its own patch alone."""
    for name, part in tower.named_modules():
        mixes = name in ("encoder.layers", "layers") or name.endswith("conv_projection")
        for parameter in part.parameters() if mixes else ():
            parameter.data.zero_()
        if isinstance(part, torch.nn.Conv2d) and part.kernel_size == (3, 3):
            middle = part.weight.data[:, :, 1, 1].clone()
            part.weight.data.zero_()
            part.weight.data[:, :, 1, 1] = middle


def test_a_query_s_score_goes_to_the_patches_it_looks_at() -> None:
    model = seeing(PARTS[2])
    encoded = model.encode(noise())
    looks = encoded.output.query_attention
    assert looks.shape == (1, 32, 16)
    assert torch.allclose(looks.sum(-1), torch.ones(1, 32), atol=1e-5)
    placed = model.place(torch.eye(32)[5], encoded)
    assert torch.allclose(placed, looks[0, 5])
    assert placed.std() > 1e-4  # not everywhere alike


@pytest.mark.slow
@every_choice
def test_every_heatmap_method_explains_an_answer(parts: tuple[str, str, Bridge]) -> None:
    model, image = seeing(parts), noise(40, 130)
    said = model.generate(image, QUESTION)
    for method, make in HEATMAPS.items():
        if method == "occlusion" and parts not in PARTS[:3]:
            continue  # slow, and knows nothing of bridges
        heatmap = make(model, image, QUESTION, said)
        assert heatmap.values.shape == (40, 130), method
        assert heatmap.values.max() in (0, 1), method
        if method == "integrated_gradients":
            assert heatmap.convergence_delta is not None
            assert heatmap.convergence_delta <= 0.05


def test_gated_attention_is_what_words_find_in_the_image() -> None:
    model, image = seeing(GATED), noise()
    said = model.generate(image, QUESTION)
    prompt = model.prompt(image, QUESTION)
    looks = model.looks(prompt, said.token_ids)
    assert len(looks) == len(model.module.bridge.blocks)
    length = prompt.input_ids.shape[1] + len(said.token_ids)
    assert all(one.shape == (1, 4, length, 16) for one in looks)
    place = int((prompt.input_ids[0] == model.image_token_id).nonzero()[0, 0])
    assert not looks[0][:, :, :place].any()
    assert torch.allclose(looks[0][:, :, place:].sum(-1), torch.ones(1, 4, length - place), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("parts", [PARTS[0], GATED, PARTS[2]], ids="-".join)
def test_several_images_stand_where_the_message_has_them(parts: tuple[str, str, Bridge]) -> None:
    model = seeing(parts)
    processor, module = model._processor, model.module
    pictures = [np.random.default_rng(seed).integers(0, 256, (60, 60, 3), dtype=np.uint8) for seed in (0, 1)]
    parts_of = [{"type": "image"}, {"type": "text", "text": "then"}, {"type": "image"}]
    text = processor.apply_chat_template([{"role": "user", "content": parts_of}], add_generation_prompt=True)
    assert text.index("<image>") < text.index("then") < text.rindex("<image>")
    both = processor(text=[text], images=[pictures], return_tensors="pt", add_special_tokens=False)
    ids = both["input_ids"][0]
    assert (ids == model.image_token_id).sum() == 2 * module.config.image_tokens
    second = int((ids == model.image_token_id).nonzero()[module.config.image_tokens, 0])
    swapped = both["pixel_values"].flip(0)
    other = torch.stack([both["pixel_values"][0], both["pixel_values"][0]])
    with torch.no_grad():
        plain, turned, same = (
            module(input_ids=both["input_ids"], pixel_values=values).logits[0]
            for values in (both["pixel_values"], swapped, other)
        )
    assert (plain[-1] - turned[-1]).abs().max() > 1e-3
    assert torch.allclose(plain[:second], same[:second], atol=1e-5)  # words before it know nothing of it
    assert (plain[-1] - same[-1]).abs().max() > 1e-3
    answered = module.generate(**both, max_new_tokens=3, output_logits=True, return_dict_in_generate=True)
    longer = answered.sequences
    with torch.no_grad():
        whole = module(input_ids=longer, pixel_values=both["pixel_values"]).logits[0, len(ids) - 1 : -1]
    assert torch.allclose(torch.cat(answered.logits), whole, atol=1e-4)


def test_images_may_all_come_before_the_text(tmp_path: Path) -> None:
    compose(llm("llama"), vision("vit"), tmp_path / "prefixed", placement="prefix")
    model = load_model(tmp_path / "prefixed", max_new_tokens=4)
    before, after = model._prompting.around_image(QUESTION)
    assert before == "<s>"
    assert after.startswith("<|im_start|>user\nIs there")
    said = model.generate(noise(), QUESTION)
    assert model.log_likelihood(noise(), QUESTION, said.token_ids) == pytest.approx(
        said.log_likelihood, abs=1e-4
    )


def test_an_image_token_beyond_the_vocabulary_is_no_word(tmp_path: Path) -> None:
    within = load_model(composed(PARTS[0]))
    assert within.image_token_id < within.module.config.text_config.vocab_size
    compose(write_llm(tmp_path / "llm", "llama", unused=0), vision("vit"), tmp_path / "model")
    model = load_model(tmp_path / "model", max_new_tokens=4)
    assert model.image_token_id == model.module.config.text_config.vocab_size
    assert model.generate(noise(), QUESTION).token_ids
    with pytest.raises(QuestionError, match="<image>"):
        model.generate(noise(), "what does <image> mean?")


def test_a_model_that_thinks_is_asked_not_to(tmp_path: Path) -> None:
    words = AutoTokenizer.from_pretrained(llm("qwen3"))
    words.chat_template = (words.chat_template or "") + "{% if enable_thinking is false %}<think>{% endif %}"
    folder = shutil.copytree(llm("qwen3"), tmp_path / "llm")
    words.save_pretrained(folder)
    compose(folder, vision("vit"), tmp_path / "model")
    assert load_model(tmp_path / "model")._prompting.around_image(QUESTION)[1].endswith("<think>")


def test_image_tokens_begin_as_large_as_words() -> None:
    model = load_model(composed(PARTS[0]))
    words = model.module.get_input_embeddings().weight.std()
    assert 0.5 < model.encode(noise()).features.std() / words < 2


def test_what_cannot_be_composed_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="text model"):
        compose(vision("vit"), vision("vit"), tmp_path / "out")
    with pytest.raises(ModelError, match="image tower"):
        compose(llm("llama"), llm("llama"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(ModelError, match="holds something"):
        compose(llm("llama"), vision("vit"), tmp_path / "full")
    with patch.object(gates, "KEYWORD", "lost"), pytest.raises(ModelError, match="hand the image"):
        compose(llm("llama"), vision("vit"), tmp_path / "out", bridge="gated_cross_attention")
    assert {path.name for path in tmp_path.iterdir()} == {"full"}


def test_towers_of_other_layouts_have_grids() -> None:
    register = grid_of(torch.zeros(1, 4 + 1 + 256, 8), height=224, width=224, patch_size=14)
    assert (register.rows, register.columns, register.global_tokens) == (16, 16, 5)
    long = grid_of(torch.zeros(1, 8, 8), height=28, width=56, patch_size=14)
    assert (long.rows, long.columns, long.global_tokens) == (2, 4, 0)
    with pytest.raises(ModelError, match="no grid"):
        grid_of(torch.zeros(1, 99, 8), height=224, width=224, patch_size=None)


def test_another_family_is_not_touched(tmp_path: Path) -> None:
    assert load_model(write_llava(tmp_path / "llava")).identity.model_type == "llava"
