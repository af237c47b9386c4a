"""A trail of twelve rows and two checkpoints, for tests that tamper with it."""

from dataclasses import dataclass

import audit
from audit.keys import SigningKey, VerifierKey, generate_key

ROWS = 12
SIGNED = (5, 9)
REPEATED = ("recorded", "agent", "action", "subject", "outcome", "source", "role")
REPEATED += ("patient", "study", "model", "verdict", "confidence")

Found = set[tuple[str, int | None, str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    url: str
    key: SigningKey
    notes: tuple[str, ...]

    def verify(self, *notes: str, keys: tuple[VerifierKey, ...] = ()) -> audit.Verification:
        with audit.Log(self.url, create=False) as log:
            return log.verify(keys=keys or [self.key.verifier], checkpoints=notes)

    def found(self, *notes: str, keys: tuple[VerifierKey, ...] = ()) -> Found:
        problems = self.verify(*notes, keys=keys).problems
        return {(problem.kind, problem.sequence, problem.field) for problem in problems}

    def messages(self, *notes: str) -> list[str]:
        return [problem.message for problem in self.verify(*notes).problems]


def entry(number: int) -> audit.Entry:
    """Every field is set, but in row 7, which has those alone that each row must have."""
    required = audit.Entry(agent=f"dr-{number}", action="answer", subject=f"s-{number}", entity={"n": number})
    if number == 7:
        return required
    return audit.Entry(
        agent=f"dr-{number}",
        action="answer",
        subject=f"s-{number}",
        entity={"n": number, "text": "Größe 4 µm"},
        role="reader",
        patient=f"p-{number}",
        study=f"1.2.{number}",
        model="ab" * 32,
        verdict="steady",
        confidence=number / 16,
    )


def signed_trail(url: str) -> Trail:
    """Twelve rows, of which a checkpoint covers five and another one nine."""
    key, notes = generate_key("example.org/trail"), []
    with audit.Log(url) as log:
        for number in range(1, ROWS + 1):
            log.append(entry(number))
            if number in SIGNED:
                notes.append(log.sign([key]).note)
    return Trail(url=url, key=key, notes=tuple(notes))
