"""A trail of made-up working days, as large as wanted, for tests and benchmarks.

    python benchmarks/audit_events.py sqlite:////tmp/million.sqlite 1000000

Days run from 2024 on: people log in, open studies, ask, and review some of the answers; a few are refused.
The same count gives the same events, but for the machine's name.
"""

import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import audit
from audit.actions import Action
from audit.rows import plain_entry

START = datetime(2024, 1, 1, 7, tzinfo=UTC)
MODELS = [f"{number:064x}" for number in (0xA11CE << 200, 0xB0B << 200, 0xCAFE << 200)]
QUESTIONS = ("Is there a tumor?", "Where is the fracture?", "Is the heart enlarged?", "What is abnormal?")
COMMIT = 2000
"""Events a transaction."""


class Clock(datetime):
    """Says that it is `moment`, whenever asked."""

    moment = START

    @classmethod
    def now(cls, _tz: object = None) -> datetime:
        return cls.moment


def build(url: str, count: int) -> None:
    """Fill a new trail with `count` events."""
    visits = _visits(random.Random(7))  # noqa: S311 - made-up events
    with patch("audit.appending.datetime", Clock), audit.Log(url) as log:
        written = 0
        while written < count:
            with log.writing() as connection:
                until = min(count, written + COMMIT)
                while written < until:
                    Clock.moment, entries = next(visits)
                    contents = [plain_entry(entry) for entry in entries[: until - written]]
                    log.extend(connection, contents)
                    written += len(contents)


def _visits(chance: random.Random) -> Iterator[tuple[datetime, list[audit.Entry]]]:
    """When somebody looked at a study, and what came of it: every five minutes or so, day and night."""
    moment, number = START, 0
    while True:
        moment += timedelta(seconds=chance.expovariate(1 / 300))
        number += 1
        yield moment, list(_visit(chance, number))


def _visit(chance: random.Random, number: int) -> Iterator[audit.Entry]:
    person, patient = f"dr-{chance.randrange(200)}", chance.randrange(20_000)
    common = {
        "agent": person,
        "role": "radiologist",
        "patient": f"P-{patient:026d}",
        "study": f"1.2.826.0.1.3680043.8.498.{patient}.{chance.randrange(3)}",
    }
    if number % 20 == 1:
        yield audit.Entry(agent=person, action=Action.LOGIN, subject=person, entity={}, role="radiologist")
    yield audit.Entry(**common, action=Action.OPEN_STUDY, subject=common["study"], entity={"images": 1})
    for question in chance.sample(QUESTIONS, chance.randint(1, 3)):
        yield from _question(chance, common, f"answer-{number}-{QUESTIONS.index(question)}", question)


def _question(
    chance: random.Random, common: dict[str, str], subject: str, question: str
) -> Iterator[audit.Entry]:
    asked = {**common, "subject": subject, "model": chance.choice(MODELS)}
    digest = f"{chance.getrandbits(256):064x}"
    yield audit.Entry(**asked, action=Action.ASK, entity={"question": question, "pixel_sha256": digest})
    if chance.random() < 0.02:
        reason = chance.choice(("blank_image", "aspect_ratio"))
        yield audit.Entry(**asked, action=Action.REFUSE, outcome="refused", entity={"reason": reason})
        return
    verdict = chance.choices(("grounded", "unsure", "image_blind"), (7, 2, 1))[0]
    confidence = round(chance.betavariate(5, 2), 6)
    entity = {
        "question": question,
        "pixel_sha256": digest,
        "answer": chance.choice(("yes", "no", "in the left lung", "nothing abnormal")),
        "tokens": [{"id": chance.randrange(3000), "log_probability": -chance.random()} for _ in range(4)],
        "applied": [{"name": "window", "parameters": {"center": 40.0, "width": 400.0}}],
    }
    yield audit.Entry(**asked, action=Action.ANSWER, verdict=verdict, confidence=confidence, entity=entity)
    if chance.random() < 0.3:
        opinion = chance.choices(("agree", "amend", "reject"), (90, 7, 3))[0]
        yield audit.Entry(**asked, action=Action.REVIEW, verdict=opinion, entity={"seconds": 20})


if __name__ == "__main__":
    build(sys.argv[1], int(sys.argv[2]))
