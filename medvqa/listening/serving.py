"""The listener at work: it takes studies, answers each once it is complete, and sends the results."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit import AuditError
from medvqa.errors import CancelledError, MedvqaError, ModelError, PacsError, RecordError, StoppedError
from medvqa.listening.answering import Desk, answer_study
from medvqa.listening.arrivals import Arrivals
from medvqa.listening.taking import Intake
from medvqa.long_work import LongWork, doing
from medvqa.pacs.pushing import gather, push
from medvqa.pacs.receiving import receiving

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from audit import JSON
    from medvqa.dicom.sources import Limits
    from medvqa.pacs_nodes import PacsNode

log = logging.getLogger("medvqa.listening")

RETRY_SECONDS = 60.0
"""After which what failed for a reason that passes, such as a PACS that is down, is tried again."""
_TICK_SECONDS = 0.2
_PASSING = (PacsError, ModelError, StoppedError, RecordError, AuditError, OSError)
"""What another time may be better: a PACS or a model's server that is down, a full disk, a stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a listener listens, and to whom."""

    aet: str
    host: str
    port: int
    callers: Sequence[str]
    """AE titles of those who may send."""


def listen(
    desk: Desk,
    address: Address,
    *,
    quiet: float,
    send_to: PacsNode | None,
    limits: Limits,
    work: LongWork,
    began: Callable[[int], None],
) -> None:
    """Listen until `work` is cancelled; a study that is being answered then is answered by the next run.

    One study that cannot be answered never stops the others.

    Args:
        desk: Who answers, and where studies and results lie.
        address: Where to listen.
        quiet: Seconds without a new instance after which a study counts as complete.
        send_to: Where results go; None leaves them in the folder.
        limits: On the files and bytes of a study.
        work: Is cancelled from another thread, or by a signal.
        began: Told the port once somebody may call.

    Raises:
        PacsError: If nobody can be listened to there.
    """
    arrivals = Arrivals(quiet=quiet)
    arrivals.postpone(desk.inbox.unfinished(sending=send_to is not None), quiet)
    intake = Intake(session=desk.assistant.session, inbox=desk.inbox, arrivals=arrivals, limits=limits)
    with (
        receiving(
            address.aet,
            (address.host, address.port),
            callers=address.callers,
            keep=intake.take,
            ended=intake.ended,
            limits=limits,
        ) as port,
        doing(work),
    ):
        began(port)
        while not work.wait(_TICK_SECONDS):
            study = arrivals.take()
            if study is not None and not _serve(desk, study, send_to):
                arrivals.postpone([study], RETRY_SECONDS)


def _serve(desk: Desk, study: str, send_to: PacsNode | None) -> bool:
    """Answer one study and send its results; False where it is to be tried again."""
    digest = desk.inbox.digest(study)
    try:
        if not desk.inbox.is_done(study, digest):
            _answer(desk, study, digest)
        if send_to is not None:
            return _send(desk, study, send_to)
    except CancelledError:
        log.info("study %s: stopped before it was answered; the next start goes on with it", study)
    except _PASSING as error:
        log.error("study %s: %s; tried again in %.0f s", study, _said(error), RETRY_SECONDS)
        return False
    return True


def _answer(desk: Desk, study: str, digest: str) -> None:
    log.info("study %s: complete; answering", study)
    said: dict[str, JSON] = {}
    try:
        came = answer_study(desk, study)
        said = {"answers": came.answers, "refused": list(came.refused)}
        log.info("study %s: %d answers, %d questions refused", study, came.answers, len(came.refused))
    except (CancelledError, *_PASSING):
        raise
    except MedvqaError as error:
        log.error("study %s: cannot be answered: %s", study, error)
        said = {"error": str(error)}
    except Exception as error:  # whatever one study does to us, the next one is answered
        # Of the error its kind alone, for its text may quote anything.
        log.error("study %s: cannot be answered: %s", study, type(error).__name__)
        said = {"error": type(error).__name__}
    desk.inbox.mark_done(study, digest, said)


def _send(desk: Desk, study: str, send_to: PacsNode) -> bool:
    """Send what is not sent yet; False where the PACS may take it later."""
    unsent = desk.inbox.unsent(study)
    if not unsent:
        return True
    outgoing, _ = gather(unsent)
    paths = {one.instance.sop_instance_uid: one.path for one in outgoing}
    later = False
    for delivery in push(desk.assistant.session, send_to, outgoing):
        uid = delivery.instance.sop_instance_uid
        if delivery.outcome == "failure":
            log.error("study %s: %s did not take %s: %s", study, send_to.name, uid, delivery.reason)
        if delivery.status >> 8 == 0xA7:  # out of resources, which passes
            later = True
        else:
            desk.inbox.mark_sent(paths[uid], f"{delivery.outcome} {delivery.status:04X}")
    log.info("study %s: %d results were sent to %s", study, len(unsent), send_to.name)
    return not later


def _said(error: Exception) -> str:
    return (error.strerror or "the disk fails") if isinstance(error, OSError) else str(error)
