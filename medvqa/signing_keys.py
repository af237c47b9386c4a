"""Where the key that signs a trail's checkpoints is, and which public keys they are checked by."""

from pathlib import Path

from audit.keys import VerifierKey, known_keys_path, read_known_keys


def signing_key_path(key_folder: Path) -> Path:
    """The trail's signing key in the folder of keys; its public keys stand beside it."""
    return key_folder / "audit.key"


def trusted_keys(key_folder: Path) -> tuple[VerifierKey, ...]:
    """The public keys that checkpoints of this user's trail are checked by; none before the first was made.

    Raises:
        KeyFileError: If their file is malformed.
    """
    path = signing_key_path(key_folder)
    return read_known_keys(path) if known_keys_path(path).exists() else ()
