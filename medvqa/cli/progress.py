"""How far along a long command is, on stderr."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from medvqa import batch

_LINE_EVERY_S = 10.0
"""Where no person looks on: a line in the log."""


def show_progress() -> Progress:
    """Bars with counts and the time that is left; they go when they are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


@contextmanager
def follow_batch(console: Console) -> Generator[Callable[[batch.Progress], None]]:
    """A bar with rate and time left, or lines where the output is no terminal; yields what it is told by."""
    started, earlier, told = time.monotonic(), 0, 0.0
    bar = Progress(
        TextColumn("studies"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task("studies", total=None, rate="starting")

    def show(now: batch.Progress) -> None:
        nonlocal earlier, told
        if told == 0.0:
            earlier = now.done
        elapsed = time.monotonic() - started
        rate = _describe_rate(now.done - earlier, now.total - now.done, elapsed)
        bar.update(task, completed=now.done, total=now.total, rate=rate)
        if not console.is_terminal and (told == 0.0 or elapsed - told >= _LINE_EVERY_S):
            console.print(f"{now.done} of {now.total} studies, {now.failed} failed; {rate}")
        told = told if told and elapsed - told < _LINE_EVERY_S else elapsed

    with bar:
        yield show


def _describe_rate(done: int, left: int, seconds: float) -> str:
    if not done:
        return "starting"
    rate = done / seconds
    return (
        f"{rate:.1f} a second, {left / rate:.0f} s left"
        if rate >= 1
        else (f"{60 * rate:.1f} a minute, {left / rate / 60:.0f} min left")
    )
