"""What an answer is worth: each check is measured on that answer."""

from medvqa.checks.confidence import mean_token_probability
from medvqa.checks.reliance import measure_reliance
from medvqa.checks.verdict import check_answer, check_answers

__all__ = ["check_answer", "check_answers", "mean_token_probability", "measure_reliance"]
