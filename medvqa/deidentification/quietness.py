"""Handling data sets without pydicom's complaints about odd values, which quote them."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydicom.config import disable_value_validation

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def quietly() -> Generator[None]:
    """Let no value into a warning while a data set with all its attributes is at hand."""
    with warnings.catch_warnings(), disable_value_validation():
        warnings.simplefilter("ignore")
        yield
