"""What the ways to a PACS share: what is handed over, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from medvqa.pacs.instances import Instance

Keep: TypeAlias = Callable[[bytes], int]
"""Takes an instance that came, as a file's bytes; gives a status of C-STORE (PS3.4 B.2.3), 0 for success."""

SUCCESS = 0x0000
NOT_AUTHORISED = 0x0124
OUT_OF_RESOURCES = 0xA700
NOT_WANTED = 0xA900
"""The data set is not what was agreed on."""
NOT_UNDERSTOOD = 0xC000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A file to be sent."""

    path: Path
    instance: Instance


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What a PACS made of one instance."""

    instance: Instance
    outcome: Literal["success", "warning", "failure"]
    status: int
    """Of C-STORE, or Failure or Warning Reason of STOW-RS; 0 for success."""
    reason: str
    """For a person; empty for success."""


def delivered(outgoing: Outgoing, status: int) -> Delivery:
    """What a status of C-STORE or STOW-RS says of an instance (PS3.4 B.2.3, PS3.18 I.2)."""
    outcome = "success" if status == SUCCESS else "warning" if status >> 12 == 0xB else "failure"
    reason = next((text for known, text in _REASONS.items() if status in known), "")
    if outcome != "success" and not reason:
        reason = "of another reason: see the log of the PACS"
    return Delivery(instance=outgoing.instance, outcome=outcome, status=status, reason=reason)


_REASONS = {
    (0x0110,): "it failed to process it",
    (0x0117,): "the SOP Instance UID is none",
    (0x0122,): "it takes no objects of that SOP class in that transfer syntax",
    (0x0124,): "we are not authorised",
    range(0xA700, 0xA800): "it is out of resources",
    range(0xA900, 0xAA00): "the data set does not match its SOP class",
    (0xB000,): "it changed attributes",
    (0xB006,): "it left attributes out",
    (0xB007,): "the data set does not match its SOP class, but was kept",
    range(0xC000, 0xD000): "it cannot understand the data set",
}
