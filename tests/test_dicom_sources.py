"""Files, folders and archives are searched within limits, and nothing leads out of them."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from pathlib import Path

import pytest
from dicom_builder import gradient, image, to_bytes, write
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian

from medvqa.dicom.sources import ZIP_RATIO_FLOOR_BYTES, Limits, Source, find_sources
from medvqa.errors import DicomError, LimitError

LIMITS = Limits()


def archive(path: Path, members: dict[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def names(path: Path, *, limits: Limits = LIMITS) -> list[str]:
    return [source.name for source in find_sources(path, limits=limits)[0]]


def test_a_folder_is_searched_through_and_named_from_where_the_user_stood(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b" / "1.dcm", image())
    (tmp_path / "junk.txt").write_text("junk")
    assert names(tmp_path) == ["a/b/1.dcm", "junk.txt"]


def test_links_to_folders_are_left_alone_so_that_loops_end(tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.dcm", image())
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "gone.dcm").symlink_to(tmp_path / "nowhere")
    assert names(tmp_path) == ["a/1.dcm"]


@pytest.mark.timeout(10)
def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert names(tmp_path) == []
    with pytest.raises(DicomError, match="pipe is neither a file nor a folder"):
        find_sources(tmp_path / "pipe", limits=LIMITS)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DicomError, match=r"gone\.dcm does not exist"):
        find_sources(tmp_path / "gone.dcm", limits=LIMITS)


@given(count=st.integers(1, 6), limit=st.integers(1, 6))
def test_the_file_limit_holds_exactly(
    tmp_path_factory: pytest.TempPathFactory, count: int, limit: int
) -> None:
    folder = tmp_path_factory.mktemp("files")
    for number in range(count):
        (folder / f"{number}").write_bytes(b"x")
    zipped = archive(folder.with_suffix(".zip"), {f"{number}": b"x" for number in range(count)})
    for path in (folder, zipped):
        if count <= limit:
            assert len(names(path, limits=Limits(files=limit))) == count
        else:
            with pytest.raises(LimitError, match="files"):
                find_sources(path, limits=Limits(files=limit))


def test_folders_deeper_than_the_limit_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b" / "1.dcm", image())
    assert names(tmp_path, limits=Limits(folder_depth=2)) == ["a/b/1.dcm"]
    with pytest.raises(LimitError, match=r"deeper than 1"):
        find_sources(tmp_path, limits=Limits(folder_depth=1))


def test_a_large_file_is_refused_alone_and_skipped_among_others(tmp_path: Path) -> None:
    path = write(tmp_path / "large.dcm", image(gradient(64, 64)))
    (tmp_path / "small").write_bytes(b"x")
    limits = Limits(file_bytes=1000)
    with pytest.raises(LimitError, match=r"large\.dcm has .* bytes"):
        find_sources(path, limits=limits)
    sources, skipped = find_sources(tmp_path, limits=limits)
    assert [source.name for source in sources] == ["small"]
    assert [(one.name, one.code) for one in skipped] == [("large.dcm", "over_limit")]


def test_a_bomb_is_refused_before_anything_is_unpacked(tmp_path: Path) -> None:
    bomb = archive(tmp_path / "bomb.zip", {"1.dcm": bytes(ZIP_RATIO_FLOOR_BYTES + 1)})
    with pytest.raises(LimitError, match=r"bomb\.zip would unpack to .* times its size"):
        find_sources(bomb, limits=LIMITS)
    with pytest.raises(LimitError, match=r"would unpack to .* bytes"):
        find_sources(bomb, limits=Limits(archive_bytes=1000))


def test_a_blank_image_in_a_small_archive_is_no_bomb(tmp_path: Path) -> None:
    path = archive(tmp_path / "blank.zip", {"1.dcm": bytes(1 << 20)})
    assert names(path) == ["1.dcm"]


def test_a_hostile_member_name_writes_nothing(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    path = archive(inside / "evil.zip", {"../../evil.dcm": b"DICM", "/etc/evil": b"x"})
    (source, _), _ = find_sources(path, limits=LIMITS)
    with source.open(limits=LIMITS) as stream:
        assert stream.read()
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["evil.zip", "inside"]


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    path = archive(tmp_path / "cut.zip", {"1": b"x" * 1000})
    path.write_bytes(path.read_bytes().replace(b"PK\x01\x02", b"PK\xff\xff"))
    with pytest.raises(DicomError, match=r"cut\.zip"):
        find_sources(path, limits=LIMITS)


def test_a_dicom_file_that_ends_in_an_archive_is_a_dicom_file(tmp_path: Path) -> None:
    tail = archive(tmp_path / "tail.zip", {"readme": b"x"}).read_bytes()
    path = tmp_path / "both.dcm"
    path.write_bytes(to_bytes(image()) + tail)
    assert names(path) == ["both.dcm"]


def test_a_deflated_data_set_never_inflates_past_the_limit(tmp_path: Path) -> None:
    plain = image(gradient(400, 400), transfer_syntax=DeflatedExplicitVRLittleEndian)
    path = write(tmp_path / "deflated.dcm", plain)
    source = Source(name="deflated.dcm", path=path, size=path.stat().st_size)
    with source.open(limits=LIMITS) as stream:
        inflated = stream.read()
    assert inflated.endswith(gradient(400, 400).tobytes())
    with pytest.raises(LimitError, match=r"deflated\.dcm would inflate"):
        source.open(limits=Limits(file_bytes=1000))
    data = path.read_bytes()
    path.write_bytes(data[:400] + b"\xff" * (len(data) - 400))
    with pytest.raises(zlib.error):
        source.open(limits=LIMITS)
