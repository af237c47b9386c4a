"""Batches, step by step in one process: which studies, what is prepared, answered, written and resumed."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydicom import dcmread
from ray import cloudpickle
from rich.console import Console

from audit import Log
from audit.actions import Action
from medvqa.batch import Batch, StudySource, find_studies
from medvqa.batch.answering import AnsweredStudy, StudyAnswerer
from medvqa.batch.fetching import fetch
from medvqa.batch.folder import BatchFolder
from medvqa.batch.plan import Progress
from medvqa.batch.preparing import FailedStudy, PreparedStudy, prepare_study
from medvqa.batch.reporting import finish_study
from medvqa.batch.rows import COLUMN, as_row, dump, load
from medvqa.batch.steps import read, report
from medvqa.batch.tables import write_tables
from medvqa.cli.progress import follow_batch
from medvqa.errors import BatchError, DicomError, PacsError
from medvqa.question_sets import QuestionSet, SetQuestion
from medvqa.sessions import begin_configured_session, join_session
from medvqa.settings import Settings
from medvqa.simulated_study import write_simulated_study

QUESTIONS = QuestionSet(
    questions=(SetQuestion(text="Is there a nodule in this image?"), SetQuestion(text="Where is the nodule?"))
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        audit_url=f"sqlite:///{tmp_path}/audit.sqlite",
        agent="batch",
        key_folder=tmp_path / "keys",
        unfamiliar="warn",
    )


def name_patient(folder: Path, patient_id: str) -> None:
    for file in folder.glob("*.dcm"):
        dataset = dcmread(file)
        dataset.PatientID = patient_id
        dataset.save_as(file)


def test_studies_are_found_wherever_their_files_lie(tmp_path: Path, settings: Settings) -> None:
    for seed in (1, 2, 3, 4):
        write_simulated_study(tmp_path / "in" / f"s{seed}", seed=seed)
    moved = tmp_path / "in" / "elsewhere"
    moved.mkdir()
    (tmp_path / "in/s1/slice-3.dcm").rename(moved / "a.dcm")
    with zipfile.ZipFile(tmp_path / "in" / "two.zip", "w") as archive:
        for seed in (3, 4):
            for file in (tmp_path / "in" / f"s{seed}").iterdir():
                archive.write(file, f"{seed}/{file.name}")
                file.unlink()
    (tmp_path / "in" / "notes.txt").write_text("nothing")
    found = find_studies([tmp_path / "in"])
    assert found.left_out == 1
    counts = {one.study_instance_uid: len(one.paths) for one in found.studies}
    assert sorted(counts.values()) == [1, 1, 3, 3]
    session = begin_configured_session(Log(settings.audit_url), settings)
    for one in found.studies:
        prepared = prepare_study(session, one, QUESTIONS)
        assert isinstance(prepared, PreparedStudy)
        assert len(prepared.study.images) == 3


def test_a_list_names_studies_and_perhaps_their_uids(tmp_path: Path) -> None:
    write_simulated_study(tmp_path / "a", seed=1)
    uid = dcmread(tmp_path / "a/slice-1.dcm").StudyInstanceUID
    listed = tmp_path / "list.csv"
    listed.write_text(f"study,study_uid,note\na,,x\na,{uid},y\n")
    assert [one.study_instance_uid for one in find_studies([listed]).studies] == [uid]
    listed.write_text("path\na\n")
    with pytest.raises(BatchError, match=r"line 2 .* needs a column 'study'"):
        find_studies([listed])
    with pytest.raises(BatchError, match="cannot be read"):
        find_studies([tmp_path / "none.csv"])


def test_the_same_study_has_one_key_wherever_it_lies(tmp_path: Path) -> None:
    write_simulated_study(tmp_path / "a", seed=1)
    write_simulated_study(tmp_path / "b", seed=1)
    (one,), (other,) = (find_studies([tmp_path / name]).studies for name in "ab")
    assert one.key == other.key
    assert one.paths != other.paths


def test_what_travels_is_what_is_asked_about_and_names_nobody(tmp_path: Path, settings: Settings) -> None:
    write_simulated_study(tmp_path / "a", seed=1)
    name_patient(tmp_path / "a", "CANARY-17")
    session = begin_configured_session(Log(settings.audit_url), settings)
    (source,) = find_studies([tmp_path / "a"]).studies
    prepared = prepare_study(session, source, QUESTIONS)
    assert isinstance(prepared, PreparedStudy)
    dumped = pickle.dumps(prepared)
    assert b"CANARY" not in dumped
    study = pickle.loads(dumped).study  # noqa: S301
    assert study.images[1].pixels.shape == (240, 216)
    with pytest.raises(DicomError, match="image 1 was not asked about"):
        _ = study.images[0]
    assert join_session(Log(settings.audit_url), settings).pseudonym_of(study) is not None


def test_a_study_that_cannot_be_read_or_asked_about_fails_alone(tmp_path: Path) -> None:
    write_simulated_study(tmp_path / "a", seed=1)
    (source,) = find_studies([tmp_path / "a"]).studies
    asked = QuestionSet(questions=(SetQuestion(text="?", modalities=("CT",)),))
    assert isinstance(prepare_study(None, source, asked), FailedStudy)  # type: ignore[arg-type]
    (tmp_path / "junk.dcm").write_bytes(b"junk")
    (source,) = find_studies([tmp_path / "junk.dcm"]).studies
    failed = prepare_study(None, source, QUESTIONS)  # type: ignore[arg-type]
    assert isinstance(failed, FailedStudy)
    assert "junk.dcm is not a DICOM file" in failed.reason


def test_a_batch_step_by_step_and_again(tmp_path: Path, settings: Settings) -> None:
    for seed in (1, 2):
        write_simulated_study(tmp_path / "in" / str(seed), seed=seed)
    (tmp_path / "junk.dcm").write_bytes(b"junk")
    log = Log(settings.audit_url)
    session = begin_configured_session(log, settings)
    folder = BatchFolder(path=tmp_path / "out")
    folder.begin({"questions": QUESTIONS.sha256})
    heat = QuestionSet(
        questions=(*QUESTIONS.questions, SetQuestion(text="Which organ is shown?", heatmap="attention"))
    )
    sources = find_studies([tmp_path / "in", tmp_path / "junk.dcm"]).studies
    prepared = [prepare_study(session, one, heat) for one in sources]
    readable = [one for one in prepared if isinstance(one, PreparedStudy)]
    answerer = StudyAnswerer(settings, threads=1, studies=4)
    answered = answerer.answer(readable)
    assert [type(one) for one in answered] == [AnsweredStudy] * 2
    # Killed before anything was written: another process finds the answers, and makes the maps again.
    again = answerer.answer(readable)
    for one, other in zip(answered, again, strict=True):
        assert isinstance(one, AnsweredStudy)
        assert isinstance(other, AnsweredStudy)
        assert (one.answer_ids, one.reused, other.reused) == (other.answer_ids, 0, 3)
        assert [*one.heatmaps] == [*other.heatmaps] == [one.answer_ids[2]]
    events = list(log.read())
    assert sum(event.action == Action.ASK for event in events) == 6
    assert {event.entity["batch_size"] for event in events if event.action == Action.ANSWER} == {6}
    for ended in (*again, *(one for one in prepared if isinstance(one, FailedStudy))):
        travelled = cloudpickle.loads(cloudpickle.dumps(ended))
        finish_study(session, folder, travelled, forms=("html", "json"), template=None)
    assert all(folder.is_done(source.key) for source in sources)
    write_tables(folder)
    studies = pq.read_table(tmp_path / "out" / "studies.parquet").to_pylist()
    assert sorted(row["status"] for row in studies) == ["answered", "answered", "failed"]
    answers = pq.read_table(tmp_path / "out" / "answers.parquet").to_pylist()
    recorded = {event.sequence: event for event in log.read() if event.action == Action.ANSWER}
    assert {row["audit_id"] for row in answers} == {*recorded}
    for row in answers:
        event = recorded[row["audit_id"]]
        assert (row["leaf_hash"], row["answer"]) == (event.hash, event.entity["answer"])
        report = tmp_path / "out" / "studies" / row["study_instance_uid"] / "report.json"
        assert row["answer_id"] in report.read_text()


def test_a_model_that_breaks_on_one_study_answers_the_others(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = []
    for seed in (1, 2, 3):
        write_simulated_study(tmp_path / "in" / str(seed), seed=seed)
    sources = find_studies([tmp_path / "in"]).studies
    session = begin_configured_session(Log(settings.audit_url), settings)
    prepared = [prepare_study(session, one, QUESTIONS) for one in sources]
    answerer = StudyAnswerer(settings, threads=1, studies=4)
    broken = prepared[1].study.images[1].pixels  # type: ignore[union-attr]
    model = answerer._assistant.model
    encode = model.encode  # type: ignore[attr-defined]

    def breaking(image: object, question: str = "?") -> object:
        if image.pixels is broken:  # type: ignore[attr-defined]
            raise RuntimeError("CANARY-17 out of memory")
        return encode(image, question)

    monkeypatch.setattr(model, "encode", breaking)
    ended = answerer.answer([one for one in prepared if isinstance(one, PreparedStudy)])
    assert [type(one) for one in ended] == [AnsweredStudy, FailedStudy, AnsweredStudy]
    assert "RuntimeError" in ended[1].reason  # type: ignore[union-attr]
    assert "CANARY" not in ended[1].reason  # type: ignore[union-attr]


def test_a_folder_holds_one_batch(tmp_path: Path) -> None:
    folder = BatchFolder(path=tmp_path / "out")
    folder.begin({"questions": "a", "model": None})
    folder.begin({"questions": "a", "model": None})
    with pytest.raises(BatchError, match="other model and questions"):
        folder.begin({"questions": "b", "model": "c"})
    (tmp_path / "out" / "batch.json").write_text("{")
    with pytest.raises(BatchError, match="cannot be used"):
        folder.begin({"questions": "a"})


def test_one_run_at_a_time_works_on_a_folder(tmp_path: Path) -> None:
    folder = BatchFolder(path=tmp_path / "out")
    folder.begin({})
    with (
        folder.alone(wait_s=0),
        pytest.raises(BatchError, match="another run is at work"),
        folder.alone(wait_s=0.3),
    ):
        pass
    left = folder.join()
    with pytest.raises(BatchError, match="another run"), folder.alone(wait_s=0.3):
        pass
    left.close()
    with folder.alone(wait_s=0):
        pass


def test_an_outcome_is_there_wholly_or_not_at_all(tmp_path: Path) -> None:
    folder = BatchFolder(path=tmp_path / "out")
    folder.begin({})
    source = StudySource(paths=(tmp_path,), study_instance_uid="1.2.3")
    assert not folder.is_done(source.key)
    folder.finish(source.key, {"status": "failed", "source": "é"})
    assert folder.is_done(source.key)
    assert [*folder.outcomes()] == [{"status": "failed", "source": "é"}]
    assert json.loads((folder.done / f"{source.key}.json").read_text())["source"] == "é"


def test_a_batch_is_what_it_says(tmp_path: Path, settings: Settings) -> None:
    batch = Batch(settings=settings, questions=QUESTIONS, folder=tmp_path)
    assert pickle.loads(pickle.dumps(batch)) == batch  # noqa: S301


def test_the_time_left_is_told_without_what_the_start_took() -> None:
    clock, out = [0.0], io.StringIO()
    console = Console(file=out, width=100, get_time=lambda: clock[0])
    with follow_batch(console) as show:
        for at, done in ((0.0, 300), (60.0, 301), (70.0, 341), (80.0, 381), (81.0, 385)):
            clock[0] = at
            show(Progress(total=501, done=done, answered=done, refused=0, failed=0))
    assert out.getvalue().splitlines() == [
        "300 of 501 studies, 0 failed; starting",
        "301 of 501 studies, 0 failed; starting",
        "341 of 501 studies, 0 failed; 4.0 a second, 40 s left",
        "381 of 501 studies, 0 failed; 4.0 a second, 30 s left",
    ]


def test_what_ends_a_batch_goes_through_its_steps_in_its_own_words(
    tmp_path: Path, settings: Settings
) -> None:
    begin_configured_session(Log(settings.audit_url), settings)
    batch = dump(Batch(settings=settings, questions=QUESTIONS, folder=tmp_path / "out"))
    BatchFolder(path=tmp_path / "out").begin({})
    row = as_row(StudySource(paths=(), study_instance_uid="1.2.3", node="gone"))
    for step in (fetch, read, report):
        row = step(row, batch)
    with pytest.raises(PacsError, match="gone"):
        raise load(row[COLUMN])
