"""Boxes, polygons and lines in each family's own form, back on the image's pixel matrix."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import transformers as hf
from hypothesis import given
from hypothesis import strategies as st
from tiny_families import build_tiny
from tiny_models import IDENTITY, noise

from medvqa.errors import FormatError, TaskError
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.tasks import grounding
from medvqa.tasks.picture import Picture, picture_of
from medvqa.tasks.prompted import PROMPTED, word_prompt
from medvqa.types import ModelIdentity

Corners = tuple[float, float, float, float]
"""Top, left, bottom, right in pixels of the image."""


def florence(corners: Corners, label: str, picture: Picture) -> str:
    top, left, bottom, right = fractions(corners, picture)
    bins = [min(int(value * 1000), 999) for value in (left, top, right, bottom)]
    return f"</s><s>{label}" + "".join(f"<loc_{number}>" for number in bins) + "</s>"


def paligemma(corners: Corners, label: str, picture: Picture) -> str:
    bins = [min(int(value * 1024), 1023) for value in fractions(corners, picture)]
    return "".join(f"<loc{number:04d}>" for number in bins) + f" {label}<eos>"


def qwen2(corners: Corners, label: str, picture: Picture) -> str:
    top, left, bottom, right = (round(value * 1000) for value in fractions(corners, picture))
    return (
        f"<|object_ref_start|>{label}<|object_ref_end|><|box_start|>({left},{top}),({right},{bottom})<|box_end|>"
        "<|im_end|>"
    )


def qwen3(corners: Corners, label: str, picture: Picture) -> str:
    top, left, bottom, right = (round(value * 1000) for value in fractions(corners, picture))
    return json.dumps([{"bbox_2d": [left, top, right, bottom], "label": label}]) + "<|im_end|>"


def qwen2_5(corners: Corners, label: str, picture: Picture) -> str:
    rows, columns = picture.size
    top, left, bottom, right = fractions(corners, picture)
    pixels = [round(left * columns), round(top * rows), round(right * columns), round(bottom * rows)]
    return f"```json\n{json.dumps([{'bbox_2d': pixels, 'label': label}], indent=1)}\n```<|im_end|>"


def fractions(corners: Corners, picture: Picture) -> Corners:
    """Of the picture, as the model sees them."""
    top, left, bottom, right = picture.covers
    (rows, columns), (height, width) = picture.shape, (bottom - top, right - left)
    return (
        (corners[0] / rows - top) / height,
        (corners[1] / columns - left) / width,
        (corners[2] / rows - top) / height,
        (corners[3] / columns - left) / width,
    )


FORMS: dict[str, tuple[Callable[..., str], Callable[..., Any], float]] = {
    "florence2": (florence, grounding.read_florence_boxes, 1000),
    "paligemma": (paligemma, grounding.read_paligemma_boxes, 1024),
    "qwen2_vl": (qwen2, grounding.read_qwen2_boxes, 1000),
    "qwen2_5_vl": (qwen2_5, grounding.read_qwen2_5_boxes, math.inf),
    "qwen3_vl": (qwen3, grounding.read_qwen3_boxes, 1000),
}
"""How each writes a box, what reads it, and into how many steps it divides a side."""


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    """Images of odd aspect ratios, squeezed to a picture of any size, or padded to a square."""
    shape = draw(st.tuples(st.integers(40, 3000), st.integers(40, 3000)))
    if draw(st.booleans()):
        longest = max(shape)
        rows, columns = ((longest / side - 1) / 2 for side in shape)
        return Picture(size=(384, 384), shape=shape, covers=(-rows, -columns, 1 + rows, 1 + columns))
    return Picture(size=draw(st.tuples(st.integers(28, 1300), st.integers(28, 1300))), shape=shape)


@st.composite
def boxes(draw: st.DrawFn, shape: tuple[int, int]) -> Corners:
    """Boxes of at least a tenth of the image, which all forms can tell from a point."""
    ends: list[tuple[float, float]] = []
    for side in shape:
        length = draw(st.floats(0.1, 1.0)) * side
        start = draw(st.floats(0.0, 1.0)) * (side - length)
        ends.append((start, min(start + length, side)))
    (top, bottom), (left, right) = ends
    return top, left, bottom, right


@pytest.mark.parametrize("family", FORMS)
@given(data=st.data(), picture=pictures(), label=st.sampled_from(["nodule", "left lung", "a mass (4 mm)"]))
def test_a_box_comes_back_to_where_it_was(
    family: str, data: st.DataObject, picture: Picture, label: str
) -> None:
    write, read, steps = FORMS[family]
    # Padding takes part of the picture, so that the image's steps there are coarser; a sliver may vanish.
    corners = data.draw(boxes(picture.shape))
    covered = (picture.covers[2] - picture.covers[0], picture.covers[3] - picture.covers[1])
    grid = [min(steps, size) if steps == math.inf else steps for size in picture.size]
    step = [side * part / cells for side, part, cells in zip(picture.shape, covered, grid, strict=True)]
    if any(corners[place + 2] - corners[place] < 2.5 * step[place] for place in (0, 1)):
        return
    (found,) = read(write(corners, label, picture), asked="x", size=picture.size)
    assert found.label == label
    back = picture.to_image(found.corners)
    for place, edge in enumerate(back):
        assert abs(edge - corners[place]) <= 1.01 * step[place % 2] + 0.02, (back, corners)
    assert 0 <= back[0] < back[2] <= picture.shape[0]
    assert 0 <= back[1] < back[3] <= picture.shape[1]


@pytest.mark.parametrize("shape", [(90, 70), (300, 60), (64, 200)])
@pytest.mark.parametrize(
    "family", ["deepseek_vl", "florence2", "paligemma", "qwen2_vl", "qwen2_5_vl", "qwen3_vl"]
)
def test_the_picture_is_the_one_that_the_processor_makes(family: str, shape: tuple[int, int]) -> None:
    model, processor = build_tiny(family)
    served = HuggingFaceModel(model, processor, identity(family))
    picture = picture_of(served, noise(*shape))
    assert picture.shape == shape
    if family.startswith("qwen"):
        images = processor.image_processor
        _, height, width = served.encode(noise(*shape)).inputs["image_grid_thw"][0].tolist()
        assert picture.size == (height * images.patch_size, width * images.patch_size)
    elif family == "deepseek_vl":  # pads to a square: the longer side fills it
        assert picture.size == (56, 56)
        top, left, bottom, right = picture.to_image((0.0, 0.0, 1.0, 1.0))
        assert (top, left, bottom, right) == (0, 0, *shape)
        assert min(picture.covers[:2]) < 0
    else:
        edge = 128 if family == "florence2" else 56
        assert (picture.size, picture.covers) == ((edge, edge), (0, 0, 1, 1))


@pytest.mark.parametrize("family", ["florence2", "paligemma", "qwen2_5_vl"])
def test_special_tokens_are_kept_for_whoever_reads_places(family: str) -> None:
    model, processor = build_tiny(family)
    served = HuggingFaceModel(model, processor, identity(family))
    assert served.raw_text_of((*served.tokens_of("a box"), 2)) == "a box</s>"
    assert served.text_of((*served.tokens_of("a box"), 2)) == "a box"


@pytest.mark.parametrize("family", FORMS)
def test_nothing_found_is_not_the_same_as_nothing_understood(family: str) -> None:
    read = FORMS[family][1]
    empty = "[]" if family in ("qwen2_5_vl", "qwen3_vl") else "</s>" if family == "florence2" else "<eos>"
    assert read(empty, asked="nodule", size=(100, 100)) == ()
    for words in (
        "There is no nodule in this image.",
        "<loc_1><loc_2><loc_3>",
        '[{"bbox_2d": [1, 2, 3], "label": "a"}]',
        '[{"bbox_2d": [1, 2, 3, "4"], "label": "a"}]',
        '[{"bbox_2d": [1, 2, 30, 40], "label": "a"}, {"bbox_2d": [1, 2',
        "<|box_start|>(1,2),(3",
        "nodule<loc_1><loc_2><loc_30><loc_40> and more words",
        "<loc0001><loc0002><loc0300> nodule",
        "<loc0001><loc0002><loc2000><loc0004> nodule",
    ):
        with pytest.raises(FormatError, match="not in its form for boxes"):
            read(words, asked="nodule", size=(100, 100))


@pytest.mark.parametrize("family", FORMS)
def test_a_box_without_area_or_outside_the_picture_is_refused(family: str) -> None:
    write, read, _ = FORMS[family]
    picture = Picture(size=(100, 100), shape=(100, 100))
    with pytest.raises(FormatError, match="no area or lies outside"):
        read(write((50.0, 20.0, 10.0, 60.0), "nodule", picture), asked="", size=picture.size)
    if family in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl"):
        with pytest.raises(FormatError, match="no area or lies outside"):
            read(write((50.0, 20.0, 110.0, 60.0), "nodule", picture), asked="", size=picture.size)


def test_several_boxes_of_several_things() -> None:
    text = (
        "nodule<loc_0><loc_0><loc_10><loc_10><loc_20><loc_20><loc_30><loc_30>rib<loc_1><loc_1><loc_9><loc_9>"
    )
    found = grounding.read_florence_boxes(text, asked="", size=(1, 1))
    assert [one.label for one in found] == ["nodule", "nodule", "rib"]
    text = "<loc0000><loc0000><loc0512><loc0512> cat ; <loc0512><loc0512><loc1023><loc1023> dog"
    assert [one.label for one in grounding.read_paligemma_boxes(text, asked="", size=(1, 1))] == [
        "cat",
        "dog",
    ]
    text = '{"bbox_2d": [1, 2, 3, 4]}'
    assert [one.label for one in grounding.read_qwen3_boxes(text, asked="rib", size=(1, 1))] == ["rib"]


def florence_processor() -> Any:
    """The parser of transformers itself, which needs of a tokenizer its special tokens alone."""
    config = {
        "ocr": {"PATTERN": None},
        "phrase_grounding": {},
        "description_with_bboxes": {},
        "polygons": {},
    }
    tokenizer = type("Tokenizer", (), {"all_special_tokens": ["<s>", "</s>", "<pad>"]})
    return hf.models.florence2.processing_florence2.Florence2PostProcessor(config, tokenizer)


@given(
    st.lists(st.integers(0, 999), min_size=4, max_size=4),
    st.tuples(st.integers(50, 900), st.integers(50, 900)),
)
def test_boxes_of_florence_agree_with_transformers(places: list[int], shape: tuple[int, int]) -> None:
    left, right = sorted(places[:2])
    top, bottom = sorted(places[2:])
    text = f"nodule<loc_{left}><loc_{top}><loc_{right}><loc_{bottom}>"
    if left == right or top == bottom:
        with pytest.raises(FormatError):
            grounding.read_florence_boxes(text, asked="", size=shape)
        return
    (found,) = grounding.read_florence_boxes(text, asked="", size=shape)
    ours = Picture(size=(768, 768), shape=shape).to_image(found.corners)
    theirs = florence_processor()(
        text=text, image_size=(shape[1], shape[0]), parse_tasks="description_with_bboxes"
    )
    (box,) = theirs["description_with_bboxes"]
    assert box["cat_name"] == "nodule"
    assert np.allclose((ours[1], ours[0], ours[3], ours[2]), box["bbox"], atol=1.01)  # they cut off decimals


def test_lines_and_polygons_of_florence_agree_with_transformers() -> None:
    line = "kVp 120<loc_10><loc_20><loc_200><loc_20><loc_200><loc_60><loc_10><loc_60>"
    (found,) = grounding.read_florence_lines(line, asked="", size=(1, 1))
    (theirs,) = florence_processor()(text=line, image_size=(1000, 1000), parse_tasks="ocr")["ocr"]
    assert found.label == theirs["text"] == "kVp 120"
    assert np.allclose(found.corners, (0.0205, 0.0105, 0.0605, 0.2005))
    first = "<loc_100><loc_200><loc_700><loc_200><loc_700><loc_900>"
    outline = f"{first}<sep><loc_0><loc_0><loc_9><loc_0><loc_9><loc_9>"
    (ours,) = grounding.read_florence_polygons(outline, asked="lesion", size=(1, 1))
    theirs = florence_processor()(text=outline, image_size=(1000, 1000), parse_tasks="polygons")["polygons"]
    flat = [[value for row, column in ring for value in (column, row)] for ring in ours.rings]
    assert ours.label == "lesion"
    assert [len(ring) for ring in flat] == [len(ring) for ring in theirs[0]["polygons"]]
    for ring, other in zip(flat, theirs[0]["polygons"], strict=True):
        assert np.allclose(np.array(ring) * 1000, other, atol=1.01)


@pytest.mark.parametrize("text", ["a lesion", "<loc_1><loc_2><loc_3>", "<loc_1><loc_2><loc_3><loc_4>"])
def test_what_is_no_outline_is_told_from_none(text: str) -> None:
    assert grounding.read_florence_polygons("</s><s></s>", asked="", size=(1, 1)) == ()
    with pytest.raises(FormatError, match="not in its form for polygons"):
        grounding.read_florence_polygons(text, asked="", size=(1, 1))


def test_a_filled_polygon_covers_the_pixels_whose_centres_it_holds() -> None:
    picture = Picture(size=(10, 10), shape=(10, 20))
    square = ((0.2, 0.25), (0.2, 0.75), (0.6, 0.75), (0.6, 0.25))
    bits = picture.fill([square])
    expected = np.zeros((10, 20), dtype=bool)
    expected[2:6, 5:15] = True
    assert (bits == expected).all()
    assert (picture.fill([square, ((0.0, 0.0), (0.0, 0.1), (0.1, 0.1), (0.1, 0.0))]).sum() - bits.sum()) == 2


@given(st.integers(3, 200), st.integers(3, 200), st.floats(0.15, 0.45))
def test_a_filled_circle_has_the_area_and_the_centre_of_one(rows: int, columns: int, radius: float) -> None:
    angles = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    ring = tuple((0.5 + radius * np.sin(angle), 0.5 + radius * np.cos(angle)) for angle in angles)
    bits = Picture(size=(9, 9), shape=(rows, columns)).fill([ring])
    area = math.pi * radius * rows * radius * columns
    assert abs(bits.sum() - area) <= 4 * (rows + columns) * radius + 2
    if min(rows, columns) > 20:
        centre = np.argwhere(bits).mean(0) + 0.5
        assert np.allclose(centre, (rows / 2, columns / 2), atol=1.0)


def test_each_family_is_asked_in_its_own_words() -> None:
    sentences = inspect.getsource(hf.models.florence2.processing_florence2.Florence2Processor)
    for task, text in (("detect", None), ("ocr", None)):
        assert word_prompt(task, text, "florence2").words in sentences
    for task, text in (("detect", "nodule"), ("ground", "nodule"), ("segment", "nodule")):
        words = word_prompt(task, text, "florence2").words
        assert words.replace("nodule", "{input}") in sentences
    assert word_prompt("detect", "nodule ; mass", "paligemma").words == "detect nodule ; mass"
    assert "bbox coordinates in JSON" in word_prompt("ground", "nodule", "qwen2_5_vl").words


def test_a_family_that_must_be_told_what_says_so() -> None:
    with pytest.raises(TaskError, match="must be told what"):
        word_prompt("detect", None, "paligemma")


@pytest.mark.parametrize("task", ["detect", "ground", "segment"])
def test_a_family_that_cannot_names_those_that_can(task: Any) -> None:
    with pytest.raises(TaskError) as refused:
        word_prompt(task, "nodule", "llava")
    able = {name for name, tasks in PROMPTED.items() if task in tasks}
    assert all(name in str(refused.value) for name in able)
    assert "heatmap" in str(refused.value)


def identity(family: str) -> ModelIdentity:
    return replace(IDENTITY, model_type=family, parameters={"max_new_tokens": 8})
