"""Every family answers as transformers alone does, and its maps lie where the model looked."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_families import TINY, build_tiny, each_of
from tiny_models import IDENTITY, noise, shown
from transformers.models.smolvlm import processing_smolvlm

from medvqa.errors import ModelError
from medvqa.heatmaps import HEATMAPS, attention_heatmap
from medvqa.heatmaps.geometry import paint_pieces, paint_pixels, paint_tokens, token_map
from medvqa.imaging import to_uint8
from medvqa.models.families import FAMILIES, family_of
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.loading import load_model
from medvqa.models.precision import round_to_int8

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from medvqa.models.encoding import EncodedImage
    from medvqa.types import Image, Pixels

QUESTIONS = ("Is there a nodule?", "Where in this image is it, then?")
VIDEO = {
    "internvl": "InternVL",
    "llava_onevision": "LlavaOnevision",
    "qwen2_5_vl": "Qwen2VL",
    "qwen2_vl": "Qwen2VL",
    "qwen3_vl": "Qwen3VL",
}
every_family = pytest.mark.parametrize("family", each_of(TINY))


@cache
def tiny(family: str) -> HuggingFaceModel:
    model, processor = build_tiny(family)
    identity = replace(IDENTITY, name=family, parameters={"max_new_tokens": 4})
    return HuggingFaceModel(model, processor, identity)


@cache
def local(family: str) -> HuggingFaceModel:
    """A model whose image tokens each see no more than their own patches."""
    model, processor = build_tiny(family)
    core = getattr(model, "model", model)
    tower = (
        core.visual if hasattr(core, "visual") else getattr(core, "vision_tower", None) or core.vision_model
    )
    kinds = ("blocks", "layers", "layer")
    layers = [part for name, part in tower.named_modules() if name.split(".")[-1] in kinds]
    with torch.no_grad():
        for parameter in (parameter for part in layers for parameter in part.parameters()):
            parameter.zero_()  # what remains is the sum of what went in and nothing
    return HuggingFaceModel(model, processor, replace(IDENTITY, parameters={"max_new_tokens": 1}))


def images() -> list[Image]:
    """Two different aspect ratios."""
    return [noise(90, 70), noise(40, 130, seed=1)]


def test_every_family_with_a_record_is_tested() -> None:
    assert TINY.keys() == FAMILIES.keys()
    with pytest.raises(ModelError, match=r"'ofa'.*internvl"):
        family_of("ofa")


@every_family
def test_generating_from_what_is_kept_equals_transformers_alone(family: str) -> None:
    model = tiny(family)
    for image in images():  # so that what the model remembers is of the wrong image
        model.encode(image)
    for image in images():
        assert (model.encode(image).prefix is None) == (not FAMILIES[family].shares_prefix)
        for question in QUESTIONS:
            token_ids, log_probabilities = plain_generate(model, image, question)
            said = model.generate(image, question)
            assert list(said.token_ids) == token_ids
            found = [token.log_probability for token in said.tokens]
            assert found == pytest.approx(log_probabilities, abs=1e-5)


@every_family
def test_looks_are_the_last_rows_of_all_attention(family: str) -> None:
    model = tiny(family)
    image = noise(90, 70)
    said = model.generate(image, QUESTIONS[0])
    prompt = model.prompt(image, QUESTIONS[0])
    with torch.no_grad():
        _, layers = model.attentions(prompt, said.token_ids, prompt.image.features)
        looks = model.looks(prompt, said.token_ids)
    image_in = "memory" if FAMILIES[family].looked_up else "words"
    looking = [layer.weights for layer in layers if (layer.rows, layer.columns) == ("words", image_in)]
    assert len(looks) == len(looking) > 0
    for some, whole in zip(looks, looking, strict=True):
        assert some.shape[2] > len(said.token_ids)
        assert torch.allclose(some, whole[:, :, -some.shape[2] :], atol=1e-5)
        assert model.image_positions(prompt).max() < some.shape[3]


def plain_generate(model: HuggingFaceModel, image: Image, question: str) -> tuple[list[int], list[float]]:
    inputs = model._prompting.process([image], [question])
    output = model.module.generate(
        **inputs, **model._decoding, return_dict_in_generate=True, output_logits=True
    )
    token_ids = output.sequences[0, -len(output.logits) :]
    log_probabilities = torch.stack(output.logits)[:, 0].log_softmax(-1)
    return token_ids.tolist(), log_probabilities.gather(1, token_ids[:, None])[:, 0].tolist()


@every_family
def test_likelihoods_are_the_same_in_a_batch_one_by_one_and_by_transformers_alone(family: str) -> None:
    model = tiny(family)
    asked = [(image, question) for image in images() for question in QUESTIONS]
    answers: list[tuple[int, ...]] = []
    for one in asked:
        token_ids, log_probabilities = plain_generate(model, *one)
        answers.append(tuple(token_ids))
        assert model.log_likelihood(*one, answers[-1]) == pytest.approx(sum(log_probabilities), abs=2e-5)
    together = model.log_likelihoods(asked, answers[0])
    assert together == pytest.approx([model.log_likelihood(*one, answers[0]) for one in asked], abs=2e-5)
    prompts = [model.prompt(*one) for one in asked]
    forced = [model.answer_log_probabilities(one, answers[0], one.image.features) for one in prompts]
    assert together == pytest.approx([one.sum().item() for one in forced], abs=2e-5)


@every_family
def test_a_batch_of_different_images_answers_as_one_by_one(family: str) -> None:
    model = tiny(family)
    asked = [*zip(images(), QUESTIONS, strict=True), (noise(64, 64, seed=2), "Why?")]
    alone = [model.generate(*one).text for one in asked]
    assert model.answer_many(*zip(*asked, strict=True)) == alone


@every_family
def test_versions_of_the_pixels_are_seen_as_images_and_move_the_answer(family: str) -> None:
    model, image = tiny(family), noise(90, 70)
    prompt = model.prompt(image, QUESTIONS[0])
    other = noise(90, 70, seed=4)
    versions = torch.cat([model.pixel_values(image), model.pixel_values(other)]).requires_grad_()
    features = model.see(prompt.image, versions)
    expected = torch.cat([prompt.image.features, model.encode(other, QUESTIONS[0]).features])
    torch.testing.assert_close(features, expected, atol=1e-4, rtol=1e-4)
    scores = model.answer_log_probabilities(prompt, (30, 31), features).sum(1)
    assert scores[1].item() == pytest.approx(model.log_likelihood(other, QUESTIONS[0], (30, 31)), abs=1e-3)
    (gradient,) = torch.autograd.grad(scores[1], versions)
    assert gradient[1].abs().max() > 0
    assert not gradient[0].any()


@every_family
def test_heatmaps_have_the_image_s_shape(family: str) -> None:
    model, image = tiny(family), noise(40, 130)
    said = model.generate(image, QUESTIONS[0])
    heatmap = attention_heatmap(model, image, QUESTIONS[0], said)
    assert heatmap.values.shape == (40, 130)
    assert heatmap.values.max() == 1
    assert (
        len(model.image_positions(model.prompt(image, QUESTIONS[0]))) == model.encode(image).features.shape[1]
    )


@pytest.mark.slow
@every_family
def test_every_method_draws_every_family(family: str) -> None:
    model, image = tiny(family), noise(40, 130)
    said = model.generate(image, QUESTIONS[0])
    for method in HEATMAPS.keys() - {"attention"}:
        heatmap = HEATMAPS[method](model, image, QUESTIONS[0], said)
        assert heatmap.values.shape == (40, 130)
        assert np.isfinite(heatmap.values).all()
        if heatmap.convergence_delta is not None:
            assert heatmap.convergence_delta <= 0.05


def test_queries_look_as_transformers_says() -> None:
    """By the cross-attentions of a Q-Former that is called by itself, and weights that sum to one."""
    model = tiny("blip-2")
    encoded, module = model.encode(noise(90, 70)), model.module
    placed = model.place(torch.eye(8)[3], encoded)
    alone = copy.deepcopy(module.qformer)
    alone.set_attn_implementation("eager")
    with torch.no_grad():
        output = alone(
            query_embeds=module.query_tokens,
            encoder_hidden_states=encoded.output.vision_outputs.last_hidden_state,
            output_attentions=True,
        )
    torch.testing.assert_close(placed, torch.stack(output.cross_attentions).mean((0, 2))[0, 3])


@pytest.mark.parametrize("family", ["blip-2", "idefics", "idefics2", "instructblip"])
def test_queries_share_their_score_among_patches(family: str) -> None:
    model = tiny(family)
    encoded = model.encode(noise(90, 70))
    patches = sum(grid.rows * grid.columns for grid in model.token_grids(encoded))
    placed = torch.stack([model.place(one, encoded) for one in torch.eye(encoded.features.shape[1])])
    assert placed.shape[1] in (patches, patches + 1)  # and a class token
    assert placed.min() >= 0
    assert (placed.sum(1) <= 1 + 1e-5).all()


@st.composite
def squares(draw: st.DrawFn) -> tuple[np.ndarray, tuple[float, float]]:
    """A grey image, up to 3:1, with a bright square; and the square's centre in pixels."""
    rows = draw(st.integers(61, 250))
    columns = draw(st.integers(max(61, rows // 3), min(250, rows * 3)))
    side = max(6, min(rows, columns) // 8)
    top, left = (draw(st.integers(0, size - side)) for size in (rows, columns))
    pixels = np.full((rows, columns), 0.3)
    pixels[top : top + side, left : left + side] = 1
    return pixels, (top + side / 2, left + side / 2)


@pytest.mark.slow
@every_family
@settings(max_examples=8, deadline=None, derandomize=True)
@given(drawn=squares())
def test_maps_follow_a_square_anywhere(family: str, drawn: tuple[np.ndarray, tuple[float, float]]) -> None:
    pixels, centre = drawn
    model, image, without = local(family), shown(pixels), shown(np.full_like(pixels, 0.3))
    encoded, before = model.encode(image), model.encode(without)
    grid = model.token_grid(encoded)
    # LLaVA's crop leaves out both ends of the longer edge.
    rows, columns = pixels.shape
    top, left, bottom, right = (at * size for at, size in zip(grid.box, (rows, columns) * 2, strict=True))
    margin = min(rows, columns) // 8
    if not (top + margin < centre[0] < bottom - margin or top <= 0):
        return
    if not (left + margin < centre[1] < right - margin or left <= 0):
        return
    # Florence-2's tower begins with convolutions that overlap: a patch sees as much of its neighbours.
    reach = 1.5 if family == "florence2" else 1
    cell = reach * (bottom - top) / grid.rows, reach * (right - left) / grid.columns
    scores = (patch_states(family, encoded) - patch_states(family, before)).norm(dim=-1)
    if FAMILIES[family].looks:
        pieces = [(token_map(scores, tile), tile.box) for tile in model.token_grids(encoded)]
        assert_at(paint_pieces(pieces, image.shape), centre, cell)
    else:
        assert_at(paint_tokens(scores, model, encoded), centre, cell)
    fine, small = model.token_grids(encoded)[1:], cell
    if fine:
        pieces = [(token_map(scores, tile), tile.box) for tile in fine]
        first, inside = fine[0], fine[0].box
        small = (
            rows * (inside[2] - inside[0]) / first.rows,
            columns * (inside[3] - inside[1]) / first.columns,
        )
        assert_at(paint_pieces(pieces, image.shape), centre, small)
    moved = (encoded.inputs["pixel_values"] - before.inputs["pixel_values"]).abs()
    assert_at(paint_pixels(moved, model, encoded), centre, cell)
    if fine:
        assert_at(paint_pieces(model.pixel_maps(moved, encoded)[1:], image.shape), centre, small)


def patch_states(family: str, encoded: EncodedImage) -> Tensor:
    """What lies on the grids: tokens, or where these have no place the tower's patches."""
    states = encoded.output.last_hidden_state if FAMILIES[family].looks else encoded.features
    return states.reshape(-1, states.shape[-1])


def assert_at(values: Pixels, centre: tuple[float, float], cell: tuple[float, float]) -> None:
    """Highest value and centre of mass lie within a token's cell of `centre`."""
    rows, columns = np.indices(values.shape) + 0.5
    mass = ((rows * values).sum() / values.sum(), (columns * values).sum() / values.sum())
    highest = np.argwhere(values == values.max()).mean(0) + 0.5
    for found in (mass, highest):
        for at, true, size in zip(found, centre, cell, strict=True):
            assert abs(at - true) <= size


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_qwen_s_pixels_come_back_exactly(family: str) -> None:
    model, image = tiny(family), noise(84, 56)  # a size that the processor keeps
    encoded = model.encode(image)
    ((values, box),) = model.pixel_maps(encoded.inputs["pixel_values"], encoded)
    processor = model._processor.image_processor
    scaled = (to_uint8(image) / 255 - np.array(processor.image_mean)) / processor.image_std
    assert box == (0, 0, 1, 1)
    np.testing.assert_allclose(values, scaled.sum(-1) * processor.temporal_patch_size, atol=1e-4)


def test_tokens_without_a_place_are_refused() -> None:
    model = tiny("idefics3")
    encoded = model.encode(noise(90, 70))
    fewer = replace(encoded, features=encoded.features[:, 3:])
    with pytest.raises(ModelError, match="no heatmap"):
        model.token_grids(fewer)


@every_family
def test_weights_in_int8_hardly_change_what_is_likely(family: str) -> None:
    model = tiny(family)
    rounded = copy.deepcopy(model.module)
    round_to_int8(rounded)
    other = HuggingFaceModel(rounded, model._processor, model.identity)
    image, question = images()[0], QUESTIONS[0]
    token_ids = model.generate(image, question).token_ids
    likelihood = model.log_likelihood(image, question, token_ids)
    assert other.log_likelihood(image, question, token_ids) == pytest.approx(likelihood, rel=0.05)
    assert other.log_likelihood(image, question, token_ids) != likelihood


@every_family
def test_a_checkpoint_of_the_family_loads(family: str, tmp_path: Path) -> None:
    built = tiny(family)
    built.module.save_pretrained(tmp_path)
    built._processor.save_pretrained(tmp_path)
    video = VIDEO.get(family, "SmolVLM")
    if family in VIDEO or family == "smolvlm":  # published checkpoints have one
        content = json.dumps({"video_processor_type": f"{video}VideoProcessor"})
        (tmp_path / "video_preprocessor_config.json").write_text(content)
    with patch.object(processing_smolvlm, "num2words", object()):
        loaded = load_model(tmp_path, max_new_tokens=4)
    image = noise(90, 70)
    assert loaded.identity.model_type == family
    assert loaded.generate(image, QUESTIONS[0]).token_ids == built.generate(image, QUESTIONS[0]).token_ids
