"""Measurement groups of a Structured Report: one answer, or one region of an image.

Reference: PS3.16 TID 1501 (groups), 1410 (planar regions), 4019 (algorithms). The groups are extensible:
what is said in words is text of the group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    GraphicTypeValues,
    ImageRegion,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.sr.codedict import codes

from medvqa.dicom.instances import derive_uid
from medvqa.dicom_out import coding
from medvqa.dicom_out.provenance import FAMILY, MANUFACTURER, describe_model, own_version
from medvqa.reports.wording import describe_checks, describe_people, describe_source
from medvqa.types import NOT_FOR_DIAGNOSIS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from highdicom.sr import CodedConcept

    from medvqa.dicom_out.provenance import Origin
    from medvqa.dicom_out.regions import Region
    from medvqa.dicom_out.sources import SourceImage
    from medvqa.reports import Document, Statement

_MOST_OUTLINES = 5
"""Of one region: beyond them a map is scattered, and boxes around its specks say nothing."""


def answer_group(
    statement: Statement, document: Document, origin: Origin, source: SourceImage
) -> MeasurementsAndQualitativeEvaluations:
    """An answer: confidence as its measurement, verdict and review as its evaluations, the rest as text."""
    checks: Any = statement.entity["checks"]
    measured = coding.CALIBRATED if checks["confidence_calibrated"] else coding.UNCALIBRATED
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_track(f"answer {origin.subject}", origin),
        algorithm_id=_identify_algorithm(origin),
        measurements=[
            Measurement(name=measured, value=round(float(checks["confidence"]), 4), unit=codes.UCUM.NoUnits)
        ],
        qualitative_evaluations=[
            QualitativeEvaluation(name=coding.VERDICT, value=coding.VERDICTS[checks["verdict"]]),
            QualitativeEvaluation(name=coding.STATE, value=coding.STATES[statement.story.state]),
        ],
        source_images=[
            SourceImageForMeasurementGroup(
                source.stand_in.SOPClassUID, source.sop_instance_uid, _frames(source)
            )
        ],
    )
    _add_texts(group, _texts(statement, document))
    return group


def region_groups(
    region: Region, origin: Origin, source: SourceImage
) -> list[PlanarROIMeasurementsAndQualitativeEvaluations]:
    """Boxes around the largest connected parts of a region, one group a box.

    None has a Finding (121071,DCM): that a map marks a place does not say what is there.
    """
    groups: list[PlanarROIMeasurementsAndQualitativeEvaluations] = []
    for top, left, bottom, right in region.outlines[:_MOST_OUTLINES]:
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        place = f"{region.label}: rows {top:g} to {bottom:g}, columns {left:g} to {right:g}"
        group = PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=_track(place, origin),
            referenced_region=ImageRegion(
                graphic_type=GraphicTypeValues.POLYLINE,
                graphic_data=np.array(corners),
                source_image=SourceImageForRegion(
                    source.stand_in.SOPClassUID, source.sop_instance_uid, _frames(source)
                ),
            ),
            algorithm_id=_identify_algorithm(origin),
            qualitative_evaluations=[QualitativeEvaluation(name=coding.KIND, value=region.kind)],
        )
        score = () if region.score is None else ((coding.SCORE, f"{region.score:.3f}"),)
        _add_texts(group, ((coding.LIMITATION, NOT_FOR_DIAGNOSIS), (coding.LABEL, region.label), *score))
        groups.append(group)
    return groups


def _texts(statement: Statement, document: Document) -> Iterator[tuple[CodedConcept, str]]:
    """All that is said in words, in the order in which it is read."""
    yield coding.LIMITATION, NOT_FOR_DIAGNOSIS
    yield coding.QUESTION, statement.story.question
    if statement.held is not None:
        amended = statement.struck is not None
        yield (coding.AMENDED_ANSWER if amended else coding.ANSWER), statement.held
    if statement.struck is not None:
        yield coding.NOT_RELIED_ON, f"Not relied on. The model said: {statement.struck}"
        yield coding.REASON, str(statement.reason)
    (asked,) = (one for one in document.asked if one.answer_id == statement.story.answer_id)
    (model,) = (one for one in document.models if one.digest == asked.model)
    for name, value in describe_checks(asked):
        yield coding.CHECKS, f"{name}: {value}"
    for name, value in describe_people(asked):
        yield coding.PERSON, f"{name}: {value}"
    yield coding.SOURCE, describe_source(asked, model)


def _add_texts(group: Any, texts: Any) -> None:
    group[0].ContentSequence.extend(
        TextContentItem(name=name, value=text, relationship_type=RelationshipTypeValues.CONTAINS)
        for name, text in texts
    )


def _identify_algorithm(origin: Origin) -> AlgorithmIdentification:
    return AlgorithmIdentification(
        name=str(origin.model["name"]),
        version=own_version(),
        manufacturer=MANUFACTURER,
        family=FAMILY,
        parameters=[f"model={origin.model_digest}", *describe_model(origin)],
    )


def _track(identifier: str, origin: Origin) -> TrackingIdentifier:
    return TrackingIdentifier(
        uid=derive_uid("medvqa tracking", origin.subject, identifier), identifier=identifier
    )


def _frames(source: SourceImage) -> list[int] | None:
    return None if source.frame_number is None else [source.frame_number]
