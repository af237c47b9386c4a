"""Keys by which programs call the service: 256 random bits, of which medvqa.toml holds the SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medvqa.access import ApiKey, Role

PREFIX = "medvqa_"
"""Begins every key, so that one that leaked is recognised in a file."""


def make_key() -> str:
    """A new key: the prefix and 32 random bytes in URL-safe base64."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_key(key: str) -> str:
    """SHA-256 of a key, lower hex. It needs no slow hash: nobody tries 2 ** 256 keys."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def write_line(name: str, key: str, *, role: Role) -> str:
    """The line for the table `[api_keys]` of medvqa.toml; it holds the digest, and not the key."""
    # A JSON string is a basic string of TOML, but for the half characters that no name holds.
    return f'{json.dumps(name, ensure_ascii=False)} = {{ role = "{role}", sha256 = "{digest_key(key)}" }}'


def find_name(keys: Mapping[str, ApiKey], key: str) -> str | None:
    """Whose key this is; None for nobody's. All are compared, each in constant time."""
    digest = digest_key(key)
    found = None
    for name, known in keys.items():
        if hmac.compare_digest(known.sha256, digest):
            found = name
    return found
