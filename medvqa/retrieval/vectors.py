"""Unit vectors with numbers, searched exactly by faiss, and as the bytes of a file.

Reference: Douze et al., "The Faiss library", 2024; `IndexFlatIP` compares with every vector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from medvqa.errors import CaseIndexError

try:
    import faiss
except ImportError:  # an extra: only who keeps an index of cases needs it
    faiss = None

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from medvqa.models.contrastive import Embeddings

    Numbers: TypeAlias = NDArray[np.int64]


class Vectors:
    """Vectors of length 1, each under a number of its own.

    Args:
        width: Of a vector.

    Raises:
        CaseIndexError: If faiss is not installed.
    """

    def __init__(self, width: int) -> None:
        self._flat: Any = _library().IndexIDMap2(_library().IndexFlatIP(width))

    @property
    def width(self) -> int:
        """Of a vector."""
        return self._flat.d

    @property
    def numbers(self) -> Numbers:
        """Of all vectors, ascending."""
        return np.sort(_library().vector_to_array(self._flat.id_map))

    def put(self, numbers: Sequence[int], vectors: Embeddings) -> None:
        """Keep vectors, shape (numbers, width), in place of those that had these numbers."""
        self.remove(numbers)
        self._flat.add_with_ids(np.ascontiguousarray(vectors), np.asarray(numbers, dtype=np.int64))

    def remove(self, numbers: Sequence[int]) -> None:
        """Forget the vectors of these numbers."""
        if numbers:
            self._flat.remove_ids(np.asarray(numbers, dtype=np.int64))

    def nearest(self, vector: Embeddings, count: int) -> list[tuple[int, float]]:
        """Numbers of the closest vectors and their cosines with `vector`, shape (width,); closest first."""
        count = min(count, self._flat.ntotal)
        if count == 0:
            return []
        cosines, numbers = self._flat.search(np.ascontiguousarray(vector[None]), count)
        return [
            (int(number), float(np.clip(cosine, -1, 1)))
            for number, cosine in zip(numbers[0], cosines[0], strict=True)
        ]

    def dump(self) -> bytes:
        """All of it, in faiss's own format."""
        return _library().serialize_index(self._flat).tobytes()


def read_vectors(content: bytes) -> Vectors:
    """What `Vectors.dump` wrote; the bytes must be known to be those, for faiss trusts what it reads."""
    vectors = Vectors(1)
    vectors._flat = _library().deserialize_index(np.frombuffer(content, dtype=np.uint8))  # pyright: ignore[reportPrivateUsage]
    return vectors


def _library() -> Any:
    if faiss is None:
        raise CaseIndexError(
            "an index of earlier cases needs faiss, which is not installed; install medvqa[retrieval]"
        )
    return faiss
