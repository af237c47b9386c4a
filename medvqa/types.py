"""The nouns: frozen records in DICOM's and FHIR's words, with the standard library alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Values: TypeAlias = NDArray[np.float32]
    """Modality values (Hounsfield units for CT), shape (rows, columns)."""
    Pixels: TypeAlias = NDArray[np.float32]
    """Display intensity in [0, 1], shape (rows, columns) or (rows, columns, 3)."""

Edges: TypeAlias = tuple[str, str, str, str]
"""Which way the left, right, top and bottom edge of an image point: letters of PS3.3 C.7.6.1.1.1."""

WindowName: TypeAlias = Literal["file", "lung", "bone", "brain", "soft_tissue"]
HeatmapMethod: TypeAlias = Literal[
    "attention",
    "rollout",
    "relevancy",
    "integrated_gradients",
    "token_integrated_gradients",
    "occlusion",
    "grad_cam",
]
Precision: TypeAlias = Literal["fp32", "bf16", "int8", "8bit", "4bit"]
"""Of weights. `int8`: the decoder's, by PyTorch's dynamic quantisation on a CPU, which sees the image in
float32. `8bit` and `4bit`: all linear layers', by bitsandbytes on an NVIDIA GPU."""
HeatmapLevel: TypeAlias = Literal["good", "weak", "chance"]
"""Of a heatmap: better than random maps and edges; than random maps alone; no better than random maps."""
ReportForm: TypeAlias = Literal["html", "pdf", "json", "fhir-r4", "fhir-r5"]
Verdict: TypeAlias = Literal["grounded", "fragile", "image_blind", "unsure"]
ReviewVerdict: TypeAlias = Literal["agree", "amend", "reject"]
"""What a person made of an answer: right as it stands; right once corrected; wrong or of no use."""

UNKNOWN = "unknown"
"""In place of a digest of files that nobody here can read, such as the weights of a model behind a server."""

NOT_FOR_DIAGNOSIS = "Research software: not for diagnostic use."
"""Stands wherever an `Answer` is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A named warning: what was noticed, where, and the way out."""

    code: str
    """Stable name, such as `burned_in_annotation`."""
    message: str
    """One sentence for a person, without patient attributes."""
    tag: str | None = None
    """The DICOM tag it rests on, such as `(0028,0301)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One VOI window of a file (PS3.3 C.11.2.1.2)."""

    center: float
    width: float
    function: Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"] = "LINEAR"
    explanation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupTable:
    """One VOI LUT (PS3.3 C.11.2.1.1): entry i maps the modality value `first_mapped + i`."""

    first_mapped: int
    bits: int
    entries: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRef:
    """Which frame of which instance, and a digest of what it held."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    frame_number: int
    """From 1, as DICOM counts frames."""
    pixel_sha256: str
    """Of the decoded stored pixels of this frame: dtype, shape and little-endian bytes."""
    file_sha256: str
    """Of the file's bytes."""


NOBODY = ImageRef(
    study_instance_uid="",
    series_instance_uid="",
    sop_instance_uid="",
    frame_number=1,
    pixel_sha256="",
    file_sha256="",
)
"""Of an image that no file holds, such as a simulated one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One decoded frame before presentation."""

    ref: ImageRef
    modality: str
    """Modality (0008,0060), or `unknown`."""
    photometric_interpretation: str
    """After decoding: `MONOCHROME1`, `MONOCHROME2` or `RGB`."""
    values: NDArray[Any]
    """Modality values as float32 (rows, columns), or RGB as uint8 (rows, columns, 3); read-only."""
    windows: tuple[Window, ...] = ()
    voi_lut: LookupTable | None = None
    padding: tuple[float, float] | None = None
    """Modality values, both ends included, that only pad the image: Pixel Padding Value (0028,0120)."""
    pixel_spacing_mm: tuple[float, float] | None = None
    """Between rows, between columns."""
    orientation: tuple[float, float, float, float, float, float] | None = None
    """Image Orientation (Patient) (0020,0037)."""
    position: tuple[float, float, float] | None = None
    """Image Position (Patient) (0020,0032), in mm."""
    edges: Edges | None = None
    """From the orientation, or else from Patient Orientation (0020,0020)."""
    laterality: str | None = None
    """Of a paired organ: `L`, `R` or `both`."""
    applied: tuple[Applied, ...] = ()
    """What decoding did: modality LUT or rescale, colour conversion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """One transform that pixels went through, with JSON-ready parameters."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One frame as it is shown: its rows and columns are those of the DICOM pixel matrix."""

    ref: ImageRef
    pixels: Pixels
    """Display intensity in [0, 1], float32, (rows, columns) or (rows, columns, 3); read-only."""
    modality: str
    pixel_spacing_mm: tuple[float, float] | None = None
    orientation: tuple[float, float, float, float, float, float] | None = None
    position: tuple[float, float, float] | None = None
    applied: tuple[Applied, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.pixels.shape[0], self.pixels.shape[1]


class PatientIdentity:
    """Who a study's patient is, for nobody to read but `medvqa.pseudonyms`.

    It shows nothing in text, and refuses to be pickled; a copy of it is itself.

    Args:
        patient_id: Patient ID (0010,0020), not empty.
        issuer: Issuer of Patient ID (0010,0021); empty where the file names none.
    """

    __slots__ = ("_named",)

    def __init__(self, *, patient_id: str, issuer: str = "") -> None:
        self._named = (patient_id, issuer)

    def reveal(self) -> tuple[str, str]:
        """Patient ID and issuer, in the clear."""
        return self._named

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PatientIdentity) and self._named == other._named

    def __hash__(self) -> int:
        return hash(self._named)

    def __repr__(self) -> str:
        return "PatientIdentity(withheld)"

    def __copy__(self) -> PatientIdentity:
        return self

    def __deepcopy__(self, _: object) -> PatientIdentity:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a patient's identity is not pickled; read the study again where it is needed")


@dataclass(frozen=True, slots=True)
class Pseudonym:
    """How the trail names a patient: stands for the identity where a study goes to another process."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Images that were acquired together; they follow each other in the study."""

    series_instance_uid: str
    modality: str
    """Modality (0008,0060), or `unknown`."""
    images: range
    """Their places among the images of the study, from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """The images of one study, in geometric order; each is decoded when it is asked for."""

    study_instance_uid: str
    images: Sequence[Image]
    """Decoded on access: `len` and the notices need no pixel data."""
    frames: Sequence[Frame] = field(repr=False)
    """What the images show, before presentation; decoded on access too."""
    series: tuple[Series, ...]
    """In the order of the images."""
    warnings: tuple[Notice, ...] = ()
    """From reading and from the gate."""
    patient: PatientIdentity | Pseudonym | None = field(default=None, repr=False)
    """None where no file says, or the files name several patients."""
    deidentified: bool = False
    """Whether each file says that its patient's identity was removed: (0012,0062) is YES."""
    study_date: date | None = field(default=None, repr=False)
    """Study Date (0008,0020), to tell which came before; shown as a distance alone, for it identifies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """What exactly answered."""

    name: str
    model_type: str
    weights_sha256: str
    """`UNKNOWN` for a model behind a server."""
    tokenizer_sha256: str
    """`UNKNOWN` for a model behind a server."""
    adapter: str | None
    adapter_sha256: str | None
    calibration_sha256: str | None = None
    """Of the `calibration.json` that confidence, abstention and maps rest on; None without one."""
    prompt_version: str
    parameters: Mapping[str, Any]
    """Generation parameters, dtype, device, threads."""
    libraries: Mapping[str, str]
    """Version of each library that shapes the output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One generated token and its natural log-probability under the model."""

    text: str
    log_probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """What the answer is worth while cells of the image are hidden or shown in the order of a map."""

    deletion: tuple[float, ...]
    """Probability in [0, 1] with the first cells hidden, one a fraction: of the answer or the word explained,
    geometric mean over its tokens; or of the answer where only it and the one compared with are possible. A
    map that marks what decided makes it fall early."""
    insertion: tuple[float, ...]
    """The same with the first cells shown and the others hidden: it rises early."""

    @property
    def deletion_auc(self) -> float:
        """Mean of `deletion`; lower is better."""
        return sum(self.deletion) / len(self.deletion)

    @property
    def insertion_auc(self) -> float:
        """Mean of `insertion`; higher is better."""
        return sum(self.insertion) / len(self.insertion)

    @property
    def gain(self) -> float:
        """`insertion_auc` - `deletion_auc`: by which maps are compared; higher is better."""
        return self.insertion_auc - self.deletion_auc


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatmapGrade:
    """Whether a heatmap marks what decided this answer; measured by `medvqa.checks.faithfulness`."""

    level: HeatmapLevel
    reason: str
    """One sentence for a person, beside the map or, where it is not drawn, in its place."""
    fractions: tuple[float, ...]
    """Shares of the cells that were hidden or shown."""
    curves: Curves
    """Of the map."""
    random: Curves
    """Mean of the random maps' curves."""
    edges: Curves
    """Of a map that marks edges in the image, whatever was asked."""
    beaten: float
    """Share of the random maps whose gain is smaller than the map's, in [0, 1]."""
    infidelity: float | None
    """By captum (Yeh et al. 2019): share of what hiding cells did that the map does not tell, in [0, 1], 0
    being best; None where hiding cells did nothing."""
    randomisation: float | None
    """Rank correlation of this method's maps with those of the model with random weights, in [-1, 1]; None
    where it was not measured for this model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heatmap:
    """How much each pixel spoke for the answer, aligned with the image's own pixel matrix."""

    method: HeatmapMethod
    values: Pixels
    """In [0, 1] with maximum 1 (or all 0), float32, shape (rows, columns) of the image; read-only."""
    grid: tuple[int, int]
    """Rows and columns of image tokens: the map resolves nothing finer."""
    explained: str
    """The scalar that the map explains."""
    part: str | None = None
    """The scalar, where it is not that of the whole answer: of one word, or of a contrast."""
    convergence_delta: float | None = None
    """Integrated Gradients: relative completeness error, |sum of attributions - gap| / |gap|."""
    grade: HeatmapGrade | None = None
    """None where it was not graded."""
    draw: Callable[[Path], None] = field(repr=False, compare=False)
    """Writes the map over the image to a PNG file."""

    def save(self, path: str | Path) -> None:
        """Write the map, drawn over its image, as a PNG file; one no better than chance is not drawn."""
        self.draw(Path(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What an answer is worth, measured on that answer."""

    confidence: float
    """In [0, 1]: the calibrated chance of being right, or else the same as `token_probability`."""
    confidence_calibrated: bool
    """False: `confidence` orders answers of one model but is no chance of being right."""
    token_probability: float
    """Mean probability of the answer's tokens, in [0, 1], as the model gave it."""
    abstains: bool
    """True where the confidence is under the threshold below which the model says that it cannot tell."""
    image_reliance: float
    """log p(answer | image) - log p(answer | image blanked to about its mean grey), in nats: 0 or less means
    that the model would say as much to an empty picture, as it may rightly do where it finds nothing."""
    image_effect: float
    """log p(answer | image) - the least of log p(answer | another picture), in nats: blanked or of others.
    Near 0 the model would say this to any image."""
    wording_effect: float
    """log p(answer | question) - the least of log p(answer | paraphrase), in nats: at 0.7 the answer is half
    as likely when asked in other words, at 0 or less as likely in all."""
    log_likelihood: float
    """log p(answer | image, question), in nats, computed in one batch with those below."""
    log_likelihood_blanked: float
    """The same with the image blanked to about its mean grey, in nats."""
    log_likelihoods_others: tuple[float, ...]
    """The same with each of other images, in nats: by default simulated stand-ins for other patients'."""
    paraphrases: tuple[str, ...]
    """Wordings that mean the same as the question, made by rule."""
    log_likelihoods_paraphrased: tuple[float, ...]
    """The same under each of them, in nats."""
    verdict: Verdict
    """See `medvqa.checks.verdict.judge` for the thresholds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model said about one image, with what it is worth and where it is recorded."""

    answer_id: str
    audit_id: int
    """Sequence number of the answer's event in the audit trail."""
    question: str
    text: str
    tokens: tuple[Token, ...]
    image: ImageRef
    model: ModelIdentity
    checks: Checks
    heatmap: Heatmap | None
    warnings: tuple[Notice, ...]
    created: datetime
    seconds: float
    """From the question to the durable record, heatmap and checks included."""
