"""An Orthanc of the tests' own: a real PACS on loopback, with DICOMweb, gone at the end."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGINS = (Path("/usr/share/orthanc/plugins"), Path("/usr/lib/orthanc"))
USER, PASSWORD = "tester", "a password that no trail may hold"
OWN_AET = "MEDVQA"


@dataclass(frozen=True, slots=True, kw_only=True)
class Orthanc:
    """A running server. It sends what a C-MOVE asks for to `move_port`, under the title `OWN_AET`."""

    http_port: int
    dicom_port: int
    move_port: int

    @property
    def dicomweb(self) -> str:
        """Address of its DICOMweb service."""
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    def settings(self) -> str:
        """Its nodes, as tables of medvqa.toml: `web`, `get` and `move`."""
        dimse = f'host = "127.0.0.1"\nport = {self.dicom_port}\naet = "ORTHANC"\n'
        return (
            f'[pacs.web]\nurl = "{self.dicomweb}"\nuser = "{USER}"\n'
            f"[pacs.get]\n{dimse}"
            f'[pacs.move]\n{dimse}retrieve = "move"\nreceive_port = {self.move_port}\n'
        )

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Ask its own REST interface; gives the answer's JSON."""
        url = f"http://127.0.0.1:{self.http_port}{path}"
        answer = requests.request(method, url, auth=(USER, PASSWORD), timeout=30, **options)
        answer.raise_for_status()
        return answer.json()

    def upload(self, content: bytes) -> None:
        """Put a DICOM file there."""
        self.request("POST", "/instances", data=content)

    def instances(self) -> dict[str, bytes]:
        """Every file that it holds, by SOP Instance UID."""
        found: dict[str, bytes] = {}
        for name in self.request("GET", "/instances"):
            uid = self.request("GET", f"/instances/{name}/simplified-tags")["SOPInstanceUID"]
            url = f"http://127.0.0.1:{self.http_port}/instances/{name}/file"
            found[uid] = requests.get(url, auth=(USER, PASSWORD), timeout=30).content
        return found

    def clear(self) -> None:
        """Delete everything."""
        for name in self.request("GET", "/patients"):
            self.request("DELETE", f"/patients/{name}")


def find_plugin() -> Path | None:
    """Where the DICOMweb plugin is; None where Orthanc or it is not installed."""
    if shutil.which("Orthanc") is None and not Path("/usr/sbin/Orthanc").exists():
        return None
    found = (path for folder in PLUGINS for path in sorted(folder.glob("libOrthancDicomWeb.so*")))
    return next(found, None)


@contextmanager
def running_orthanc(plugin: Path) -> Iterator[Orthanc]:
    """A new server in a temporary folder, stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="medvqa-orthanc-"))
    http_port, dicom_port, move_port = (free_port() for _ in range(3))
    server = Orthanc(http_port=http_port, dicom_port=dicom_port, move_port=move_port)
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(plugin)],
        "HttpPort": http_port,
        "HttpBindAddresses": ["127.0.0.1"],
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "DicomAet": "ORTHANC",
        "DicomPort": dicom_port,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomModalities": {"medvqa": [OWN_AET, "127.0.0.1", move_port]},
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    binary = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([binary, folder / "orthanc.json"], stdout=log, stderr=log, cwd=folder)
    try:
        _wait_until_up(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)
        shutil.rmtree(folder)


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait_until_up(server: Orthanc, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            server.request("GET", "/system")
        except requests.RequestException:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("Orthanc did not start")
