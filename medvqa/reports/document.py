"""A report as plain data: the schema of its JSON form, which every other form is written from.

What may be relied on and what may not stand in lists of their own, under names that nobody takes for each
other: `answers` has a `text`, `struck_out` has `struck_words`. What both have in common is told once, in
`asked`. The schema changes only by a new value of `form`.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from medvqa.reading.stories import ReportStatus
from medvqa.types import HeatmapLevel, ReviewVerdict, Verdict

FORM = "medvqa-report-1"
"""Version of the schema."""

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
"""In [0, 1]."""


class Schema(BaseModel):
    """Frozen; refuses what it does not know, and numbers that are none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class StudyPart(Schema):
    """The study reported on."""

    study_instance_uid: str
    modalities: tuple[str, ...]
    """Modality (0008,0060) of its series, each once."""
    images: NonNegativeInt


class TreeHead(Schema):
    """Of the audit trail when the report was put together: it pins every answer in it."""

    size: NonNegativeInt
    """Events that it covers."""
    root: str
    """RFC 6962 root over them, lower hex."""


class Row(Schema):
    """Where in the audit trail something is recorded."""

    sequence: PositiveInt
    leaf_hash: str
    """RFC 6962 leaf hash, lower hex."""
    recorded: AwareDatetime


class ModelPart(Schema):
    """A model that answered, with what pins it down."""

    digest: str
    """Of all its files: `medvqa.digests.digest_model`."""
    name: str
    weights_sha256: str
    """`unknown` for a model behind a server, as is the next."""
    tokenizer_sha256: str
    adapter_sha256: str | None
    calibration_sha256: str | None
    prompt_version: str


class ImagePart(Schema):
    """The image asked about."""

    number: PositiveInt | None
    """From 1, in the study; null where the study no longer has it."""
    series_instance_uid: str
    sop_instance_uid: str
    frame_number: PositiveInt
    pixel_sha256: str
    modality: str


class ChecksPart(Schema):
    """What the answer is worth; see docs/checks.md."""

    verdict: Verdict
    meaning: str
    """Of the verdict, in one sentence."""
    confidence: Share
    confidence_calibrated: bool
    abstains: bool
    """Whether the model says that it cannot tell."""
    image_reliance: float
    """In nats, as the next two; null where an older program did not measure them."""
    image_effect: float | None
    wording_effect: float | None


class HeatmapPart(Schema):
    """The map that explains the answer."""

    method: str
    explained: str
    """The scalar that it explains."""
    grade: HeatmapLevel | None
    """Null where it was not graded."""
    drawn: bool
    """Whether an overlay is among the pictures: not where the map is graded chance, or not at hand."""
    sha256: str
    """Of its values; the trail has it too."""


class Picture(Schema):
    """The image asked about, or the same under its heatmap."""

    kind: Literal["image", "overlay"]
    caption: str
    media_type: Literal["image/png"] = "image/png"
    data: str
    """In base64."""


class ReviewPart(Schema):
    """What a person made of the answer; the last one holds, or the one that was signed."""

    verdict: ReviewVerdict
    reviewer: str
    text: str | None
    """The corrected answer, or the reason."""
    row: Row


class SignaturePart(Schema):
    """A signature on the review that holds (21 CFR 11.50)."""

    signer: str
    meaning: str
    row: Row


class AddendumPart(Schema):
    """What a person added after signing."""

    author: str
    text: str
    row: Row


class Asked(Schema):
    """One question, and all about its answer but the words of it."""

    answer_id: str
    question: str
    image: ImagePart
    checks: ChecksPart
    heatmap: HeatmapPart | None
    warnings: tuple[str, ...]
    """Codes of the notices that the answer came with."""
    reviews: tuple[ReviewPart, ...]
    signatures: tuple[SignaturePart, ...]
    addenda: tuple[AddendumPart, ...]
    model: str
    """Its digest, as in `models`."""
    row: Row
    """Of the answer."""
    pictures: tuple[Picture, ...]


class Held(Schema):
    """What may be relied on as far as anybody said so."""

    answer_id: str
    question: str
    text: str
    given_by: Literal["model", "reviewer"]
    status: ReportStatus
    """Of this answer: `preliminary` until it is signed."""


class Struck(Schema):
    """What the model said and does not hold: never to be shown but struck out."""

    answer_id: str
    question: str
    struck_words: str
    reason: str
    """Why they are struck out."""


class Document(Schema):
    """A report on one study."""

    form: Literal["medvqa-report-1"] = FORM
    notice: Literal["Research software: not for diagnostic use."]
    status: ReportStatus
    """`preliminary` while an answer is not signed, `amended` once one has an addendum, else `final`."""
    status_text: str
    issued: AwareDatetime
    patient: str | None
    """Pseudonym; null where the files name nobody."""
    study: StudyPart
    answers: tuple[Held, ...]
    """What holds; an answer of which nothing holds is not among them."""
    struck_out: tuple[Struck, ...]
    """What does not hold; an amended answer is here with the model's words, and above with the reviewer's."""
    asked: tuple[Asked, ...]
    """In the order of the answers."""
    models: tuple[ModelPart, ...]
    tree: TreeHead
