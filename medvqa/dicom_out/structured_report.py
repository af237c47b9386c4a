"""One answer as a Comprehensive SR of template TID 1500, Measurement Report.

The answer is one measurement group (TID 1501), which is extensible: question, answer and what became of it
are text of the group, confidence is its measurement, verdict and state of review its evaluations. The region
that a heatmap marks is a group of its own (TID 1410), with its outline in the image's own pixels.

Reference: PS3.16 TID 1500, 1501, 1410, 4019; PS3.3 A.35.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from highdicom.sr import (
    AlgorithmIdentification,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from medvqa.dicom.instances import derive_uid
from medvqa.dicom_out import coding
from medvqa.dicom_out.provenance import (
    FAMILY,
    MANUFACTURER,
    cut,
    describe_model,
    finish,
    identify,
    own_version,
    person_name,
)
from medvqa.dicom_out.sources import refer_to
from medvqa.reports.wording import describe_answer, describe_people, describe_source
from medvqa.types import NOT_FOR_DIAGNOSIS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from highdicom.sr import CodedConcept

    from audit import Event
    from medvqa.dicom_out.provenance import Origin
    from medvqa.dicom_out.sources import SourceImage
    from medvqa.reports import Statement


def structured_report(statement: Statement, origin: Origin, source: SourceImage) -> ComprehensiveSR:
    """What a report says of one answer.

    The document is VERIFIED by whoever signed the answer, and by nobody else; it is PRELIMINARY until then.
    Words of the model that do not hold are in it as such, never as its answer.
    """
    report = MeasurementReport(
        observation_context=ObservationContext(
            observer_device_context=_device(origin), observer_person_context=_person(statement)
        ),
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=[_answer_group(statement, origin, source)],
    )
    signatures = _signatures(statement)
    final = statement.story.status != "preliminary"
    document = ComprehensiveSR(
        evidence=[source.stand_in],
        content=report[0],
        is_complete=True,
        is_final=final,
        coding_schemes=coding.coding_schemes(),
        **identify(origin, source, series="Answers: research, not for diagnosis"),
    )
    _verify(document, signatures, str(source.header.get("InstitutionName") or ""))
    refer_to(document, source)
    finish(document, origin, source.header)
    return document


def _answer_group(
    statement: Statement, origin: Origin, source: SourceImage
) -> MeasurementsAndQualitativeEvaluations:
    checks: Any = statement.entity["checks"]
    measured = coding.CALIBRATED if checks["confidence_calibrated"] else coding.UNCALIBRATED
    frames = None if source.frame_number is None else [source.frame_number]
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_track(f"answer {origin.subject}", origin),
        algorithm_id=AlgorithmIdentification(
            name=str(origin.model["name"]),
            version=own_version(),
            manufacturer=MANUFACTURER,
            family=FAMILY,
            parameters=describe_model(origin),
        ),
        measurements=[
            Measurement(name=measured, value=round(float(checks["confidence"]), 4), unit=codes.UCUM.NoUnits)
        ],
        qualitative_evaluations=[
            QualitativeEvaluation(name=coding.VERDICT, value=coding.VERDICTS[checks["verdict"]]),
            QualitativeEvaluation(name=coding.STATE, value=coding.STATES[statement.story.state]),
        ],
        source_images=[
            SourceImageForMeasurementGroup(source.stand_in.SOPClassUID, source.sop_instance_uid, frames)
        ],
    )
    for name, text in _texts(statement):
        item = TextContentItem(name=name, value=text, relationship_type=RelationshipTypeValues.CONTAINS)
        group[0].ContentSequence.append(item)
    return group


def _texts(statement: Statement) -> Iterator[tuple[CodedConcept, str]]:
    """All that is said in words, in the order in which it is read."""
    yield coding.LIMITATION, NOT_FOR_DIAGNOSIS
    yield coding.QUESTION, statement.story.question
    if statement.held is not None:
        amended = statement.struck is not None
        yield (coding.AMENDED_ANSWER if amended else coding.ANSWER), statement.held
    if statement.struck is not None:
        yield coding.NOT_RELIED_ON, f"Not relied on. The model said: {statement.struck}"
        yield coding.REASON, str(statement.reason)
    for name, value in describe_answer(statement):
        yield coding.CHECKS, f"{name}: {value}"
    for name, value in describe_people(statement):
        yield coding.PERSON, f"{name}: {value}"
    yield coding.SOURCE, describe_source(statement)


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


def _person(statement: Statement) -> ObserverContext | None:
    """Whoever's review holds."""
    review = statement.story.review
    if review is None:
        return None
    return ObserverContext(
        observer_type=codes.DCM.Person,
        observer_identifying_attributes=PersonObserverIdentifyingAttributes(
            name=person_name(str(review.entity["reviewer"]))
        ),
    )


def _track(identifier: str, origin: Origin) -> TrackingIdentifier:
    return TrackingIdentifier(
        uid=derive_uid("medvqa tracking", origin.subject, identifier), identifier=identifier
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


def _verify(document: Dataset, signatures: list[Event], institution: str) -> None:
    """Verifying Observer Sequence (0040,A073), one item a signature (PS3.3 C.17.2)."""
    if not signatures:
        return
    items: list[Dataset] = []
    for signature in signatures:
        item = Dataset()
        item.VerifyingObserverName = person_name(str(signature.entity["signer"]))
        item.VerifyingObserverIdentificationCodeSequence = []
        item.VerifyingOrganization = institution or "not stated"
        item.VerificationDateTime = f"{signature.recorded:%Y%m%d%H%M%S}+0000"
        items.append(item)
    document.VerificationFlag, document.VerifyingObserverSequence = "VERIFIED", items
