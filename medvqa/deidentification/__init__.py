"""De-identified copies of studies: DICOM PS3.15 Annex E, with burned-in text masked."""

from medvqa.deidentification.deidentifying import Deidentified, Order, deidentify
from medvqa.deidentification.options import Option, parse_options

__all__ = ["Deidentified", "Option", "Order", "deidentify", "parse_options"]
