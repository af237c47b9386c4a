"""Reports that were made up, one of each status, to try templates on before there is a real one."""

from __future__ import annotations

from datetime import UTC, datetime

from medvqa.checks.verdict import MEANINGS
from medvqa.reports.document import (
    AddendumPart,
    Asked,
    ChecksPart,
    Document,
    HeatmapPart,
    Held,
    ImagePart,
    ModelPart,
    Picture,
    ReviewPart,
    Row,
    SignaturePart,
    Struck,
    StudyPart,
    TreeHead,
)
from medvqa.reports.wording import STATUS
from medvqa.types import NOT_FOR_DIAGNOSIS

_WHEN = datetime(2000, 1, 1, 12, tzinfo=UTC)
_ONE_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
_MODEL = ModelPart(
    digest="a0" * 32,
    name="sample",
    weights_sha256="a1" * 32,
    tokenizer_sha256="a2" * 32,
    adapter_sha256=None,
    calibration_sha256=None,
    prompt_version="1",
)
_TUNED = _MODEL.model_copy(
    update={"digest": "b0" * 32, "adapter_sha256": "b3" * 32, "calibration_sha256": "b4" * 32}
)


def _row(number: int) -> Row:
    return Row(sequence=number, leaf_hash=f"{number:064x}", recorded=_WHEN)


_BARE = Asked(
    answer_id="00000000-0000-4000-8000-000000000001",
    question="Is there a sample?",
    image=ImagePart(
        number=None,
        series_instance_uid="2.25.2",
        sop_instance_uid="2.25.3",
        frame_number=1,
        pixel_sha256="c0" * 32,
        modality="OT",
    ),
    checks=ChecksPart(
        verdict="unsure",
        meaning=MEANINGS["unsure"],
        confidence=0.5,
        confidence_calibrated=False,
        abstains=True,
        image_reliance=0.0,
        image_effect=None,
        wording_effect=None,
    ),
    heatmap=None,
    warnings=(),
    reviews=(),
    signatures=(),
    addenda=(),
    model=_MODEL.digest,
    row=_row(1),
    pictures=(),
)
_FULL = Asked(
    answer_id="00000000-0000-4000-8000-000000000002",
    question="Where is the sample?",
    image=_BARE.image.model_copy(update={"number": 1}),
    checks=ChecksPart(
        verdict="grounded",
        meaning=MEANINGS["grounded"],
        confidence=0.9,
        confidence_calibrated=True,
        abstains=False,
        image_reliance=2.0,
        image_effect=1.0,
        wording_effect=0.1,
    ),
    heatmap=HeatmapPart(method="attention", explained="a sample", grade="good", drawn=True, sha256="d0" * 32),
    warnings=("one_image_of_many",),
    reviews=(ReviewPart(verdict="amend", reviewer="sample-1", text="on the left", row=_row(3)),),
    signatures=(SignaturePart(signer="sample-1", meaning="reviewed and approved", row=_row(4)),),
    addenda=(AddendumPart(author="sample-1", text="a remark", row=_row(5)),),
    model=_TUNED.digest,
    row=_row(2),
    pictures=(
        Picture(kind="image", caption="Image 1", data=_ONE_PIXEL),
        Picture(kind="overlay", caption="attention", data=_ONE_PIXEL),
    ),
)
_AMENDED = Document(
    notice=NOT_FOR_DIAGNOSIS,
    status="amended",
    status_text=STATUS["amended"],
    issued=_WHEN,
    patient="P-SAMPLE",
    study=StudyPart(study_instance_uid="2.25.1", modalities=("OT", "MR"), images=1),
    answers=(
        Held(
            answer_id=_FULL.answer_id,
            question=_FULL.question,
            text="on the left",
            given_by="reviewer",
            status="amended",
        ),
    ),
    struck_out=(
        Struck(
            answer_id=_FULL.answer_id,
            question=_FULL.question,
            struck_words="on the right",
            reason="amended by sample-1",
        ),
    ),
    asked=(_FULL,),
    models=(_TUNED,),
    tree=TreeHead(size=5, root="e0" * 32),
)
_FINAL = _AMENDED.model_copy(
    update={
        "status": "final",
        "status_text": STATUS["final"],
        "answers": (_AMENDED.answers[0].model_copy(update={"status": "final", "given_by": "model"}),),
        "struck_out": (),
        "asked": (_FULL.model_copy(update={"addenda": ()}),),
    }
)
_PRELIMINARY = _AMENDED.model_copy(
    update={
        "status": "preliminary",
        "status_text": STATUS["preliminary"],
        "patient": None,
        "struck_out": (
            *_AMENDED.struck_out,
            Struck(
                answer_id=_BARE.answer_id,
                question=_BARE.question,
                struck_words="yes",
                reason="the model cannot tell: this is its guess",
            ),
        ),
        "asked": (_FULL, _BARE),
        "models": (_TUNED, _MODEL),
    }
)

SAMPLES: tuple[Document, ...] = (_PRELIMINARY, _FINAL, _AMENDED)
"""With and without everything that a report may lack."""
