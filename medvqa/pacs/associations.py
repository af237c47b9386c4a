"""Associations with a PACS that we open, and statuses, as one sentence each where they fail."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydicom import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.pdu_primitives import UserIdentityNegotiation

from medvqa.errors import PacsError
from medvqa.pacs.credentials import credentials_of, tls_context
from medvqa.pacs.receiving import bounded

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.presentation import PresentationContext

    from medvqa.dicom.sources import Limits
    from medvqa.pacs_nodes import DimseNode


@contextmanager
def associated(
    node: DimseNode,
    contexts: list[PresentationContext],
    *,
    roles: Sequence[Any] = (),
    handlers: Sequence[Any] = (),
    limits: Limits | None = None,
) -> Generator[Association]:
    """An association, released at the end and aborted where the block leaves it earlier.

    Raises:
        PacsError: If there is none.
    """
    _config.STORE_SEND_CHUNKED_DATASET = True  # a file's own bytes, as they are
    _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
    credentials = credentials_of(node)
    said = list(roles)
    if credentials.user and credentials.password:
        who = UserIdentityNegotiation()
        who.user_identity_type = 2
        who.primary_field = credentials.user.encode()
        who.secondary_field = credentials.password.encode()
        said.append(who)
    ours = AE(ae_title=node.own_aet)
    ours.connection_timeout = 10
    connections: list[Any] = []
    handlers = [*handlers, (evt.EVT_CONN_OPEN, connections.append)]
    if limits is not None:
        handlers.extend(bounded(limits))
    association = ours.associate(
        node.host,
        node.port,
        contexts=contexts,
        ae_title=node.aet,
        ext_neg=said,
        tls_args=(tls_context(node), node.host) if node.tls else None,
        evt_handlers=handlers,
    )
    if not association.is_established:
        raise PacsError(f"the PACS {node.name} {_why_not(association, node, bool(connections))}")
    try:
        yield association
    except BaseException:  # a query's reader that has enough leaves by GeneratorExit
        association.abort()
        raise
    if association.is_established:
        association.release()


def require_success(node: DimseNode, status: Dataset) -> None:
    """Raise where a response is not a success.

    Raises:
        PacsError: If so.
    """
    code = status_code(node, status)
    if code == 0x0122:
        raise PacsError(
            f"the PACS {node.name} does not do that for us (status 0122); see what it allows"
            f" {node.own_aet} to do"
        )
    if code != 0x0000:
        raise PacsError(f"the PACS {node.name} could not do it (status {code:04X}); see its own log")


def status_code(node: DimseNode, status: Dataset) -> int:
    """Status (0000,0900) of a response.

    Raises:
        PacsError: If there was no response.
    """
    if "Status" not in status:
        raise PacsError(f"the PACS {node.name} broke the connection off or did not answer in time")
    return int(status.Status)


def _why_not(association: Association, node: DimseNode, connected: bool) -> str:
    if not connected:
        return "cannot be reached; see whether it is up, and check host, port, tls and ca in medvqa.toml"
    if association.is_rejected:
        answer: Any = association.acceptor.primitive
        diagnostic = (getattr(answer, "result_source", None), getattr(answer, "diagnostic", None))
        if diagnostic == (1, 3):
            return f"does not know the AE title {node.own_aet} that we give; enter it there, or set own_aet"
        if diagnostic == (1, 7):
            return f"is not called {node.aet}; correct aet in medvqa.toml"
        return "refuses the association; check the AE titles, and user and password where it wants them"
    return "broke the connection off; see whether it wants TLS, and check host and port in medvqa.toml"
