"""De-identification of attributes: a canary in every attribute that names anybody, and none comes through."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import pytest
from deidentifying import CODE, canary, cleaned, opened, plant
from dicom_builder import SERIES_UID, image, item, to_bytes
from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.datadict import DicomDictionary
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from medvqa.deidentification import Option, parse_options
from medvqa.errors import DeidentificationError
from medvqa.simulated_study import write_simulated_study

TABLE = [
    tag[0] << 16 | tag[1]
    for tag in dicom_anonymization_database_selector("dicomfields_2026c")["ALL_TAGS"]
    if len(tag) == 2 and tag[0] > 2 and tag != (0x0010, 0x0020)
]
FREE = [
    tag
    for tag, (vr, *_) in DicomDictionary.items()
    if vr in ("PN", "AE", "UR", "ST", "LT", "UT", "DA", "DT", "TM")
    and 0x0008 <= tag >> 16 < 0x5000
    # A code that stands for something has its own attribute, and is kept.
    and tag not in (0x0008_0119, 0x0008_0120)
]


@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_no_attribute_of_the_standards_table_comes_through(tmp_path: Path, depth: int, syntax: str) -> None:
    known = {} if syntax == "explicit" else {"transfer_syntax": ImplicitVRLittleEndian}
    source = image(**known)
    place: Any = source
    for _ in range(depth):
        inner = item()
        place.SharedFunctionalGroupsSequence = [inner]
        place = inner
    planted = plant(place, TABLE)
    assert len(planted) > 550
    content = to_bytes(source)
    assert [one for one in planted if one not in content] == []
    written, _ = cleaned(tmp_path / "a.dcm", source)
    assert [one for one in planted if one in written] == []


def test_nothing_that_may_hold_free_words_or_dates_comes_through(tmp_path: Path) -> None:
    """By pydicom's dictionary, whatever the table says."""
    source = image()
    planted = plant(source, FREE)
    assert len(planted) > 400
    content, _ = cleaned(tmp_path / "a.dcm", source)
    assert [one for one in planted if one in content] == []


def test_private_attributes_overlays_curves_meta_preamble_and_what_follows(tmp_path: Path) -> None:
    source = image()
    block = source.private_block(0x0009, "QZPRIVATE 1", create=True)
    block.add_new(0x01, "LO", "QZPRIVATE")
    block.add_new(0x02, "SQ", [item(PatientName="QZPRIVATE")])
    inner = item()
    inner.private_block(0x0011, "QZPRIVATE 2", create=True).add_new(0x01, "UN", b"QZPRIVATE")
    source.SharedFunctionalGroupsSequence = [inner]
    for group in (0x6000, 0x6002, 0x601E, 0x5000, 0x5012):
        source.add_new((group, 0x3000), "OW", b"QZOVERLAY ")
        source.add_new((group, 0x0022), "LO", "QZOVERLAY")
    source.add_new((0xFFFC, 0xFFFC), "OB", b"QZPADDING ")
    # Implausible in its place, unknown to the dictionary, and of another kind than the Standard says.
    source.add_new((0x0028, 0x7FFE), "LO", "QZUNKNOWN")
    source.add_new((0x0018, 0x0050), "LO", "QZKIND")
    source.preamble = b"QZPREAMBLE".ljust(128, b"\0")
    source.file_meta.SourceApplicationEntityTitle = "QZMETA"
    source.file_meta.PrivateInformationCreatorUID = "1.2.77.1"
    source.file_meta.PrivateInformation = b"QZMETA"
    content = to_bytes(source)
    assert content.count(b"QZ") > 15
    written, done = cleaned(tmp_path / "a.dcm", content + b"QZTRAILING")
    assert re.findall(rb"QZ\w+", written) == []
    assert b"1.2.77" not in written
    assert SERIES_UID.encode() not in written
    assert not any("QZ" in change.place for change in done.changes)
    read = opened(written)
    assert read.file_meta.MediaStorageSOPInstanceUID == read.SOPInstanceUID


WORDS = st.text("abcdefghijklmnopqrstuvwxyzäöé", min_size=4, max_size=9).map(lambda text: f"Zq{text}")
PLACES = st.sampled_from(
    ["StudyDescription", "ImageComments", "ConvolutionKernel", "SequenceName", "ScanOptions", "TextValue",
     "CodeMeaning", "WindowCenterWidthExplanation", "PatientComments", "FilterType", "LUTExplanation"]
)  # fmt: skip


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(family=WORDS, given_name=WORDS, place=PLACES, number=st.integers(10**6, 10**9), nested=st.booleans())
def test_a_name_in_an_unexpected_place_is_found(
    tmp_path: Path, family: str, given_name: str, place: str, number: int, nested: bool
) -> None:
    source = image(
        SpecificCharacterSet="ISO_IR 192", PatientName=f"{family}^{given_name}", PatientID=f"H{number}"
    )
    target: Any = item() if nested else source
    setattr(target, place, f"for {given_name.upper()} {number}"[:16])
    if nested:
        source.RequestAttributesSequence = [target]
        target.ScheduledProtocolCodeSequence = [item(CodeMeaning=f"see {family}, H{number}")]
    written, _ = cleaned(tmp_path / "a.dcm", source)
    text = written.decode("utf-8", "replace").casefold()
    assert [one for one in (family, given_name, f"h{number}") if one.casefold() in text] == []


def test_what_describes_the_image_stays(tmp_path: Path) -> None:
    source = image(
        ConvolutionKernel="B30f", SliceThickness=2.5, KVP=120, WindowCenter=40, WindowWidth=400,
        PatientName="Bf^120", PatientID="2.5", BodyPartExamined="CHEST", ManufacturerModelName="Scanner 7",
    )  # fmt: skip
    read = opened(cleaned(tmp_path / "a.dcm", source)[0])
    described = ("ConvolutionKernel", "SliceThickness", "KVP", "WindowCenter", "PixelSpacing", "PixelData")
    for keyword in (*described, "ImagePositionPatient", "BodyPartExamined", "ManufacturerModelName"):
        assert read[keyword].value == source[keyword].value


def test_it_says_what_was_done(tmp_path: Path) -> None:
    read = opened(cleaned(tmp_path / "a.dcm", image(BurnedInAnnotation="YES"), Option.RETAIN_UIDS)[0])
    assert (read.PatientID, str(read.PatientName)) == (CODE, CODE)
    assert read.PatientIdentityRemoved == "YES"
    codes = [one.CodeValue for one in read.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113101", "113110"]
    assert read.LongitudinalTemporalInformationModified == "REMOVED"
    assert read.BurnedInAnnotation == "NO"


def test_uids_are_replaced_alike_everywhere_and_always(tmp_path: Path) -> None:
    first, second = image(number=1), image(number=2)
    second.ReferencedImageSequence = [
        item(ReferencedSOPClassUID=first.SOPClassUID, ReferencedSOPInstanceUID=first.SOPInstanceUID)
    ]
    one, two = (opened(cleaned(tmp_path / "a.dcm", source)[0]) for source in (first, second))
    assert one.StudyInstanceUID == two.StudyInstanceUID != first.StudyInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID
    (reference,) = two.ReferencedImageSequence
    assert reference.ReferencedSOPInstanceUID == one.SOPInstanceUID
    assert reference.ReferencedSOPClassUID == first.SOPClassUID
    again = opened(cleaned(tmp_path / "a.dcm", first)[0])
    elsewhere = opened(cleaned(tmp_path / "a.dcm", first, key=bytes(32))[0])
    assert again.SOPInstanceUID == one.SOPInstanceUID != elsewhere.SOPInstanceUID


def dated() -> FileDataset:
    return image(
        StudyDate="20240229", SeriesDate="20240307", AcquisitionDateTime="20240229120000.5+0100",
        PatientBirthDate="19340101", StudyTime="1200", ContentDate="Dr. Who",
        PatientAge="095Y", PatientSex="F", PatientWeight=70, StationName="QZSTATION", DeviceUID="1.2.77.5",
    )  # fmt: skip


def test_options_keep_what_they_name_and_no_more(tmp_path: Path) -> None:
    def read(*options: Option) -> Any:
        return opened(cleaned(tmp_path / "a.dcm", dated(), *options)[0])

    plain = read()
    assert (plain.StudyDate, plain.PatientSex, plain.PatientBirthDate) == ("", "", "")
    assert "PatientAge" not in plain
    full = read(Option.RETAIN_FULL_DATES)
    assert (full.StudyDate, full.StudyTime, full.PatientBirthDate) == ("20240229", "1200", "")
    assert full.ContentDate != "Dr. Who"
    person = read(Option.RETAIN_PATIENT_CHARACTERISTICS)
    assert (person.PatientAge, person.PatientSex, person.PatientWeight) == ("090Y", "F", 70)
    device = read(Option.RETAIN_DEVICE_IDENTITY)
    assert (device.StationName, device.DeviceUID) == ("QZSTATION", "1.2.77.5")
    assert read(Option.RETAIN_UIDS).SOPInstanceUID == image().SOPInstanceUID


def test_modified_dates_keep_their_distance(tmp_path: Path) -> None:
    read = opened(cleaned(tmp_path / "a.dcm", dated(), Option.RETAIN_MODIFIED_DATES)[0])
    study, series = (
        np.datetime64(f"{one[:4]}-{one[4:6]}-{one[6:]}") for one in (read.StudyDate, read.SeriesDate)
    )
    assert (series - study).astype(int) == 7
    assert read.StudyDate < "20240229"
    assert read.AcquisitionDateTime == f"{read.StudyDate}120000.5+0100"
    assert (read.StudyTime, read.ContentDate, read.PatientBirthDate) == ("1200", "", "")
    assert read.LongitudinalTemporalInformationModified == "MODIFIED"


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (["clean-descriptors"], "not supported: no program tells"),
        (["retain-safe-private"], "not supported"),
        (["keep-all"], "choose from retain-uids"),
        (["retain-full-dates", "retain-modified-dates"], "not both"),
    ],
)
def test_options_that_cannot_be(names: list[str], part: str) -> None:
    with pytest.raises(DeidentificationError, match=part):
        parse_options(names)


@pytest.mark.parametrize(
    "elements",
    [
        {"SOPClassUID": "1.2.840.113619.4.26"},
        {"transfer_syntax": ExplicitVRBigEndian},
        {"PhotometricInterpretation": "CMYK"},
        {"BitsAllocated": 1},
        {"PixelData": b"\0\0"},
    ],
)
def test_what_cannot_be_cleaned_is_refused_without_a_value(tmp_path: Path, elements: dict[str, Any]) -> None:
    with pytest.raises(DeidentificationError) as refused:
        cleaned(tmp_path / "a.dcm", image(PatientName="QZNAME", **elements))
    assert "QZ" not in str(refused.value)


def complaints(path: Path) -> set[str]:
    """Errors that dciodvfy (dicom3tools) finds, without the values that they quote."""
    said = subprocess.run([str(which("dciodvfy")), path], capture_output=True, text=True, errors="replace")
    errors = [line for line in said.stderr.splitlines() if line.startswith("Error")]
    return {re.sub(r"<[^>]*>|\d+", "", one) for one in errors}


@pytest.mark.skipif(which("dciodvfy") is None, reason="dicom3tools is not installed; .ci/run installs it")
@pytest.mark.parametrize("options", [(), tuple(one for one in Option if one != "retain-modified-dates")])
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "simulated"])
def test_the_copy_is_as_valid_as_its_source(tmp_path: Path, name: str, options: tuple[Option, ...]) -> None:
    if name == "simulated":
        write_simulated_study(tmp_path / "study", seed=1)
        source = next((tmp_path / "study").rglob("*.dcm"))
    else:
        source = Path(str(get_testdata_file(name)))
    copy = tmp_path / "copy.dcm"
    copy.write_bytes(cleaned(tmp_path / "source.dcm", source.read_bytes(), *options)[0])
    assert complaints(copy) - complaints(source) == set()


def test_canaries_are_different() -> None:
    values = [canary(tag) for tag in TABLE if canary(tag).startswith(b"QZ")]
    assert len(set(values)) == len(values) > 300
