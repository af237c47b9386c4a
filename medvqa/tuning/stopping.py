"""What may end a run before its time: a person, the machine's scheduler, or a lack of memory."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

import torch

from medvqa.errors import ModelError, TrainingError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SIGNS = ("out of memory", "not enough memory", "can't allocate memory", "DataLoader worker")


@contextmanager
def stop_requests() -> Generator[Callable[[], bool]]:
    """Turn Ctrl+C and SIGTERM into a request that the yielded function tells of; a second ends at once."""
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set
        return

    def request(_number: int, _frame: FrameType | None) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()

    before = {number: signal.signal(number, request) for number in _SIGNALS}
    try:
        yield requested.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def memory_advice() -> Generator[None]:
    """Turn a lack of memory into a sentence that says what to do.

    Raises:
        TrainingError: If memory ran out, of the GPU or of the machine.
    """
    try:
        yield
    except (RuntimeError, MemoryError, ModelError) as error:
        if not _lacks_memory(error) and not _lacks_memory(error.__cause__):
            raise
        raise TrainingError(
            "memory ran out; give a smaller --batch-size and a larger --accumulate, or add --checkpointing, "
            "--precision bf16 or --quantise 4bit"
        ) from error


def _lacks_memory(error: BaseException | None) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
