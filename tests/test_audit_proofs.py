"""Proofs for third parties, checked by the library, and by the script for those who lack it."""

import importlib.util
import subprocess
import sys
import tokenize
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

import audit
from audit.archives import archive, read_archive
from audit.checkpoints import parse_checkpoint, sign_checkpoint, signers
from audit.keys import SigningKey, VerifierKey, generate_key, parse_vkey
from audit.proofs import check_consistency, check_inclusion, prove_consistency, prove_inclusion

SCRIPT = Path(__file__).parent.parent / "docs" / "verify_proof.py"
KEY = generate_key("example.org/audit")
KEYS = (KEY.verifier,)
EVENTS = 9


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_proof", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT_CHECK: Callable[[bytes, bytes, bytes], str] = load_script().check
SCRIPT_SIGNED: Callable[[bytes, bytes, bytes], bool] = load_script().signed


@dataclass(frozen=True, repr=False)
class Material:
    """A trail's bodies and the checkpoint after each of them, with every proof that can be made of them."""

    bodies: dict[int, str]
    checkpoints: list[audit.Checkpoint]
    inclusions: dict[tuple[int, int], str]
    consistencies: dict[tuple[int, int], str]


def recorded(url: str) -> Material:
    with audit.Log(url) as log:
        checkpoints = [log.sign([KEY])]
        for number in range(1, EVENTS + 1):
            log.append(
                audit.Entry(agent="dr-é", action="answer", subject=f"s-{number}", entity={"n": number})
            )
            checkpoints.append(log.sign([KEY]))
        sizes = range(EVENTS + 1)
        return Material(
            bodies={row.sequence: row.body for row in log.read_rows()},
            checkpoints=checkpoints,
            inclusions={
                (row, size): prove_inclusion(log, row, checkpoints[size])
                for size in sizes
                for row in range(1, size + 1)
            },
            consistencies={
                (old, new): prove_consistency(log, checkpoints[old], checkpoints[new])
                for new in sizes
                for old in range(new + 1)
            },
        )


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return recorded(f"sqlite:///{tmp_path_factory.mktemp('trail')}/audit.sqlite")


def test_every_proof_holds_of_its_own_row_and_checkpoints_only(trail_url: str) -> None:
    made = recorded(trail_url)
    for (row, size), proof in made.inclusions.items():
        assert check_inclusion(proof, made.bodies[row].encode(), KEYS) == made.checkpoints[size]
        with pytest.raises(audit.CheckpointError, match="this event is not what the checkpoint covers"):
            check_inclusion(proof, made.bodies[row % EVENTS + 1].encode(), KEYS)
    for (old, new), proof in made.consistencies.items():
        assert check_consistency(proof, made.checkpoints[old], KEYS) == made.checkpoints[new]
        with pytest.raises(audit.CheckpointError, match="does not continue the older one"):
            check_consistency(proof, made.checkpoints[(old + 1) % EVENTS], KEYS)


def test_proofs_hold_of_later_rows_and_of_archived_ones(trail_url: str, tmp_path: Path) -> None:
    made = recorded(trail_url)
    with audit.Log(trail_url) as log:
        moved = archive(log, before=datetime.now(UTC), folder=tmp_path, key=KEY, agent="admin")
        newest = log.checkpoints()[-1]
        bodies = dict(read_archive(moved.path, keys=KEYS))
        assert bodies == made.bodies
        for row, body in bodies.items():
            assert check_inclusion(prove_inclusion(log, row, newest), body.encode(), KEYS) == newest
        for old in made.checkpoints:
            assert check_consistency(prove_consistency(log, old, newest), old, KEYS) == newest


def test_nothing_is_proved_of_what_a_checkpoint_does_not_cover(tmp_path: Path, material: Material) -> None:
    with audit.Log(f"sqlite:///{tmp_path}/other.sqlite") as log:
        log.append_all([audit.Entry(agent="a", action="b", subject="c", entity={})] * EVENTS)
        own = log.sign([KEY])
        foreign = material.checkpoints[EVENTS]
        for row in (0, EVENTS + 1):
            with pytest.raises(audit.ReadError, match=f"covers rows 1 to {EVENTS}, not row {row}"):
                prove_inclusion(log, row, own)
        with pytest.raises(audit.ReadError, match="not one of this trail"):
            prove_inclusion(log, 1, foreign)
        with pytest.raises(audit.ReadError, match="not one of this trail"):
            prove_consistency(log, foreign, own)
        with pytest.raises(audit.ReadError, match="exchange them"):
            prove_consistency(log, own, material.checkpoints[1])


def test_a_checkpoint_larger_than_the_trail_is_none_of_it(tmp_path: Path) -> None:
    with audit.Log(f"sqlite:///{tmp_path}/short.sqlite") as log:
        log.append(audit.Entry(agent="a", action="b", subject="c", entity={}))
        with pytest.raises(audit.ReadError):
            prove_inclusion(log, 1, sign_checkpoint(size=9, root=b"\0" * 32, keys=[KEY]))


HASH = "A" * 43 + "="


@pytest.mark.parametrize(
    "head",
    [
        "wrong-header\nindex 0",
        "c2sp.org/tlog-proof@v1\nextra AA==\nextra AA==\nindex 0",
        "c2sp.org/tlog-proof@v1",
        "c2sp.org/tlog-proof@v1\nindex notanumber",
        "c2sp.org/tlog-proof@v1\nindex -5",
        "c2sp.org/tlog-proof@v1\nindex 00",
        "c2sp.org/tlog-proof@v1\nindex ٠",
        "c2sp.org/tlog-proof@v1\nindex 0\n!!notbase64!!",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{'A' * 86}==",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH}",
    ],
)
def test_what_c2sp_forbids_is_refused(material: Material, head: str) -> None:
    """As in proof/tlog_proof_test.go of transparency-dev/merkle, and a little more."""
    note = material.checkpoints[1].note
    body = material.bodies[1].encode()
    assert check_inclusion(f"c2sp.org/tlog-proof@v1\nindex 0\n\n{note}", body, KEYS)
    assert check_inclusion(f"c2sp.org/tlog-proof@v1\nextra AA==\nindex 0\n\n{note}", body, KEYS)
    with pytest.raises(audit.CheckpointError):
        check_inclusion(f"{head}\n\n{note}", body, KEYS)
    assert not script_holds(vkeys(KEY), body, f"{head}\n\n{note}".encode())


def test_a_proof_by_a_foreign_key_proves_nothing(material: Material) -> None:
    foreign = generate_key("example.org/audit")
    proof = material.inclusions[3, 7]
    with pytest.raises(audit.CheckpointError, match="none of the keys given signed"):
        check_inclusion(proof, material.bodies[3].encode(), [foreign.verifier])
    assert not script_holds(vkeys(foreign), material.bodies[3].encode(), proof.encode())


def vkeys(*keys: SigningKey) -> bytes:
    return "".join(f"{key.verifier.vkey}\n" for key in keys).encode()


def library_holds(keys: bytes, subject: bytes, proof: bytes) -> bool:
    """What the script says, as the library sees it."""
    try:
        known: list[VerifierKey] = [parse_vkey(line) for line in keys.decode().splitlines() if line.strip()]
        if not proof.startswith(b"old "):
            return bool(check_inclusion(proof.decode(), subject.removesuffix(b"\n"), known))
        old = parse_checkpoint(subject.decode())
        return bool(signers(old.note, known) and check_consistency(proof.decode(), old, known))
    except (audit.AuditError, UnicodeDecodeError):
        return False


def script_holds(keys: bytes, subject: bytes, proof: bytes) -> bool:
    try:
        return bool(SCRIPT_CHECK(keys, subject, proof))
    except ValueError:
        return False


@pytest.mark.slow
def test_the_script_agrees_on_every_proof(material: Material) -> None:
    for (row, size), proof in material.inclusions.items():
        said = SCRIPT_CHECK(vkeys(KEY), material.bodies[row].encode() + b"\n", proof.encode())
        assert said.startswith(f"the event is row {row} among {size} of example.org/audit, signed by example")
        assert not script_holds(vkeys(KEY), material.bodies[row % EVENTS + 1].encode(), proof.encode())
    for (old, new), proof in material.consistencies.items():
        subject = material.checkpoints[old].note.encode()
        assert script_holds(vkeys(KEY), subject, proof.encode()) == (old > 0), (old, new)


def test_script_and_library_refuse_what_does_not_belong_in_a_proof(material: Material) -> None:
    subject, proof = material.checkpoints[3].note.encode(), material.consistencies[3, 7].encode()
    assert script_holds(vkeys(KEY), subject, proof)
    for wrong in (proof.replace(b"old 3", b"old 4"), proof + b"0", proof + b"more\n", proof[:-1]):
        assert not script_holds(vkeys(KEY), subject, wrong)
        assert not library_holds(vkeys(KEY), subject, wrong)


@pytest.mark.slow
def test_the_script_refuses_a_consistency_proof_of_another_checkpoint(material: Material) -> None:
    for old in range(1, EVENTS + 1):
        subject = material.checkpoints[old].note.encode()
        for other in range(1, 8):
            holds = script_holds(vkeys(KEY), subject, material.consistencies[other, 7].encode())
            assert holds == (old == other)


@pytest.mark.slow
@given(st.data())
def test_the_script_and_the_library_agree_on_mutated_files(material: Material, data: st.DataObject) -> None:
    row, size = data.draw(st.sampled_from([(1, 1), (3, 7), (8, 8), (7, 9)]))
    if data.draw(st.booleans()):
        files = [vkeys(KEY), material.bodies[row].encode(), material.inclusions[row, size].encode()]
    else:
        old = material.checkpoints[row].note.encode()
        files = [vkeys(KEY), old, material.consistencies[row, size].encode()]
    assert script_holds(*files)
    assert library_holds(*files)
    place = data.draw(st.sampled_from([1, 2]))
    text = files[place]
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.sampled_from([start, start + 1, start + 1, start + 45]))
    added = data.draw(st.sampled_from("019AQaz+/=-— \n\r\t!\u0660é").map(str.encode) | st.binary(max_size=2))
    files[place] = text[:start] + added + text[end:]
    assert script_holds(*files) == library_holds(*files)


@pytest.mark.slow
@settings(max_examples=40)
@given(st.binary(max_size=40), st.binary(min_size=32, max_size=32), st.integers(0, 95), st.integers(0, 7))
def test_the_scripts_ed25519_is_that_of_cryptography(text: bytes, seed: bytes, place: int, bit: int) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = private.public_key().public_bytes_raw(), private.sign(text)
    assert SCRIPT_SIGNED(public, text, signature)
    assert not SCRIPT_SIGNED(public, text + b".", signature)
    damaged = bytearray(signature + public)
    damaged[place] ^= 1 << bit
    signature, public = bytes(damaged[:64]), bytes(damaged[64:])
    assert SCRIPT_SIGNED(public, text, signature) == VerifierKey(name="x", public=public).signed(
        text, signature
    )


def test_the_scripts_ed25519_refuses_a_scalar_beyond_the_order() -> None:
    """Else a signature could be written in two ways (RFC 8032, 5.1.7)."""
    public, signature = KEY.verifier.public, KEY.sign(b"text")
    scalar = int.from_bytes(signature[32:], "little") + 2**252 + 27742317777372353535851937790883648493
    assert SCRIPT_SIGNED(public, b"text", signature)
    assert not SCRIPT_SIGNED(public, b"text", signature[:32] + scalar.to_bytes(32, "little"))


def test_the_scripts_ed25519_gives_the_verdict_of_rfc_8032() -> None:
    """RFC 8032, section 7.1, test 2."""
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert SCRIPT_SIGNED(public, b"\x72", signature)
    assert not SCRIPT_SIGNED(public, b"\x73", signature)


def run_script(folder: Path, *files: bytes) -> subprocess.CompletedProcess[str]:
    """Run it with neither site packages nor the folder it stands in."""
    for number, content in enumerate(files):
        (folder / str(number)).write_bytes(content)
    names = [str(number) for number in range(len(files))]
    command = [sys.executable, "-I", "-S", str(SCRIPT), *names]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_script_runs_without_this_software(material: Material, tmp_path: Path) -> None:
    proof = material.inclusions[3, 7].encode()
    body = material.bodies[3].encode()
    done = run_script(tmp_path, vkeys(KEY), body, proof)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("the event is row 3 among 7 of example.org/audit")
    refused = run_script(tmp_path, vkeys(KEY), body.replace(b"s-3", b"s-4"), proof)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "nothing is proved: the hashes do not lead to the root that was signed\n"
    for files in ((vkeys(KEY),), (vkeys(KEY), body, b""), (vkeys(KEY), body, b"\xff")):
        broken = run_script(tmp_path, *files)
        assert broken.returncode == 1
        assert broken.stderr.startswith("nothing is proved: ")
        assert "Traceback" not in broken.stderr


def test_the_script_is_sixty_lines_of_code() -> None:
    with tokenize.open(SCRIPT) as file:
        tokens = list(tokenize.generate_tokens(file.readline))
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    code = [token for token in tokens[1:] if token.type not in (*silent, tokenize.ENDMARKER)]
    assert len({line for token in code for line in range(token.start[0], token.end[0] + 1)}) <= 60
