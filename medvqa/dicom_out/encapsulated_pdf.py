"""The whole report of a study as an Encapsulated PDF (PS3.3 A.45.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from highdicom import SOPClass
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from medvqa.dicom_out.provenance import finish, identify
from medvqa.reports.pdf import write_pdf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medvqa.dicom_out.provenance import Origin
    from medvqa.dicom_out.sources import SourceImage
    from medvqa.reports import Report


def encapsulated_pdf(report: Report, origin: Origin, sources: Sequence[SourceImage]) -> SOPClass:
    """The report as `medvqa report` writes it; it names the patient by pseudonym, its header by name.

    Args:
        report: Of one study.
        origin: Of the object.
        sources: Of the images asked about, the first of which says whose study it is.
    """
    source = sources[0]
    content = write_pdf(report)
    document = SOPClass(
        study_instance_uid=source.stand_in.StudyInstanceUID,
        sop_class_uid=EncapsulatedPDFStorage,
        modality="DOC",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        patient_id="",
        patient_name="",
        patient_birth_date="",
        patient_sex="",
        **identify(origin, source, series="Report: research, not for diagnosis"),
    )
    document.ConversionType = "SYN"
    document.AcquisitionDateTime = None
    document.BurnedInAnnotation = _burned_in(sources)
    document.VerificationFlag = "UNVERIFIED" if report.status == "preliminary" else "VERIFIED"
    document.DocumentTitle = "Report of questions about one study: research, not for diagnosis"
    document.ConceptNameCodeSequence = []
    document.SourceInstanceSequence = [_reference(one) for one in _distinct(sources)]
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    document.EncapsulatedDocumentLength = len(content)
    finish(document, origin, source.header)
    return document


def _burned_in(sources: Sequence[SourceImage]) -> str:
    """Whether the pages may show who the patient is (0028,0301): the words do not, the pictures may."""
    return "NO" if all(one.header.get("BurnedInAnnotation") == "NO" for one in sources) else "YES"


def _distinct(sources: Sequence[SourceImage]) -> list[SourceImage]:
    return list({one.sop_instance_uid: one for one in sources}.values())


def _reference(source: SourceImage) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = source.sop_class_uid
    item.ReferencedSOPInstanceUID = source.sop_instance_uid
    return item
