"""Handing a trail over to its next signing key, such that a crash at any point leaves a key that may sign.

The next private key is written beside the one in use, as `NAME.next-ID`, before the rotation is recorded;
it takes the other's place once the rotation is durable. Where a crash came between the two, the trail tells
which of them is current, and `load_current_key` finishes what was begun.

A retired private key is destroyed: nothing needs it any more, and whoever found it could sign other pasts.
"""

from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from audit.errors import KeyFileError
from audit.keys import SigningKey, VerifierKey, add_known_key, generate_key, load_key, sync_folder, write_key
from audit.log import Log
from audit.rows import plain_entry, read_body
from audit.schema import EVENT
from audit.trust import ROTATION, endorse, successor
from audit.types import Entry


def rotate(log: Log, path: Path, *, agent: str, role: str | None = None) -> SigningKey:
    """Replace the key at `path` by a new one of the same name; record it, and sign a checkpoint by both.

    The event and the checkpoint are recorded together or not at all. The public key joins those in the file
    ending in `.vkeys`: give that anew to those who verify, and send the checkpoint where the others went.

    Args:
        log: The trail that the key signs for.
        path: Of the private key.
        agent: Who rotates it.
        role: In which role; None where it is not known.

    Returns:
        The new key.

    Raises:
        KeyFileError: If the key cannot be read, was retired before, or the new one cannot be written.
        AppendError: If the database refuses the event; the old key stays in use.
        LockedError: If another process keeps the trail locked; the old key stays in use.
    """
    with log.writing() as connection:
        retiring = _settle(connection, path)
        following = generate_key(retiring.verifier.name)
        write_key(_side_path(path, following.verifier), following)
        sequence = (connection.scalar(sa.select(sa.func.max(EVENT.c.sequence))) or 0) + 1
        entry = Entry(
            agent=agent,
            role=role,
            action=ROTATION,
            subject=following.verifier.name,
            entity={
                "vkey": following.verifier.vkey,
                "retires": retiring.verifier.key_id.hex(),
                "endorsement": endorse(sequence=sequence, retiring=retiring, following=following),
            },
        )
        log.extend(connection, [plain_entry(entry)])
        log.sign_within(connection, [following, retiring])
    return load_current_key(log, path)


def load_current_key(log: Log, path: Path) -> SigningKey:
    """Read the private key at `path`, after a rotation that a crash broke off was finished.

    Raises:
        KeyFileError: If the key cannot be read, or the trail says that another one followed it.
        LockedError: If another process keeps the trail locked.
    """
    with log.writing() as connection:
        return _settle(connection, path)


def _settle(connection: sa.Connection, path: Path) -> SigningKey:
    """Install the key that a recorded rotation announced and discard any other; the trail must be locked."""
    key = load_key(path)
    for sequence, following in _successors(connection, key.verifier):
        side = _side_path(path, following)
        if not side.exists():
            raise KeyFileError(
                f"the key {path} was retired at row {sequence} of the trail; use the key that followed it"
            )
        key = load_key(side)
        add_known_key(path, following)
        side.replace(path)
        sync_folder(path.parent)
    for stale in path.parent.iterdir():
        if stale.name.startswith(f"{path.name}.next-"):
            stale.unlink()
    return key


def _successors(connection: sa.Connection, key: VerifierKey) -> Iterator[tuple[int, VerifierKey]]:
    """The rotation that retired `key`, if there is one."""
    query = sa.select(EVENT.c.sequence, EVENT.c.body).where(EVENT.c.action == ROTATION)
    for sequence, body in connection.execute(query.order_by(EVENT.c.sequence)):
        content = read_body(body)
        following = successor(sequence, content["entity"], of=key) if content else None
        if following is not None:
            yield sequence, following
            return


def _side_path(path: Path, key: VerifierKey) -> Path:
    return path.with_name(f"{path.name}.next-{key.key_id.hex()}")
