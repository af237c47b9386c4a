"""`medvqa ui`: the screens, in a browser on this machine."""

import os
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from medvqa.cli.options import AdapterOption, AuditOption
from medvqa.errors import MedvqaError
from medvqa.settings import Settings, load_settings

LOOPBACK = "127.0.0.1"
"""By default: whoever reaches the port reads any study that this user can read."""

STREAMLIT_OPTIONS = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.maxUploadSize": "2048",  # MiB, as `Limits.file_bytes`
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",
    "client.toolbarMode": "minimal",
    # With the model's libraries loaded, collecting garbage after every run takes half a second, in which
    # nobody else's page or question goes on; Python collects by itself.
    "runner.postScriptGC": "false",
    # Else a page shows whatever text stands in its file, such as what explains a constant.
    "runner.magicEnabled": "false",
    # A dark reading room; each text on its ground keeps to WCAG AA.
    "theme.base": "dark",
    "theme.backgroundColor": "#0d1217",
    "theme.secondaryBackgroundColor": "#1a232c",
    "theme.textColor": "#dbe7f2",
    "theme.primaryColor": "#3079b8",
}


def ui(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; another only behind a login.")] = LOOPBACK,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
    audit: AuditOption = None,
    model: Annotated[str | None, typer.Option(help="Folder or hub name; else the shipped model.")] = None,
    adapter: AdapterOption = None,
) -> None:
    """Open the screens: ask about a study in a browser, by default on this machine alone.

    Example: medvqa ui --port 8501

    Then open the address that is printed; stop with Ctrl+C.
    """
    settings = load_settings(audit_url=audit, model=model, adapter=adapter)
    command = [sys.executable, "-m", "streamlit", "run", str(find_server())]
    command += [f"--server.address={host}", f"--server.port={port}"]
    if host != LOOPBACK and not settings.people:
        typer.echo(
            f"medvqa: on {host} everybody who reaches port {port} is {settings.agent}, without a login; set "
            "people in medvqa.toml, or let nobody reach it but you (docs/ui.md)",
            err=True,
        )
    command += [f"--{name}={value}" for name, value in STREAMLIT_OPTIONS.items()]
    # In place of this process: whoever stops `medvqa ui` must not leave a server behind that shows studies.
    os.execve(sys.executable, command, {**os.environ, **environment(settings)})  # noqa: S606


def find_server() -> Path:
    """The file that Streamlit is started on, found without importing it: `medvqa` knows nothing of screens.

    Raises:
        MedvqaError: If the screens are not installed.
    """
    package = find_spec("ui")
    server = (
        None if package is None or package.origin is None else Path(package.origin).with_name("server.py")
    )
    if server is None or not server.is_file():
        raise MedvqaError(
            "the screens are not installed: there is no ui/server.py; install medvqa as a whole"
        )
    return server


def environment(settings: Settings) -> dict[str, str]:
    """Settings as the variables from which the screens' process reads them; tables it reads in the file."""
    given = {key: value for key, value in asdict(settings).items() if not isinstance(value, dict | None)}
    variables = {f"MEDVQA_{key.upper()}": str(value) for key, value in given.items()}
    # What other libraries remark about a file may quote a patient attribute from it.
    variables |= {"PYTHONWARNINGS": "ignore", "TRANSFORMERS_VERBOSITY": "error"}
    # Threads that spin while they wait for each other take twice as long where anything else wants the
    # processor, and a browser on the same machine does.
    variables["OMP_WAIT_POLICY"] = "PASSIVE"
    return variables | ({} if settings.threads is None else {"OMP_NUM_THREADS": str(settings.threads)})
