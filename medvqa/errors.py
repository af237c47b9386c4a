"""What can go wrong, as one tree.

MedvqaError
├── AccessError           a role lacks the permission for what it asked for
├── BatchError            a batch cannot begin or go on: its questions, its list or its folder do not fit
├── CancelledError        whoever waited for the work stopped it
├── CaseIndexError        an index of earlier cases is missing, damaged or of another model
├── DeidentificationError a study cannot be de-identified
├── DicomError            a study, file or archive holds no image that can be used
│   ├── PixelError        one instance's pixel data cannot be decoded or presented
│   └── LimitError        a file, archive or image is larger than the limits allow
├── GateError             the gate refuses an image: an answer about it would mean nothing
│   └── StoppedError      a person stopped answering, about this study or all
├── ModelError            a checkpoint or adapter cannot be loaded, or does not fit its base
├── PacsError             a PACS is unknown, cannot be reached, or refuses
├── QuestionError         the question is empty or too long for the model
├── RecordError           the audit trail did not take the event, so nothing is shown or done
├── ReviewError           there is no such answer to review or sign, or something is missing for it
├── SettingsError         a settings file or environment variable holds a bad value
├── ServiceError          the service cannot begin: its address is taken, or nobody could be let in
├── TaskError             a task cannot be done: the model has no way to, or something is missing for it
│   └── FormatError       the model answered, but not in the form in which it was to answer
├── TemplateError         a template of reports cannot be read, or asks for what no report has
└── TrainingError         training data are missing or do not fit the record format

Every message is one sentence that names the file, tag or field and the way out, and carries no patient
attribute. The command line prints it and exits with `exit_code`.
"""

from typing import ClassVar


class MedvqaError(Exception):
    """Base of every error that medvqa raises on purpose."""

    exit_code: ClassVar[int] = 1


class AccessError(MedvqaError):
    """Raised when a role lacks the permission for what it asked for."""

    exit_code = 11


class BatchError(MedvqaError):
    """Raised when a batch cannot begin or go on: its questions, its list or its folder do not fit."""

    exit_code = 15


class CancelledError(MedvqaError):
    """Raised when whoever waited for the work stopped it; see `medvqa.long_work`."""

    exit_code = 12


class CaseIndexError(MedvqaError):
    """Raised when an index of earlier cases is missing, damaged or of another model."""

    exit_code = 14


class DeidentificationError(MedvqaError):
    """Raised when a study cannot be de-identified."""

    exit_code = 16


class DicomError(MedvqaError):
    """Raised when a study, file or archive holds no image that can be used."""

    exit_code = 3


class PixelError(DicomError):
    """Raised when one instance's pixel data cannot be decoded or presented."""


class LimitError(DicomError):
    """Raised when a file, archive or image is larger than the limits allow."""


class GateError(MedvqaError):
    """Raised when the gate refuses an image: an answer about it would mean nothing."""

    exit_code = 4


class StoppedError(GateError):
    """Raised when a person stopped answering, about this study or all."""


class ModelError(MedvqaError):
    """Raised when a checkpoint or adapter cannot be loaded, or does not fit its base."""

    exit_code = 5


class PacsError(MedvqaError):
    """Raised when a PACS is unknown, cannot be reached, or refuses."""

    exit_code = 17


class QuestionError(MedvqaError):
    """Raised when the question is empty or too long for the model."""

    exit_code = 6


class RecordError(MedvqaError):
    """Raised when the audit trail did not take the event; what was asked for is withheld."""

    exit_code = 7


class SettingsError(MedvqaError):
    """Raised when a settings file or environment variable holds a bad value."""

    exit_code = 8


class ServiceError(MedvqaError):
    """Raised when the service cannot begin: its address is taken, or nobody could be let in."""

    exit_code = 18


class ReviewError(MedvqaError):
    """Raised when there is no such answer to review or sign, or something is missing for it."""

    exit_code = 10


class TaskError(MedvqaError):
    """Raised when a task cannot be done: the model has no way to, or something is missing for it."""

    exit_code = 13


class FormatError(TaskError):
    """Raised when the model answered, but not in the form in which it was to answer."""


class TemplateError(MedvqaError):
    """Raised when a template of reports cannot be read, or asks for what no report has."""

    exit_code = 19


class TrainingError(MedvqaError):
    """Raised when training data are missing or do not fit the record format."""

    exit_code = 9
