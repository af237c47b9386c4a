"""A study and answers about it that no model gave, for tests of reports."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dicom_builder import image, write
from test_reading import CHECKS
from tiny_models import IDENTITY

from medvqa import records
from medvqa.models.base import Generation
from medvqa.reading.reviews import review
from medvqa.reading.signatures import add_addendum, sign
from medvqa.records import Outcome, Request, record
from medvqa.study import read_study
from medvqa.types import Token

if TYPE_CHECKING:
    from pathlib import Path

    from medvqa.sessions import Session
    from medvqa.types import Heatmap, ModelIdentity, Study, Verdict


def write_study(folder: Path) -> Study:
    """Three images of a patient with a name."""
    folder.mkdir()
    for number in (1, 2, 3):
        write(folder / f"{number}.dcm", image(number=number, PatientName="Doe^Jane", PatientID="ID-4711"))
    return read_study(folder)


def answer(
    session: Session,
    study: Study,
    text: str,
    *,
    question: str = "Is there a mass?",
    verdict: Verdict = "grounded",
    abstains: bool = False,
    place: int = 1,
    heatmap: Heatmap | None = None,
    model: ModelIdentity = IDENTITY,
) -> str:
    """Record an answer that no model gave; its id."""
    answer_id = f"answer {len(list(session.log.read()))}"
    request = Request(
        answer_id=answer_id,
        patient=session.pseudonym_of(study),
        image=study.images[place],
        question=question,
        model=model,
    )
    came = Outcome(
        generation=Generation(text=text, tokens=(Token(text=text, log_probability=-0.1),), token_ids=(7,)),
        checks=replace(CHECKS, verdict=verdict, abstains=abstains),
        heatmap=heatmap,
        warnings=(),
    )
    record(session.log, records.answer(session.agent, request, came))
    return answer_id


def answer_variously(session: Session, study: Study) -> None:
    """An answer signed and added to, one amended, one rejected, one that nobody read."""
    first = answer(session, study, "in the left lobe", question="Where is the mass?")
    review(session, first, verdict="agree")
    sign(session, first, meaning="reviewed and approved")
    add_addendum(session, first, text="seen on the lateral view too")
    amended = answer(session, study, "benign", question="Which kind?", verdict="fragile")
    review(session, amended, verdict="amend", text="not to be told from this image")
    tuned = replace(IDENTITY, adapter="adapter", adapter_sha256="4" * 64)
    rejected = answer(session, study, "purple", question="Which colour?", model=tuned)
    review(session, rejected, verdict="reject", text="there is none")
    answer(session, study, "yes", question="Is it large?", verdict="image_blind", model=tuned)
