"""Whatever was appended, signed, rotated, reopened and tampered with, in any order: verify judges it rightly.

The model is what RFC 6962 says of the bodies in the table: a trail is intact when nobody left traces in it,
and the root over its first rows is that of every checkpoint, here and elsewhere.
"""

import hashlib
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from signed_trails import entry
from tampering import (
    TABLES,
    Row,
    alter,
    change_body,
    close_gap,
    connected,
    cut,
    delete,
    rehash,
    restore,
    save,
    swap,
    tree_root,
    unguarded,
)

import audit
from audit.checkpoints import parse_checkpoint
from audit.keys import create_key, read_known_keys
from audit.rotation import load_current_key, rotate

ROW = st.integers(0, 10_000)


class TamperedTrail(RuleBasedStateMachine):
    """One trail, its key, and the checkpoints that left the machine."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__()
        self.url = url
        self.key = folder / "audit.key"
        for file in folder.glob("audit.key*"):
            file.unlink()
        create_key(self.key, name="example.org/trail")
        self.log = audit.Log(url)
        with unguarded(url) as intruder:
            restore(intruder, {table: [] for table in TABLES})
        self.elsewhere: list[str] = []
        """Checkpoints that left the machine."""
        self.saved: dict[str, list[Row]] | None = None
        """What the tables held before someone left traces in them."""

    @initialize()
    def begin(self) -> None:
        self.log.append_all([entry(1), entry(2), entry(3)])
        self.checkpoint(sent=True)

    @precondition(lambda self: self.saved is None)
    @rule(number=st.integers(1, 9))
    def append(self, number: int) -> None:
        before = self.log.size()
        assert self.log.append(entry(number)).sequence == before + 1

    @precondition(lambda self: self.saved is None)
    @rule(numbers=st.lists(st.integers(1, 9), max_size=5))
    def append_all(self, numbers: list[int]) -> None:
        before = self.log.size()
        events = self.log.append_all([entry(number) for number in numbers])
        assert [event.sequence for event in events] == list(range(before + 1, before + len(numbers) + 1))

    @precondition(lambda self: self.saved is None)
    @rule(sent=st.booleans())
    def checkpoint(self, sent: bool) -> None:
        note = self.log.sign([load_current_key(self.log, self.key)]).note
        if sent:
            self.elsewhere.append(note)

    @precondition(lambda self: self.saved is None)
    @rule()
    def rotate(self) -> None:
        rotate(self.log, self.key, agent="ops")

    @rule()
    def reopen(self) -> None:
        self.log.close()
        self.log = audit.Log(self.url, create=False)

    @precondition(lambda self: self.saved is None and self.log.size() > 2)
    @rule(row=ROW, agent=st.sampled_from(["other", "another"]))
    def rewrite(self, row: int, agent: str) -> None:
        """Leave no trace in the rows: only a checkpoint can tell, once no program remembers the old ones."""
        with unguarded(self.url) as intruder:
            number = row % intruder.size() + 1
            change_body(intruder, number, agent=agent)
            rehash(intruder, number)
        self.reopen()

    @precondition(lambda self: self.saved is None and self.log.size() > 2)
    @rule(row=ROW)
    def cut_off(self, row: int) -> None:
        with unguarded(self.url) as intruder:
            cut(intruder, row % intruder.size())

    @precondition(lambda self: self.saved is None and self.log.size() > 2)
    @rule(kind=st.sampled_from(["column", "body", "hash", "leaf", "delete", "close", "swap"]), row=ROW)
    def leave_traces(self, kind: str, row: int) -> None:
        """Contradict the hashes; `undo` must follow before anything is appended."""
        with unguarded(self.url) as intruder:
            self.saved = save(intruder)
            number = row % (intruder.size() - 1) + 1
            hashes = bytes(intruder.value("hashes", number))
            match kind:
                case "column":
                    alter(intruder, number, subject="other")
                case "body":
                    change_body(intruder, number, agent="somebody else")
                case "hash":
                    alter(intruder, number, hashes=hashes[:-1] + bytes([hashes[-1] ^ 1]))
                case "leaf":
                    change_body(intruder, number, agent="somebody else")
                    rehash(intruder, number, onward=False, whole=False)
                case "delete":
                    delete(intruder, number)
                case "close":
                    delete(intruder, number)
                    close_gap(intruder, number)
                case _:
                    swap(intruder, number, number + 1)

    @precondition(lambda self: self.saved is not None)
    @rule()
    def undo(self) -> None:
        assert self.saved is not None
        with unguarded(self.url) as intruder:
            restore(intruder, self.saved)
        self.saved = None

    @invariant()
    def is_judged_rightly(self) -> None:
        keys = read_known_keys(self.key)
        result = self.log.verify(keys=keys, checkpoints=self.elsewhere)
        assert result.intact == (self.saved is None and self.checkpoints_hold()), result.problems
        if self.saved is None:
            assert {problem.kind for problem in result.problems} <= {"history", "tail", "foreign_key"}

    def checkpoints_hold(self) -> bool:
        with connected(self.url) as intruder:
            bodies = intruder.execute("SELECT body FROM event ORDER BY sequence")
            notes = [note for (note,) in intruder.execute("SELECT note FROM checkpoint")]
        leaves = [hashlib.sha256(b"\x00" + body.encode()).digest() for (body,) in bodies]
        found = [parse_checkpoint(note) for note in (*notes, *self.elsewhere)]
        return all(each.size <= len(leaves) and tree_root(leaves[: each.size]) == each.root for each in found)

    def teardown(self) -> None:
        self.log.close()


@pytest.mark.slow
def test_any_interleaving_is_judged_rightly(trail_url: str, tmp_path: Path) -> None:
    examples = 15 if trail_url.startswith("postgresql") else 60
    run_state_machine_as_test(
        lambda: TamperedTrail(trail_url, tmp_path),
        settings=settings(max_examples=examples, stateful_step_count=25),
    )
