"""Question sets: what a file may say, and which images it means."""

from dataclasses import replace
from pathlib import Path

import pytest

import medvqa
from medvqa.errors import BatchError
from medvqa.inquiries import inquiries_of
from medvqa.question_sets import QuestionSet, SetQuestion, read_question_set
from medvqa.simulated_study import write_simulated_study


def test_a_text_file_holds_a_question_a_line(tmp_path: Path) -> None:
    file = tmp_path / "questions.txt"
    file.write_text("# for heads\nIs there a  nodule?\n\nWhere is it?\n")
    found = read_question_set(file)
    assert [one.text for one in found.questions] == ["Is there a nodule?", "Where is it?"]
    assert {(one.images, one.modalities, one.heatmap) for one in found.questions} == {("middle", (), None)}


def test_a_toml_file_says_which_images_and_how_to_explain(tmp_path: Path) -> None:
    file = tmp_path / "questions.toml"
    file.write_text(
        '[[question]]\ntext = "Where?"\nimages = "all"\nmodalities = ["MR"]\nheatmap = "attention"\n'
        '[[question]]\ntext = "What?"\nimages = 2\n'
    )
    assert read_question_set(file).questions == (
        SetQuestion(text="Where?", images="all", modalities=("MR",), heatmap="attention"),
        SetQuestion(text="What?", images=2),
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("q.txt", b"# nothing\n", "holds no question"),
        ("q.txt", b"\xff\xfe", "cannot be read"),
        ("q.txt", b"why " * 1000, "line 1 of"),
        ("q.toml", b"[[question]\n", "not valid TOML"),
        ("q.toml", b'[[question]]\ntext = "a"\nimages = 0\n', "question.0.images"),
        ("q.toml", b'[[question]]\ntext = "a"\nheatmap = "guess"\n', "question.0.heatmap"),
        ("q.toml", b'[[question]]\nquestion = "a"\n', "question.0.text"),
        ("q.toml", b'[[question]]\ntext = " "\n', "question 1 of"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BatchError, match=said):
        read_question_set(tmp_path / name)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match="cannot be read"):
        read_question_set(tmp_path / "none.txt")


def test_images_follow_number_and_modality(tmp_path: Path) -> None:
    write_simulated_study(tmp_path, seed=1)
    study = medvqa.read_study(tmp_path)
    asked = [
        SetQuestion(text="a"),
        SetQuestion(text="b", images="all"),
        SetQuestion(text="c", images=3),
        SetQuestion(text="d", images=4),
        SetQuestion(text="e", modalities=("CT",)),
    ]
    found = inquiries_of(QuestionSet(questions=tuple(asked)), study)
    assert [(one.question, one.image_number) for one in found] == [
        ("b", 1), ("a", 2), ("b", 2), ("b", 3), ("c", 3),
    ]  # fmt: skip


def test_a_set_is_known_by_its_questions() -> None:
    one = QuestionSet(questions=(SetQuestion(text="a"),))
    other = replace(one, questions=(SetQuestion(text="a", images="all"),))
    assert one.sha256 == QuestionSet(questions=(SetQuestion(text="a"),)).sha256 != other.sha256
