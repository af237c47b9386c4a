"""The record format: what is written is what is read, and a wrong line is told in one sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import dicom_builder
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from medvqa.cases import Case, divided_groups, read_cases, read_image, write_cases
from medvqa.errors import TrainingError

NEEDED = {"image": "scan.png", "question": "Is there a mass?", "answer": "yes"}

# Surrogates have no place in a file of UTF-8, and text of nothing but spaces is refused.
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
edges = st.tuples(st.floats(0, 1e6), st.floats(1e-3, 1e6)).map(lambda pair: (pair[0], sum(pair)))
boxes = (
    st.tuples(edges, edges)
    .filter(lambda pair: all(low < high for low, high in pair))
    .map(lambda pair: (pair[0][0], pair[1][0], pair[0][1], pair[1][1]))
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an image and a mask of it."""
    for name in ("scan.png", "mask.png"):
        PillowImage.fromarray(np.eye(40, dtype=np.uint8) * 200).save(tmp_path / name)
    return tmp_path


def write(folder: Path, *lines: dict[str, Any] | str) -> Path:
    path = folder / "cases.jsonl"
    path.write_text(
        "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines),
        encoding="utf-8",
    )
    return path


def case(folder: Path, **changed: Any) -> Case:
    return Case(
        **{
            "image": folder / "scan.png",
            "question": "Is there a mass?",
            "answer": "yes",
            "answer_type": "closed",
            "kind": "all",
            "group": "scan.png",
            **changed,
        }
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    question=texts,
    answer=texts,
    kind=texts,
    group=texts,
    answer_type=st.sampled_from(["closed", "open"]),
    split=st.sampled_from(["train", "val", "test", None]),
    frame=st.none() | st.integers(1, 2**40),
    box=st.none() | boxes,
    mask=st.booleans(),
    also=st.lists(texts, max_size=2).map(tuple),
    language=st.sampled_from(["en", "zh", "de-CH"]),
)
def test_what_is_written_is_what_is_read(folder: Path, mask: bool, **values: Any) -> None:
    written = case(folder, mask=folder / "mask.png" if mask else None, **values)
    write_cases(folder / "written.jsonl", [written, written])
    assert read_cases(folder / "written.jsonl") == (written, written)


def test_what_is_left_out_follows_from_what_is_there(folder: Path) -> None:
    path = write(folder, NEEDED, "", "  ", NEEDED | {"answer": "glioma", "note": "of the file's own"})
    assert read_cases(path) == (case(folder), case(folder, answer="glioma", answer_type="open"))


@pytest.mark.parametrize(
    ("answer", "answer_type"),
    [("Yes", "closed"), ("NO.", "closed"), (" no ", "closed"), ("unknown", "open"), ("yes, a mass", "open")],
)
def test_yes_and_no_alone_make_a_question_closed(folder: Path, answer: str, answer_type: str) -> None:
    assert read_cases(write(folder, NEEDED | {"answer": answer}))[0].answer_type == answer_type


def test_numbers_are_taken_for_answers_and_groups(folder: Path) -> None:
    read = read_cases(write(folder, NEEDED | {"answer": 2, "group": 17}))[0]
    assert (read.answer, read.group) == ("2", "17")


def test_a_folder_stands_for_its_cases_and_a_byte_order_mark_does_not_matter(folder: Path) -> None:
    path = write(folder, NEEDED)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_cases(folder) == read_cases(path) == (case(folder),)


def test_a_split_is_chosen_and_its_lack_is_told(folder: Path) -> None:
    path = write(folder, NEEDED | {"split": "train"}, NEEDED | {"split": "test", "answer": "no"}, NEEDED)
    assert [one.answer for one in read_cases(path, split="test")] == ["no"]
    assert len(read_cases(path)) == 3
    with pytest.raises(
        TrainingError, match=r"holds no case whose split is val; write one JSON object a line$"
    ):
        read_cases(path, split="val")


def test_groups_with_cases_in_several_splits_are_named(folder: Path) -> None:
    cases = [
        case(folder, group="both", split="train"),
        case(folder, group="both", split="test"),
        case(folder, group="one", split="test"),
        case(folder, group="one", split="test"),
        case(folder, group="partly", split="val"),
        case(folder, group="partly", split=None),
    ]
    assert divided_groups(cases) == {"both", "partly"}


WRONG: list[tuple[dict[str, Any] | str, str]] = [
    ("{", "is no JSON; correct it"),
    ("[" * 100_000, "is no JSON; correct it"),
    ('["image"]', "is no JSON object; correct it"),
    ({"image": "scan.png", "answer": "yes"}, "needs 'question' as text that is not empty; correct it"),
    (NEEDED | {"question": " \t"}, "needs 'question' as text that is not empty; correct it"),
    (NEEDED | {"answer": ""}, "needs 'answer' as text that is not empty; correct it"),
    (NEEDED | {"answer": True}, "needs 'answer' as text that is not empty; correct it"),
    (NEEDED | {"answer": ["yes"]}, "needs 'answer' as text that is not empty; correct it"),
    (NEEDED | {"image": None}, "needs 'image' as text that is not empty; correct it"),
    (NEEDED | {"kind": 3}, "needs 'kind' as text that is not empty; correct it"),
    (NEEDED | {"also": "yes"}, "needs 'also' as a list of texts; correct it"),
    (NEEDED | {"also": [3]}, "needs 'also' as a list of texts; correct it"),
    (NEEDED | {"language": ""}, "needs 'language' as text that is not empty; correct it"),
    (NEEDED | {"image": "gone.png"}, "names gone.png, which is not there; correct the line or add the file"),
    (NEEDED | {"image": "."}, "names ., which is not there; correct the line or add the file"),
    (NEEDED | {"image": "a" * 5000}, "which is not there; correct the line or add the file"),
    (NEEDED | {"mask": "gone.png"}, "names gone.png, which is not there; correct the line or add the file"),
    (NEEDED | {"mask": 1}, "needs 'mask' as text that is not empty; correct it"),
    (NEEDED | {"frame": 0}, "has 0 as 'frame', which counts from 1; correct it"),
    (NEEDED | {"frame": "2"}, "has '2' as 'frame', which counts from 1; correct it"),
    (NEEDED | {"frame": True}, "has True as 'frame', which counts from 1; correct it"),
    (NEEDED | {"split": "dev"}, "has 'dev' as 'split', not one of train, val, test; correct it"),
    (NEEDED | {"answer_type": "OPEN"}, "has 'OPEN' as 'answer_type', not one of closed, open; correct it"),
    (NEEDED | {"box": [1, 2, 3]}, "needs 'box' as [left, top, right, bottom]; correct it"),
    (NEEDED | {"box": "1234"}, "needs 'box' as [left, top, right, bottom]; correct it"),
    (NEEDED | {"box": [1, 2, 3, None]}, "needs 'box' as [left, top, right, bottom]; correct it"),
    (NEEDED | {"box": [1, 2, 3, 10**400]}, "needs 'box' as [left, top, right, bottom]; correct it"),
    (NEEDED | {"box": [5, 2, 5, 9]}, "has a 'box' without an inside; it is [left, top, right, bottom]"),
    (NEEDED | {"box": [-1, 2, 5, 9]}, "has a 'box' without an inside; it is [left, top, right, bottom]"),
    (NEEDED | {"box": [1, 2, 5, float("nan")]}, "has a 'box' without an inside"),
    (NEEDED | {"box": [1, 2, 5, float("inf")]}, "has a 'box' without an inside"),
]


@pytest.mark.parametrize(("line", "sentence"), WRONG, ids=[sentence[:30] for _, sentence in WRONG])
def test_a_wrong_line_is_told_with_its_number(
    folder: Path, line: dict[str, Any] | str, sentence: str
) -> None:
    path = write(folder, NEEDED, "", line)
    with pytest.raises(TrainingError, match=re.escape(sentence)) as raised:
        read_cases(path)
    assert str(raised.value).startswith(f"line 3 of {path} ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"", b"\n\n"])
def test_a_file_without_cases_is_told(folder: Path, content: bytes | None) -> None:
    path = folder / "cases.jsonl"
    if content is not None:
        path.write_bytes(content)
    way_out = (
        "write one JSON object a line" if content in (b"", b"\n\n") else "name a .jsonl file, or a folder"
    )
    for named in (path, folder):
        with pytest.raises(TrainingError, match=f"cases.jsonl .*; {way_out}"):
            read_cases(named)


def test_an_image_elsewhere_is_not_written_and_leaves_what_was_there(folder: Path) -> None:
    path = write(folder, NEEDED)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="subpath"):
        write_cases(path, [case(folder), case(folder, image=folder.parent / "scan.png")])
    assert path.read_bytes() == before


def test_the_image_is_what_read_study_shows(folder: Path) -> None:
    image = read_image(case(folder))
    assert image.shape == (40, 40)
    assert image.pixels[3, 3] > image.pixels[3, 4]


def test_an_image_may_be_linked_to(folder: Path) -> None:
    (folder / "link.png").symlink_to(folder / "scan.png")
    assert read_image(case(folder, image=folder / "link.png")).shape == (40, 40)


def multi_frame(path: Path) -> Path:
    """Three frames whose places run against their numbers; frame n is white in its row n alone."""
    pixels = np.zeros((3, 40, 40), dtype=np.int16)
    for index in range(3):
        pixels[index, index + 1] = 1000
    frames = [
        {"PlanePositionSequence": dicom_builder.item(ImagePositionPatient=[0, 0, -index])}
        for index in range(3)
    ]
    orientation = dicom_builder.item(ImageOrientationPatient=dicom_builder.AXIAL)
    dataset = dicom_builder.enhanced(pixels, per_frame=frames, PlaneOrientationSequence=orientation)
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_frames_count_from_1_as_the_file_counts_them(folder: Path) -> None:
    path = multi_frame(folder / "volume.dcm")
    for frame in (1, 2, 3):
        image = read_image(case(folder, image=path, frame=frame))
        assert image.ref.frame_number == frame
        assert image.pixels.mean(axis=1).argmax() == frame
    assert read_image(case(folder, image=path)).ref.frame_number == 2
    with pytest.raises(TrainingError, match=r"volume\.dcm has 3 frames, not 4; correct its line$"):
        read_image(case(folder, image=path, frame=4))


def test_a_file_that_holds_no_image_is_told(folder: Path) -> None:
    for content in (b"no image", b"\x89PNG\r\n\x1a\nbroken"):
        (folder / "broken.png").write_bytes(content)
        with pytest.raises(TrainingError, match=r"broken\.png cannot be read as an image: "):
            read_image(case(folder, image=folder / "broken.png"))
