"""A PACS over DICOMweb: QIDO-RS, WADO-RS and STOW-RS (PS3.18 chapters 10.4 to 10.6), by dicomweb-client.

Messages of the libraries are never passed on: the address of a query quotes the Patient ID.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.errors import InvalidDicomError

from medvqa.errors import PacsError
from medvqa.pacs.credentials import credentials_of, require_files
from medvqa.pacs.exchange import OUT_OF_RESOURCES, Delivery, delivered
from medvqa.pacs.queries import (
    INSTANCE_KEYWORDS,
    STUDY_KEYWORDS,
    FoundInstance,
    FoundStudy,
    StudyQuery,
    read_instance_answer,
    read_study_answer,
)

if TYPE_CHECKING:
    from medvqa.dicom.sources import Limits
    from medvqa.pacs.exchange import Keep, Outgoing
    from medvqa.pacs_nodes import DicomwebNode

_SECONDS = (10, 120)
"""To connect, and for the server to say anything more."""
_PAGE = 1000
# What the client and pydicom make of an answer that is none.
_MALFORMED = (
    AttributeError,
    EOFError,
    InvalidDicomError,
    LookupError,
    NotImplementedError,
    RecursionError,
    struct.error,
    TypeError,
    ValueError,
)


def find_studies(node: DicomwebNode, query: StudyQuery, *, limits: Limits) -> list[FoundStudy]:
    """Ask which studies there are (QIDO-RS); at most `query.limit`."""
    with _connected(node, limits) as client:
        answers = client.search_for_studies(
            limit=query.limit, fields=list(STUDY_KEYWORDS), search_filters=query.keys
        )
        found = (read_study_answer(one, query) for one in _datasets(answers))
        return [one for one in found if one is not None][: query.limit]


def find_instances(node: DicomwebNode, study: str, *, limits: Limits) -> list[FoundInstance]:
    """Ask which instances a study has, page by page (QIDO-RS)."""
    found: dict[str, FoundInstance] = {}
    with _connected(node, limits) as client:
        while len(found) <= limits.files:
            before = len(found)
            page = client.search_for_instances(
                study_instance_uid=study, limit=_PAGE, offset=before, fields=list(INSTANCE_KEYWORDS)
            )
            for answer in map(read_instance_answer, _datasets(page)):
                if answer is not None:
                    found[answer.sop_instance_uid] = answer
            if len(found) == before:  # also where a server knows no offset and tells the same again
                break
    return list(found.values())


def fetch(
    node: DicomwebNode, study: str, wanted: Sequence[FoundInstance], *, keep: Keep, limits: Limits
) -> None:
    """Fetch instances one by one, in the transfer syntax in which each is stored (WADO-RS)."""
    with _connected(node, limits) as client:
        for one in wanted:
            dataset = client.retrieve_instance(
                study,
                one.series_instance_uid,
                one.sop_instance_uid,
                media_types=(("application/dicom", "*"),),
            )
            content = BytesIO()
            dcmwrite(content, dataset)
            if keep(content.getvalue()) == OUT_OF_RESOURCES:
                return


def store(node: DicomwebNode, outgoing: Sequence[Outgoing], *, limits: Limits) -> Iterator[Delivery]:
    """Send instances one by one, each as it is (STOW-RS); yields what became of each."""
    with _connected(node, limits) as client:
        for one in outgoing:
            try:
                answer = client.store_instances([dcmread(one.path)])
            except requests.HTTPError as error:
                if error.response is None or error.response.status_code in (401, 403, 404):
                    raise
                yield delivered(one, _stated_status(_answer_of(error.response)) or 0x0110)
            else:
                yield delivered(one, _stated_status(answer))


@contextmanager
def _connected(node: DicomwebNode, limits: Limits) -> Generator[DICOMwebClient]:
    """A client whose failures become one sentence each.

    Raises:
        PacsError: If the PACS cannot be reached, refuses, or answers with what is no DICOMweb.
    """
    credentials = credentials_of(node)
    require_files(node)

    def bound(response: requests.Response, **_: Any) -> None:
        _bound(response, node, limits)

    with requests.Session() as session:
        # Neither a proxy nor a password of this user's environment has a part in where images go.
        session.trust_env = False
        session.max_redirects = 0
        session.verify = str(node.ca) if node.ca else True
        if node.certificate:
            key = node.certificate_key
            session.cert = (str(node.certificate), str(key)) if key else str(node.certificate)
        if credentials.user and credentials.password:
            session.auth = (credentials.user, credentials.password)
        headers = {"Authorization": f"Bearer {credentials.token}"} if credentials.token else None
        client = DICOMwebClient(node.url.rstrip("/"), session=session, headers=headers, timeout=_SECONDS)
        client.set_http_retry_params(retry=False)
        session.hooks["response"].append(bound)
        try:
            yield client
        except requests.RequestException as error:
            # Not chained, here and below: the address of a query quotes the Patient ID.
            raise PacsError(f"the PACS {node.name} {_what_failed(error, node)}") from None
        except _MALFORMED:
            raise PacsError(f"the PACS {node.name} answers with what is no DICOMweb; check its url") from None


def _bound(response: requests.Response, node: DicomwebNode, limits: Limits) -> None:
    """Let no answer grow larger than one file may be, whatever the server sends."""
    unbounded: Any = response.iter_content

    def iter_content(*args: Any, **options: Any) -> Iterator[bytes]:
        total = 0
        for chunk in unbounded(*args, **options):
            total += len(chunk)
            if total > limits.file_bytes:
                response.close()
                raise PacsError(
                    f"the PACS {node.name} answers with more than {limits.file_bytes:,} bytes, the limit of"
                    " one file (Limits.file_bytes)"
                )
            yield chunk

    response.iter_content = iter_content


def _what_failed(error: requests.RequestException, node: DicomwebNode) -> str:
    if isinstance(error, requests.HTTPError):
        status = 0 if error.response is None else error.response.status_code
        if status in (401, 403):
            known = "PASSWORD" if node.user else "TOKEN"
            return (
                f"refuses who we are (HTTP {status}); check user and MEDVQA_PACS_{node.name.upper()}_{known}"
            )
        if status == 404:
            return "does not have it (HTTP 404); check the UID, and url in medvqa.toml"
        return f"could not do it (HTTP {status}); see its own log"
    if isinstance(error, requests.exceptions.InvalidJSONError):
        return "answers with what is no DICOMweb; check its url"
    if isinstance(error, requests.TooManyRedirects):
        return "sends us elsewhere; write the address that it names as url in medvqa.toml"
    if isinstance(error, requests.exceptions.SSLError):
        return "has a certificate that is not trusted, or wants one of ours; see ca and certificate"
    if isinstance(error, requests.Timeout):
        return "did not answer in time; see whether it is up"
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached; see whether it is up, and check url in medvqa.toml"
    return "does not speak HTTP as it should; check url in medvqa.toml"


def _datasets(answers: Sequence[Any]) -> Iterator[Dataset]:
    for one in answers:
        yield Dataset.from_json(one)


def _answer_of(response: requests.Response) -> Dataset:
    """What a refusal says, where it says it in DICOM's own form (PS3.18 10.5.3)."""
    try:
        return Dataset.from_json(response.json())
    except Exception:  # any server may write any page beside an error
        return Dataset()


def _stated_status(answer: Dataset) -> int:
    """Failure Reason (0008,1197) or Warning Reason (0008,1196) of the one instance sent; else 0."""
    for sequence, keyword in (
        ("FailedSOPSequence", "FailureReason"),
        ("ReferencedSOPSequence", "WarningReason"),
    ):
        for item in answer.get(sequence) or ():
            reason = item.get(keyword)
            if reason is not None or sequence == "FailedSOPSequence":
                return int(reason or 0x0110)
    return 0x0000
