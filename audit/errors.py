"""What can go wrong with a trail, as one tree.

AuditError
├── OpenError         the trail cannot be opened or created
│   └── SchemaError   the database holds something else than a trail, or a trail of another version
├── AppendError       the event was not taken: nothing was recorded
│   └── ClockError    the clock stands before the last event's time
├── LockedError       another process kept the trail locked: nothing was recorded or read
├── ReadError         what was asked for is not in the trail, or cannot be read from it
├── KeyFileError      a key file is missing, exposed or malformed
└── CheckpointError   a checkpoint or proof is malformed, forged, or by another key

Every message is one sentence that names the trail and the way out, and quotes nothing from an entity.
"""


class AuditError(Exception):
    """Base of every error that a trail raises on purpose."""


class OpenError(AuditError):
    """Raised when the trail cannot be opened or created."""


class SchemaError(OpenError):
    """Raised when the database holds something else than a trail, or a trail of another version."""


class AppendError(AuditError):
    """Raised when the event was not taken; nothing was recorded."""


class ClockError(AppendError):
    """Raised when the clock stands before the last event's time; nothing was recorded."""


class LockedError(AuditError):
    """Raised when another process kept the trail locked for longer than the busy timeout."""


class ReadError(AuditError):
    """Raised when what was asked for is not in the trail, or cannot be read from it."""


class KeyFileError(AuditError):
    """Raised when a key file is missing, readable by others, or malformed."""


class CheckpointError(AuditError):
    """Raised when a checkpoint or a proof is malformed, forged, or signed by another key."""
