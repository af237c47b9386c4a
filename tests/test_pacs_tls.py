"""Over TLS the certificate and the host name of a PACS are verified, and ours is shown where it is wanted."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pynetdicom import AE

from medvqa.errors import PacsError
from medvqa.pacs.dimse import echo
from medvqa.pacs_nodes import DimseNode

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow


def write_certificate(path: Path, address: str) -> Path:
    """A self-signed certificate of an address, with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, path.stem)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def node(tmp_path: Path) -> Iterator[DimseNode]:
    """A PACS over TLS that wants to see our certificate; and how it is reached."""
    theirs = write_certificate(tmp_path / "theirs.pem", "127.0.0.1")
    ours = write_certificate(tmp_path / "ours.pem", "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ours)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(theirs)
    ae = AE(ae_title="ARCHIVE")
    ae.add_supported_context("1.2.840.10008.1.1")
    server: Any = ae.start_server(("127.0.0.1", 0), block=False, ssl_context=context)
    yield DimseNode(
        name="tls",
        host="127.0.0.1",
        port=server.server_address[1],
        aet="ARCHIVE",
        tls=True,
        ca=theirs,
        certificate=ours,
    )
    ae.shutdown()


def test_both_know_each_other(node: DimseNode) -> None:
    echo(node)


def test_who_is_not_trusted_is_not_spoken_to(node: DimseNode, tmp_path: Path) -> None:
    other = write_certificate(tmp_path / "other.pem", "127.0.0.1")
    for wrong in (
        replace(node, ca=None),
        replace(node, ca=other),
        replace(node, host="localhost"),  # the certificate is for the address alone
        replace(node, certificate=None),
        replace(node, tls=False, ca=None, certificate=None),
    ):
        with pytest.raises(PacsError, match=r"cannot be reached|broke the connection off"):
            echo(wrong)
    with pytest.raises(PacsError, match="does not exist"):
        echo(replace(node, ca=tmp_path / "none.pem"))
    (tmp_path / "no.pem").write_text("no certificate")
    with pytest.raises(PacsError, match="no PEM file"):
        echo(replace(node, ca=tmp_path / "no.pem"))
