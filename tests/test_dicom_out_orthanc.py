"""A PACS takes every form and gives it back as it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dicomweb_client import DICOMwebClient
from dicomweb_client.session_utils import create_session_from_user_pass
from pydicom import dcmread
from test_dicom_out import hot, objects, path, reread, session
from test_reports import answer

from medvqa.reading.reviews import review
from medvqa.reading.signatures import sign
from medvqa.study import read_study

if TYPE_CHECKING:
    from medvqa.sessions import Session

orthanc: Any = pytest.importorskip("orthanc", reason="tests/orthanc.py comes with the exchange with a PACS")
pytestmark = pytest.mark.slow


__all__ = ["path", "session"]
"""Fixtures."""


def test_objects_come_back_as_they_were_sent(
    session: Session,
    path: Path,
) -> None:
    plugin = orthanc.find_plugin()
    if plugin is None:
        pytest.skip("Orthanc is not installed; .ci/run installs Debian's packages")
    study = read_study(path)
    shown, signed = answer(session, study, "yes"), answer(session, study, "no, 没有")
    review(session, signed, verdict="agree")
    sign(session, signed, meaning="reviewed and approved")
    made = objects(session, path, {shown: hot(study.images[1], 10, 20)})
    with orthanc.running_orthanc(plugin) as server:
        login = create_session_from_user_pass(orthanc.USER, orthanc.PASSWORD)
        client = DICOMwebClient(url=server.dicomweb, session=login)
        for file in path.iterdir():
            server.upload(file.read_bytes())
        for _ in range(2):  # sending twice is sending once
            client.store_instances([one.dataset for one in made])
        stored = {one["00080018"]["Value"][0] for one in client.search_for_instances()}
        assert stored == {one.sop_instance_uid for one in made} | {
            dcmread(file).SOPInstanceUID for file in path.iterdir()
        }
        assert len(client.search_for_studies()) == 1
        for one in made:
            dataset = one.dataset
            back = client.retrieve_instance(
                dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
            )
            assert back == reread(one)
