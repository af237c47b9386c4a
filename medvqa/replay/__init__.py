"""Replaying a recorded answer: the same pixels, files and numbers, and whether the same comes out."""

from medvqa.replay.differences import Difference, Replay
from medvqa.replay.replaying import replay_answer

__all__ = ["Difference", "Replay", "replay_answer"]
