"""Batches: a question set put to many studies, on one machine or a cluster, and resumed where it stopped.

`medvqa.run_batch` does it; it alone needs Ray.
"""

from medvqa.batch.plan import Batch, Progress
from medvqa.batch.sources import Found, StudySource, find_studies

__all__ = ["Batch", "Found", "Progress", "StudySource", "find_studies"]
