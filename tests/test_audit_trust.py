"""Trust goes from key to key by endorsement alone; a crash anywhere in a rotation leaves a usable key."""

import json
import os
import sys
from pathlib import Path

import pytest
from signed_trails import entry
from tampering import change_body, connected, cut, rehash, unguarded

import audit
from audit.actions import Action
from audit.keys import SigningKey, create_key, generate_key, known_keys_path, load_key, read_known_keys
from audit.rotation import load_current_key, rotate
from audit.trust import endorse, successor

NAME = "example.org/trail"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "audit.key"


@pytest.fixture
def first(path: Path) -> SigningKey:
    return create_key(path, name=NAME)


def kinds(log: audit.Log, *keys: SigningKey, notes: tuple[str, ...] = ()) -> list[tuple[str, int | None]]:
    problems = log.verify(keys=[key.verifier for key in keys], checkpoints=notes).problems
    return [(problem.kind, problem.sequence) for problem in problems]


def announce(log: audit.Log, following: SigningKey, endorsement: str | None) -> int:
    """Append a rotation as anyone who may append can."""
    entity = {"vkey": following.verifier.vkey, "retires": "00000000", "endorsement": endorsement}
    return log.append(audit.Entry(agent="a", action=Action.ROTATE_KEY, subject=NAME, entity=entity)).sequence


def test_trust_goes_from_the_first_key_to_the_newest(trail_url: str, path: Path, first: SigningKey) -> None:
    with audit.Log(trail_url) as log:
        log.append_all([entry(1), entry(2)])
        log.sign([first])
        second = rotate(log, path, agent="ops")
        log.append(entry(4))
        log.sign([second])
        third = rotate(log, path, agent="ops")
        log.append(entry(6))
        log.sign([third])
        result = log.verify(keys=[first.verifier])
        assert (result.intact, result.covered, result.checkpoints) == (True, 6, 5)
        assert log.verify(keys=read_known_keys(path)).intact
        event = next(iter(log.read(audit.Filter(action=Action.ROTATE_KEY))))
    assert (event.sequence, event.agent, event.subject) == (3, "ops", NAME)
    assert event.entity["vkey"] == second.verifier.vkey
    assert event.entity["retires"] == first.verifier.key_id.hex()
    assert read_known_keys(path) == (first.verifier, second.verifier, third.verifier)
    assert load_key(path) == third
    assert {file.name for file in path.parent.iterdir()} == {path.name, known_keys_path(path).name}


def test_the_event_and_the_checkpoint_come_together_or_not_at_all(
    tmp_path: Path, path: Path, first: SigningKey
) -> None:
    database = tmp_path / "audit.sqlite"
    with audit.Log(f"sqlite:///{database}") as log:
        log.append(entry(1))
        with connected(f"sqlite:///{database}") as intruder:
            intruder.execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON checkpoint BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
        with pytest.raises(audit.AppendError, match="its guards refused the row"):
            rotate(log, path, agent="ops")
        assert log.size() == 1
        with connected(f"sqlite:///{database}") as intruder:
            intruder.execute("DROP TRIGGER refuse")
        assert load_current_key(log, path) == first
        assert {file.name for file in path.parent.iterdir()} == {path.name, known_keys_path(path).name}
        second = rotate(log, path, agent="ops")
        assert kinds(log, first) == []
        assert load_current_key(log, path) == second


def test_a_retired_key_signs_nothing_larger(trail_url: str, path: Path, first: SigningKey) -> None:
    with audit.Log(trail_url) as log:
        log.append(entry(1))
        early = log.sign([first]).note
        rotate(log, path, agent="ops")
        log.append(entry(3))
        late = log.sign([first]).note
        assert kinds(log, first, notes=(early, late)) == [("foreign_key", None)]
        messages = [problem.message for problem in log.verify(keys=[first.verifier]).problems]
    assert messages == ["the checkpoint of 3 events proves nothing: only a key retired at row 2 signed it"]


def test_an_announcement_that_the_old_key_did_not_sign_hands_nothing_on(
    trail_url: str, first: SigningKey
) -> None:
    thief = generate_key(NAME)
    with audit.Log(trail_url) as log:
        log.append(entry(1))
        forged = endorse(sequence=2, retiring=thief, following=thief)
        for endorsement in (None, "none", forged):
            announce(log, thief, endorsement)
        # The honest checkpoint that comes next covers the announcements, and endorses nothing.
        log.sign([first])
        log.append(entry(5))
        log.sign([thief])
        log.append(entry(6))
        log.sign([first])
        result = log.verify(keys=[first.verifier])
    problems = [(problem.kind, problem.sequence) for problem in result.problems]
    assert problems == [("foreign_key", 2), ("foreign_key", 3), ("foreign_key", 4), ("foreign_key", None)]
    assert result.problems[0].message == "row 2 announces a key that no trusted key endorsed"
    assert result.covered == 6


def test_an_endorsement_holds_in_its_own_row_alone(trail_url: str, first: SigningKey) -> None:
    second = generate_key(NAME)
    with audit.Log(trail_url) as log:
        log.append(entry(1))
        note = endorse(sequence=3, retiring=first, following=second)
        announce(log, second, note)
        assert kinds(log, first) == [("foreign_key", 2)]
        log.sign([first])
        announce(log, second, note)
        log.sign([second])
        assert kinds(log, first) == [("foreign_key", 2)]


def test_a_retired_key_hands_nothing_on(trail_url: str, path: Path, first: SigningKey) -> None:
    thief = generate_key(NAME)
    with audit.Log(trail_url) as log:
        rotate(log, path, agent="ops")
        announce(log, thief, endorse(sequence=2, retiring=first, following=thief))
        log.sign([thief])
        result = log.verify(keys=[first.verifier])
    assert [(problem.kind, problem.sequence) for problem in result.problems] == [
        ("foreign_key", 2),
        ("foreign_key", None),
    ]
    assert result.problems[0].message == "row 2 hands trust on by a key that was retired at row 1"


def test_an_altered_rotation_hands_nothing_on(trail_url: str, path: Path, first: SigningKey) -> None:
    thief = generate_key(NAME)
    with audit.Log(trail_url) as log:
        log.append(entry(1))
        rotate(log, path, agent="ops")
    with unguarded(trail_url) as intruder:
        entity = json.loads(intruder.value("body", 2))["entity"]
        change_body(intruder, 2, entity=entity | {"vkey": thief.verifier.vkey})
        rehash(intruder, 2)
    with audit.Log(trail_url) as log:
        log.append(entry(3))
        log.sign([thief])
        assert kinds(log, first) == [("foreign_key", 2), ("history", 1), ("foreign_key", None)]


def test_a_history_before_the_rotation_needs_a_checkpoint_kept_elsewhere(
    trail_url: str, path: Path, first: SigningKey
) -> None:
    with audit.Log(trail_url) as log:
        log.append_all([entry(1), entry(2)])
        second = rotate(log, path, agent="ops")
        log.append(entry(4))
        elsewhere = log.sign([second]).note
    with unguarded(trail_url) as intruder:
        cut(intruder, 1)
    with audit.Log(trail_url) as log:
        log.append_all([entry(number) for number in range(2, 6)])
        log.sign([first])  # whoever kept the retired key
        keys = [key.verifier for key in (first, second)]
        assert log.verify(keys=keys).intact
        problems = log.verify(keys=keys, checkpoints=[elsewhere]).problems
    assert [(problem.kind, problem.sequence) for problem in problems] == [("history", 1)]


def test_a_key_that_was_retired_elsewhere_is_refused(trail_url: str, path: Path, first: SigningKey) -> None:
    copy = path.with_name("copy.key")
    copy.write_bytes(path.read_bytes())
    copy.chmod(0o600)
    with audit.Log(trail_url) as log:
        rotate(log, path, agent="ops")
        for use in (load_current_key, lambda log, path: rotate(log, path, agent="ops")):
            with pytest.raises(
                audit.KeyFileError, match="was retired at row 1 of the trail; use the key that followed"
            ):
                use(log, copy)
        assert log.size() == 1
    assert load_key(copy) == first


def test_a_successor_needs_both_signatures_and_another_key(first: SigningKey) -> None:
    second, other = generate_key(NAME), generate_key(NAME)
    note = endorse(sequence=7, retiring=first, following=second)
    entity = {"vkey": second.verifier.vkey, "endorsement": note}
    assert successor(7, entity, of=first.verifier) == second.verifier
    assert successor(8, entity, of=first.verifier) is None
    assert successor(7, entity, of=other.verifier) is None
    assert successor(7, entity | {"vkey": other.verifier.vkey}, of=first.verifier) is None
    text, _, lines = note.partition("\n\n")
    for line in lines.splitlines():
        assert successor(7, entity | {"endorsement": f"{text}\n\n{line}\n"}, of=first.verifier) is None
    itself = {
        "vkey": first.verifier.vkey,
        "endorsement": endorse(sequence=7, retiring=first, following=first),
    }
    assert successor(7, itself, of=first.verifier) is None


def rotate_until(url: str, path: Path, steps: int) -> bool:
    """Rotate in a process that dies before its `steps`-th step on files; whether it came to its end."""
    child = os.fork()
    if child == 0:
        left = steps

        def die(event: str, _: object) -> None:
            nonlocal left
            left -= event in ("open", "os.rename", "os.remove", "os.scandir", "os.listdir")
            if left <= 0:
                os._exit(9)

        with audit.Log(url) as log:
            sys.addaudithook(die)
            rotate(log, path, agent="ops")
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_crash_anywhere_in_a_rotation_leaves_a_key_that_may_sign(tmp_path: Path) -> None:
    outcomes: list[int] = []
    for steps in range(1, 99):
        folder = tmp_path / str(steps)
        path, url = folder / "audit.key", f"sqlite:///{folder}/audit.sqlite"
        first = create_key(path, name=NAME)
        with audit.Log(url) as log:
            log.append(entry(1))
            log.sign([first])
        ended = rotate_until(url, path, steps)
        with audit.Log(url) as log:
            key = load_current_key(log, path)
            log.append(entry(3))
            log.sign([key])
            assert kinds(log, first) == []
            assert key.verifier in read_known_keys(path)
            assert {file.name for file in folder.glob("audit.key*")} == {"audit.key", "audit.key.vkeys"}
            outcomes.append(log.size())
            log.sign([rotate(log, path, agent="ops")])
            assert kinds(log, first) == []
        if ended:
            break
    assert ended
    assert {2, 3} == {*outcomes}  # some crashed before the rotation was recorded, some after
    assert outcomes == sorted(outcomes)
