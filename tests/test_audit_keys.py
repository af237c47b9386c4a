"""Key files: for their owner's eyes, never overwritten, and never shown; their text is that of Go's notes."""

import logging
import os
import pickle
import resource
import stat
import traceback
from pathlib import Path

import pytest
from test_audit_checkpoints import PETER, PETERS_SECRET

import audit
from audit.keys import (
    add_known_key,
    create_key,
    generate_key,
    known_keys_path,
    load_key,
    parse_vkey,
    read_known_keys,
    read_vkeys,
    write_key,
)

NAME = "example.org/trail"


def write(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def test_a_key_is_for_its_owner_alone_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "audit.key"
    before = os.umask(0)
    try:
        key = create_key(path, name=NAME)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert load_key(path) == key
    assert read_known_keys(path) == (key.verifier,)
    assert key.verifier.signed(b"text", load_key(path).sign(b"text"))
    assert not key.verifier.signed(b"texts", key.sign(b"text"))
    assert not key.verifier.signed(b"text", b"short")


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    key = create_key(tmp_path / "key", name=NAME)
    with pytest.raises(audit.KeyFileError, match=r"there is a key at .* already; rotate it"):
        create_key(tmp_path / "key", name=NAME)
    assert load_key(tmp_path / "key") == key
    assert read_known_keys(tmp_path / "key") == (key.verifier,)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o601])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    create_key(tmp_path / "key", name=NAME)
    (tmp_path / "key").chmod(mode)
    with pytest.raises(audit.KeyFileError, match="can be read by others; run chmod 600"):
        load_key(tmp_path / "key")


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\tb", "a\u00a0b", "a\u2003b", "a\x00b"])
def test_a_name_that_notes_cannot_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(audit.KeyFileError, match="without spaces or plus signs"):
        create_key(tmp_path / "key", name=name)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_key_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(audit.KeyFileError, match=r"there is no key file .*; restore it from its backup"):
        load_key(tmp_path / "none")
    with pytest.raises(audit.KeyFileError, match="cannot be read; ask the trail's owner"):
        read_vkeys(tmp_path / "none")
    with pytest.raises(audit.KeyFileError, match="cannot be read"):
        load_key(write(tmp_path / "bytes", b"\xff\xfe"))


def test_a_key_is_not_half_written_where_there_is_no_room(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(audit.KeyFileError, match="cannot be written: File too large"):
            write_key(tmp_path / "key", generate_key(NAME))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
    write_key(tmp_path / "key", generate_key(NAME))


def test_no_part_of_a_public_key_passes_for_one() -> None:
    assert parse_vkey(PETER).vkey == PETER
    ends = range(len(PETER) + 1)
    parts = {PETER[start:end] for start in ends for end in ends[start:]} - {PETER}
    others = {PETER[:place] + chr(ord(PETER[place]) + 1) + PETER[place + 1 :] for place in range(len(PETER))}
    wrong_length = "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY=="
    unknown_algorithm = "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    for line in {*parts, *others, wrong_length, unknown_algorithm}:
        with pytest.raises(audit.KeyFileError):
            parse_vkey(line)


def test_no_part_of_a_private_key_passes_for_one_or_is_shown(tmp_path: Path) -> None:
    secret = PETERS_SECRET.rpartition("+")[2]
    parts = {PETERS_SECRET[start:] for start in range(1, len(PETERS_SECRET))}
    parts |= {PETERS_SECRET[:end] for end in range(len(PETERS_SECRET))}
    parts |= {
        PETERS_SECRET[:place] + chr(ord(PETERS_SECRET[place]) + 1) + PETERS_SECRET[place + 1 :]
        for place in range(len(PETERS_SECRET))
    }
    for number, text in enumerate(sorted(parts)):
        with pytest.raises(audit.KeyFileError, match="is malformed; restore it from its backup") as caught:
            load_key(write(tmp_path / str(number), text))
        assert secret[:12] not in "".join(traceback.format_exception(caught.value))


def test_the_secret_is_nowhere_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    path = write(tmp_path / "key", PETERS_SECRET)
    key = load_key(path)
    secret, seed = PETERS_SECRET.rpartition("+")[2], key.private.private_bytes_raw()
    with audit.Log(f"sqlite:///{tmp_path}/audit.sqlite") as log:
        log.append(audit.Entry(agent="a", action="b", subject="c", entity={}))
        log.sign([key])
    add_known_key(path, key.verifier)
    shown = [repr(key), str(key), f"{key}", repr({"key": key}), caplog.text, *capfd.readouterr()]
    for text in shown:
        assert secret not in text
        assert seed.hex() not in text
    with pytest.raises(TypeError):
        pickle.dumps(key)
    for file in tmp_path.iterdir():
        if file != path:
            assert secret.encode() not in file.read_bytes()
            assert seed not in file.read_bytes()


def test_known_keys_gather_the_newest_last(tmp_path: Path) -> None:
    path = tmp_path / "key"
    first, second = create_key(path, name=NAME).verifier, generate_key(NAME).verifier
    for key in (second, first, second):
        add_known_key(path, key)
    assert read_known_keys(path) == (first, second)
    write(known_keys_path(path), "\n" + known_keys_path(path).read_text() + "\n\n")
    assert read_known_keys(path) == (first, second)
    write(known_keys_path(path), "nothing")
    with pytest.raises(audit.KeyFileError, match="a public key is a line"):
        read_known_keys(path)
