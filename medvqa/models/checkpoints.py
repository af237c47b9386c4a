"""Where a model's files are, and the digests that identify them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError

from medvqa.errors import ModelError
from medvqa.models.calibration import FAMILIARITY_FILE

DEFAULT_MODEL = "default"
"""Names the small model that ships with medvqa."""

UNLOADABLE = (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError, SafetensorError)
"""What transformers and peft raise for a checkpoint that cannot be loaded."""

_DEFAULT_FOLDER = Path(__file__).parent / "weights"
_NEEDED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WEIGHT_FILES = ("config.json", "generation_config.json", "*.safetensors")
_TOKENIZER_FILES = (
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "*.model"),
    *("chat_template*", "processor_config.json", "preprocessor_config.json"),
)


def find_checkpoint(name_or_path: str | Path, *, with_code: bool = False) -> Path:
    """The folder that holds a model or an adapter.

    Args:
        name_or_path: `default`, a folder, or a name on the Hugging Face hub, perhaps with a revision behind
            it: `org/name@revision`. What is in the local cache is taken from there, and the network not
            asked: a branch stays as it was downloaded first.
        with_code: Also fetch the Python files that come with it, to be run; of a hub name only where the
            revision is a commit, for a branch may hold other code tomorrow.

    Raises:
        ModelError: If there is no such folder, name or connection, or code is not pinned.
    """
    if str(name_or_path) == DEFAULT_MODEL:
        return _DEFAULT_FOLDER
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    name, _, revision = str(name_or_path).partition("@")
    if with_code and not _COMMIT.fullmatch(revision):
        raise ModelError(
            f"the code of {name!r} is only run at a pinned revision; read it on the hub, and give "
            f"{name}@ followed by the 40 digits of the commit that you read"
        )
    wanted: dict[str, Any] = {
        "revision": revision or None,
        "allow_patterns": [*_NEEDED, *(["*.py"] if with_code else [])],
    }
    try:
        cached = Path(snapshot_download(name, local_files_only=True, **wanted))
        if _is_complete(cached):
            return cached
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        pass  # not downloaded yet
    try:
        return Path(snapshot_download(name, **wanted))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise ModelError(
            f"{str(name_or_path)!r} is neither a folder nor a model in the local cache, and the hub was not "
            f"reached; give a folder that holds config.json, or the name {DEFAULT_MODEL!r}"
        ) from error


def _is_complete(folder: Path) -> bool:
    """Whether a download came to its end: settings, and all files of weights that an index names."""
    index = _read_json(folder / "model.safetensors.index.json")
    files = set(index.get("weight_map", {}).values()) or {"model.safetensors", "adapter_model.safetensors"}
    found = [(folder / file).is_file() for file in files]
    settings = any((folder / file).is_file() for file in ("config.json", "adapter_config.json"))
    return settings and (all(found) if index else any(found))


def first_line(error: Exception) -> str:
    """Of another library's error, short enough for a sentence of ours."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")


def read_weights(kind: Any, folder: Path, **options: Any) -> Any:
    """A model by `from_pretrained`; only safetensors files are read, since only they are in its digest.

    Args:
        kind: Class of transformers.
        folder: Of the checkpoint.
        options: Further ones of `from_pretrained`.

    Raises:
        ModelError: If the files lack some of the model's tensors, which would be random.
        Exception: One of `UNLOADABLE`, if they cannot be loaded.
    """
    model, report = kind.from_pretrained(folder, use_safetensors=True, output_loading_info=True, **options)
    if missing := report["missing_keys"]:
        raise ModelError(
            f"weights in {folder.name!r} lack {len(missing)} of the model's tensors, such as {min(missing)}; "
            "they would be random, so fetch the checkpoint again"
        )
    return model


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
