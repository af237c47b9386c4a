"""The file of an archive: it proves by itself what its bodies are, and any damage to it is found."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from audit_archiving import KEY, KEYS, LATER, append, entry, moved

import audit
from audit.archives import Archived, archive, check_archive, read_archive
from audit.checkpoints import sign_checkpoint
from audit.keys import generate_key
from audit.statements import sign_statement


def test_an_archive_is_checked_by_itself_against_checkpoints_kept_elsewhere(
    trail_url: str, tmp_path: Path
) -> None:
    with audit.Log(trail_url) as log:
        kept = [log.sign([KEY])]
        for number in range(1, 14):
            log.append(entry(number))
            kept.append(log.sign([KEY]))
            if number == 4:
                moved(log, tmp_path)  # also row 5
        second = archive(log, before=LATER, folder=tmp_path, key=KEY, agent="admin")
    assert (second.first, second.last, second.checkpoint.size) == (5, 14, 14)
    # Row 5 is the first archive's own event, so that `kept[number]` covers one more from there on.
    assert check_archive(second.path, keys=KEYS, kept=kept[5:]) == second
    with pytest.raises(audit.CheckpointError, match="says nothing of a checkpoint of 4 events"):
        check_archive(second.path, keys=KEYS, kept=[kept[4]])
    forged = sign_checkpoint(size=9, root=b"\1" * 32, keys=[KEY])
    with pytest.raises(audit.CheckpointError, match="not what the checkpoint of 9 events covers"):
        check_archive(second.path, keys=KEYS, kept=[forged])


def test_an_archive_amid_a_longer_trail_carries_what_completes_it(trail_url: str, tmp_path: Path) -> None:
    with audit.Log(trail_url) as log:
        events = append(log, 21)
        for last in (3, 4, 11):
            found = moved(log, tmp_path, before=events[last].recorded)
            assert (found.last, found.checkpoint.size) == (last, log.size() - 1)
            assert check_archive(found.path, keys=KEYS) == found


def test_the_same_rows_give_the_same_bytes_for_their_owner_only(tmp_path: Path) -> None:
    with audit.Log(f"sqlite:///{tmp_path}/a.sqlite") as log:
        append(log, 5)
    shutil.copy(tmp_path / "a.sqlite", tmp_path / "b.sqlite")
    paths: list[Path] = []
    for name in "ab":
        with audit.Log(f"sqlite:///{tmp_path}/{name}.sqlite") as log:
            paths.append(moved(log, tmp_path / name).path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with zipfile.ZipFile(paths[0]) as container:
        assert {entry.date_time for entry in container.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert paths[0].stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "a").iterdir()] == [paths[0].name]


# What somebody may do to an archive, or to the trail beside it


def repack(path: Path, **changes: bytes) -> None:
    """Write a ZIP of the same files anew, some of them changed: `bodies` is bodies.ndjson."""
    with zipfile.ZipFile(path) as container:
        contents = {name: container.read(name) for name in container.namelist()}
    with zipfile.ZipFile(path, "w") as container:
        for name, content in contents.items():
            container.writestr(name, changes.get(name.partition(".")[0], content))


def content(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as container:
        return container.read(name)


@pytest.fixture
def archived(tmp_path: Path) -> Archived:
    """The archive of rows 4 to 6 of ten."""
    with audit.Log(f"sqlite:///{tmp_path}/audit.sqlite") as log:
        events = append(log, 9)
        moved(log, tmp_path, before=events[3].recorded)
        return moved(log, tmp_path, before=events[6].recorded)


def refused(path: Path, message: str, keys: Any = KEYS) -> None:
    for read in (check_archive, lambda *given, **named: list(read_archive(*given, **named))):
        with pytest.raises(audit.CheckpointError, match=message) as caught:
            read(path, keys=keys)
        assert str(path) in str(caught.value)


def test_the_files_of_an_archive_are_as_documented(archived: Archived) -> None:
    with zipfile.ZipFile(archived.path) as container:
        assert container.namelist() == [
            "bodies.ndjson",
            "hashes.txt",
            "checkpoint.note",
            "statement.note",
        ]
        assert container.read("bodies.ndjson").count(b"\n") == 3
        assert container.read("hashes.txt").count(b"\n") == 2 + 2  # of rows 1-2 and 3; of 7-8 and 9-10
        assert container.read("statement.note").decode() == archived.statement


def test_every_flipped_byte_of_an_archive_is_harmless_or_found(archived: Archived) -> None:
    whole = archived.path.read_bytes()
    expected = list(read_archive(archived.path, keys=KEYS))
    harmless = 0
    for position in range(len(whole)):
        archived.path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        try:
            assert list(read_archive(archived.path, keys=KEYS)) == expected
            harmless += 1
        except audit.CheckpointError:
            continue
    assert 0 < harmless < 300  # dates, rights and versions in the headers of the ZIP


@pytest.mark.parametrize("cut", [0, 10, -30, -1])
def test_a_cut_archive_is_damaged(archived: Archived, cut: int) -> None:
    archived.path.write_bytes(archived.path.read_bytes()[:cut])
    refused(archived.path, "is damaged; restore it from a copy")


def test_a_missing_archive_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(audit.ReadError, match="cannot be read: No such file"):
        check_archive(tmp_path / "none.zip", keys=KEYS)


def test_altered_bodies_are_not_what_was_signed(archived: Archived) -> None:
    bodies = content(archived.path, "bodies.ndjson")
    for altered in (bodies.replace(b"finding 5", b"finding 6"), bodies[:-1], bodies + b"\n", b""):
        repack(archived.path, bodies=altered)
        refused(archived.path, "bodies.ndjson is not what its statement signs")


def test_hashes_that_do_not_complete_the_tree_are_refused(archived: Archived) -> None:
    lines = content(archived.path, "hashes.txt").splitlines(keepends=True)
    repack(archived.path, hashes=b"".join(lines[::-1]))
    refused(archived.path, "bodies are not what the checkpoint of 10 events covers")
    for wrong in (lines[1:], [*lines, lines[0]], [b"AAAA\n", *lines[1:]]):
        repack(archived.path, hashes=b"".join(wrong))
        refused(archived.path, "hashes.txt is not that of the subtrees beside its rows")
    repack(archived.path, hashes=b"A" * (1 << 21))
    refused(archived.path, "hashes.txt is too large")


def test_a_forged_statement_or_checkpoint_is_named(archived: Archived) -> None:
    other = generate_key(KEY.verifier.name)
    forged = archived.statement.replace("rows 4", "rows 3").encode()
    foreign = sign_statement(first=4, last=6, sha256=archived.sha256, key=other).encode()
    statement = archived.statement.encode()
    for note, message in (
        (forged, "the signature of example.org/audit is not that key's: it is forged"),
        (foreign, "none of the keys given signed its statement.note"),
        (archived.checkpoint.note.encode(), "it is not the statement of an archive"),
        (b"none", "it is not a signed note"),
    ):
        repack(archived.path, statement=note)
        refused(archived.path, message)
    repack(archived.path, statement=statement, checkpoint=statement)
    refused(archived.path, "it is not a checkpoint")
    refused(archived.path, "none of the keys given signed", keys=[other.verifier])


def test_a_checkpoint_that_does_not_cover_the_rows_is_refused(archived: Archived) -> None:
    small = sign_checkpoint(size=5, root=b"\1" * 32, keys=[KEY])
    repack(archived.path, checkpoint=small.note.encode())
    refused(archived.path, "its checkpoint does not cover its rows")


def test_files_that_do_not_belong_are_refused(archived: Archived) -> None:
    with zipfile.ZipFile(archived.path, "a") as container:
        container.writestr("more.txt", "")
    refused(archived.path, "it is not a ZIP of bodies.ndjson, hashes.txt, checkpoint.note, statement.note")
