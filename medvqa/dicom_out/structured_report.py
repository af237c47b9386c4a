"""One answer, or what one task found, as a Comprehensive SR of template TID 1500, Measurement Report.

Reference: PS3.16 TID 1500; PS3.3 A.35.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from highdicom.sr import (
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from medvqa.dicom.instances import derive_uid
from medvqa.dicom_out import coding
from medvqa.dicom_out.measurement_groups import answer_group, region_groups
from medvqa.dicom_out.provenance import MANUFACTURER, cut, finish, identify, person_name
from medvqa.dicom_out.sources import refer_to

if TYPE_CHECKING:
    from collections.abc import Sequence

    from audit import Event
    from medvqa.dicom_out.provenance import Origin
    from medvqa.dicom_out.regions import Region
    from medvqa.dicom_out.sources import SourceImage
    from medvqa.reports import Document, Statement


def report_answer(
    statement: Statement, document: Document, region: Region | None, origin: Origin, source: SourceImage
) -> ComprehensiveSR:
    """What a report says of one answer.

    The document is VERIFIED by whoever signed the answer, and by nobody else; it is PRELIMINARY until then.
    Words of the model that do not hold are in it as such, never as its answer.

    Args:
        statement: Of the answer.
        document: The report that it is of, as plain data.
        region: That its heatmap marks, where that is to be shown.
        origin: Of the object.
        source: What was asked about.
    """
    marked = [] if region is None else region_groups(region, origin, source)
    review = statement.story.review
    person = None if review is None else _person(str(review.entity["reviewer"]))
    made = _document(
        [answer_group(statement, document, origin, source), *marked],
        origin,
        source,
        person=person,
        is_final=statement.story.status != "preliminary",
    )
    signatures = _signatures(statement)
    if signatures:
        organization = cut(str(source.header.get("InstitutionName") or "not stated"))
        made.VerificationFlag = "VERIFIED"
        made.VerifyingObserverSequence = [_verifying(one, organization) for one in signatures]
    return made


def report_regions(regions: Sequence[Region], origin: Origin, source: SourceImage) -> ComprehensiveSR:
    """What one task found: a box around each region, verified by nobody."""
    groups = [group for region in regions for group in region_groups(region, origin, source)]
    return _document(groups, origin, source, person=None, is_final=False)


def _document(
    groups: Sequence[Any],
    origin: Origin,
    source: SourceImage,
    *,
    person: ObserverContext | None,
    is_final: bool,
) -> ComprehensiveSR:
    report = MeasurementReport(
        observation_context=ObservationContext(
            observer_device_context=_device(origin), observer_person_context=person
        ),
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=groups,
    )
    document = ComprehensiveSR(
        evidence=[source.stand_in],
        content=report[0],
        is_complete=True,
        is_final=is_final,
        coding_schemes=coding.coding_schemes(),
        **identify(origin, source, series="Answers: research, not for diagnosis"),
    )
    refer_to(document, source)
    finish(document, origin, source.header)
    return document


def _device(origin: Origin) -> ObserverContext:
    return ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=derive_uid("medvqa model", origin.model_digest),
            name=MANUFACTURER,
            manufacturer_name=MANUFACTURER,
            model_name=cut(str(origin.model["name"])),
            serial_number=origin.model_digest,
        ),
    )


def _person(reviewer: str) -> ObserverContext:
    return ObserverContext(
        observer_type=codes.DCM.Person,
        observer_identifying_attributes=PersonObserverIdentifyingAttributes(name=person_name(reviewer)),
    )


def _signatures(statement: Statement) -> list[Event]:
    """On the review that holds."""
    review = statement.story.review
    signed: list[Event] = []
    for signature in statement.story.signatures:
        of: Any = signature.entity["review"]
        if review is not None and of["sequence"] == review.sequence:
            signed.append(signature)
    return signed


def _verifying(signature: Event, organization: str) -> Dataset:
    """Item of Verifying Observer Sequence (0040,A073), PS3.3 C.17.2."""
    item = Dataset()
    item.VerifyingObserverName = person_name(str(signature.entity["signer"]))
    item.VerifyingObserverIdentificationCodeSequence = []
    item.VerifyingOrganization = organization
    item.VerificationDateTime = f"{signature.recorded:%Y%m%d%H%M%S}+0000"
    return item
