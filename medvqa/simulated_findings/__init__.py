"""Simulated findings as DICOM files: images with, without and mirrored, a SEG of the truth, and a table."""

from medvqa.simulated_findings.reading import Asked, SimulatedFinding, read_findings
from medvqa.simulated_findings.writing import KINDS, write_findings

__all__ = ["KINDS", "Asked", "SimulatedFinding", "read_findings", "write_findings"]
