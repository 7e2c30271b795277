"""What is read of a download: its files, rows and archives."""

from __future__ import annotations

import io
import json
import lzma
import tarfile
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from skillopt.tasks.benchmarks.base import Item
from skillopt.tasks.benchmarks.files import check_complete, items, records, texts, unpacked
from skillopt.tasks.harbor import TaskError

POINTER = b"version https://git-lfs.github.com/spec/v1\n"


def written(folder: Path, **files: Any) -> Path:
    """A download with JSON files, whose names have a dot for each double underline."""
    for name, rows in files.items():
        file = folder / name.replace("__", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(rows))
    return folder


def test_rows_are_those_of_all_files_in_order(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    written(tmp_path, b__json=[{"a": 2}], a__JSON=[{"a": 1, "b": 0}])
    written(tmp_path / "sub", c__json=[{"a": 3}])
    written(tmp_path, other__txt=[{"a": 4}], x__json=[{"b": 5}])
    (tmp_path / "d.json").mkdir()
    rows = [{"a": 1, "b": 0}, {"a": 2}, {"a": 3}]
    assert list(records(tmp_path, ("a",))) == rows
    assert list(records(tmp_path, ("a",), (".json",))) == rows
    assert list(records(tmp_path / "b.json", ("a",))) == [{"a": 2}]
    for suffix in (".jsonl", ".csv", ".parquet"):
        with pytest.raises(TaskError, match=f"no {suffix} file in it has rows with a"):
            list(records(tmp_path, ("a",), (suffix,)))


def test_rows_without_a_value_are_passed_over(tmp_path: Path) -> None:
    written(tmp_path, a__json=[{"a": None, "b": 1}, {"a": 0, "b": ""}, {"a": 1, "b": None}])
    assert list(records(tmp_path, ("a", "b"))) == [{"a": 0, "b": ""}]
    written(tmp_path, a__json=[{"a": None}])
    assert list(records(tmp_path, ("a",))) == [], "the file is the right one all the same"


def test_a_later_row_without_a_column_is_an_error(tmp_path: Path) -> None:
    for odd in ({"a": 1}, 7):
        written(tmp_path, a__json=[{"a": 1, "b": 2}, odd, {"a": 2, "b": 3}])
        with pytest.raises(TaskError, match=r"a\.json: row 2 lacks one of a, b$"):
            list(records(tmp_path, ("a", "b")))


def test_files_with_other_rows_are_named_up_to_three(tmp_path: Path) -> None:
    written(tmp_path, a__json=[{"x": 1, "y": 2}], b__json=[7], c__json=[{"z" * 300: 1}])
    written(tmp_path, d__json=[{"last": 1}])
    with pytest.raises(TaskError) as raised:
        list(records(tmp_path, ("a", "b"), (".json", ".csv")))
    long = f"c.json has columns {'z' * 300}"[:200]
    assert str(raised.value) == (
        f"{tmp_path}: no .json or .csv file in it has rows with a, b (a.json has columns x, y; "
        f"b.json has none; {long}); give the download as its home publishes it"
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(TaskError, match=r"has rows with a; give the download"):
        list(records(tmp_path / "empty", ("a",)))


def test_items_are_made_of_rows_and_none_is_left_out(tmp_path: Path) -> None:
    written(tmp_path, a__json=[{"a": 1}, {"a": 2}, {"a": 3}])
    made = items(tmp_path, ("a",), lambda row: None if row["a"] == 2 else Item(str(row["a"]), row))
    assert [item.id for item in made] == ["1", "3"]
    made = items(tmp_path, ("a",), lambda row: Item("x", row), (".json",))
    assert len(list(made)) == 3
    with pytest.raises(TaskError, match=r"no \.csv file"):
        list(items(tmp_path, ("a",), lambda row: Item("x", row), (".csv",)))


@pytest.mark.parametrize("error", [KeyError, TypeError, AttributeError, ValueError, IndexError])
def test_a_row_of_another_form_is_named(error: type[Exception], tmp_path: Path) -> None:
    def make(row: dict[str, Any]) -> Item:
        if row["a"] == 2:
            raise error("odd")
        return Item("x", row)

    written(tmp_path, a__json=[{"a": 1}, {"a": 2}])
    said = rf"a\.json: row 2: has another form than is published: {error.__name__}: '?odd"
    with pytest.raises(TaskError, match=said):
        list(items(tmp_path, ("a",), make))


def test_a_file_that_cannot_be_read_may_be_half_of_one(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"a": 1}')
    with pytest.raises(TaskError, match=r"a\.json: .*; is the download complete\?"):
        list(records(tmp_path, ("a",)))


@pytest.mark.parametrize(
    ("value", "found"),
    [(None, []), ("a", ["a"]), ("", [""]), (["a", 1, None], ["a", "1", "None"]), ([], [])],
)
def test_a_cell_is_read_as_texts(value: Any, found: list[str]) -> None:
    assert texts(value) == found


@pytest.mark.parametrize("value", [1, {"a": 1}, ("a",), True])
def test_any_other_cell_is_no_texts(value: Any) -> None:
    with pytest.raises(TypeError, match="expected a list of texts"):
        texts(value)


def test_a_pointer_of_a_clone_is_told_by_its_size_and_beginning(tmp_path: Path) -> None:
    pointer = tmp_path / "sub" / "a.json"
    pointer.parent.mkdir()
    (tmp_path / "b.json").write_bytes(b"{}")
    pointer.write_bytes(POINTER.ljust(1024))
    check_complete(tmp_path)
    check_complete(pointer)
    pointer.write_bytes(POINTER.ljust(1023))
    for download in (tmp_path, pointer):
        with pytest.raises(TaskError, match=r"a\.json: is a pointer of Git LFS"):
            check_complete(download)


CONTENT = b"".join(sha256(b"%d" % n).hexdigest().encode() for n in range(300))


def packed(file: Path, mode: Any = "w") -> Path:
    with tarfile.open(file, mode) as archive:
        for name, content in (("a.txt", b"a"), ("sub/b.txt", CONTENT)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file


@pytest.mark.parametrize("kind", ["", "gz", "bz2", "xz"])
def test_an_archive_is_unpacked_for_a_while(kind: str, tmp_path: Path) -> None:
    with unpacked(packed(tmp_path / "a", f"w:{kind}")) as folder:
        assert (folder / "a.txt").read_bytes() == b"a"
        assert (folder / "sub" / "b.txt").read_bytes() == CONTENT
    assert not folder.exists()


def other_bytes(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(150) + content[middle + 150 :]


def another_end(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(content) + packer.flush(zlib.Z_FULL_FLUSH) + b"\x07"  # No such block.


@pytest.mark.parametrize(
    ("kind", "spoil", "error"),
    [
        ("gz", lambda content: content[:-8] + bytes(4) + content[-4:], OSError),
        ("gz", lambda content: content[: len(content) // 2], EOFError),
        ("", another_end, zlib.error),
        ("xz", other_bytes, lzma.LZMAError),
        ("", lambda content: b"no archive", tarfile.TarError),
        ("", lambda content: content[:5000], tarfile.TarError),
    ],
)
def test_an_archive_that_is_not_whole_is_refused(
    kind: str, spoil: Any, error: type[Exception], tmp_path: Path
) -> None:
    file = packed(tmp_path / "a", f"w:{kind}")
    file.write_bytes(spoil(file.read_bytes()))
    with (
        pytest.raises(TaskError, match=r"(?s)/a: .*; is the download complete\?") as raised,
        unpacked(file),
    ):
        pass
    assert isinstance(raised.value.__cause__, error)


def test_an_archive_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="No such file"), unpacked(tmp_path / "none"):
        pass


def test_what_is_raised_by_who_reads_it_is_not_the_archives(tmp_path: Path) -> None:
    with (
        pytest.raises(lzma.LZMAError),
        unpacked(packed(tmp_path / "a")),
    ):
        raise lzma.LZMAError
