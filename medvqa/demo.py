"""The demonstration: real and simulated studies become answers with heatmaps, recorded and verified."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined
from PIL import Image as PillowImage
from pydicom.data import get_testdata_file

from medvqa.imaging import to_uint8
from medvqa.records import record, report
from medvqa.signing_keys import trusted_keys
from medvqa.simulated_study import write_simulated_study

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from audit import Verification
    from medvqa.assistant import Assistant
    from medvqa.sessions import Session
    from medvqa.types import Answer, HeatmapMethod, Study

_SEED = 7
_REAL = (
    ("MR_small.dcm", "Real MR, 64 x 64 pixels, from pydicom's test files"),
    ("CT_small.dcm", "Real CT, which the model was not made for, from pydicom's test files"),
    ("examples_rgb_color.dcm", "Real ultrasound in colour, from pydicom's test files"),
)
_REAL_QUESTIONS: tuple[tuple[str, HeatmapMethod], ...] = (
    ("Which imaging modality is this?", "attention"),
    ("Which organ is shown?", "integrated_gradients"),
    ("How old is the patient?", "attention"),
)
_SIMULATED_QUESTIONS: tuple[tuple[str, HeatmapMethod], ...] = (
    ("Is there a nodule in this image?", "attention"),
    ("Where is the nodule?", "integrated_gradients"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One answer of the demonstration, with its pictures."""

    title: str
    truth: str | None
    """For simulated studies, where the finding is known to be."""
    answer: Answer
    image_file: str
    overlay_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    title: str
    truth: str | None
    study: Study
    image_number: int
    questions: tuple[tuple[str, HeatmapMethod], ...]


def run_demo(
    session: Session, assistant: Assistant, folder: Path, *, on_answer: Callable[[Shown, int], None]
) -> Verification:
    """Ask about every study of the demonstration, then verify the trail and write `folder/index.html`.

    Args:
        session: Whose demonstration it is.
        assistant: What answers, at the same trail.
        folder: For the simulated study, the pictures and the page.
        on_answer: Called with each answer as it comes, and the number of answers to come in all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown: list[Shown] = []
    cases = [*_real_cases(assistant), *_simulated_cases(assistant, folder)]
    total = sum(len(case.questions) for case in cases)
    for case in cases:
        for question, method in case.questions:
            answer = assistant.ask(case.study, question, image_number=case.image_number, heatmap=method)
            shown.append(_draw(case, answer, folder, number=len(shown) + 1))
            on_answer(shown[-1], total)
    verification = session.log.verify(keys=trusted_keys(session.key_folder))
    page = _render_page(shown, verification).encode()
    answers = [one.answer.answer_id for one in shown]
    record(session.log, report(session.agent, sha256=hashlib.sha256(page).hexdigest(), answers=answers))
    (folder / "index.html").write_bytes(page)
    return verification


def _real_cases(assistant: Assistant) -> list[_Case]:
    cases: list[_Case] = []
    for name, title in _REAL:
        # These files travel in pydicom's wheel; nothing is fetched.
        path = str(get_testdata_file(name, download=False))
        study = assistant.open_study(path)
        cases.append(_Case(title=title, truth=None, study=study, image_number=1, questions=_REAL_QUESTIONS))
    return cases


def _simulated_cases(assistant: Assistant, folder: Path) -> list[_Case]:
    truth = write_simulated_study(folder / "simulated-study", seed=_SEED)
    study = assistant.open_study(folder / "simulated-study")
    cases: list[_Case] = []
    for one in truth:
        where = (
            "no nodule" if one.nodule is None else f"nodule in the {one.nodule.quadrant(one.shape)} quadrant"
        )
        questions = _SIMULATED_QUESTIONS[:1] if one.nodule is None else _SIMULATED_QUESTIONS
        cases.append(
            _Case(
                title=f"Simulated head phantom, image {one.image_number} of {len(truth)}",
                truth=where,
                study=study,
                image_number=one.image_number,
                questions=questions,
            )
        )
    return cases


def _draw(case: _Case, answer: Answer, folder: Path, *, number: int) -> Shown:
    image_file, overlay_file = f"{number:02}-image.png", f"{number:02}-overlay.png"
    PillowImage.fromarray(to_uint8(case.study.images[case.image_number - 1])).save(folder / image_file)
    if answer.heatmap is not None:
        answer.heatmap.save(folder / overlay_file)
    return Shown(
        title=case.title, truth=case.truth, answer=answer, image_file=image_file, overlay_file=overlay_file
    )


def _render_page(shown: list[Shown], verification: Verification) -> str:
    source = files("medvqa").joinpath("templates", "demo.html").read_text(encoding="utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(source)
    return template.render(shown=shown, verification=verification)
