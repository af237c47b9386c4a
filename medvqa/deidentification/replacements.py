"""What stands in the place of what identified: keyed UIDs, moved dates, a code for the patient."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from medvqa.deidentification.profile import is_registered
from medvqa.pseudonyms import pseudonymous_days, pseudonymous_uid


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacements:
    """What replaces the UIDs and dates of one patient."""

    key: bytes = field(repr=False)
    """Of this installation's pseudonyms, so that the same UID becomes the same in every run."""
    code: str
    """Patient ID (0010,0020) and Patient's Name (0010,0010) of the copy; empty where there is none."""
    subject: str = field(repr=False)
    """Whose dates move together."""

    def new_uid(self, uid: str) -> str:
        """The UID in place of another; one that the Standard gave a meaning stays."""
        uid = uid.strip(" \0")
        return uid if not uid or is_registered(uid) else pseudonymous_uid(self.key, uid)

    def moved(self, value: str) -> str:
        """A date (DA) or date and time (DT) moved back by a number of days; empty where it is none.

        The time of day and the offset from UTC stay. A DT without a day is none.
        """
        text = value.strip(" \0").replace(".", "", 2) if len(value.strip()) == 10 else value.strip(" \0")
        days = pseudonymous_days(self.key, self.subject)
        try:
            moved = datetime.strptime(text[:8], "%Y%m%d") - timedelta(days=days)
        except (ValueError, OverflowError):
            return ""
        rest = text[8:]
        return f"{moved:%Y%m%d}{rest}" if not rest.strip("0123456789.+-") else ""
