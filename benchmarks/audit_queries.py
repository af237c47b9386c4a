"""How long a search of a long trail takes, beside the same search that may use no index.

    python benchmarks/audit_queries.py [--quick] [--trail FILE]

A trail of made-up working days from 2024 on: people log in, open studies, ask, and review some of the
answers; a few are refused. One million events (--quick: 20,000), the same each time but for the machine's
name. Each search is for its first page of 50, the newest first, as `medvqa audit list` asks; then come the
ten questions. The last line is JSON: milliseconds, and named ratios.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import audit
from audit.actions import Action
from audit.queries import answer, questions
from audit.rows import plain_entry
from audit.schema import AS_HELD, EVENT

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


PAGE = 50
DAY = {"since": datetime(2024, 1, 10, tzinfo=UTC), "until": datetime(2024, 1, 11, tzinfo=UTC)}
SEARCHES = {
    "agent": audit.Filter(agent="dr-17"),
    "patient": audit.Filter(patient=f"P-{77:026d}"),
    "study": audit.Filter(study="1.2.826.0.1.3680043.8.498.77.1"),
    "model": audit.Filter(model="f" * 64),
    "outcome": audit.Filter(outcome="refused"),
    "verdict": audit.Filter(verdict="reject"),
    "day": audit.Filter(**DAY),
    "confidence_range": audit.Filter(least_confidence=0.10, most_confidence=0.12),
    "disputed": audit.Filter(disputed=True),
    "since": audit.Filter(since=datetime(2024, 1, 20, tzinfo=UTC)),
    "text": audit.Filter(text="nowhere in it"),
}


def without_index(log: audit.Log, matching: audit.Filter) -> None:
    """The first page, by reading row after row."""
    query = matching.applied_to(AS_HELD).order_by(EVENT.c.sequence.desc()).limit(PAGE)
    with log.reading() as connection:
        text = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
        # The primary key still gives the order.
        connection.exec_driver_sql(text.replace("FROM event ", "FROM event NOT INDEXED ", 1)).fetchall()


def median_ms(task: Callable[[], object]) -> float:
    """Median of three, in milliseconds."""
    taken: list[float] = []
    for _ in range(3):
        started = time.perf_counter()
        task()
        taken.append((time.perf_counter() - started) * 1000)
    return round(statistics.median(taken), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20,000 events instead of a million")
    parser.add_argument("--trail", type=Path, help="keep the trail there, or use the one that is")
    given = parser.parse_args()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = given.trail or Path(folder) / "audit.sqlite"
        if not path.exists():
            build(f"sqlite:///{path}", 20_000 if given.quick else 1_000_000)
        with audit.Log(f"sqlite:///{path}", create=False) as log:
            print(f"{log.size():,} events")
            for name, matching in SEARCHES.items():
                ours = median_ms(lambda: list(log.read_rows(matching, limit=PAGE, newest_first=True)))  # noqa: B023
                peer = median_ms(lambda: without_index(log, matching))  # noqa: B023
                print(f"{name:>18}: {ours:9.2f} ms, without an index {peer:9.2f} ms")
                figures |= {f"{name}_ms": ours, f"{name}_without_index_to_ours": round(peer / ours, 2)}
            for question in questions().values():
                took = median_ms(lambda: answer(log, question, {}, limit=1000))  # noqa: B023
                print(f"{question.name:>18}: {took:9.2f} ms")
                figures[f"question_{question.name}_ms"] = took
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
