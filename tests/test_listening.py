"""A listener takes studies from those it knows, answers each once, and sends the results."""

from __future__ import annotations

import os
import resource
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import dicom_builder as build
import numpy as np
import pytest
from listener import VERIFICATION, Listener, listening
from orthanc import PASSWORD, Orthanc, free_port
from pydicom import dcmread
from pydicom.uid import CTImageStorage
from pynetdicom import build_context

import medvqa
from audit import Log
from medvqa.listening.inbox import opened

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

    from audit import Event

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PATIENT_ID = f"{build.CANARY}-17"
QUESTIONS = ["Is there a tumor?", "What modality is this?"]


@pytest.fixture
def place(own_place: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001
    """A working directory with questions, for processes that are started there."""
    (tmp_path / "questions.txt").write_text("\n".join(QUESTIONS))
    monkeypatch.setenv("MEDVQA_UNFAMILIAR", "warn")
    monkeypatch.setenv("MEDVQA_PACS_WEB_PASSWORD", PASSWORD)
    monkeypatch.setenv("PYTHONPATH", str(Path(medvqa.__file__).parents[1]))
    return tmp_path


def a_slice(number: int = 1, *, study: str = build.STUDY_UID) -> FileDataset:
    """One slice of a study, with a canary in what names its patient."""
    pixels = np.random.default_rng(number).integers(0, 1000, (64, 64)).astype(np.int16)
    elements = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1"}
    dataset = build.image(pixels, number=number, SOPInstanceUID=f"{study}.1.{number}", **elements)
    build.planted(dataset).PatientID = PATIENT_ID
    return dataset


def trail(place: Path) -> list[Event]:
    return list(Log(f"sqlite:///{place / 'trail.sqlite'}").read())


def actions(place: Path) -> Counter[str]:
    return Counter(event.action for event in trail(place) if event.outcome == "success")


def test_a_study_is_answered_and_its_results_reach_the_pacs(place: Path, orthanc: Orthanc) -> None:
    (place / "medvqa.toml").write_text(orthanc.settings())
    with listening(place, "--quiet", "1", "--send-to", "web") as listener:
        assert listener.send([a_slice(1), a_slice(2), a_slice(3)]) == [0, 0, 0]
        listener.wait_for("results were sent to web")
        held = orthanc.instances()
        objects = [dcmread(path) for path in place.glob("inbox/results/*/*.dcm")]
        assert held.keys() == {one.SOPInstanceUID for one in objects}
        assert Counter(one.Modality for one in objects) == {"SR": 2, "DOC": 1}
        assert {one.StudyInstanceUID for one in objects} == {build.STUDY_UID}
        assert {one.PatientID for one in objects} == {PATIENT_ID}
        # What the PACS sends back to us is taken, and starts nothing anew.
        assert listener.send(objects) == [0, 0, 0]
        # An instance that comes late does: the image in the middle is another one now.
        before = actions(place)
        assert listener.send([a_slice(4), a_slice(5), a_slice(1)]) == [0, 0, 0]
        log = listener.wait_for("results were sent to web", times=2)
        assert len(list((place / "inbox" / "studies" / build.STUDY_UID).iterdir())) == 5
        assert (actions(place) - before)["answer"] == len(QUESTIONS)
        listener.process.terminate()
        assert listener.process.wait(timeout=30) == 0
        log = listener.log.read_text()
        assert log.endswith("stopped\n")
    assert build.STUDY_UID in log
    stored = (place / "trail.sqlite").read_bytes().decode("latin1")
    for text in (log, stored):
        assert build.CANARY not in text
        assert PASSWORD not in text
    order = [event.action for event in trail(place) if event.study == build.STUDY_UID]
    assert order[:4] == ["retrieve", "receive", "open_study", "ask"]
    assert order.index("report") < order.index("send") < order.index("deliver")


def test_who_is_not_known_is_refused(place: Path) -> None:
    with listening(place, "--quiet", "1") as listener:
        contexts = [build_context(VERIFICATION), build_context(CTImageStorage)]
        assert listener.associate("STRANGER", contexts).is_rejected
        assert listener.associate("SCANNER", contexts, called="OTHER").is_rejected
        known = listener.associate("SCANNER", contexts)
        assert known.send_c_echo().Status == 0
        known.release()
        assert _hostile(listener) == [0xC000, 0xC000, 0xC000]
        _one_bad_study_does_not_stop_the_others(listener, place)
    assert {path.name for path in (place / "inbox").iterdir()} == {"lock", "results", "studies"}
    assert not list(place.parent.rglob("evil*"))


def _hostile(listener: Listener) -> list[int]:
    """Instances whose UIDs would be paths."""
    datasets = [a_slice(1), a_slice(2), a_slice(3)]
    datasets[0].StudyInstanceUID = "../../evil"
    datasets[1].SOPInstanceUID = "/tmp/evil"  # noqa: S108
    datasets[2].SOPInstanceUID = ".."
    return listener.send(datasets)


def _one_bad_study_does_not_stop_the_others(listener: Listener, place: Path) -> None:
    bad = a_slice(1, study="1.2.3.4")
    bad.PixelData = bad.PixelData[:100]
    empty = a_slice(1, study="1.2.3.5")
    del empty.PixelData
    assert listener.send([bad, empty]) == [0, 0]
    assert listener.send([a_slice(1)]) == [0]
    log = listener.wait_for(f"study {build.STUDY_UID}: 2 answers, 0 questions refused")
    assert "study 1.2.3.5: cannot be answered" in log
    assert "Traceback" not in log
    assert actions(place)["answer"] == len(QUESTIONS)


def test_a_study_survives_kill_9_and_is_answered_once(place: Path, orthanc: Orthanc) -> None:
    (place / "medvqa.toml").write_text(f'[pacs.web]\nurl = "http://127.0.0.1:{free_port()}/dicom-web"\n')
    with listening(place, "--quiet", "60") as listener:
        assert listener.send([a_slice(1)]) == [0]
        listener.kill()
    assert actions(place)["answer"] == 0
    # Answered after the restart; killed again while the results wait for a PACS that is down.
    with listening(place, "--quiet", "0", "--send-to", "web") as listener:
        listener.wait_for("the PACS web cannot be reached")
        listener.kill()
    assert actions(place)["ask"] == actions(place)["answer"] == len(QUESTIONS)
    # As if it had been killed after the answers were recorded and before that was noted.
    for path in place.glob("inbox/results/*/*"):
        path.unlink()
    (place / "medvqa.toml").write_text(orthanc.settings())
    with listening(place, "--quiet", "0", "--send-to", "web") as listener:
        listener.wait_for("3 results were sent to web")
    assert actions(place)["ask"] == actions(place)["answer"] == len(QUESTIONS)
    assert len(orthanc.instances()) == 3
    with opened(place / "inbox") as inbox:
        assert inbox.unfinished(sending=True) == []


def test_a_full_disk_is_said_in_dicoms_own_words(place: Path) -> None:
    def no_file_above_256_kib() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, 1 << 18))

    Log(f"sqlite:///{place / 'trail.sqlite'}").close()
    large = build.image(np.zeros((512, 512), dtype=np.int16), number=2)
    environment = {**os.environ, "MEDVQA_AUDIT_URL": str(place / "trail.sqlite")}
    with listening(place, preexec_fn=no_file_above_256_kib, env=environment) as listener:
        assert listener.send([large, a_slice(1)]) == [0xA700, 0]
        assert "an instance was not taken, for the disk fails: File too large" in listener.log.read_text()
    kept = [path.name for path in place.glob("inbox/studies/*/*")]
    assert kept == [f"{build.STUDY_UID}.1.1.dcm"]
