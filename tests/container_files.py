"""What the Dockerfile and compose.yaml say, read from the files themselves."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

import medvqa

ROOT = Path(medvqa.__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile with its words, continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    found = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    return [(name, words) for name, words in found]


def copied() -> list[str]:
    """What is copied from the folder, as a path from it."""
    commands = [shlex.split(words) for name, words in instructions() if name == "COPY"]
    return [path for words in commands if not words[0].startswith("--from") for path in words[:-1]]


def variables() -> dict[str, str]:
    """Environment of the image."""
    words = " ".join(words for name, words in instructions() if name == "ENV")
    return dict(word.split("=", 1) for word in shlex.split(words))


def option(command: list[str], name: str) -> str:
    """Value of an option of a command line."""
    return command[command.index(name) + 1]


def ports_probed(service: dict[str, Any]) -> set[str]:
    """Ports of this machine that a health check asks."""
    return set(re.findall(r"127\.0\.0\.1:(\d+)", " ".join(service["healthcheck"]["test"])))
