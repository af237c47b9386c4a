"""PACS in and out: find, fetch, send and receive, over DICOMweb (PS3.18) and DIMSE (PS3.7)."""

from medvqa.errors import PacsError

try:
    import dicomweb_client  # noqa: F401  # pyright: ignore[reportUnusedImport]
    import pynetdicom  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ImportError as error:
    raise PacsError(
        "a PACS is reached by the packages dicomweb-client and pynetdicom; install them with pip install"
        " 'medvqa[pacs]'"
    ) from error
