"""The cases that `medvqa simulate` writes say what its table says, and lie where its masks lie."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from typer.testing import CliRunner

from medvqa.cases import Case, divided_groups, read_cases, read_image
from medvqa.cli import app
from medvqa.simulated_findings import KINDS, SimulatedFinding, read_findings, write_findings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("findings")
    write_findings(folder, seed=3)
    return folder


@pytest.fixture(scope="module")
def findings(folder: Path) -> tuple[SimulatedFinding, ...]:
    return read_findings(folder)


@pytest.fixture(scope="module")
def cases(folder: Path) -> tuple[Case, ...]:
    return read_cases(folder)


def test_every_question_is_asked_about_every_image(
    cases: tuple[Case, ...], findings: tuple[SimulatedFinding, ...]
) -> None:
    asked = {(case.image, case.question, case.answer) for case in cases}
    assert len(asked) == len(cases) == 15 * 3 * 3
    for one in findings:
        for question in one.questions:
            assert (one.image, question.question, question.answer) in asked
            assert (one.image_without, question.question, question.answer_without) in asked
            assert (one.image_mirrored, question.question, question.answer_mirrored) in asked


def test_kinds_say_what_is_asked_for(cases: tuple[Case, ...]) -> None:
    about = ("present", "quadrant", "side")
    assert Counter(case.kind for case in cases) == {f"{kind}_{what}": 9 for kind in KINDS for what in about}
    for case in cases:
        assert case.answer_type == ("open" if case.question.startswith("Where") else "closed")
        if case.kind.endswith("_present"):
            assert case.answer in ("yes", "no")
        assert case.kind.split("_")[0] in case.question


def test_box_and_mask_are_those_of_the_image(
    cases: tuple[Case, ...], findings: tuple[SimulatedFinding, ...]
) -> None:
    masks = {one.image: (one.mask(), one.segmentation) for one in findings}
    masks |= {one.image_mirrored: (one.mask(mirrored=True), one.segmentation_mirrored) for one in findings}
    placed = [case for case in cases if case.box is not None]
    assert len(placed) == 15 * 2 * 3
    for case in placed:
        mask, segmentation = masks[case.image]
        assert case.mask == segmentation
        assert case.box is not None
        left, top, right, bottom = (int(edge) for edge in case.box)
        inside = np.zeros_like(mask)
        inside[top:bottom, left:right] = True
        assert not (mask & ~inside).any()
        assert mask[top].any() and mask[bottom - 1].any()
        assert mask[:, left].any() and mask[:, right - 1].any()
    without = {one.image_without for one in findings}
    assert {case.image for case in cases if case.mask is None} == without


def test_images_are_read_as_cases(cases: tuple[Case, ...]) -> None:
    assert read_image(cases[0]).shape == (256, 224)


def test_findings_in_one_image_are_one_group(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        pixels = rng.integers(40, 120, (80, 90), dtype=np.uint8)
        (tmp_path / "scans").mkdir(exist_ok=True)
        PillowImage.fromarray(pixels).save(tmp_path / "scans" / f"{name}.png")
    write_findings(tmp_path / "out", sources=[tmp_path / "scans"], kinds=["nodule", "mass"], count=4)
    groups = Counter(case.group for case in read_cases(tmp_path / "out"))
    assert sorted(groups.values()) == [18, 18]
    assert not divided_groups(read_cases(tmp_path / "out"))


def test_a_folder_with_cases_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cases.jsonl").write_text("mine\n")
    with pytest.raises(OSError, match="name another folder"):
        write_findings(tmp_path, count=1)
    assert (tmp_path / "cases.jsonl").read_text() == "mine\n"


def test_the_command_says_where_the_cases_are(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["simulate", "--out", str(tmp_path / "out"), "--count", "1"])
    assert done.exit_code == 0
    assert "findings.jsonl and cases.jsonl" in " ".join(done.output.split())
