"""A PACS by DIMSE: C-ECHO, C-FIND, C-GET, C-MOVE and C-STORE as a client (PS3.7), by pynetdicom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
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
from pynetdicom import build_context, build_role, evt

from medvqa.errors import PacsError
from medvqa.pacs.associations import associated, require_success, status_code
from medvqa.pacs.credentials import receiving_tls_context
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
from medvqa.pacs.receiving import TRANSFER_SYNTAXES, VERIFICATION, Caller, receiving

if TYPE_CHECKING:
    from pynetdicom.association import Association

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
    with associated(node, [build_context(VERIFICATION)]) as association:
        require_success(node, association.send_c_echo())


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
        associated(node, [build_context(_MOVE)]) as association,
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
        with associated(node, contexts) as association:
            for one in (one for pair in few for one in of_context[pair]):
                yield delivered(one, _send(node, association, one))


def _send(node: DimseNode, association: Association, one: Outgoing) -> int:
    try:
        status = association.send_c_store(one.path)
    except RuntimeError:
        raise PacsError(f"the PACS {node.name} broke the connection off while it was sent to") from None
    except (ValueError, AttributeError):  # it accepted no context for this class in this transfer syntax
        return 0x0122
    return status_code(node, status)


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
    with associated(node, contexts, roles=roles, handlers=handlers, limits=limits) as association:
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
    with associated(node, [build_context(_FIND)], limits=limits) as association:
        seen = 0
        for status, answer in association.send_c_find(identifier, _FIND):
            if status_code(node, status) in _PENDING and answer is not None:
                yield answer
                seen += 1
                if seen > 10 * most:
                    return
            elif status.Status not in _PENDING:
                require_success(node, status)


def _identifier(level: str, keywords: Sequence[str], keys: dict[str, str]) -> Dataset:
    identifier = Dataset()
    identifier.SpecificCharacterSet = "ISO_IR 192"
    identifier.QueryRetrieveLevel = level
    for keyword in keywords:
        setattr(identifier, keyword, "")
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return identifier


def _exhaust(node: DimseNode, responses: Iterator[tuple[Dataset, Dataset | None]]) -> None:
    """Wait for the end of a C-GET or C-MOVE; which instances failed shows in what did not come."""
    for status, _ in responses:
        code = status_code(node, status)
        if code == 0xA801:
            raise PacsError(
                f"the PACS {node.name} does not know {node.own_aet} as a destination of C-MOVE; enter it"
                f" there with this machine's address and port {node.receive_port}"
            )
        if code not in _PENDING and code >> 12 != 0xB:
            require_success(node, status)
