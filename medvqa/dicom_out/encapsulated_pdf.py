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
    from medvqa.reports import Document


def encapsulated_pdf(document: Document, origin: Origin, sources: Sequence[SourceImage]) -> SOPClass:
    """The report as `medvqa report` writes it; it names the patient by pseudonym, its header by name.

    Args:
        document: The report of one study.
        origin: Of the object.
        sources: Of the images asked about, the first of which says whose study it is.
    """
    source = sources[0]
    content = write_pdf(document)
    made = SOPClass(
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
    made.ConversionType = "SYN"
    made.AcquisitionDateTime = None
    made.BurnedInAnnotation = _burned_in(sources)
    made.VerificationFlag = "UNVERIFIED" if document.status == "preliminary" else "VERIFIED"
    made.DocumentTitle = "Report of questions about one study: research, not for diagnosis"
    made.ConceptNameCodeSequence = []
    made.SourceInstanceSequence = [_reference(one) for one in _distinct(sources)]
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    made.EncapsulatedDocumentLength = len(content)
    finish(made, origin, source.header)
    return made


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
