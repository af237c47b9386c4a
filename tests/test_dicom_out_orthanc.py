"""A PACS takes every form and gives it back as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dicomweb_client import DICOMwebClient
from dicomweb_client.session_utils import create_session_from_user_pass
from orthanc import PASSWORD, USER
from pydicom import dcmread
from reported import answer
from test_dicom_out import hot, objects, path, reread, session

from medvqa.reading.reviews import review
from medvqa.reading.signatures import sign
from medvqa.study import read_study

if TYPE_CHECKING:
    from pathlib import Path

    from orthanc import Orthanc

    from medvqa.sessions import Session

pytestmark = pytest.mark.slow

__all__ = ["path", "session"]
"""Fixtures."""


def test_objects_come_back_as_they_were_sent(
    session: Session,
    path: Path,
    orthanc: Orthanc,
) -> None:
    study = read_study(path)
    shown, signed = answer(session, study, "yes"), answer(session, study, "no, 没有")
    review(session, signed, verdict="agree")
    sign(session, signed, meaning="reviewed and approved")
    made = objects(session, path, {shown: hot(study.images[1], 10, 20)})
    client = DICOMwebClient(url=orthanc.dicomweb, session=create_session_from_user_pass(USER, PASSWORD))
    for file in path.iterdir():
        orthanc.upload(file.read_bytes())
    for _ in range(2):  # sending twice is sending once
        client.store_instances([one.dataset for one in made])
    stored = {one["00080018"]["Value"][0] for one in client.search_for_instances()}
    sent = {one.sop_instance_uid for one in made}
    assert stored == sent | {dcmread(file).SOPInstanceUID for file in path.iterdir()}
    assert len(client.search_for_studies()) == 1
    for one in made:
        uids = (one.dataset.StudyInstanceUID, one.dataset.SeriesInstanceUID, one.sop_instance_uid)
        assert client.retrieve_instance(*uids) == reread(one)
