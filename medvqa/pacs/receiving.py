"""Taking what others send: a Storage and Verification SCP (PS3.4 annexes A and B), by pynetdicom."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom import AE, AllStoragePresentationContexts, _config, evt

from medvqa.errors import PacsError

if TYPE_CHECKING:
    import ssl

    from pynetdicom.association import Association

    from medvqa.dicom.sources import Limits

VERIFICATION = UID("1.2.840.10008.1.1")
# Of several that a caller offers for one object, the first is taken: nothing is transcoded on the way.
TRANSFER_SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEG2000Lossless,
    JPEG2000,
    RLELossless,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)
"""In which instances are taken: those that `medvqa.dicom` decodes."""
MOST_ASSOCIATIONS = 10
"""At once; who comes then is told to come again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sends, in one association."""

    aet: str
    association: int
    """Its number while this process runs."""


KeepFrom: TypeAlias = Callable[[bytes, Caller], int]
"""As `medvqa.pacs.exchange.Keep`, and from whom."""


@contextmanager
def receiving(
    aet: str,
    address: tuple[str, int],
    *,
    callers: Sequence[str],
    keep: KeepFrom,
    limits: Limits,
    ended: Callable[[Caller], None] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Generator[int]:
    """Take instances while the block runs, in threads of their own; gives the port.

    Args:
        aet: Our AE title; who calls another is refused.
        address: Address of this machine and port; with port 0 any that is free.
        callers: AE titles of those who may send. An AE title is a name and proves nothing.
        keep: Takes an instance; what it raises is answered as a failure to process.
        limits: No file may be larger than its `file_bytes`.
        ended: Told when an association is over, however it ended.
        tls: For connections that are encrypted.

    Raises:
        PacsError: If nobody can be listened to there.
    """
    _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
    ours = AE(ae_title=aet)
    ours.require_called_aet = True
    ours.require_calling_aet = list(callers)
    ours.maximum_associations = MOST_ASSOCIATIONS
    ours.add_supported_context(VERIFICATION)
    for context in AllStoragePresentationContexts:
        ours.add_supported_context(context.abstract_syntax or "", list(TRANSFER_SYNTAXES))

    def on_store(event: evt.Event) -> int:
        return keep(event.encoded_dataset(), _caller(event))

    def on_end(event: evt.Event) -> None:
        if ended is not None:
            ended(_caller(event))

    handlers: list[Any] = [
        (evt.EVT_C_STORE, on_store),
        (evt.EVT_CONN_CLOSE, on_end),
        *bounded(limits),
    ]
    try:
        server: Any = ours.start_server(address, block=False, ssl_context=tls, evt_handlers=handlers)
    except OSError as error:
        raise PacsError(
            f"nobody can be listened to at {address[0]} port {address[1]}: {error.strerror}; name another"
        ) from error
    try:
        yield int(server.server_address[1])
    finally:
        ours.shutdown()


def bounded(limits: Limits) -> list[Any]:
    """Handlers that abort an association once one message of it is larger than a file may be."""
    unfinished: WeakKeyDictionary[Association, int] = WeakKeyDictionary()

    def count(event: evt.Event) -> None:
        total = unfinished.get(event.assoc, 0) + len(event.data)
        unfinished[event.assoc] = total
        if total > limits.file_bytes:
            event.assoc.abort()

    def begin_anew(event: evt.Event) -> None:
        unfinished[event.assoc] = 0

    return [(evt.EVT_DATA_RECV, count), (evt.EVT_DIMSE_RECV, begin_anew)]


def _caller(event: evt.Event) -> Caller:
    return Caller(aet=str(event.assoc.requestor.ae_title).strip(), association=id(event.assoc))
