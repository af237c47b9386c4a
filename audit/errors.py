"""What can go wrong with a trail, as one tree.

AuditError
├── OpenError         the trail cannot be opened or created
│   └── SchemaError   the database holds something else than a trail
├── AppendError       the event was not taken: nothing was recorded
├── LockedError       another process kept the trail locked: nothing was recorded or read
└── ReadError         what was asked for is not in the trail, or cannot be read from it

Every message is one sentence that names the trail and the way out, and quotes nothing from an entity.
"""


class AuditError(Exception):
    """Base of every error that a trail raises on purpose."""


class OpenError(AuditError):
    """Raised when the trail cannot be opened or created."""


class SchemaError(OpenError):
    """Raised when the database holds something else than a trail."""


class AppendError(AuditError):
    """Raised when the event was not taken; nothing was recorded."""


class LockedError(AuditError):
    """Raised when another process kept the trail locked for longer than the busy timeout."""


class ReadError(AuditError):
    """Raised when what was asked for is not in the trail, or cannot be read from it."""
