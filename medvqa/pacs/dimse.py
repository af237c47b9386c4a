"""A PACS by DIMSE: C-ECHO, C-FIND, C-GET, C-MOVE and C-STORE as a client (PS3.7), by pynetdicom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydicom import Dataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalXRayImageStorageForPresentation,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
)
from pynetdicom import AE, _config, build_context, build_role, evt
from pynetdicom.pdu_primitives import UserIdentityNegotiation

from medvqa.errors import PacsError
from medvqa.pacs.credentials import credentials_of, receiving_tls_context, tls_context
from medvqa.pacs.exchange import Delivery, delivered
from medvqa.pacs.queries import (
    INSTANCE_KEYWORDS,
    STUDY_KEYWORDS,
    FoundInstance,
    FoundStudy,
    StudyQuery,
    is_uid,
    read_instance_answer,
    read_study_answer,
)
from medvqa.pacs.receiving import TRANSFER_SYNTAXES, VERIFICATION, Caller, bounded, receiving

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.presentation import PresentationContext

    from medvqa.dicom.sources import Limits
    from medvqa.pacs.exchange import Keep, Outgoing
    from medvqa.pacs_nodes import DimseNode

_FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")
_MOVE = UID("1.2.840.10008.5.1.4.1.2.2.2")
_GET = UID("1.2.840.10008.5.1.4.1.2.2.3")
"""Study Root Query/Retrieve Information Model (PS3.4 C.6.2)."""
_PENDING = (0xFF00, 0xFF01)
_MOST_CONTEXTS = 128
"""Of one association: PS3.8 9.3.2.2 numbers them by odd numbers below 256."""
_MOST_USED = (
    CTImageStorage,
    MRImageStorage,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalMammographyXRayImageStorageForPresentation,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    SecondaryCaptureImageStorage,
)
_UIDS_A_REQUEST = 100
"""Instances named in one C-GET or C-MOVE: some PACS take no longer lists."""


def echo(node: DimseNode) -> None:
    """Ask whether the PACS is there and takes us (C-ECHO).

    Raises:
        PacsError: If not.
    """
    with _associated(node, [build_context(VERIFICATION)]) as association:
        _require_success(node, association.send_c_echo())


def find_studies(node: DimseNode, query: StudyQuery, *, limits: Limits) -> list[FoundStudy]:
    """Ask which studies there are (C-FIND); at most `query.limit`."""
    found: list[FoundStudy] = []
    identifier = _identifier("STUDY", STUDY_KEYWORDS, query.keys)
    for answer in _find(node, identifier, most=query.limit, limits=limits):
        study = read_study_answer(answer, query)
        if study is not None:
            found.append(study)
        if len(found) == query.limit:
            break
    return found


def find_instances(node: DimseNode, study: str, *, limits: Limits) -> list[FoundInstance]:
    """Ask which instances a study has, series by series (C-FIND)."""
    found: dict[str, FoundInstance] = {}
    identifier = _identifier("SERIES", ("SeriesInstanceUID",), {"StudyInstanceUID": study})
    answers = _find(node, identifier, most=limits.files, limits=limits)
    listed = {str(answer.get("SeriesInstanceUID") or "") for answer in answers}
    for series in sorted(filter(is_uid, listed)):
        keys = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
        for answer in _find(
            node, _identifier("IMAGE", INSTANCE_KEYWORDS, keys), most=limits.files, limits=limits
        ):
            one = read_instance_answer(answer, series)
            if one is not None:
                found[one.sop_instance_uid] = one
        if len(found) > limits.files:
            break
    return list(found.values())


def fetch(
    node: DimseNode, study: str, wanted: Sequence[FoundInstance], *, keep: Keep, limits: Limits
) -> None:
    """Fetch instances, by C-GET or as the node wants it by C-MOVE to our own receiver."""
    if node.retrieve == "get":
        of_class: dict[str | None, list[FoundInstance]] = defaultdict(list)
        for one in wanted:
            of_class[one.sop_class_uid].append(one)
        for sop_class, instances in of_class.items():
            _get(node, list(_requests(study, instances)), sop_class, keep=keep, limits=limits)
        return

    def keep_of(content: bytes, _: Caller) -> int:
        return keep(content)

    with (
        receiving(
            node.own_aet,
            (node.receive_host, node.receive_port or 0),
            callers=[node.aet],
            keep=keep_of,
            limits=limits,
            tls=receiving_tls_context(node) if node.tls else None,
        ),
        _associated(node, [build_context(_MOVE)]) as association,
    ):
        for request in _requests(study, wanted):
            _exhaust(node, association.send_c_move(request, node.own_aet, _MOVE))


def store(node: DimseNode, outgoing: Sequence[Outgoing]) -> Iterator[Delivery]:
    """Send instances, each in the transfer syntax that its file has (C-STORE); yields what became of each."""
    of_context: dict[tuple[str, str], list[Outgoing]] = defaultdict(list)
    for one in outgoing:
        of_context[one.instance.sop_class_uid, one.instance.transfer_syntax].append(one)
    for few in _batched(sorted(of_context), _MOST_CONTEXTS):
        contexts = [build_context(sop_class, syntax) for sop_class, syntax in few]
        with _associated(node, contexts) as association:
            for one in (one for pair in few for one in of_context[pair]):
                yield delivered(one, _send(node, association, one))


def _send(node: DimseNode, association: Association, one: Outgoing) -> int:
    try:
        status = association.send_c_store(one.path)
    except RuntimeError:
        raise PacsError(f"the PACS {node.name} broke the connection off while it was sent to") from None
    except (ValueError, AttributeError):  # it accepted no context for this class in this transfer syntax
        return 0x0122
    return _status(node, status)


def _get(
    node: DimseNode,
    requests: Sequence[Dataset],
    sop_class: str | None,
    *,
    keep: Keep,
    limits: Limits,
) -> None:
    """Fetch instances of one SOP class; where the PACS does not say which, of one of those most used."""
    # One context a transfer syntax: of several in one context a PACS picks one, and would transcode.
    classes = [sop_class] if sop_class else _MOST_USED
    contexts = [
        build_context(_GET),
        *(build_context(name, syntax) for name in classes for syntax in TRANSFER_SYNTAXES),
    ]

    def keep_of(event: evt.Event) -> int:
        return keep(event.encoded_dataset())

    handlers = [(evt.EVT_C_STORE, keep_of)]
    roles = [build_role(name, scp_role=True) for name in classes]
    with _associated(node, contexts, roles=roles, handlers=handlers, limits=limits) as association:
        for request in requests:
            _exhaust(node, association.send_c_get(request, _GET))


def _requests(study: str, wanted: Sequence[FoundInstance]) -> Iterator[Dataset]:
    """Identifiers that name instances, those of one series at a time (PS3.4 C.4.3.1.3)."""
    of_series: dict[str, list[str]] = defaultdict(list)
    for one in wanted:
        of_series[one.series_instance_uid].append(one.sop_instance_uid)
    for series, uids in of_series.items():
        for few in _batched(uids, _UIDS_A_REQUEST):
            request = _identifier("IMAGE", (), {"StudyInstanceUID": study, "SeriesInstanceUID": series})
            request.SOPInstanceUID = few
            yield request


def _batched(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _find(node: DimseNode, identifier: Dataset, *, most: int, limits: Limits) -> Iterator[Dataset]:
    """Answers to a C-FIND; whatever comes beyond ten times as many as are of use is not waited for."""
    with _associated(node, [build_context(_FIND)], limits=limits) as association:
        seen = 0
        for status, answer in association.send_c_find(identifier, _FIND):
            if _status(node, status) in _PENDING and answer is not None:
                yield answer
                seen += 1
                if seen > 10 * most:
                    return
            elif status.Status not in _PENDING:
                _require_success(node, status)


def _identifier(level: str, keywords: Sequence[str], keys: dict[str, str]) -> Dataset:
    identifier = Dataset()
    identifier.SpecificCharacterSet = "ISO_IR 192"
    identifier.QueryRetrieveLevel = level
    for keyword in keywords:
        setattr(identifier, keyword, "")
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return identifier


@contextmanager
def _associated(
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


def _exhaust(node: DimseNode, responses: Iterator[tuple[Dataset, Dataset | None]]) -> None:
    """Wait for the end of a C-GET or C-MOVE; which instances failed shows in what did not come."""
    for status, _ in responses:
        code = _status(node, status)
        if code == 0xA801:
            raise PacsError(
                f"the PACS {node.name} does not know {node.own_aet} as a destination of C-MOVE; enter it"
                f" there with this machine's address and port {node.receive_port}"
            )
        if code not in _PENDING and code >> 12 != 0xB:
            _require_success(node, status)


def _require_success(node: DimseNode, status: Dataset) -> None:
    code = _status(node, status)
    if code == 0x0122:
        raise PacsError(
            f"the PACS {node.name} does not do that for us (status 0122); see what it allows"
            f" {node.own_aet} to do"
        )
    if code != 0x0000:
        raise PacsError(f"the PACS {node.name} could not do it (status {code:04X}); see its own log")


def _status(node: DimseNode, status: Dataset) -> int:
    if "Status" not in status:
        raise PacsError(f"the PACS {node.name} broke the connection off or did not answer in time")
    return int(status.Status)
