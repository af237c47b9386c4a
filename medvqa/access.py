"""Who may do what: roles, keys of programs, and the one sentence for whoever may not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from medvqa.errors import AccessError

Role: TypeAlias = Literal["reader", "senior", "auditor", "admin", "local"]
Permission: TypeAlias = Literal[
    "open", "ask", "review", "sign", "report", "practise", "stop", "audit", "models"
]

PERMISSIONS: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        "reader": frozenset({"open", "ask", "review", "practise", "models"}),
        "senior": frozenset({"open", "ask", "review", "sign", "report", "practise", "stop", "models"}),
        "auditor": frozenset({"audit", "models"}),
        "admin": frozenset({"stop", "audit", "models"}),
        "local": frozenset(get_args(Permission)),
    }
)
"""Of each role. `local` is the one user of a machine on which nobody logs in: all of it.

A reader's answers are signed by a senior; who audits sees no image, and who looks after the system neither
reads nor signs.
"""

_DOING: dict[Permission, str] = {
    "open": "open a study",
    "ask": "ask",
    "review": "review an answer",
    "sign": "sign",
    "report": "write a report",
    "practise": "practise",
    "stop": "stop or resume answering",
    "audit": "read the audit trail",
    "models": "see models",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What medvqa.toml knows of a key by which a program calls the service: not the key."""

    role: Role
    """In which its owner acts."""
    sha256: str
    """Of the key, lower hex; a key is 256 random bits, so that nobody finds it from its digest."""


def may(role: str | None, permission: Permission) -> bool:
    """Whether a role has a permission; a role that is not known has none."""
    return any(permission in permissions for known, permissions in PERMISSIONS.items() if known == role)


def require(role: str | None, permission: Permission) -> None:
    """Raise where a role lacks a permission.

    Raises:
        AccessError: With the roles that have it.
    """
    if not may(role, permission):
        having = [known for known in PERMISSIONS if known != "local" and may(known, permission)]
        raise AccessError(
            f"to {_DOING[permission]} takes the role {' or '.join(having)}, and yours is {role or 'none'}; "
            "ask whoever looks after medvqa.toml"
        )
