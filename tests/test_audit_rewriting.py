"""A trail cut off, or rewritten and hashed anew, is found by its checkpoints; forged ones do not help."""

import base64
from pathlib import Path

import pytest
from signed_trails import ROWS, SIGNED, Trail, entry, signed_trail
from tampering import (
    change_body,
    cut,
    flip_signature,
    rehash,
    replace_note,
    unguarded,
)

import audit
from audit.keys import generate_key


@pytest.fixture
def trail(trail_url: str) -> Trail:
    return signed_trail(trail_url)


def test_an_empty_trail_that_was_signed_is_covered(trail_url: str) -> None:
    key = generate_key("example.org/trail")
    with audit.Log(trail_url) as log:
        log.sign([key])
        assert log.verify(keys=[key.verifier]).checkpoints == 1
        log.append(entry(1))
        assert log.verify(keys=[key.verifier]).intact


@pytest.mark.parametrize(
    ("row", "stretch"), [(1, (1, 5)), (4, (1, 5)), (5, (1, 5)), (6, (6, 9)), (9, (6, 9))]
)
def test_a_history_rewritten_to_its_end_is_found_by_the_first_checkpoint_over_it(
    trail: Trail, row: int, stretch: tuple[int, int]
) -> None:
    with unguarded(trail.url) as intruder:
        change_body(intruder, row, agent="other")
        rehash(intruder, row)
    first, last = stretch
    assert trail.found() == {("history", first, None)}
    (message,) = trail.messages()
    assert f"rows {first} to {last} are not those that the checkpoint of {last} events" in message
    assert trail.verify().covered == (0 if last == 5 else 5)


def test_what_no_checkpoint_covers_can_be_rewritten_unseen(trail: Trail) -> None:
    with audit.Log(trail.url) as log:
        elsewhere = log.sign([trail.key]).note
    with unguarded(trail.url) as intruder:
        intruder.execute("DELETE FROM checkpoint WHERE number = 3")
        change_body(intruder, 11, agent="other")
        rehash(intruder, 11)
    assert trail.verify().intact
    assert trail.found(elsewhere) == {("history", 10, None)}


@pytest.mark.parametrize("size", [0, 4, 8])
def test_an_end_cut_off_with_its_checkpoints_is_found_by_those_kept_elsewhere(
    trail: Trail, size: int
) -> None:
    with unguarded(trail.url) as intruder:
        cut(intruder, size)
    assert trail.verify().intact  # what the database alone cannot show
    larger = [signed for signed in SIGNED if signed > size]
    assert trail.messages(*trail.notes) == [
        f"the end was cut off: the checkpoint of {signed} events covers rows {size + 1} to {signed}, "
        "which are missing"
        for signed in larger
    ]
    assert trail.found(*trail.notes) == {("tail", size + 1, None)}


def test_an_end_cut_off_and_regrown_is_found_by_a_checkpoint_kept_elsewhere(trail: Trail) -> None:
    with unguarded(trail.url) as intruder:
        cut(intruder, 7)
    with audit.Log(trail.url) as log:
        log.append_all([entry(number) for number in range(8, ROWS + 1)])
    assert trail.verify().intact
    assert trail.found(*trail.notes) == {("history", 6, None)}


def test_a_history_rewritten_and_signed_by_another_key_is_found(trail: Trail) -> None:
    forger = generate_key("example.org/trail")
    with unguarded(trail.url) as intruder:
        change_body(intruder, 2, agent="other")
        rehash(intruder, 2)
        intruder.execute("DELETE FROM checkpoint")
    with audit.Log(trail.url) as log:
        log.sign([forger])
    assert trail.found() == {("foreign_key", None, None)}
    assert trail.found(*trail.notes) == {("foreign_key", None, None), ("history", 1, None)}


def test_a_checkpoint_with_a_flipped_signature_is_forged(trail: Trail) -> None:
    with unguarded(trail.url) as intruder:
        forged = replace_note(intruder, 2, flip_signature)
    assert trail.found() == {("forged_checkpoint", None, None)}
    assert trail.messages() == [
        "the checkpoint of 9 events proves nothing: the signature of example.org/trail is not that key's: "
        "it is forged"
    ]
    assert trail.verify().covered == 5
    assert trail.found(forged, trail.notes[1]) == {("forged_checkpoint", None, None)}


@pytest.mark.parametrize(
    ("old", "new"), [("\n9\n", "\n8\n"), ("\n9\n", "\n09\n"), ("example", "exemple"), ("\n9", "")]
)
def test_a_checkpoint_whose_text_was_altered_is_found(trail: Trail, old: str, new: str) -> None:
    with unguarded(trail.url) as intruder:
        replace_note(intruder, 2, lambda note: note.replace(old, new, 1))
    assert {kind for kind, _, _ in trail.found()} == {"forged_checkpoint"}


@pytest.mark.parametrize("note", ["", "nothing", "a\n1\nAA==\n\n— a b\n", "—" * 99])
def test_a_checkpoint_that_is_none_is_found(trail: Trail, note: str) -> None:
    with unguarded(trail.url) as intruder:
        replace_note(intruder, 1, lambda _: note)
    assert trail.found() == {("forged_checkpoint", None, None)}
    assert "checkpoint 1 of the table cannot be read" in trail.messages()[0]
    assert "checkpoint 1 of those given cannot be read" in trail.messages("none")[1]


def test_a_checkpoint_under_another_size_is_found(trail: Trail) -> None:
    with unguarded(trail.url) as intruder:
        intruder.execute("UPDATE checkpoint SET size = 99 WHERE number = 1")
    assert trail.found() == {("forged_checkpoint", None, None)}


def test_a_checkpoint_missing_between_others_is_found(trail: Trail) -> None:
    with unguarded(trail.url) as intruder:
        intruder.execute("DELETE FROM checkpoint WHERE number = 1")
    assert trail.messages() == ["checkpoint 1 of the table is missing"]


def test_the_checkpoint_of_another_trail_is_foreign(trail: Trail, tmp_path: Path) -> None:
    other = generate_key("example.org/other")
    with audit.Log(f"sqlite:///{tmp_path}/other.sqlite") as log:
        log.append_all([entry(number) for number in range(1, 4)])
        foreign = log.sign([other])
        posing = log.sign([generate_key("example.org/trail")])
    for note in (foreign.note, posing.note):
        assert trail.found(note) == {("foreign_key", None, None)}
    # Who trusts both keys learns that it is about another trail's rows.
    both = (trail.key.verifier, other.verifier)
    assert trail.found(foreign.note, keys=both) == {("history", 1, None)}


def test_a_checkpoint_that_names_another_trail_than_its_key_is_foreign(trail: Trail) -> None:
    text = trail.notes[0].replace("example.org/trail", "example.org/other", 1).partition("\n\n")[0] + "\n"
    key = trail.key.verifier
    signature = base64.b64encode(key.key_id + trail.key.sign(text.encode())).decode()
    assert trail.found(f"{text}\n— {key.name} {signature}\n") == {("foreign_key", None, None)}


def test_without_keys_no_checkpoint_is_trusted(trail: Trail) -> None:
    with audit.Log(trail.url) as log:
        result = log.verify()
    assert [problem.kind for problem in result.problems] == ["foreign_key", "foreign_key"]
    assert result.covered == 0


def test_a_program_that_remembers_the_rows_exposes_their_rewriting_by_its_next_one(trail_url: str) -> None:
    with audit.Log(trail_url) as log:
        log.append_all([entry(number) for number in range(1, 4)])
        with unguarded(trail_url) as intruder:
            change_body(intruder, 1, agent="other")
            rehash(intruder, 1)
        assert log.verify().intact
        log.append(entry(4))
        problems = log.verify().problems
    assert [(problem.kind, problem.sequence) for problem in problems] == [("altered", 1)]
