"""Where a model's files are, and the digests that identify them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from medvqa.errors import ModelError
from medvqa.models.calibration import FAMILIARITY_FILE

DEFAULT_MODEL = "default"
"""Names the small model that ships with medvqa."""

_DEFAULT_FOLDER = Path(__file__).parent / "weights"
_NEEDED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
_WEIGHT_FILES = ("config.json", "generation_config.json", "*.safetensors")
_TOKENIZER_FILES = (
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "*.model"),
    *("chat_template*", "processor_config.json", "preprocessor_config.json"),
)


def find_checkpoint(name_or_path: str | Path) -> Path:
    """The folder that holds a model or an adapter.

    Args:
        name_or_path: `default`, a folder, or a name on the Hugging Face hub, which is downloaded where that
            is allowed and otherwise taken from the local cache.

    Raises:
        ModelError: If there is no such folder, name or connection.
    """
    if str(name_or_path) == DEFAULT_MODEL:
        return _DEFAULT_FOLDER
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    try:
        return Path(snapshot_download(str(name_or_path), allow_patterns=_NEEDED))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise ModelError(
            f"{str(name_or_path)!r} is neither a folder nor a model in the local cache, and the hub was not "
            f"reached; give a folder that holds config.json, or the name {DEFAULT_MODEL!r}"
        ) from error


def declared_modalities(folder: Path) -> frozenset[str]:
    """DICOM modalities from the checkpoint's `medvqa.json`; empty where there is none."""
    return frozenset(_read_json(folder / "medvqa.json").get("modalities", ()))


def weights_sha256(folder: Path) -> str:
    """Digest over the names and bytes of the configurations and every safetensors file.

    What was measured about the model lies beside it and is no part of it.
    """
    files = {path for pattern in _WEIGHT_FILES for path in folder.glob(pattern)}
    return _digest(files - {folder / FAMILIARITY_FILE})


def tokenizer_sha256(folder: Path) -> str:
    """Digest over the names and bytes of tokenizer, chat template and processor settings."""
    return _digest({path for pattern in _TOKENIZER_FILES for path in folder.glob(pattern)})


def adapter_sha256(folder: Path) -> str:
    """Digest over the names and bytes of a peft adapter's settings and weights."""
    return _digest({folder / "adapter_config.json", *folder.glob("adapter_model.*")})


def _digest(paths: Iterable[Path]) -> str:
    """SHA-256 over `name`, NUL, the file's own SHA-256 for each file in order of name."""
    total = hashlib.sha256()
    for path in sorted(path for path in paths if path.is_file()):
        with path.open("rb") as file:
            total.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON; restore the file or remove it") from error
