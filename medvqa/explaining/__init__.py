"""One answer explained by every method side by side: each map with its grade, in one picture."""

from medvqa.explaining.explanation import Explanation, Mapped, Slices, explain

__all__ = ["Explanation", "Mapped", "Slices", "explain"]
