"""How this side says who it is, and makes sure of the other: secrets of the environment, and TLS."""

from __future__ import annotations

import ipaddress
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from medvqa.errors import PacsError
from medvqa.pacs_nodes import DicomwebNode

if TYPE_CHECKING:
    from medvqa.pacs_nodes import DimseNode, PacsNode


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What is shown to a PACS; either both of the first or the last, or nothing."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    """Bearer token (RFC 6750)."""


def credentials_of(node: PacsNode) -> Credentials:
    """Read MEDVQA_PACS_NAME_PASSWORD, or of a DICOMweb node without a user MEDVQA_PACS_NAME_TOKEN.

    Raises:
        PacsError: If a node has a user but no password, or either would cross a network unencrypted.
    """
    variable = f"MEDVQA_PACS_{node.name.upper()}"
    password = os.environ.get(f"{variable}_PASSWORD") if node.user else None
    if node.user and not password:
        raise PacsError(f"the PACS {node.name} has a user but no password; set {variable}_PASSWORD")
    token = None
    if isinstance(node, DicomwebNode) and not node.user:
        token = os.environ.get(f"{variable}_TOKEN") or None
    if (password or token) and not (_is_encrypted(node) or _is_here(host_of(node))):
        what = "password" if password else "token"
        way_out = "write https in its url" if isinstance(node, DicomwebNode) else "set tls = true"
        raise PacsError(f"the {what} of the PACS {node.name} would cross the network unencrypted; {way_out}")
    return Credentials(user=node.user, password=password, token=token)


def tls_context(node: DimseNode) -> ssl.SSLContext:
    """TLS for a connection that we open: certificate and host name are verified (PS3.15 B.12).

    Raises:
        PacsError: If a certificate file cannot be used.
    """
    require_files(node)
    try:
        context = ssl.create_default_context(cafile=node.ca)
        if node.certificate is not None:
            context.load_cert_chain(node.certificate, node.certificate_key)
    except (OSError, ssl.SSLError) as error:
        raise PacsError(
            f"a certificate file of the PACS {node.name} is no PEM file that can be used: {error.strerror}"
        ) from error
    return context


def receiving_tls_context(node: DimseNode) -> ssl.SSLContext:
    """TLS for connections that the PACS opens to us: its certificate is wanted and verified.

    Raises:
        PacsError: If a certificate file is missing or cannot be used.
    """
    require_files(node)
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=node.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(node.certificate or "", node.certificate_key)
    except (OSError, ssl.SSLError) as error:
        raise PacsError(
            f"the PACS {node.name} sends us instances over TLS, for which certificate must be a PEM file that"
            " can be used"
        ) from error
    return context


def require_files(node: PacsNode) -> None:
    """Raise where a certificate file that the settings name is not there.

    Raises:
        PacsError: If so.
    """
    for path in (node.ca, node.certificate, node.certificate_key):
        if path is not None and not Path(path).is_file():
            raise PacsError(f"the file {path} of the PACS {node.name} does not exist; correct medvqa.toml")


def host_of(node: PacsNode) -> str:
    """Name or address of the machine that a node is on."""
    return urlsplit(node.url).hostname or "" if isinstance(node, DicomwebNode) else node.host


def _is_encrypted(node: PacsNode) -> bool:
    return node.url.startswith("https:") if isinstance(node, DicomwebNode) else node.tls


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
