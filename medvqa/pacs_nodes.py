"""PACS nodes: where a hospital's archive is and how it is spoken to, as medvqa.toml tells it.

Nothing secret is among it: passwords and tokens come from the environment (`medvqa.pacs.credentials`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast
from urllib.parse import urlsplit

from medvqa.errors import PacsError, SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomwebNode:
    """A PACS that is spoken to over DICOMweb: QIDO-RS, WADO-RS and STOW-RS (PS3.18)."""

    name: str
    """By which the settings and the command line know it."""
    url: str
    """Of the service, such as `https://pacs.example.org/dicom-web`."""
    user: str | None = None
    """For HTTP Basic; without one a bearer token is sent, where the environment holds it."""
    ca: Path | None = None
    """PEM file of the authorities that are trusted in place of the public ones."""
    certificate: Path | None = None
    """PEM file of the certificate by which this side says who it is."""
    certificate_key: Path | None = None
    """PEM file of its private key; None where `certificate` holds it too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DimseNode:
    """A PACS that is spoken to by the DICOM upper layer protocol: C-FIND, C-GET, C-MOVE, C-STORE (PS3.7)."""

    name: str
    """By which the settings and the command line know it."""
    host: str
    port: int
    aet: str
    """Its AE title."""
    own_aet: str = "MEDVQA"
    """Ours, by which it knows us."""
    user: str | None = None
    """Said in the user identity negotiation (PS3.7 D.3.3.7), with the password of the environment."""
    tls: bool = False
    """Whether the connection is encrypted; its certificate and host name are always verified."""
    ca: Path | None = None
    """PEM file of the authorities that are trusted in place of the system's."""
    certificate: Path | None = None
    """PEM file of the certificate by which this side says who it is."""
    certificate_key: Path | None = None
    """PEM file of its private key; None where `certificate` holds it too."""
    retrieve: Literal["get", "move"] = "get"
    """C-GET, or C-MOVE to our own receiver."""
    receive_host: str = "127.0.0.1"
    """Address of this machine at which instances of a C-MOVE are taken."""
    receive_port: int | None = None
    """Its port, which the PACS has to know for `own_aet`."""


PacsNode: TypeAlias = DicomwebNode | DimseNode


def named_node(nodes: Mapping[str, PacsNode], name: str) -> PacsNode:
    """The node of that name among those of the settings.

    Raises:
        PacsError: If there is none.
    """
    if name not in nodes:
        known = f"those known are {', '.join(nodes)}" if nodes else "none is known"
        raise PacsError(f"there is no PACS {name!r}: {known}; add a table [pacs.{name}] to medvqa.toml")
    return nodes[name]


def check_nodes(value: Any, place: str) -> dict[str, PacsNode]:
    """The nodes of a table of tables, by name.

    Args:
        value: As TOML gives it.
        place: Where it stood, for errors.

    Raises:
        SettingsError: If it is no such table, or a node is told wrongly.
    """
    if not isinstance(value, dict) or not all(isinstance(one, dict) for one in value.values()):
        raise SettingsError(f"{place} must hold a table [pacs.NAME] a node, and can only stand in the file")
    return dict(_check_all(cast("dict[str, dict[str, Any]]", value), place))


def _check_all(tables: Mapping[str, Mapping[str, Any]], place: str) -> Iterator[tuple[str, PacsNode]]:
    for name, table in tables.items():
        # The name becomes part of a variable of the environment.
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name):
            raise SettingsError(
                f"{place} names a node {name!r}; use small letters, digits and _ (32 at most)"
            )
        yield name, _check_node(name, table, f"[pacs.{name}] of {place}")


def _check_node(name: str, table: Mapping[str, Any], place: str) -> PacsNode:
    if ("url" in table) == ("host" in table):
        raise SettingsError(f"{place} must have either url (DICOMweb) or host, port and aet (DIMSE)")
    kind = DicomwebNode if "url" in table else DimseNode
    known = [field.name for field in fields(kind) if field.name != "name"]
    for key, value in table.items():
        if key in ("password", "token"):
            raise SettingsError(
                f"{place} holds a {key}; take it out and set MEDVQA_PACS_{name.upper()}_{key.upper()}"
            )
        if key not in known:
            raise SettingsError(f"{place} has the unknown key {key!r}; the keys are {', '.join(known)}")
        fits, rule = _RULES[key]
        if not fits(value):
            raise SettingsError(f"{key} in {place} must be {rule}")
    missing = [key for key in ("host", "port", "aet") if kind is DimseNode and key not in table]
    if missing:
        raise SettingsError(f"{place} has no {' and no '.join(missing)}")
    given: dict[str, Any] = {"name": name, **table}
    given |= {key: Path(table[key]).expanduser().absolute() for key in _PATHS if key in table}
    node = kind(**given)
    _check_together(node, place)
    return node


def _check_together(node: PacsNode, place: str) -> None:
    if node.certificate_key is not None and node.certificate is None:
        raise SettingsError(f"{place} has a certificate_key but no certificate")
    if isinstance(node, DicomwebNode):
        return
    if not node.tls and (node.ca or node.certificate):
        raise SettingsError(f"{place} has certificates but does not say tls = true")
    if (node.retrieve == "move") != (node.receive_port is not None):
        raise SettingsError(f'{place} must have both retrieve = "move" and receive_port, or neither')
    if node.tls and node.retrieve == "move" and not node.certificate:
        raise SettingsError(f"{place} has no certificate, with which a C-MOVE is taken over TLS")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value.strip())


def _is_port(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 65535


def is_ae_title(value: Any) -> bool:
    """Whether a value is an AE title: 1 to 16 characters of ASCII, no backslash, no space at its ends.

    Reference: DICOM PS3.5 6.2, VR AE.
    """
    return isinstance(value, str) and bool(_AE_TITLE.fullmatch(value))


def _is_url(value: Any) -> bool:
    if not _is_text(value):
        return False
    try:
        parts = urlsplit(value)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return named and parts.scheme in ("http", "https") and "@" not in parts.netloc and not _TAIL.search(value)


_AE_TITLE = re.compile(r"[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?")
_TAIL = re.compile(r"[?#]")
_PATHS = ("ca", "certificate", "certificate_key")
_FILE = (_is_text, "the path of a PEM file")
_HOST = (_is_text, "a host name or address")
_AET = (is_ae_title, "an AE title of 1 to 16 letters, digits and signs")
_PORT = (_is_port, "a port from 1 to 65535")
_RULES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    # What stands in an address is recorded with the settings.
    "url": (_is_url, "an address that begins with http, without a user, a password or a query"),
    "host": _HOST,
    "port": _PORT,
    "aet": _AET,
    "own_aet": _AET,
    "user": (_is_text, "text and not empty"),
    "tls": (lambda value: isinstance(value, bool), "true or false"),
    "ca": _FILE,
    "certificate": _FILE,
    "certificate_key": _FILE,
    "retrieve": (lambda value: value in ("get", "move"), "get or move"),
    "receive_host": _HOST,
    "receive_port": _PORT,
}
