"""The index of earlier cases on disk: exact, one entry an image, whole after any kill."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medvqa.errors import CaseIndexError
from medvqa.retrieval import vectors as vectors_module
from medvqa.retrieval.index import TABLE, CaseIndex
from medvqa.types import ImageRef, ModelIdentity

WIDTH = 16
# Not those of tiny_models: the processes that are killed here need no model library.
IDENTITY = ModelIdentity(
    name="fake",
    model_type="clip",
    weights_sha256="2" * 64,
    tokenizer_sha256="3" * 64,
    adapter=None,
    adapter_sha256=None,
    prompt_version="1",
    parameters={},
    libraries={},
)
OTHER = replace(IDENTITY, name="another", weights_sha256="9" * 64)
ROOT = Path(__file__).parents[1]


def ref(study: int, number: int = 1, *, pixels: str = "0") -> ImageRef:
    return ImageRef(
        study_instance_uid=f"1.2.{study}",
        series_instance_uid=f"1.2.{study}.1",
        sop_instance_uid=f"1.2.{study}.1.{number}",
        frame_number=1,
        pixel_sha256=pixels * 64,
        file_sha256="1" * 64,
    )


def unit(count: int, *, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index of five studies."""
    folder = tmp_path / "index"
    CaseIndex(folder, IDENTITY, create=True).add([ref(study) for study in range(5)], unit(5))
    return folder


def test_a_search_gives_what_comparing_with_every_vector_does(tmp_path: Path) -> None:
    index = CaseIndex(tmp_path / "index", IDENTITY, create=True)
    images, held = [ref(study) for study in range(200)], unit(200)
    assert index.add(images, held) == len(index) == 200
    for wanted in unit(5, seed=1):
        cosines = held.astype(np.float64) @ wanted
        found = CaseIndex(tmp_path / "index", IDENTITY).search(wanted, 10)
        assert [hit.image for hit in found] == [images[place] for place in np.argsort(-cosines)[:10]]
        np.testing.assert_allclose([hit.similarity for hit in found], np.sort(cosines)[::-1][:10], atol=1e-6)


def test_an_image_stands_in_the_index_once_and_the_last_one_holds(folder: Path) -> None:
    index, new = CaseIndex(folder, IDENTITY), unit(3, seed=2)
    assert index.add([ref(0), ref(7), ref(7, pixels="5")], new) == 1
    assert len(index) == len(index.images) == 6
    (hit,) = index.search(new[2], 1)
    assert hit.image == ref(7, pixels="5")
    assert hit.similarity == pytest.approx(1, abs=1e-6)
    assert index.search(new[0], 1)[0].image == ref(0)
    assert index.search(unit(5)[0], 1)[0].similarity < 0.99  # the vector that it had before is gone
    assert [path.suffix for path in sorted(folder.iterdir())] == [".sqlite", ".faiss"]


def test_a_removed_study_is_found_no_more(folder: Path) -> None:
    index = CaseIndex(folder, None)
    assert index.remove("1.2.3") == 1
    assert index.remove("1.2.3") == 0
    reopened = CaseIndex(folder, IDENTITY)
    assert {hit.image for hit in reopened.search(unit(5)[3], 9)} == {ref(0), ref(1), ref(2), ref(4)}
    for study in (0, 1, 2, 4):
        index.remove(f"1.2.{study}")
    assert reopened.search(unit(1)[0], 3) == []
    assert reopened.add([ref(9)], unit(1)) == 1
    assert reopened.search(unit(1)[0], 3)[0].image == ref(9)


def test_an_index_of_another_model_is_refused_in_one_sentence(folder: Path) -> None:
    for create in (False, True):
        with pytest.raises(CaseIndexError, match="was made by another model, 'fake'"):
            CaseIndex(folder, OTHER, create=create)
    named = replace(IDENTITY, name="the same weights under another name")
    assert len(CaseIndex(folder, named)) == 5


def test_vectors_of_another_width_are_refused(folder: Path) -> None:
    with pytest.raises(CaseIndexError, match="vectors of 16"):
        CaseIndex(folder, IDENTITY).add([ref(8)], np.ones((1, 8), dtype=np.float32))
    assert len(CaseIndex(folder, IDENTITY)) == 5


def flip_a_byte(folder: Path) -> None:
    (path,) = folder.glob("*.faiss")
    content = bytearray(path.read_bytes())
    content[200] ^= 1  # in a vector, which faiss reads as any other
    path.write_bytes(content)


def cut_vectors(folder: Path) -> None:
    (path,) = folder.glob("*.faiss")
    path.write_bytes(path.read_bytes()[:-40])


def lose_vectors(folder: Path) -> None:
    next(folder.glob("*.faiss")).unlink()


def cut_table(folder: Path) -> None:
    (folder / TABLE).write_bytes((folder / TABLE).read_bytes()[:700])


def overwrite_table(folder: Path) -> None:
    (folder / TABLE).write_bytes(b"no database" * 500)


def lose_a_row(folder: Path) -> None:
    with sqlite3.connect(folder / TABLE) as connection:
        connection.execute("DELETE FROM image WHERE number = 2")


def change_format(folder: Path) -> None:
    with sqlite3.connect(folder / TABLE) as connection:
        connection.execute("UPDATE about SET value = '99' WHERE name = 'format'")


@pytest.mark.parametrize(
    "damage",
    [flip_a_byte, cut_vectors, lose_vectors, cut_table, overwrite_table, lose_a_row, change_format],
    ids=lambda damage: damage.__name__,
)
def test_a_damaged_index_is_named_and_answers_nothing(folder: Path, damage: object) -> None:
    damage(folder)  # type: ignore[operator]
    with pytest.raises(CaseIndexError, match="the index in 'index'") as raised:
        CaseIndex(folder, IDENTITY)
    assert str(folder.parent) not in str(raised.value)


def test_a_folder_that_is_no_index_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(CaseIndexError, match="holds no index"):
        CaseIndex(tmp_path / "none", IDENTITY)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CaseIndexError, match="holds other files"):
        CaseIndex(tmp_path, IDENTITY, create=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_without_faiss_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors_module, "faiss", None)
    with pytest.raises(CaseIndexError, match=r"medvqa\[retrieval\]"):
        CaseIndex(folder, IDENTITY)


def test_those_who_share_an_index_see_each_others_changes(folder: Path) -> None:
    one, other = CaseIndex(folder, IDENTITY), CaseIndex(folder, IDENTITY)
    one.add([ref(6)], unit(1, seed=6))
    assert other.search(unit(1, seed=6)[0], 1)[0].image == ref(6)
    other.remove("1.2.6")
    assert len(one) == 5


WORKER = """
import os, sys
from pathlib import Path
import numpy as np
from test_case_index import IDENTITY, ref, unit
from medvqa.retrieval import index as module

def die(*_, **__):
    os._exit(9)

folder, doing, first = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
index = module.CaseIndex(folder, IDENTITY, create=True)
if doing == "write the vectors":
    module.os.fsync = die
elif doing == "commit":
    module._write_about = die
elif doing == "tidy up":
    module.Path.unlink = die
for number in range(first, first + (400 if doing == "go on" else 5)):
    index.add([ref(number)], unit(1, seed=number))
    print(number, flush=True)
"""


def start(folder: Path, doing: str, first: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(folder), doing, str(first)]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize(("doing", "held"), [("write the vectors", 5), ("commit", 5), ("tidy up", 6)])
def test_a_kill_leaves_the_index_before_or_the_one_after(folder: Path, doing: str, held: int) -> None:
    assert start(folder, doing, 100).wait() == 9
    index = CaseIndex(folder, IDENTITY)
    assert len(index) == held
    for study in range(5):
        assert index.search(unit(5)[study], 1)[0].image == ref(study)
    index.add([ref(200)], unit(1, seed=200))
    assert len(CaseIndex(folder, IDENTITY)) == held + 1
    assert len(list(folder.iterdir())) == 2  # what the dead one left is gone


def test_writers_killed_at_any_moment_lose_nothing_that_they_said_was_there(tmp_path: Path) -> None:
    folder, said = tmp_path / "index", 0
    for turn in range(6):
        writer = start(folder, "go on", 1000 * turn)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(random.uniform(0, 0.1))
        writer.kill()
        said += 1 + len(writer.stdout.read().split())
        writer.wait()
        held = len(CaseIndex(folder, IDENTITY))
        assert said <= held <= said + turn + 1
    assert said > 6


def test_writers_take_turns(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    writers = [start(folder, "take turns", 10 * turn) for turn in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    assert len(CaseIndex(folder, IDENTITY)) == 20
