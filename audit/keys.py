"""Signing keys of a trail, as files of the note tools: Ed25519, one line of text a key.

The private key file holds `PRIVATE+KEY+name+id+base64(0x01 + seed)`, readable by its owner only. Beside it
stands a file of the same name ending in `.vkeys`, with a line `name+id+base64(0x01 + public key)` for each
key that the trail was ever signed by, the newest last: give that one to those who verify. Both are the
forms of golang.org/x/mod/sumdb/note.
"""

import base64
import binascii
import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit.errors import KeyFileError

_ED25519 = b"\x01"
_PRIVATE = "PRIVATE+KEY+"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """A public key with the name under which it signs."""

    name: str
    public: bytes
    """Raw Ed25519 public key, 32 bytes."""

    @property
    def key_id(self) -> bytes:
        """Four bytes that hint at the key in a signature line."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    @property
    def vkey(self) -> str:
        """The key as one line of text."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    def signed(self, text: bytes, signature: bytes) -> bool:
        """Whether `signature` (64 bytes) is this key's over `text`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A private key; it is never shown in text."""

    verifier: VerifierKey
    private: Ed25519PrivateKey = field(repr=False, compare=False)

    def sign(self, text: bytes) -> bytes:
        """The 64-byte signature over `text`."""
        return self.private.sign(text)


def create_key(path: Path, *, name: str) -> SigningKey:
    """Make a key and write it, and its public half, for the owner's eyes only.

    Args:
        path: Of the private key; its folder is created.
        name: Of the trail: a schema-less URL without spaces or plus signs, such as `example.org/audit`.

    Raises:
        KeyFileError: If there is a key already, the name will not do, or the file cannot be written.
    """
    key = generate_key(name)
    write_key(path, key)
    add_known_key(path, key.verifier)
    return key


def generate_key(name: str) -> SigningKey:
    """Make a key that is nowhere written yet.

    Raises:
        KeyFileError: If the name will not do.
    """
    if not is_key_name(name) or not name.isprintable():
        raise KeyFileError("a key's name is text without spaces or plus signs, such as example.org/audit")
    private = Ed25519PrivateKey.generate()
    verifier = VerifierKey(name=name, public=private.public_key().public_bytes_raw())
    return SigningKey(verifier=verifier, private=private)


def is_key_name(name: str) -> bool:
    """Whether signed notes allow a key this name (C2SP signed-note, "Format")."""
    return bool(name) and "+" not in name and not any(sign.isspace() for sign in name)


def write_key(path: Path, key: SigningKey) -> None:
    """Write a private key to a new file, readable by its owner only and durable.

    Raises:
        KeyFileError: If the file exists or cannot be written.
    """
    secret = base64.b64encode(_ED25519 + key.private.private_bytes_raw()).decode()
    write_private(path, f"{_PRIVATE}{key.verifier.name}+{key.verifier.key_id.hex()}+{secret}\n")


def add_known_key(path: Path, key: VerifierKey) -> None:
    """Note a public key beside the private key at `path`, as the newest; one that is noted stays where it is.

    Raises:
        KeyFileError: If the file is malformed or cannot be written.
    """
    file = known_keys_path(path)
    known = read_known_keys(path) if file.exists() else ()
    if key in known:
        return
    draft = file.with_name(file.name + ".new")
    try:
        draft.write_text("".join(f"{each.vkey}\n" for each in (*known, key)), encoding="utf-8")
        draft.replace(file)
    except OSError as error:
        raise KeyFileError(f"the public keys {file} cannot be written: {error.strerror}") from error


def write_private(path: Path, text: str) -> None:
    """Write a secret that must not exist yet, readable by its owner only and durable.

    Raises:
        KeyFileError: If the file exists or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise KeyFileError(f"there is a key at {path} already; rotate it, or name another file") from error
    except OSError as error:
        raise KeyFileError(f"the key file {path} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except OSError as error:
        path.unlink()
        raise KeyFileError(f"the key file {path} cannot be written: {error.strerror}") from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a file's own bytes survive a power cut without them to no avail."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_private(path: Path) -> str:
    """Read a secret that only its owner may read.

    Raises:
        KeyFileError: If the file is missing, cannot be read, or others may read it.
    """
    try:
        if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise KeyFileError(f"the key file {path} can be read by others; run chmod 600 on it")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise KeyFileError(
            f"there is no key file {path}; restore it from its backup, or create one"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise KeyFileError(f"the key file {path} cannot be read: {reason}") from error


def load_key(path: Path) -> SigningKey:
    """Read a private key.

    Raises:
        KeyFileError: If the file is missing, readable by others, or not a key.
    """
    text = read_private(path).strip()
    try:
        name, key_id, encoded = text.removeprefix(_PRIVATE).split("+", 2)
        secret = base64.b64decode(encoded, validate=True)
        private = Ed25519PrivateKey.from_private_bytes(secret[1:])
        verifier = VerifierKey(name=name, public=private.public_key().public_bytes_raw())
        sound = text.startswith(_PRIVATE) and secret[:1] == _ED25519 and is_key_name(name)
        if not sound or verifier.key_id.hex() != key_id:
            raise ValueError("not an Ed25519 key")
    except (ValueError, binascii.Error):
        # Not chained: the cause might quote the secret.
        raise KeyFileError(f"the key file {path} is malformed; restore it from its backup") from None
    return SigningKey(verifier=verifier, private=private)


def parse_vkey(line: str) -> VerifierKey:
    """Read a public key from its line of text.

    Raises:
        KeyFileError: If it is not one.
    """
    try:
        name, key_id, encoded = line.strip().split("+", 2)
        public = base64.b64decode(encoded, validate=True)
        key = VerifierKey(name=name, public=public[1:])
        sound = public[:1] == _ED25519 and len(public) == 33 and is_key_name(name)
        if not sound or key.key_id.hex() != key_id:
            raise ValueError("not an Ed25519 key")
    except (ValueError, binascii.Error) as error:
        raise KeyFileError("a public key is a line name+id+key as `medvqa audit key` prints it") from error
    return key


def known_keys_path(path: Path) -> Path:
    """Where the public keys stand that belong to the private key at `path`."""
    return path.with_name(path.name + ".vkeys")


def read_known_keys(path: Path) -> tuple[VerifierKey, ...]:
    """All public keys that the trail of the private key at `path` was signed by, the oldest first.

    Raises:
        KeyFileError: If the file is missing or malformed.
    """
    return read_vkeys(known_keys_path(path))


def read_vkeys(path: Path) -> tuple[VerifierKey, ...]:
    """Public keys from a file, one a line.

    Raises:
        KeyFileError: If the file is missing or malformed.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise KeyFileError(
            f"the public keys {path} cannot be read; ask the trail's owner for them"
        ) from error
    try:
        return tuple(parse_vkey(line) for line in lines if line.strip())
    except KeyFileError as error:
        raise KeyFileError(f"{path}: {error}") from error
