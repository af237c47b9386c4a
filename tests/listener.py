"""`medvqa listen` as a process of its own, and somebody who sends to it."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orthanc import free_port
from pynetdicom import AE, build_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pydicom.dataset import FileDataset

VERIFICATION = "1.2.840.10008.1.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A running listener, called MEDVQA, that takes from SCANNER."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def send(self, datasets: Sequence[FileDataset], *, aet: str = "SCANNER") -> list[int]:
        """Send by C-STORE in one association; gives the statuses."""
        contexts = {(d.SOPClassUID, d.file_meta.TransferSyntaxUID) for d in datasets}
        association = self.associate(aet, [build_context(*pair) for pair in sorted(contexts)])
        assert association.is_established
        statuses = [association.send_c_store(dataset).Status for dataset in datasets]
        association.release()
        return statuses

    def associate(self, aet: str, contexts: list[Any], *, called: str = "MEDVQA") -> Any:
        return AE(ae_title=aet).associate("127.0.0.1", self.port, contexts=contexts, ae_title=called)

    def wait_for(self, said: str, *, times: int = 1, seconds: float = 120) -> str:
        """Wait until the log says it so many times; gives the whole log."""
        wait_until(lambda: self.log.read_text().count(said) >= times, self.process, seconds)
        return self.log.read_text()

    def kill(self) -> None:
        """As if the power had failed."""
        self.process.kill()
        self.process.wait()


@contextmanager
def listening(folder: Path, *options: object, **process: Any) -> Iterator[Listener]:
    """Start `medvqa listen` in a folder, and end it in order unless that happened."""
    port = free_port()
    log = folder / f"listen-{port}.log"
    command = [sys.executable, "-m", "medvqa", "listen", "--port", port, "--accept-from", "SCANNER,ORTHANC"]
    command += ["--questions", "questions.txt", "--folder", "inbox", *options]
    with log.open("wb") as out:
        running = subprocess.Popen([*map(str, command)], cwd=folder, stdout=out, stderr=out, **process)
    listener = Listener(process=running, port=port, log=log)
    try:
        wait_until(lambda: "listening as MEDVQA" in log.read_text(), running, 180)
        yield listener
    finally:
        running.terminate()
        running.wait(timeout=60)


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, "the listener ended"
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.1)
