"""Archives: bodies move to signed files that give the tree; nothing is lost, or altered unseen."""

import os
import resource
import signal
import sys
from collections.abc import Callable
from datetime import timedelta, timezone
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import sqlalchemy as sa
from audit_archiving import KEY, KEYS, LATER, append, bodies_of, moved, verified

import audit
from audit.actions import Action
from audit.archive_files import write_archive
from audit.archives import archive, check_archive, read_archive
from audit.checkpoints import sign_checkpoint
from audit.guards import install_guards
from audit.keys import create_key, load_key, read_known_keys
from audit.merkle import fold, grow, leaf_hash
from audit.rotation import rotate


def test_archived_bodies_are_in_the_file_and_the_trail_stays_whole(trail_url: str, tmp_path: Path) -> None:
    with audit.Log(trail_url) as log:
        append(log, 5)
        before, kept = bodies_of(log), log.sign([KEY])
        first = moved(log, tmp_path / "archives")
        assert (first.first, first.last, first.path.name) == (1, 5, "audit-0000000001-0000000005.zip")
        assert dict(read_archive(first.path, keys=KEYS)) == before
        assert [body is None for body in bodies_of(log).values()] == [True] * 5 + [False]
        append(log, 3)
        second = moved(log, tmp_path / "archives")
        assert (second.first, second.last) == (6, 9)

        without, given = verified(log), verified(log, first.path, second.path)
        assert (without.intact, without.archived, without.events) == (True, 9, 10)
        assert (given.intact, given.archived, given.root) == (True, 0, without.root)
        assert verified(log, second.path, checkpoints=[kept.note]).archived == 5
        assert without.covered == 10, "a checkpoint was signed with the archive"


def test_the_archive_is_recorded_in_the_trail(trail_url: str, tmp_path: Path) -> None:
    with audit.Log(trail_url) as log:
        append(log, 3)
        found = moved(log, tmp_path)
        event = next(log.read(audit.Filter(action=Action.ARCHIVE)))
    assert (event.agent, event.sequence) == ("admin", 4)
    assert event.entity == {"first": 1, "last": 3, "sha256": found.sha256, "file": found.path.name}


def test_archived_rows_are_found_by_their_columns_and_not_by_their_text(
    trail_url: str, tmp_path: Path
) -> None:
    with audit.Log(trail_url) as log:
        append(log, 4)
        assert len(list(log.read_rows(audit.Filter(text="finding 2")))) == 1
        moved(log, tmp_path)
        assert list(log.read_rows(audit.Filter(text="finding 2"))) == []
        found = list(log.read_rows(audit.Filter(study="1.2.3", agent="dr-2", least_confidence=0.4)))
        assert [(row.sequence, row.subject, row.body) for row in found] == [(2, "answer-2", None)]
        with pytest.raises(audit.ReadError, match="row 2 of the audit trail is archived"):
            list(log.read(audit.Filter(sequence=2)))


def test_rows_up_to_the_first_that_is_too_new_are_moved(trail_url: str, tmp_path: Path) -> None:
    with audit.Log(trail_url) as log:
        events = append(log, 4)
        with pytest.raises(audit.ReadError, match="no row of that age"):
            moved(log, tmp_path, before=events[0].recorded)
        assert log.checkpoints() == ()
        third = events[2].recorded
        found = moved(log, tmp_path, before=third.astimezone(timezone(timedelta(hours=9))))
        assert (found.first, found.last) == (1, 2)
        with pytest.raises(audit.ReadError, match="no row of that age"):
            moved(log, tmp_path, before=third.replace(tzinfo=None))
        assert verified(log).archived == 2


def test_announced_keys_are_followed_without_the_files(trail_url: str, tmp_path: Path) -> None:
    path = tmp_path / "keys" / "audit.key"
    oldest = create_key(path, name="example.org/audit")
    with audit.Log(trail_url) as log:
        append(log, 2)
        log.sign([oldest])
        rotate(log, path, agent="admin")
        found = archive(log, before=LATER, folder=tmp_path, key=load_key(path), agent="admin")
        assert found.last == 3
        assert bodies_of(log)[3] is not None
        result = log.verify(keys=[oldest.verifier])
        assert (result.intact, result.archived) == (True, 2)
        files = read_archive(found.path, keys=read_known_keys(path))
        assert log.verify(keys=[oldest.verifier], archived=files).intact


def forge_archive(path: Path, bodies: list[bytes]) -> None:
    """What the owner of the signing key can do: archive other bodies of rows 1 to n, and sign them."""
    frontier: list[Any] = []
    for index, body in enumerate(bodies):
        grow(frontier, index, leaf_hash(body))
    root = fold([value for _, value in frontier])
    checkpoint = sign_checkpoint(size=len(bodies), root=root, keys=[KEY])
    with path.open("wb") as file:
        rows = range(1, len(bodies) + 1)
        write_archive(file, bodies, rows=rows, hashes=[], checkpoint=checkpoint, key=KEY)


def test_a_body_altered_and_signed_again_is_named_by_its_row(trail_url: str, tmp_path: Path) -> None:
    with audit.Log(trail_url) as log:
        append(log, 4)
        kept = log.sign([KEY])
        path = moved(log, tmp_path).path
        bodies = [body.encode() for _, body in read_archive(path, keys=KEYS)]
        forge_archive(path, [body.replace(b"finding 3", b"finding 4") for body in bodies])
        result = verified(log, path)
        assert [(problem.kind, problem.sequence, problem.field) for problem in result.problems] == [
            ("archive", 3, "body")
        ]
        assert "the archive holds another body of row 3" in result.problems[0].message
    with pytest.raises(audit.CheckpointError, match="not what the checkpoint of 4 events covers"):
        check_archive(path, keys=KEYS, kept=[kept])


def tamper(log: audit.Log, *statements: str) -> None:
    """Change the tables with their guards gone, and put the guards back."""
    with log.writing() as connection:
        for name in ("event_never_updated", "archive_never_updated", "archive_never_deleted"):
            table = name.partition("_")[0]
            on = f" ON {table}" if connection.dialect.name == "postgresql" else ""
            connection.exec_driver_sql(f"DROP TRIGGER {name}{on}")
        for statement in statements:
            connection.execute(sa.text(statement))
        install_guards(connection)


def problems(result: audit.Verification) -> list[tuple[str, int | None]]:
    return [(problem.kind, problem.sequence) for problem in result.problems]


def test_a_body_taken_out_without_an_archive_is_named(trail_url: str, tmp_path: Path) -> None:
    with audit.Log(trail_url) as log:
        append(log, 4)
        moved(log, tmp_path, before=list(log.read(limit=3))[2].recorded)
        with pytest.raises(audit.AppendError), log.writing() as connection:
            connection.execute(sa.text("UPDATE event SET body = NULL WHERE sequence = 3"))
        tamper(log, "UPDATE event SET body = NULL WHERE sequence = 3")
        assert problems(verified(log)) == [("malformed", 3)]


def test_a_changed_or_missing_row_of_the_archive_table_is_named(trail_url: str, tmp_path: Path) -> None:
    with audit.Log(trail_url) as log:
        append(log, 4)
        moved(log, tmp_path, before=list(log.read(limit=3))[2].recorded)
        tamper(log, "UPDATE archive SET last = 3", "UPDATE event SET body = NULL WHERE sequence = 3")
        assert problems(verified(log)) == [("archive", 1)]
        tamper(log, "DELETE FROM archive")
        assert {kind for kind, _ in problems(verified(log))} == {"malformed"}


def test_what_was_tampered_with_is_not_archived(trail_url: str, tmp_path: Path) -> None:
    with audit.Log(trail_url) as log:
        append(log, 4)
        tamper(log, "UPDATE event SET body = replace(body, 'finding 3', 'finding 9') WHERE sequence = 3")
        with pytest.raises(audit.ReadError, match="row 3 of the audit trail is not what was recorded"):
            moved(log, tmp_path / "archives")
        assert None not in bodies_of(log).values()
    assert list((tmp_path / "archives").iterdir()) == []


# Whatever happens on the way


def test_another_file_of_that_name_is_not_replaced(trail_url: str, tmp_path: Path) -> None:
    with audit.Log(f"sqlite:///{tmp_path}/other.sqlite") as other:
        append(other, 3)
        path = moved(other, tmp_path).path
    before = path.read_bytes()
    with audit.Log(trail_url) as log:
        append(log, 3)
        with pytest.raises(audit.AppendError, match="there is another archive at"):
            moved(log, tmp_path)
        path.write_bytes(b"notes")
        with pytest.raises(audit.CheckpointError, match="is damaged"):
            moved(log, tmp_path)
        path.write_bytes(before)
        assert None not in bodies_of(log).values()
        assert moved(log, tmp_path / "of its own").last == 3


def test_a_folder_that_cannot_be_written_loses_nothing(trail_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with audit.Log(trail_url) as log:
        append(log, 3)
        with pytest.raises(
            audit.AppendError, match=r"cannot be written to .*: (Not a directory|File exists)"
        ):
            moved(log, tmp_path / "file" / "archives")
        assert None not in bodies_of(log).values()


def test_a_full_disk_loses_nothing(trail_url: str, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: to a program, both are a write that is refused."""
    noise = [os.urandom(10_000).hex() for _ in range(30)]
    with audit.Log(trail_url) as log:
        log.append_all(
            [audit.Entry(agent="a", action="b", subject="c", entity={"text": text}) for text in noise]
        )
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with audit.Log(trail_url) as log:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
        try:
            with pytest.raises(audit.AppendError, match="File too large; nothing left the audit trail"):
                moved(log, tmp_path / "archives")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert list((tmp_path / "archives").iterdir()) == []
        assert None not in bodies_of(log).values()
        assert moved(log, tmp_path / "archives").last == 30


def killed_at(line: int, act: Callable[[], object]) -> bool:
    """Run `act` in a child that is killed at the n-th line of `audit`; whether it came so far."""
    child = os.fork()
    if child == 0:
        remaining = line

        def count(frame: FrameType, event: str, _: object) -> Any:
            nonlocal remaining
            if "/audit/" not in frame.f_code.co_filename:
                return None
            if event == "line":
                remaining -= 1
                if remaining <= 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return count

        try:
            sys.settrace(count)
            act()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.slow
def test_killing_it_at_any_line_loses_nothing(trail_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "archives"
    with audit.Log(trail_url) as log:
        append(log, 3)
        recorded = bodies_of(log)

    def act() -> None:
        with audit.Log(trail_url) as log:
            moved(log, folder)

    line, done = 1, False
    while not done:
        done = not killed_at(line, act)
        line += 41
        with audit.Log(trail_url) as log:
            assert verified(log).intact
            left = {row: body for row, body in bodies_of(log).items() if body is not None and row <= 3}
            files = sorted(folder.glob("*.zip")) if folder.exists() else []
            in_files = dict(chain.from_iterable(read_archive(path, keys=KEYS) for path in files))
            assert {**in_files, **left} == recorded
            done = done or None in bodies_of(log).values()
    assert line > 500, "it was killed at many lines"
    with audit.Log(trail_url) as log:
        result = verified(log, *folder.glob("*.zip"))
        assert (result.intact, result.archived) == (True, 0)
