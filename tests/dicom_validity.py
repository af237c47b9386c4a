"""Programs that know the Standard, and what they say of a DICOM file."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest
from dicom_validator.spec_reader.edition_reader import EditionReader
from dicom_validator.validator.dicom_file_validator import DicomFileValidator
from dicom_validator.validator.dicom_info import DicomInfo


def require_valid(path: Path) -> None:
    """Fail on any error of dciodvfy, by David Clunie, which checks one object against its IOD."""
    _require_no_error("dciodvfy", [path])


def require_consistent(paths: Iterable[Path]) -> None:
    """Fail on any error of dcentvfy, which checks that objects agree on patient, study and series."""
    _require_no_error("dcentvfy", paths)


def require_valid_by_docbook(path: Path) -> None:
    """Fail on any error of dicom-validator, which reads the Standard's own sources."""
    info = _standard()
    if info is None:
        pytest.skip(
            "dicom-validator has no copy of the Standard here and cannot download one; "
            "run validate_iods once where there is a network"
        )
    results = DicomFileValidator(info).validate(path)
    assert sum(result.errors for result in results.values()) == 0, path.name


def _require_no_error(program: str, paths: Iterable[Path]) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed; .ci/run installs Debian's dicom3tools")
    ran = subprocess.run([program, *paths], capture_output=True, text=True, errors="replace", check=False)
    said = (ran.stdout + ran.stderr).splitlines()
    assert not [line for line in said if line.startswith("Error")], "\n".join(said)


@cache
def _standard() -> DicomInfo | None:
    """The newest edition that lies on this disk."""
    reader = EditionReader()
    editions = sorted(folder.parent.name for folder in reader.path.glob("*/json"))
    return reader.load_dicom_info(editions[-1]) if editions else None
