"""An index of images of earlier cases, kept in a folder: which images, and one vector each.

A table, `index.sqlite`, says which images there are, which model made the vectors, and which file holds them,
by its SHA-256. A change writes a new file of vectors first and commits the table last, so that a process
killed at any moment leaves the index before or the one after, never anything between. It holds no pixels, and
nothing that names a patient; but vectors tell something of the pictures that they came from: the folder
belongs where the images may be.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from audit.keys import sync_folder
from medvqa.digests import digest_model
from medvqa.errors import CaseIndexError
from medvqa.retrieval.vectors import Vectors, read_vectors
from medvqa.types import ImageRef

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from medvqa.models.contrastive import Embeddings
    from medvqa.types import ModelIdentity

TABLE = "index.sqlite"
FORMAT = "1"

_COLUMNS = tuple(field.name for field in fields(ImageRef))
_WAIT_S = 30.0
_SCHEMA = f"""
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE image (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    {", ".join(f"{name} {'INTEGER' if name == 'frame_number' else 'TEXT'} NOT NULL" for name in _COLUMNS)},
    UNIQUE (sop_instance_uid, frame_number)
) STRICT;
CREATE INDEX image_by_study ON image (study_instance_uid);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One image of an index, as close as it is to what was looked for."""

    image: ImageRef
    similarity: float
    """Cosine of the angle between the two vectors, in [-1, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _State:
    """What the index held when it was last read."""

    about: Mapping[str, str]
    images: Mapping[int, ImageRef]
    vectors: Vectors


class CaseIndex:
    """An index in its folder. Threads may share one; processes open one each, and see each other's changes.

    Args:
        folder: Of the index.
        model: What makes the vectors, since those of another model mean something else; None where none are
            compared.
        create: Make an index for this model where there is none.

    Raises:
        CaseIndexError: If there is no index, it is damaged or was made by another model, or faiss is missing.
    """

    def __init__(self, folder: Path, model: ModelIdentity | None, *, create: bool = False) -> None:
        self._folder = folder
        self._model = model
        self._lock = Lock()
        self._state: _State | None = None
        if create and model is not None:
            self._create(model)
        elif not (folder / TABLE).is_file():
            raise CaseIndexError(
                f"{folder.name!r} holds no index of cases; make one with medvqa similar index"
            )
        self._read()

    @property
    def name(self) -> str:
        """Random, given when the index was made."""
        return self._read().about["name"]

    @property
    def model(self) -> str:
        """Digest of the model that it was made by, as `medvqa.digests.digest_model` computes it."""
        return self._read().about["model"]

    def __len__(self) -> int:
        """Images in it."""
        return len(self._read().images)

    @property
    def images(self) -> tuple[ImageRef, ...]:
        """All of them, in the order in which they were added."""
        return tuple(self._read().images.values())

    def add(self, images: Sequence[ImageRef], vectors: Embeddings) -> int:
        """Add images with their vectors, shape (images, width); return how many are new.

        An image, known by its instance and frame, stands in the index once: what is added last holds.

        Raises:
            CaseIndexError: If the index is damaged, cannot be written, or its vectors have another width.
        """
        if not images:
            return 0
        with self._changing() as (connection, state):
            kept = state.vectors if state.images else Vectors(vectors.shape[1])
            if kept.width != vectors.shape[1]:
                raise CaseIndexError(
                    f"the index holds vectors of {kept.width}, not {vectors.shape[1]}, numbers"
                )
            numbers = [_put(connection, image) for image in images]
            last = {number: place for place, number in enumerate(numbers)}
            kept.put(list(last), vectors[list(last.values())])
            self._store(connection, state, kept)
        return len(last.keys() - state.images.keys())

    def remove(self, study_instance_uid: str) -> int:
        """Take all images of a study out of the index; return how many there were.

        Raises:
            CaseIndexError: If the index is damaged or cannot be written.
        """
        with self._changing() as (connection, state):
            numbers = [
                number
                for number, image in state.images.items()
                if image.study_instance_uid == study_instance_uid
            ]
            if numbers:
                connection.execute("DELETE FROM image WHERE study_instance_uid = ?", (study_instance_uid,))
                state.vectors.remove(numbers)
                self._store(connection, state, state.vectors)
        return len(numbers)

    def search(self, vector: Embeddings, count: int) -> list[Hit]:
        """The images closest to a unit vector, shape (width,); exact, the closest first.

        Raises:
            CaseIndexError: If the index is damaged.
        """
        state = self._read()
        with self._lock:
            found = state.vectors.nearest(vector, count)
        return [Hit(image=state.images[number], similarity=cosine) for number, cosine in found]

    def _create(self, model: ModelIdentity) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CaseIndexError(f"{self._folder.name!r} cannot be made: {error.strerror}") from error
        if not (self._folder / TABLE).exists() and any(self._folder.iterdir()):
            raise CaseIndexError(f"{self._folder.name!r} holds other files; name a folder of its own")
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    connection.execute(statement)
                _write_about(
                    connection,
                    {"format": FORMAT, "name": str(uuid.uuid4()), "changes": "0", "vectors_sha256": ""}
                    | {"model": digest_model(model), "model_name": model.name},
                )
            connection.execute("COMMIT")

    def _read(self) -> _State:
        """What the index holds now; read again only where it changed."""
        with self._connected() as connection:
            # A transaction keeps writers from deleting the file of vectors before it is read.
            connection.execute("BEGIN")
            about = self._about(connection)
            with self._lock:
                known = self._state
            if known is not None and known.about == about:
                return known
            state = self._load(connection, about)
        with self._lock:
            self._state = state
        return state

    def _about(self, connection: sqlite3.Connection) -> dict[str, str]:
        about: dict[str, str] = dict(connection.execute("SELECT name, value FROM about").fetchall())
        if about.get("format") != FORMAT:
            raise CaseIndexError(
                f"the index in {self._folder.name!r} has the format {about.get('format')!r}, not {FORMAT!r}; "
                "make it anew with medvqa similar index"
            )
        if self._model is not None and about["model"] != digest_model(self._model):
            raise CaseIndexError(
                f"the index in {self._folder.name!r} was made by another model, {about['model_name']!r} "
                f"({about['model'][:12]}), and vectors of two models cannot be compared; name that model, or "
                "another folder for a new index"
            )
        return about

    def _load(self, connection: sqlite3.Connection, about: Mapping[str, str]) -> _State:
        rows = connection.execute(f"SELECT number, {', '.join(_COLUMNS)} FROM image ORDER BY number")  # noqa: S608
        images = {row[0]: ImageRef(**dict(zip(_COLUMNS, row[1:], strict=True))) for row in rows}
        if not about["vectors_sha256"]:
            return _State(about=about, images=images, vectors=Vectors(1))
        path = self._file(int(about["changes"]))
        try:
            content = path.read_bytes()
        except OSError as error:
            raise self._damaged(f"{path.name} cannot be read") from error
        if hashlib.sha256(content).hexdigest() != about["vectors_sha256"]:
            raise self._damaged(f"{path.name} is not the file that was written")
        vectors = read_vectors(content)
        if vectors.numbers.tolist() != list(images):
            raise self._damaged(f"{path.name} holds other images than {TABLE}")
        return _State(about=about, images=images, vectors=vectors)

    @contextmanager
    def _changing(self) -> Generator[tuple[sqlite3.Connection, _State]]:
        """The turn to write, with a copy of what there is; all of it or nothing."""
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            state = self._load(connection, self._about(connection))
            now = self._file(int(state.about["changes"]))
            for stray in self._folder.glob("vectors-*"):  # of a process that was killed
                if stray != now:
                    stray.unlink()
            yield connection, state
            connection.execute("COMMIT")
            if self._about(connection) != state.about:
                now.unlink(missing_ok=True)

    def _store(self, connection: sqlite3.Connection, state: _State, vectors: Vectors) -> None:
        """Write the vectors to a new file, which counts once the transaction is committed."""
        changes = int(state.about["changes"]) + 1
        content = vectors.dump()
        with self._file(changes).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self._folder)
        digest = hashlib.sha256(content).hexdigest()
        _write_about(connection, {"changes": str(changes), "vectors_sha256": digest})

    def _file(self, changes: int) -> Path:
        return self._folder / f"vectors-{changes}.faiss"

    @contextmanager
    def _connected(self) -> Generator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self._folder / TABLE, timeout=_WAIT_S, isolation_level=None)
            try:
                yield connection
            finally:
                connection.close()  # undoes what was not committed
        except sqlite3.OperationalError as error:
            raise CaseIndexError(f"the index in {self._folder.name!r} cannot be used: {error}") from error
        except (sqlite3.DatabaseError, KeyError, ValueError) as error:
            raise self._damaged(f"{TABLE} is malformed") from error
        except OSError as error:
            raise CaseIndexError(
                f"the index in {self._folder.name!r} cannot be written: {error.strerror}; it is as it was"
            ) from error

    def _damaged(self, how: str) -> CaseIndexError:
        return CaseIndexError(
            f"the index in {self._folder.name!r} is damaged: {how}; restore the folder from its backup, or "
            "make the index anew with medvqa similar index"
        )


def _put(connection: sqlite3.Connection, image: ImageRef) -> int:
    """The number of an image, given it now or before."""
    values = [getattr(image, name) for name in _COLUMNS]
    (number,) = connection.execute(
        f"INSERT INTO image ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) "  # noqa: S608
        "ON CONFLICT (sop_instance_uid, frame_number) DO UPDATE SET "
        f"{', '.join(f'{name} = excluded.{name}' for name in _COLUMNS)} RETURNING number",
        values,
    ).fetchone()
    return number


def _write_about(connection: sqlite3.Connection, values: Mapping[str, str]) -> None:
    connection.executemany(
        "INSERT INTO about VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        values.items(),
    )
