"""Simulated findings as DICOM files: images with, without and mirrored, a SEG of the truth, and a table."""

from medvqa.simulated_findings.reading import Asked, SimulatedFinding, read_findings

__all__ = ["Asked", "SimulatedFinding", "read_findings"]
