"""How far along a long command is, on stderr."""

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
    told = float("-inf")
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
        nonlocal told
        bar.update(task, completed=now.done, total=now.total)
        rate = _describe_rate(bar.tasks[0].speed, now.total - now.done)
        bar.update(task, rate=rate)
        if not console.is_terminal and console.get_time() - told >= _LINE_EVERY_S:
            console.print(f"{now.done} of {now.total} studies, {now.failed} failed; {rate}")
            told = console.get_time()

    with bar:
        yield show


def _describe_rate(speed: float | None, left: int) -> str:
    """`speed` in studies a second, of the last half minute: the start of all processes is no part of it."""
    if not speed:
        return "starting"
    if speed >= 1:
        return f"{speed:.1f} a second, {left / speed:.0f} s left"
    return f"{60 * speed:.1f} a minute, {left / speed / 60:.0f} min left"
