"""Which models lie on this disk already; nothing here asks the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from huggingface_hub import scan_cache_dir
from huggingface_hub.errors import CacheNotFound

if TYPE_CHECKING:
    from huggingface_hub import CachedRepoInfo, CachedRevisionInfo

# As in `medvqa.models.checkpoints`, which would bring NumPy along only to choose a model.
SHIPPED = "default"
_WEIGHTS = ".safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDisk:
    """One model that need not be fetched."""

    name: str
    place: Literal["shipped", "folder", "cache"]
    gigabytes: float
    """Of all its files, 10^9 bytes."""
    revision: str | None
    """Commit of the hub; None outside the cache."""
    complete: bool
    """Whether weights are there that medvqa reads (safetensors), and not settings alone."""


def models_on_disk(cache: Path | None = None) -> dict[str, OnDisk]:
    """Models in Hugging Face's cache, and the one that is shipped, by name.

    Args:
        cache: Folder of the cache; by default where huggingface_hub keeps it (HF_HUB_CACHE, HF_HOME).
    """
    shipped = Path(str(files("medvqa.models") / "weights"))
    found = {SHIPPED: _folder(SHIPPED, shipped, "shipped")}
    try:
        repositories = scan_cache_dir(cache).repos
    except CacheNotFound:
        return found
    models = (repository for repository in repositories if repository.repo_type == "model")
    for repository in sorted(models, key=lambda one: one.repo_id):
        if repository.revisions:
            found[repository.repo_id] = _cached(repository)
    return found


def find_on_disk(name: str, known: Mapping[str, OnDisk]) -> OnDisk | None:
    """The model of that name: a folder where there is one, as for `--model`, else what is known.

    Args:
        name: Of a model, or a path.
        known: What `models_on_disk` found.
    """
    folder = Path(name).expanduser()
    if name != SHIPPED and folder.is_dir():
        return _folder(name, folder, "folder")
    return known.get(name)


def describe_size(on_disk: OnDisk) -> str:
    """For a person: `4.2 GB`, `9.8 MB`."""
    if on_disk.gigabytes < 0.1:
        return f"{on_disk.gigabytes * 1000:.1f} MB"
    return f"{on_disk.gigabytes:.1f} GB"


def _cached(repository: CachedRepoInfo) -> OnDisk:
    revision = _current(repository)
    return OnDisk(
        name=repository.repo_id,
        place="cache",
        gigabytes=revision.size_on_disk / 1e9,
        revision=revision.commit_hash,
        complete=any(file.file_name.endswith(_WEIGHTS) for file in revision.files),
    )


def _current(repository: CachedRepoInfo) -> CachedRevisionInfo:
    """The revision that `main` points to, which a name without one means; else the one written last."""
    named = repository.refs.get("main")
    return named or max(repository.revisions, key=lambda one: (one.last_modified, one.commit_hash))


def _folder(name: str, folder: Path, place: Literal["shipped", "folder"]) -> OnDisk:
    kept = [path for path in folder.iterdir() if path.is_file()]
    return OnDisk(
        name=name,
        place=place,
        gigabytes=sum(path.stat().st_size for path in kept) / 1e9,
        revision=None,
        complete=any(path.suffix == _WEIGHTS for path in kept),
    )
