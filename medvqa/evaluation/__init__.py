"""How good answers, confidence and heatmaps are, measured where the truth is known."""
