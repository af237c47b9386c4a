"""Every `datasets/*/prepare.py` on a small download of the same shape, started as a person starts it."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dataset_files
import numpy as np
import pytest
from PIL import Image as PillowImage

from medvqa.cases import Case, divided_groups, read_cases, read_image
from medvqa.prompts import MAX_QUESTION_CHARACTERS

DATASETS = Path(__file__).parents[1] / "datasets"
SETS: dict[str, Callable[[Path], Path]] = {
    "vqa_rad": dataset_files.vqa_rad,
    "slake": dataset_files.slake,
    "path_vqa": dataset_files.path_vqa,
    "vqa_med_2019": dataset_files.vqa_med_2019,
    "vqa_med_2021": dataset_files.vqa_med_2021,
    "omni_med_vqa": dataset_files.omni_med_vqa,
    "shared": dataset_files.shared,
}


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: Path
    said: str
    complained: str

    @property
    def cases(self) -> tuple[Case, ...]:
        return read_cases(self.out)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [
            json.loads(line) for line in (self.out / "cases.jsonl").read_text("utf-8").split("\n") if line
        ]

    def about(self, words: str) -> Case:
        return next(case for case in self.cases if words in case.question)


def prepare(name: str, download: Path, *options: str) -> Ended:
    out = download.parent / "prepared"
    command = [
        sys.executable,
        str(DATASETS / name / "prepare.py"),
        str(download),
        "--out",
        str(out),
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    return Ended(done.returncode, out, done.stdout, done.stderr)


def prepared(name: str, tmp_path: Path, *options: str) -> Ended:
    ended = prepare(name, SETS[name](tmp_path / "download"), *options)
    assert (ended.code, ended.complained) == (0, "")
    return ended


def refused(name: str, download: Path, sentence: str, *options: str) -> None:
    """Assert that one sentence says what is wrong, and that nothing is left of a half-written folder."""
    ended = prepare(name, download, *options)
    assert ended.code == 9
    assert re.search(sentence, ended.complained)
    assert ended.complained.count("\n") == 1
    assert [path.name for path in download.parent.iterdir() if path != download] == []


@pytest.mark.parametrize("name", SETS)
def test_every_line_is_a_case_and_every_image_can_be_read(name: str, tmp_path: Path) -> None:
    ended = prepared(name, tmp_path)
    for case in ended.cases:
        assert read_image(case).shape == (dataset_files.SIDE, dataset_files.SIDE)
        assert case.split is not None
        assert case.image.is_symlink()
    assert f"{len(ended.cases)} questions about " in ended.said


@pytest.mark.parametrize("name", SETS)
def test_every_set_has_a_card_with_its_command(name: str) -> None:
    card = (DATASETS / name / "README.md").read_text("utf-8")
    assert f"python datasets/{name}/prepare.py " in card
    assert re.search(r"licence|terms", card, re.IGNORECASE)
    assert f"datasets/{name}/prepare.py" in (DATASETS / "README.md").read_text("utf-8")


def test_vqa_rad_keeps_its_fields_without_their_stray_spaces(tmp_path: Path) -> None:
    ended = prepared("vqa_rad", tmp_path)
    assert [(one.answer, one.answer_type, one.kind, one.split) for one in ended.cases] == [
        ("Yes", "closed", "presence", "train"),
        ("Yes", "closed", "presence", "train"),
        ("4", "open", "counting", "train"),
        ("Yes", "open", "other", "test"),
    ]
    assert ended.cases[1].question == "Is the brain infarcted?"
    assert "(3 train, 1 test)" in ended.said
    assert "1 of 2 groups of images are in more than one split; --clean-split" in ended.said


@pytest.mark.parametrize("name", ["vqa_rad", "path_vqa"])
def test_a_clean_split_divides_no_image(name: str, tmp_path: Path) -> None:
    assert divided_groups(prepared(name, tmp_path / "official").cases)
    clean = prepared(name, tmp_path / "clean", "--clean-split")
    assert not divided_groups(clean.cases)
    assert "more than one split" not in clean.said


def test_a_clean_split_gives_every_part_its_share(tmp_path: Path) -> None:
    download = dataset_files.vqa_rad(tmp_path / "download")
    path = download / "VQA_RAD Dataset Public.json"
    row = json.loads(path.read_text("utf-8"))[0]
    names = [f"synpic{number}.jpg" for number in range(1000, 1600)]
    for name in names:
        shutil.copy(
            download / "VQA_RAD Image Folder" / "synpic1.jpg", download / "VQA_RAD Image Folder" / name
        )
    dataset_files.dump(path, [row | {"image_name": name, "image_case_url": "NULL"} for name in names])
    counts = Counter(case.split for case in prepare("vqa_rad", download, "--clean-split").cases)
    assert 380 < counts["train"] < 460
    assert 35 < counts["val"] < 90
    assert 85 < counts["test"] < 155


def test_path_vqa_finds_copies_of_an_image_under_another_name(tmp_path: Path) -> None:
    ended = prepared("path_vqa", tmp_path)
    assert [(one.kind, one.answer_type, one.split) for one in ended.cases] == [
        ("where", "open", "train"),
        ("yes_no", "closed", "train"),
        ("how_many", "open", "train"),
        ("what", "open", "val"),
        ("yes_no", "closed", "test"),
    ]
    assert ended.cases[0].group == ended.cases[4].group != ended.cases[2].group
    assert ended.about("cells?").answer == "3"
    assert ended.about("β-cells").image.name == "test_0273.jpg"


class Planted:
    """What a pickle of somebody else may hold: it would make a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    download = dataset_files.path_vqa(tmp_path / "download")
    planted = tmp_path / "planted"
    (download / "qas/val/val_qa.pkl").write_bytes(pickle.dumps([Planted(planted)]))
    refused("path_vqa", download, r"val_qa\.pkl is broken or no plain list; download it again")
    assert not planted.exists()


def test_slake_gives_the_box_and_the_mask_of_what_is_asked_about(tmp_path: Path) -> None:
    ended = prepared("slake", tmp_path)
    where = ended.about("Where is the liver?")
    assert (where.box, where.kind, where.group, where.language) == (
        (2, 4, 12, 10),
        "position",
        "xmlab1",
        "en",
    )
    assert where.mask is not None
    mask = np.asarray(PillowImage.open(where.mask))
    rows, columns = np.nonzero(mask)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == where.box
    assert mask.shape == read_image(where).shape
    chinese = ended.about("图中包含肝脏吗?")
    assert (chinese.box, chinese.mask, chinese.language) == (where.box, where.mask, "zh")
    assert (chinese.answer, chinese.answer_type) == ("包含", "closed")
    assert ended.about("Is the left lung or").box == where.box
    assert ended.about("What is shown?").box == (9, 0, 14, 5)
    assert ended.about("What disease").box == (12, 13, 16, 18)
    assert [case.split for case in ended.cases] == ["train"] * 6 + ["val", "test"]


def test_slake_gives_no_place_where_none_is_certain(tmp_path: Path) -> None:
    ended = prepared("slake", tmp_path)
    for words in ("contain spleen", "Which is larger", "Where is the lung"):
        assert (ended.about(words).box, ended.about(words).mask) == (None, None)
    assert ended.about("What is shown?").mask is None  # named in mask.txt, but not drawn


def test_slake_without_its_masks_is_still_prepared(tmp_path: Path) -> None:
    download = dataset_files.slake(tmp_path / "download")
    (download / "mask.txt").unlink()
    shutil.move(download / "validate.json", download / "validation.json")
    ended = prepare("slake", download)
    assert "masks are left out: the download holds no mask.txt" in ended.said
    assert len(ended.cases) == 8
    assert {case.mask for case in ended.cases} == {None}
    assert not (ended.out / "masks").exists()


def test_vqa_med_2019_takes_kinds_from_its_categories_and_keeps_all_accepted_answers(tmp_path: Path) -> None:
    ended = prepared("vqa_med_2019", tmp_path)
    kinds = ["modality", "plane", "organ", "abnormality", "other", "modality", *["abnormality"] * 3]
    assert [case.kind for case in ended.cases] == kinds
    assert ended.about("what else").answer == "a line | tube"
    assert ended.about("t1 weighted").question == "is this a t1 weighted image?"
    assert ended.about("what is this?").answer == "Hodgkin’s lymphoma"
    also = {line["question"]: line["also"] for line in ended.lines if "also" in line}
    assert also == {
        "what is the primary abnormality?": ["multi-cystic mass"],
        "what is abnormal?": ["septic emboli"],
    }
    assert ended.about("what is the primary").answer == "oligodendroglioma"


def test_vqa_med_2021_joins_questions_and_answers_by_image(tmp_path: Path) -> None:
    ended = prepared("vqa_med_2021", tmp_path)
    assert [(case.group, case.answer, case.split) for case in ended.cases] == [
        ("synpic1", "ileus", "train"),
        ("synpic2", "yes", "train"),
        ("synpic3", "aortic dissection", "val"),
        ("synpic42072", "avascular necrosis", "test"),
        ("synpic37231", "pulmonary embolism", "test"),
    ]
    assert ended.lines[3]["also"] == ["extensive degenerative changes."]
    assert {case.kind for case in ended.cases} == {"abnormality"}


def test_omni_med_vqa_asks_as_its_authors_do(tmp_path: Path) -> None:
    ended = prepared("omni_med_vqa", tmp_path)
    first, _, scan = ended.cases
    assert first.question == (
        "Is there any indication of glaucoma in this image?Here are 4 candidate answers:"
        "['Yes', 'No, the image is normal.', 'Cannot tell', \"It's unclear\"] Only return what you think is"
        " the correct answer from the candidate answers, do not return any other irrelevant text!"
    )
    assert (first.answer, first.answer_type) == ("No, the image is normal.", "closed")
    assert (first.kind, first.split) == ("disease_diagnosis", "test")
    assert "['Yes', 'No, the image is normal.'] Only" in scan.question
    assert [line["modality"] for line in ended.lines][1:] == ["Fundus Photography", "CT(Computed Tomography)"]
    assert "1 questions are there more than once" in ended.said


def test_questions_that_are_too_long_for_medvqa_are_counted(tmp_path: Path) -> None:
    download = dataset_files.omni_med_vqa(tmp_path / "download")
    path = download / "OmniMedVQA/QA_information/Open-access/ACRIMA.json"
    row = json.loads(path.read_text("utf-8"))[0]
    dataset_files.dump(path, [row | {"option_A": "a" * MAX_QUESTION_CHARACTERS}, row])
    ended = prepare("omni_med_vqa", download)
    assert f"1 questions have more than {MAX_QUESTION_CHARACTERS} characters" in ended.said
    assert len(ended.cases) == 3


def test_the_list_of_images_becomes_three_questions_an_image(tmp_path: Path) -> None:
    ended = prepared("shared", tmp_path)
    assert len(ended.cases) == 27
    answers = {case.kind: [] for case in ended.cases}
    for case in ended.cases:
        answers[case.kind].append(case.answer)
    assert answers["brain_finding"] == ["glioma", "meningioma", "pituitary tumor", "no tumor"]
    assert answers["chest_finding"] == ["pneumonia", "no finding"]
    assert answers["breast_finding"] == ["benign", "malignant", "normal"]
    assert set(answers["modality"]) == {"MRI", "X-ray", "ultrasound"}
    assert set(answers["organ"]) == {"brain", "chest", "breast"}
    assert (ended.cases[0].group, ended.cases[0].split) == ("brain_mri-0", "train")


def test_images_are_copied_when_asked_for(tmp_path: Path) -> None:
    ended = prepared("shared", tmp_path, "--copy")
    shutil.rmtree(tmp_path / "download")
    assert not any(case.image.is_symlink() for case in ended.cases)
    assert read_image(ended.cases[0]).shape == (dataset_files.SIDE, dataset_files.SIDE)


def test_missing_images_are_counted_and_named_or_left_out(tmp_path: Path) -> None:
    download = dataset_files.shared(tmp_path / "download")
    for number in range(4):
        (download / "brain_mri" / f"{number:05}.jpg").unlink()
    listed = r"4 of 9 images are missing \(00000\.jpg, 00001\.jpg, 00002\.jpg, \.\.\.\)"
    refused("shared", download, f"{listed}; unpack all of the download, or give --allow-missing")
    ended = prepare("shared", download, "--allow-missing")
    assert re.search(f"left out: {listed}", ended.said)
    assert len(ended.cases) == 15


@pytest.mark.parametrize(
    ("name", "file", "answer", "cases"),
    [
        ("vqa_rad", "VQA_RAD Dataset Public.json", "answer", 4),
        ("slake", "train.json", "answer", 8),
        ("omni_med_vqa", "OmniMedVQA/QA_information/Open-access/ACRIMA.json", "gt_answer", 3),
    ],
)
def test_questions_without_words_are_left_out_and_counted(
    name: str, file: str, answer: str, cases: int, tmp_path: Path
) -> None:
    """One such row must not keep a person from all the others; a row without types is no such row."""
    download = SETS[name](tmp_path / "download")
    first, *others = json.loads((download / file).read_text("utf-8"))
    untyped = first | dict.fromkeys(("answer_type", "question_type", "content_type"), "")
    dataset_files.dump(download / file, [first | {answer: " "}, untyped, first | {"question": None}, *others])
    ended = prepare(name, download)
    assert f"left out: 2 of {cases + 2} questions that have no words or no answer" in ended.said
    assert len(ended.cases) == cases
    assert sum(case.kind == "other" for case in ended.cases) == 1 + (name == "vqa_rad")


def test_a_split_that_was_not_downloaded_is_named_or_left_out(tmp_path: Path) -> None:
    download = dataset_files.vqa_med_2019(tmp_path / "download")
    shutil.rmtree(download / "VQAMed2019Test")
    refused("vqa_med_2019", download, "holds no 'VQAMed2019_Test_Questions_w_Ref_Answers.txt'")
    ended = prepare("vqa_med_2019", download, "--allow-missing")
    assert {case.split for case in ended.cases} == {"train", "val"}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("options", [(), ("--allow-missing",)])
def test_the_wrong_folder_is_told_in_one_sentence(
    name: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    wrong = tmp_path / "download"
    dataset_files.picture(wrong / "holiday" / "1.jpg", 1)
    refused(name, wrong, r"holds no .*; name the folder of the (whole, )?unpacked download", *options)


def test_a_download_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "download").write_text("a file")
    refused("slake", tmp_path / "download", "is no folder; name the folder of the download")


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    first = prepared("shared", tmp_path)
    before = (first.out / "cases.jsonl").read_bytes()
    again = prepare("shared", tmp_path / "download")
    assert (again.code, again.complained.strip()) == (
        9,
        f"{first.out} is not empty; name another folder with --out",
    )
    assert (first.out / "cases.jsonl").read_bytes() == before


MALFORMED = [
    ("vqa_rad", "VQA_RAD Dataset Public.json", '[{"qid": 1', "is no JSON; download it again"),
    ("vqa_rad", "VQA_RAD Dataset Public.json", '{"a": 1}', "holds no list; download it again"),
    (
        "vqa_rad",
        "VQA_RAD Dataset Public.json",
        '["a"]',
        "entry 1 of .* has no 'phrase_type'; download it again",
    ),
    ("slake", "test.json", "[{}]", "entry 1 of .*test.json has no 'img_name'; download it again"),
    ("slake", "mask.txt", "Liver:1\n", "has no lines of number:name; download it again"),
    ("slake", "imgs/xmlab1/detection.json", '[{"Liver": [1]}]', "is no list of boxes; download it again"),
    ("path_vqa", "qas/test/test_qa.pkl", "", "is broken or no plain list; download it again"),
    ("path_vqa", "qas/test/test_qa.pkl", "I1\n.", "holds no list; download it again"),
    (
        "vqa_med_2019",
        "ImageClef-2019-VQA-Med-Validation/All_QA_Pairs_val.txt",
        "a|b\n",
        "line 1 of .* has no 3 parts; download it again",
    ),
    (
        "vqa_med_2021",
        "Task1-VQA-2021-TestSet-w-GroundTruth/Task1-VQA-2021-TestSet-ReferenceAnswers.txt",
        "synpic1|x\n",
        "has no answer about synpic42072; download it again",
    ),
    (
        "omni_med_vqa",
        "OmniMedVQA/QA_information/Open-access/ACRIMA.json",
        "[{}]",
        "entry 1 of .* has no options to choose from",
    ),
    ("shared", "images.csv", "path,set\n", "has no column 'label'; see datasets/README.md for its columns"),
    (
        "shared",
        "images.csv",
        "path,set,label,split,group\na.jpg,brain_mri,pneumonia,train,g\n",
        "line 2 of .*images.csv has a set, label or split that datasets/README.md does not list",
    ),
]


@pytest.mark.parametrize(("name", "file", "content", "sentence"), MALFORMED)
def test_a_malformed_file_is_told_in_one_sentence(
    name: str, file: str, content: str, sentence: str, tmp_path: Path
) -> None:
    download = SETS[name](tmp_path / "download")
    (download / file).write_text(content, encoding="utf-8")
    refused(name, download, sentence)


@pytest.mark.parametrize("image", ["../../secret.png", "/etc/passwd"])
def test_a_name_that_leads_out_of_the_download_is_refused(image: str, tmp_path: Path) -> None:
    download = dataset_files.omni_med_vqa(tmp_path / "download")
    path = download / "OmniMedVQA/QA_information/Open-access/ACRIMA.json"
    rows = json.loads(path.read_text("utf-8"))
    dataset_files.dump(path, [row | {"image_path": image} for row in rows])
    refused("omni_med_vqa", download, "is no name of a file inside the download; download the set again")
