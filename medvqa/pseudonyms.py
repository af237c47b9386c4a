"""Keyed pseudonyms: a patient is the same everywhere in a trail, and nobody without the key learns who.

The key is one file outside the database. Whoever holds it can recompute the pseudonym of a Patient ID that
they know; whoever does not cannot even try likely ones. Were it lost and made anew, later events of a patient
could not be joined with earlier ones: so it is made once, and never for a trail that names patients already.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from audit.errors import KeyFileError
from audit.keys import read_private, sync_folder, write_private
from audit.schema import EVENT
from medvqa.errors import RecordError

if TYPE_CHECKING:
    from audit import Log

KEY_FILE = "pseudonym.key"
"""Name of the key's file in the folder of keys."""

_KEY_BYTES = 32


def pseudonym(key: bytes, patient_id: str, issuer: str = "") -> str:
    """Name a patient: `P-` and 26 characters of base32, the first 128 bits of an HMAC-SHA-256.

    It covers the length of the issuer in UTF-8 bytes (decimal, then a colon), the issuer and the Patient ID.

    Args:
        key: From `open_key`.
        patient_id: Patient ID (0010,0020).
        issuer: Issuer of Patient ID (0010,0021), since two hospitals give the same ID to different people.

    Reference: RFC 2104; ISO 25237 (pseudonymization).
    """
    named = issuer.encode("utf-8", "surrogatepass")
    message = f"{len(named)}:".encode() + named + patient_id.encode("utf-8", "surrogatepass")
    digest = hmac.digest(key, message, "sha256")[:16]
    return "P-" + base64.b32encode(digest).decode().rstrip("=")


def pseudonymous_uid(key: bytes, uid: str) -> str:
    """Name a study, a series or anything else with a UID: the same for the same UID, under 2.25.

    It is made of the first 128 bits of an HMAC-SHA-256 over `uid:` and the UID, shaped as a UUID.

    Reference: DICOM PS3.5 B.2; RFC 9562 (version 8).
    """
    digest = bytearray(hmac.digest(key, b"uid:" + uid.encode("utf-8", "surrogatepass"), "sha256")[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return f"2.25.{int.from_bytes(digest, 'big')}"


def pseudonymous_days(key: bytes, subject: str) -> int:
    """By how many days a subject's dates move back: always the same for the same, from 1 to 3650."""
    digest = hmac.digest(key, b"days:" + subject.encode("utf-8", "surrogatepass"), "sha256")
    return 1 + int.from_bytes(digest[:8], "big") % 3650


def open_key(folder: Path, log: Log) -> bytes:
    """Read the key of a folder; make one on the first run, for a trail that names no patient yet.

    Raises:
        RecordError: If the key is missing though the trail names patients by it.
        KeyFileError: If it is exposed or malformed, or cannot be written.
    """
    path = folder / KEY_FILE
    if not path.exists():
        if _names_patients(log):
            raise RecordError(
                f"the audit trail names patients by a key, but there is no {path}; restore it from its "
                "backup, or name its folder as key_folder"
            )
        _create(path)
    return _read(path)


def fingerprint(key: bytes) -> str:
    """Sixteen digits that tell one key from another and help nobody to find it."""
    return hmac.digest(key, b"fingerprint", "sha256").hex()[:16]


def _create(path: Path) -> None:
    """Put a whole key in place, or keep the one that another process was faster to put there."""
    draft = path.with_name(f"{path.name}.{uuid.uuid4()}")
    write_private(draft, base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode() + "\n")
    try:
        path.hardlink_to(draft)
        sync_folder(path.parent)
    except FileExistsError:
        pass
    except OSError as error:
        raise KeyFileError(f"the key file {path} cannot be written: {error.strerror}") from error
    finally:
        draft.unlink()


def _read(path: Path) -> bytes:
    try:
        key = base64.b64decode(read_private(path).strip(), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != _KEY_BYTES:
        # Not chained: the cause might quote the key.
        raise KeyFileError(f"the key file {path} is malformed; restore it from its backup") from None
    return key


def _names_patients(log: Log) -> bool:
    with log.reading() as connection:
        found = sa.select(EVENT.c.sequence).where(EVENT.c.patient.is_not(None)).limit(1)
        return connection.scalar(found) is not None
