"""Contrastive models of every kind: vectors, choices, what is refused, and a map of a choice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from safetensors.torch import load_file, save_file
from tiny_contrastive import KINDS, write_contrastive
from tiny_models import noise, shown, write_llava
from transformers import AutoModel

import medvqa
from medvqa.digests import digest_model
from medvqa.errors import ModelError, QuestionError
from medvqa.heatmaps.choice import choice_heatmap
from medvqa.imaging import to_uint8
from medvqa.models.contrastive import ContrastiveModel, load_contrastive
from medvqa.models.processors import read_processor

OPTIONS = ("a chest x ray", "a head scan with a bright square left", "tumor")
IMAGES = [noise(60 + 10 * seed, 70, seed=seed) for seed in range(3)]
SIGMOID = ("siglip", "siglip2")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("contrastive")
    return {kind: write_contrastive(root / kind, kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(folders: dict[str, Path], kind: str) -> ContrastiveModel:
    return load_contrastive(folders[kind])


def theirs(folder: Path, kind: str, image: medvqa.Image, texts: tuple[str, ...]) -> torch.Tensor:
    """Logits of one image and several texts as transformers computes them by itself."""
    processor = read_processor(folder, kind)
    inputs = dict(processor.image_processor(PillowImage.fromarray(to_uint8(image)), return_tensors="pt"))
    if kind in SIGMOID:
        longest = {"siglip": 16, "siglip2": 64}[kind]
        read = processor.tokenizer(list(texts), padding="max_length", max_length=longest, return_tensors="pt")
        inputs["input_ids"] = read["input_ids"]
    else:
        inputs |= processor.tokenizer(list(texts), padding=True, return_tensors="pt")
    model: Any = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        return model(**inputs).logits_per_image[0]


def test_vectors_have_length_one_and_tell_images_and_texts_apart(model: ContrastiveModel) -> None:
    for found in (model.embed_images(IMAGES), model.embed_texts(OPTIONS)):
        assert found.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
        assert (found @ found.T)[np.triu_indices(3, 1)].max() < 0.999


def test_a_batch_gives_what_one_by_one_does(model: ContrastiveModel) -> None:
    images = IMAGES * 7  # more than go through the model at once
    one_by_one = np.concatenate([model.embed_images([image]) for image in images])
    np.testing.assert_allclose(model.embed_images(images), one_by_one, atol=1e-5)
    alone = np.concatenate([model.embed_texts([text]) for text in OPTIONS])
    np.testing.assert_allclose(model.embed_texts(OPTIONS), alone, atol=1e-5)


def test_a_choice_is_what_transformers_computes(
    folders: dict[str, Path], model: ContrastiveModel, kind: str
) -> None:
    logits = theirs(folders[kind], kind, IMAGES[0], OPTIONS)
    chosen = model.choose(IMAGES[0], OPTIONS)
    assert tuple(one.option for one in chosen) == OPTIONS
    np.testing.assert_allclose([one.probability for one in chosen], logits.softmax(0), atol=1e-5)
    assert sum(one.probability for one in chosen) == pytest.approx(1)
    if kind in SIGMOID:
        np.testing.assert_allclose([one.match for one in chosen], logits.sigmoid(), atol=1e-5)
    else:
        assert {one.match for one in chosen} == {None}
    cosines = model.embed_texts(OPTIONS) @ model.embed_images(IMAGES[:1])[0]
    np.testing.assert_allclose([one.similarity for one in chosen], cosines, atol=1e-6)


def test_only_a_sigmoid_model_says_that_no_option_fits(folders: dict[str, Path]) -> None:
    siglip = load_contrastive(folders["siglip"])
    siglip._model.logit_bias.fill_(-30)  # pyright: ignore[reportPrivateUsage]
    chosen = siglip.choose(IMAGES[0], OPTIONS)
    assert max(one.match for one in chosen if one.match is not None) < 1e-6
    assert sum(one.probability for one in chosen) == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("tumor",), "at least two"),
        (("tumor", "tumor"), "all of them different"),
        (("tumor", " "), "empty"),
        (("tumor", "scan " * 80), "shorten the text"),
    ],
)
def test_options_that_will_not_do_are_refused(
    model: ContrastiveModel, options: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(QuestionError, match=reason):
        model.choose(IMAGES[0], options)


def test_the_longest_text_is_read_whole(model: ContrastiveModel, kind: str) -> None:
    # Beside the two tokens around it; SigLIP 2 has one a letter here, and none around it.
    room = {"clip": 14, "siglip": 14, "siglip2": 64}.get(kind, 62)
    between = "" if kind == "siglip2" else " "
    longest = between.join(["a"] * (room - 1)) + between
    ends = model.embed_texts([longest + ("b" if kind == "siglip2" else "tumor"), longest + "a"])
    assert ends[0] @ ends[1] < 1 - 1e-6
    with pytest.raises(QuestionError, match="shorten"):
        model.embed_texts([longest + f"a{between}a"])


def test_a_special_token_in_a_text_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(QuestionError, match="</s>"):
        load_contrastive(folders["clip"]).embed_texts(["no tumor </s> scan"])


def test_identity_pins_weights_tokenizer_and_image_processor(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    same = load_contrastive(write_contrastive(tmp_path / "same", seed=0)).identity
    other = load_contrastive(write_contrastive(tmp_path / "other", seed=1)).identity
    clip = load_contrastive(folders["clip"]).identity
    assert digest_model(clip) == digest_model(same) != digest_model(other)
    settings = next(iter((tmp_path / "same").glob("*processor_config.json")))
    settings.write_text(settings.read_text().replace("0.48145466", "0.5"))
    changed = load_contrastive(tmp_path / "same").identity
    assert digest_model(changed) != digest_model(clip)
    assert clip.model_type == "clip"
    assert clip.parameters["dtype"] == "float32"


def test_weights_that_are_missing_are_refused(tmp_path: Path) -> None:
    folder = write_contrastive(tmp_path / "clip")
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {name: value for name, value in tensors.items() if name != "visual_projection.weight"},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(ModelError, match=r"lack 1 of the model's tensors, such as visual_projection\.weight"):
        load_contrastive(folder)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = write_contrastive(tmp_path / "clip")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="safetensors"):
        load_contrastive(folder)


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="compares no images with texts"):
        load_contrastive(write_llava(tmp_path / "llava"))
    (tmp_path / "llava" / "config.json").write_text(json.dumps({"model_type": "none such"}))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_contrastive(tmp_path / "llava")


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = write_contrastive(tmp_path / "clip")
    for path in folder.glob("*token*"):
        path.unlink()
    with pytest.raises(ModelError, match="no tokenizer"):
        load_contrastive(folder)


@pytest.mark.slow
@pytest.mark.parametrize(("row", "column"), [(20, 42), (60, 70), (100, 28)])
def test_the_map_of_a_choice_marks_the_square_that_decides(
    model: ContrastiveModel, row: int, column: int
) -> None:
    """A square on grey is all there is to see, so hiding it changes the choice more than hiding grey."""
    pixels = np.full((160, 112), 0.4, dtype=np.float32)
    pixels[row : row + 20, column : column + 14] = 1  # a cell of the 8 x 8 grid
    image = shown(pixels)
    empty = shown(np.full((160, 112), pixels.mean(), dtype=np.float32))
    gain = [
        one.probability - other.probability
        for one, other in zip(model.choose(image, OPTIONS), model.choose(empty, OPTIONS), strict=True)
    ]
    heatmap = choice_heatmap(model, image, OPTIONS, OPTIONS[int(np.argmax(gain))])
    assert heatmap.values.shape == image.shape
    rows, columns = np.nonzero(heatmap.values > 0.6)
    assert abs(rows.mean() - (row + 9.5)) < 3
    assert abs(columns.mean() - (column + 6.5)) < 3


def test_a_map_names_its_scalar_and_what_lies_outside_the_crop_counts_nothing(
    folders: dict[str, Path],
) -> None:
    clip = load_contrastive(folders["clip"])  # crops the middle of the longer edge
    image = replace(noise(200, 100), pixels=noise(200, 100).pixels)
    heatmap = choice_heatmap(clip, image, OPTIONS, "tumor")
    assert heatmap.explained.startswith("log p('tumor' among 3 options)")
    assert heatmap.grid == (8, 8)
    assert heatmap.values[:12].max() == heatmap.values[-12:].max() == 0
    assert heatmap.values[50:150].max() > 0
    with pytest.raises(QuestionError, match="not one of the options"):
        choice_heatmap(clip, image, OPTIONS, "nodule")
