"""Signed notes and checkpoints are C2SP's, and those of golang.org/x/mod/sumdb/note, by its test vectors."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import audit
from audit.checkpoints import parse_checkpoint, sign_checkpoint, sign_note, signers, split_note
from audit.keys import generate_key, load_key, parse_vkey

# golang.org/x/mod, sumdb/note/note_test.go (BSD-3-Clause): keys, text and signatures.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETERS_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"  # noqa: S105
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETERS = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6Ryy"
    "BwJnAM=\n"
)
ENOCHS = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc"
    "+QQ=\n"
)

# https://c2sp.org/tlog-checkpoint, the example.
SOFA = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGz"
    "Gku9nTo+zyWE+xeMcTOAYQ8=\n"
)

KEY = generate_key("example.org/trail")
ROOT = bytes(range(32))


def names(note: str, *vkeys: str) -> list[str]:
    return [key.name for key in signers(note, [parse_vkey(vkey) for vkey in vkeys])]


def signed(text: str) -> str:
    return sign_note(text, [KEY])


def test_gos_note_is_verified_and_signed_byte_for_byte(tmp_path: Path) -> None:
    note = f"{TEXT}\n{PETERS}{ENOCHS}"
    assert names(note, PETER, ENOCH) == ["PeterNeumann", "EnochRoot"]
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text(PETERS_SECRET + "\n")
    key = load_key(file)
    assert key.verifier.vkey == PETER
    assert sign_note(TEXT, [key]) == f"{TEXT}\n{PETERS}"


def test_signatures_by_others_are_passed_over() -> None:
    note = f"{TEXT}\n{PETERS}{ENOCHS}"
    assert names(note, PETER) == ["PeterNeumann"]
    assert names(note) == []
    # The same name or the same identifier alone is another key.
    assert names(note.replace("— PeterNeumann", "— PeterNeuman"), PETER) == []
    assert names(note.replace(" x08g", " xxxx"), PETER) == []


def test_a_repeated_signature_counts_once() -> None:
    assert names(f"{TEXT}\n{PETERS}{PETERS}{ENOCHS}{ENOCHS}", PETER) == ["PeterNeumann"]


@pytest.mark.parametrize(
    "note",
    [
        f"{TEXT}\n{PETERS[:60]}ABCD{PETERS[60:]}",
        f"{TEXT}!\n\n{PETERS}",
        f"{TEXT}\n{PETERS}{PETERS[:60]}ABCD{PETERS[60:]}",
    ],
)
def test_a_wrong_signature_under_a_known_key_is_forged(note: str) -> None:
    with pytest.raises(audit.CheckpointError, match="PeterNeumann is not that key's: it is forged"):
        names(note, PETER)


@pytest.mark.parametrize(
    "note",
    [
        "",
        TEXT,
        f"{TEXT}\n",
        f"{TEXT}\n{PETERS[:-1]}",
        f"\x01{TEXT}\n{PETERS}",
        f"\udcff{TEXT}\n{PETERS}",
        f"{TEXT}\n{PETERS}".replace("\n", "\r\n"),
        f"{TEXT}\n{PETERS.replace('PeterNeumann', 'Bad Name')}",
        f"{TEXT}\n{PETERS.replace('PeterNeumann', 'a+b')}",
        f"{TEXT}\n{PETERS.replace('PeterNeumann', 'a b')}",
        f"{TEXT}\n{PETERS.replace('— ', '- ')}",
        f"{TEXT}\n{PETERS}Unexpected line.\n",
        f"{TEXT}\n{PETERS}\n",
        f"{TEXT}\n— PeterNeumann x08g\n",
        f"{TEXT}\n— PeterNeumann x08go/ZJ*\n",
        f"{TEXT}\n{PETERS * 101}",
    ],
)
def test_a_malformed_note_is_refused(note: str) -> None:
    with pytest.raises(audit.CheckpointError, match="it is not a signed note"):
        names(note, PETER)


def test_a_note_takes_sixteen_signatures_and_empty_lines_in_its_text() -> None:
    keys = [generate_key(f"witness-{number}.example") for number in range(16)]
    text = "Ognuno sta solo\n\ned è subito sera.\n"
    note = sign_note(text, keys)
    assert split_note(note)[0] == text
    assert signers(note, [key.verifier for key in keys]) == tuple(key.verifier for key in keys)


def test_the_specifications_example_is_read() -> None:
    checkpoint = parse_checkpoint(SOFA)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert base64.b64encode(checkpoint.root).decode() == "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="


def test_a_checkpoint_reads_as_it_was_signed() -> None:
    checkpoint = sign_checkpoint(size=12, root=ROOT, keys=[KEY])
    assert parse_checkpoint(checkpoint.note) == checkpoint
    assert checkpoint.note.startswith(
        f"example.org/trail\n12\n{base64.b64encode(ROOT).decode()}\n\n— example.org"
    )
    assert signers(checkpoint.note, [KEY.verifier]) == (KEY.verifier,)


def test_extension_lines_are_taken() -> None:
    text = f"example.org/trail\n0\n{base64.b64encode(ROOT).decode()}\nextension\nanother\n"
    assert parse_checkpoint(signed(text)).size == 0


@pytest.mark.parametrize("size", ["012", "00", "-1", "+1", "1.0", "", " 1", "1_0", "٣", "9" * 20, "9" * 5000])
def test_a_size_is_plain_digits(size: str) -> None:
    with pytest.raises(audit.CheckpointError, match="it is not a checkpoint"):
        parse_checkpoint(signed(f"example.org/trail\n{size}\n{base64.b64encode(ROOT).decode()}\n"))


@pytest.mark.parametrize("root", ["", "AA==", "*" * 44, base64.b64encode(ROOT * 2).decode()])
def test_a_root_is_thirty_two_bytes(root: str) -> None:
    with pytest.raises(audit.CheckpointError, match="it is not a checkpoint"):
        parse_checkpoint(signed(f"example.org/trail\n1\n{root}\n"))


@pytest.mark.parametrize("text", ["\n", "example.org/trail\n", "example.org/trail\n1\n", "\n1\nROOT\n"])
def test_a_checkpoint_has_three_lines(text: str) -> None:
    with pytest.raises(audit.CheckpointError, match="it is not a"):
        parse_checkpoint(signed(text.replace("ROOT", base64.b64encode(ROOT).decode())))


@given(st.text() | st.text(alphabet="a1+/=—\n ").map(lambda text: f"{text}\n\n— a AAAAAAAA\n"))
def test_any_text_is_a_note_or_refused(note: str) -> None:
    try:
        parse_checkpoint(note)
        signers(note, [KEY.verifier])
    except audit.CheckpointError:
        return
    assert parse_checkpoint(note).note == note


@given(place=st.integers(0, 10_000), sign=st.characters(codec="utf-8"))
def test_no_changed_character_of_a_checkpoint_stays_signed(place: int, sign: str) -> None:
    note = sign_checkpoint(size=12, root=ROOT, keys=[KEY]).note
    place %= len(note)
    changed = note[:place] + sign + note[place + 1 :]
    try:
        found = signers(changed, [KEY.verifier])
    except audit.CheckpointError:
        return
    # The last bits of base64 mean nothing; all else is either the note as it was, or not signed by the key.
    assert changed == note or not found or split_note(changed)[0] == split_note(note)[0]
