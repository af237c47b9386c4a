"""How a frame is shown: window, VOI LUT, polarity; no resizing, for the model's own processor does that."""

from medvqa.imaging.blanking import blank
from medvqa.imaging.presentation import CT_WINDOWS, PRESENTATIONS, pipeline, present, shown_range, to_uint8

__all__ = ["CT_WINDOWS", "PRESENTATIONS", "blank", "pipeline", "present", "shown_range", "to_uint8"]
