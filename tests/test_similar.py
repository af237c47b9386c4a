"""Similar cases: found by image and by text, told with what was signed, recorded before they are shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import run_medvqa
from dicom_builder import CANARY, image, planted, write
from test_reports import answer
from tiny_contrastive import write_contrastive

from audit import Event, Filter, Log
from medvqa import records
from medvqa.errors import CaseIndexError, GateError, QuestionError, RecordError, StoppedError
from medvqa.models.contrastive import ContrastiveModel, load_contrastive
from medvqa.reading.reviews import review
from medvqa.reading.signatures import sign
from medvqa.records import Agent
from medvqa.retrieval.index import CaseIndex
from medvqa.retrieval.similar import SIMILARITY, find_by_text, find_similar, index_study, remove_study
from medvqa.sessions import Session, begin_session
from medvqa.stopping import stop
from medvqa.study import read_study
from medvqa.types import NOT_FOR_DIAGNOSIS, Study

MakeStudy = Callable[..., Study]


@pytest.fixture(autouse=True)
def place(own_place: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    monkeypatch.setenv("MEDVQA_AGENT", "dr-17")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_contrastive(tmp_path_factory.mktemp("models") / "siglip", "siglip")


@pytest.fixture(scope="module")
def model(folder: Path) -> ContrastiveModel:
    return load_contrastive(folder)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Log(f"sqlite:///{tmp_path / 'trail.sqlite'}") as log:
        yield begin_session(log, Agent(name="dr-17"), key_folder=tmp_path / "keys")


@pytest.fixture
def index(tmp_path: Path, model: ContrastiveModel) -> CaseIndex:
    return CaseIndex(tmp_path / "index", model.identity, create=True)


@pytest.fixture
def make(tmp_path: Path) -> MakeStudy:
    """Writes a study of two images of noise; `seed` says what they show, `patient` whose they are."""

    def make_study(number: int, *, patient: str | None = None, seed: int | None = None) -> Study:
        rng = np.random.default_rng(number if seed is None else seed)
        for at in (1, 2):
            dataset = image(
                rng.integers(0, 900, (48, 40)).astype(np.int16),
                number=at,
                StudyInstanceUID=f"1.2.{number}",
                SeriesInstanceUID=f"1.2.{number}.1",
                SOPInstanceUID=f"1.2.{number}.1.{at}",
            )
            dataset = planted(dataset)
            dataset.PatientID = "" if patient is None else f"{CANARY}{patient}"
            write(tmp_path / f"study-{number}" / f"{at}.dcm", dataset)
        return read_study(tmp_path / f"study-{number}")

    return make_study


def events(session: Session, action: str) -> list[Event]:
    return list(session.log.read(Filter(action=action)))


def signed(session: Session, study: Study, text: str, *, place: int = 0, verdict: str = "agree") -> str:
    answer_id = answer(session, study, text, place=place)
    review(session, answer_id, verdict=verdict, text=None if verdict == "agree" else "two masses")  # type: ignore[arg-type]
    sign(session, answer_id, meaning="reviewed")
    return answer_id


def test_the_closest_case_comes_first_with_what_was_signed_about_it(
    session: Session, index: CaseIndex, model: ContrastiveModel, make: MakeStudy
) -> None:
    for number in range(1, 5):
        came = index_study(session, index, model, make(number, patient=f"P{number}"))
        assert (came.images, came.new, came.left_out) == (2, 2, 0)
    agreed = signed(session, make(2), "yes", place=0)
    amended = signed(session, make(2), "yes", place=1, verdict="amend")
    rejected = signed(session, make(2), "maybe", place=0, verdict="reject")
    answer(session, make(2), "never signed")
    asked = make(9, patient="P9", seed=2)  # other files that show what study 2 shows
    found = find_similar(session, index, model, asked.images[0], study=asked, k=2)
    first, second = found.cases
    assert first.image.study_instance_uid == "1.2.2"
    assert first.image.sop_instance_uid == "1.2.2.1.1"
    assert first.similarity == pytest.approx(1, abs=1e-5)
    assert second.similarity < 0.999
    assert second.image.study_instance_uid != "1.2.2"
    assert first.signed is not None
    assert [(story.answer_id, story.text) for story in first.signed] == [
        (agreed, "yes"),
        (amended, "two masses"),
        (rejected, None),
    ]
    assert [first.is_about_image(story) for story in first.signed] == [True, False, True]
    assert second.signed == ()
    assert second.same_patient is False


def test_similarity_is_the_cosine_of_the_vectors(
    session: Session, index: CaseIndex, model: ContrastiveModel, make: MakeStudy
) -> None:
    held, asked = make(1), make(9)
    index_study(session, index, model, held)
    vectors = model.embed_images(list(held.images))
    (case,) = find_similar(session, index, model, asked.images[1], study=asked).cases
    best = max(vectors @ model.embed_images([asked.images[1]])[0])
    assert case.similarity == pytest.approx(float(best), abs=1e-5)
    (case,) = find_by_text(session, index, model, "a bright square left").cases
    best = max(vectors @ model.embed_texts(["a bright square left"])[0])
    assert case.similarity == pytest.approx(float(best), abs=1e-5)


def test_the_same_patients_studies_are_priors_and_the_open_one_is_not_found(
    session: Session, index: CaseIndex, model: ContrastiveModel, make: MakeStudy
) -> None:
    asked = make(1, patient="A", seed=5)
    for study in (asked, make(2, patient="A", seed=5), make(3, patient="B"), make(4)):
        index_study(session, index, model, study)
    found = find_similar(session, index, model, asked.images[0], study=asked)
    assert [case.image.study_instance_uid for case in found.priors] == ["1.2.2"]
    assert found.priors[0].same_patient is True
    assert {(case.image.study_instance_uid, case.same_patient) for case in found.cases} == {
        ("1.2.3", False),
        ("1.2.4", None),
    }


def test_as_many_cases_are_found_as_wanted_however_many_images_lie_closer(
    session: Session, index: CaseIndex, model: ContrastiveModel, make: MakeStudy
) -> None:
    asked, other = make(1, patient="A"), make(2, patient="B")
    index_study(session, index, model, other)
    ref, vector = asked.images[0].ref, model.embed_images([asked.images[0]])
    near = [type(ref)(**{**_fields(ref), "frame_number": number}) for number in range(10, 310)]
    index.add(near, np.repeat(vector, 300, axis=0))
    found = find_similar(session, index, model, asked.images[0], study=asked, k=1)
    assert [case.image.study_instance_uid for case in found.cases] == ["1.2.2"]


def _fields(ref: object) -> dict[str, object]:
    return {name: getattr(ref, name) for name in ref.__slots__}  # type: ignore[attr-defined]


def test_adding_a_study_again_changes_nothing_and_removing_it_hides_it(
    session: Session, index: CaseIndex, model: ContrastiveModel, make: MakeStudy
) -> None:
    study, asked = make(1), make(9)
    index_study(session, index, model, study)
    again = index_study(session, index, model, study)
    assert (again.images, again.new, len(index)) == (2, 0, 2)
    assert remove_study(session, index, "1.2.1") == 2
    assert find_similar(session, index, model, asked.images[0], study=asked).cases == ()
    with pytest.raises(CaseIndexError, match="no image of that study"):
        remove_study(session, index, "1.2.1")
    assert [event.entity["change"] for event in events(session, "index")] == ["add", "add", "remove"]


def test_images_that_show_nothing_are_left_out(
    session: Session, index: CaseIndex, model: ContrastiveModel, tmp_path: Path
) -> None:
    write(tmp_path / "mixed" / "1.dcm", image(np.full((48, 40), 7, dtype=np.int16), number=1))
    noise = np.random.default_rng(0).integers(0, 900, (48, 40)).astype(np.int16)
    write(tmp_path / "mixed" / "2.dcm", image(noise, number=2))
    study = read_study(tmp_path / "mixed")
    came = index_study(session, index, model, study)
    assert (came.images, came.left_out) == (1, 1)
    with pytest.raises(GateError, match="looks the same"):
        find_similar(session, index, model, study.images[0], study=study)
    with pytest.raises(QuestionError, match="empty"):
        find_by_text(session, index, model, " ", study=study)
    refused = events(session, "find_similar")
    assert [event.outcome for event in refused] == ["refused"] * 2
    assert "looks the same" in str(refused[0].entity["reason"])


def test_look_ups_are_recorded_with_each_case_that_is_shown(
    session: Session, index: CaseIndex, model: ContrastiveModel, make: MakeStudy
) -> None:
    index_study(session, index, model, make(1, patient="A"))
    answer_id = signed(session, make(1, patient="A"), "yes")
    asked = make(9, patient="B")
    found = find_similar(session, index, model, asked.images[0], study=asked)
    looked, shown = events(session, "find_similar")
    assert looked.sequence == found.audit_id
    assert looked.subject == shown.subject
    assert (looked.study, shown.study) == ("1.2.9", "1.2.1")
    assert looked.patient == session.pseudonym_of(asked) != shown.patient
    assert shown.patient == session.pseudonym_of(make(1, patient="A"))
    assert shown.entity["answers"] == [answer_id]
    assert (looked.model, looked.entity["index"]) == (index.model, index.name)
    find_by_text(session, index, model, "a tumor", study=asked)
    assert events(session, "find_similar")[2].entity["text"] == "a tumor"


def test_nothing_is_found_or_added_where_it_cannot_be_recorded(
    session: Session,
    index: CaseIndex,
    model: ContrastiveModel,
    make: MakeStudy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = make(9)
    index_study(session, index, model, make(1))

    def refuse(*_: object) -> None:
        raise RecordError("the disk is full")

    monkeypatch.setattr("medvqa.retrieval.similar.record", refuse)
    with pytest.raises(RecordError):
        find_similar(session, index, model, asked.images[0], study=asked)
    with pytest.raises(RecordError):
        index_study(session, index, model, make(2))
    with pytest.raises(RecordError):
        remove_study(session, index, "1.2.1")
    assert len(index) == 2


def test_work_that_was_stopped_stays_stopped(
    session: Session, index: CaseIndex, model: ContrastiveModel, make: MakeStudy
) -> None:
    asked = make(9)
    index_study(session, index, model, make(1))
    stop(session, reason="the model misbehaves", study="1.2.9")
    with pytest.raises(StoppedError):
        find_similar(session, index, model, asked.images[0], study=asked)
    with pytest.raises(StoppedError):
        index_study(session, index, model, asked)
    stop(session, reason="all of it")
    with pytest.raises(StoppedError):
        find_by_text(session, index, model, "a tumor")


def test_an_archived_story_is_said_to_be_out_of_reach(
    session: Session,
    index: CaseIndex,
    model: ContrastiveModel,
    make: MakeStudy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index_study(session, index, model, make(1, patient="A"))
    signed(session, make(1, patient="A"), "yes")
    read_rows = Log.read_rows

    def archived(self: Log, *arguments: object, **options: object) -> Iterator[object]:
        for row in read_rows(self, *arguments, **options):  # type: ignore[arg-type]
            yield row._replace(body=None)

    monkeypatch.setattr(Log, "read_rows", archived)
    asked = make(9, patient="A")
    (case,) = find_similar(session, index, model, asked.images[0], study=asked).priors
    assert case.signed is None
    assert case.same_patient is True


def test_neither_index_nor_trail_names_a_patient(
    session: Session, index: CaseIndex, model: ContrastiveModel, make: MakeStudy, tmp_path: Path
) -> None:
    study = make(1, patient="A")
    index_study(session, index, model, study)
    find_similar(session, index, model, study.images[0], study=study)
    pseudonym = session.pseudonym_of(study)
    assert pseudonym is not None
    for path in (tmp_path / "index").iterdir():
        content = path.read_bytes()
        assert CANARY.encode() not in content
        assert pseudonym.encode() not in content
    assert (tmp_path / "index").stat().st_mode & 0o077 == 0
    assert not [
        event for event in session.log.read() if CANARY in json.dumps(records.asdict(event), default=str)
    ]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def similar(*arguments: object) -> tuple[int, str, str]:
        code, said = run_medvqa("similar", *arguments), capsys.readouterr()
        return code, said.out, said.err

    return similar


def test_the_command_line_indexes_finds_and_removes(
    run: Callable[..., tuple[int, str, str]], make: MakeStudy, folder: Path, tmp_path: Path, session: Session
) -> None:
    make(1, patient="A")
    make(2, patient="B")
    signed(session, make(1, patient="A"), "yes")
    place = ("--index", tmp_path / "cases", "--model", folder)
    code, out, err = run("index", tmp_path / "study-1", tmp_path / "study-2", *place)
    assert code == 0, err
    assert out.count("2 images in the index, 2 of them new, 0 left out") == 2
    code, out, err = run("find", tmp_path / "study-2", *place, "--json")
    found = json.loads(out)
    assert [case["image"]["study_instance_uid"] for case in found["cases"]] == ["1.2.1"]
    assert found["cases"][0]["signed"][0]["text"] == "yes"
    assert (found["similarity"], found["notice"]) == (SIMILARITY, NOT_FOR_DIAGNOSIS)
    code, out, err = run("find", tmp_path / "study-2", *place, "--image", 1, "--text", "a tumor")
    assert code == 0
    said = " ".join(out.split())
    assert "the text 'a tumor'" in said
    assert "Is there a mass? yes (signed by dr-17" in said
    assert "1.2.1 " in said
    assert NOT_FOR_DIAGNOSIS in said
    assert SIMILARITY in said
    code, out, err = run("remove", "1.2.1", "--index", tmp_path / "cases")
    assert "2 images taken out" in out
    code, out, err = run("find", tmp_path / "study-2", *place)
    assert "none: the index holds no other study" in out
    recorded = [event.action for event in session.log.read()]
    assert recorded.count("load_model") == 4
    assert recorded.count("index") == 3


@pytest.mark.parametrize(
    ("arguments", "reason", "exit_code"),
    [
        (("find", "study-1", "--index", "none", "--model", "MODEL"), "holds no index", 14),
        (("find", "study-1", "--index", "none"), "--model", 8),
        (("find", "study-1", "--model", "MODEL"), "--index", 8),
        (("find", "study-1", "--model", "MODEL", "--index", "none", "--image", "3"), "images 1 to 2", 3),
        (("remove", "1.2.3", "--index", "none"), "holds no index", 14),
    ],
)
def test_the_command_line_says_what_is_wrong_in_one_sentence(
    run: Callable[..., tuple[int, str, str]],
    make: MakeStudy,
    folder: Path,
    arguments: tuple[str, ...],
    reason: str,
    exit_code: int,
) -> None:
    make(1)
    code, out, err = run(*(str(folder) if one == "MODEL" else one for one in arguments))
    assert (code, out) == (exit_code, "")
    assert reason in err
    assert "Traceback" not in err
