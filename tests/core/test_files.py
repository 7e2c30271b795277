"""Files are written whole or not at all, and folders replaced at once."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skillopt.core import files
from skillopt.core.errors import FormatError
from skillopt.core.files import (
    check_writable,
    digest_of,
    end_whole,
    json_in,
    read_json,
    remove_folder,
    replace_folder,
    to_json,
    write_atomic,
)
from tests.helpers.rights import ordinary_rights, own_folder


@pytest.mark.parametrize(
    ("content", "data"), [("é\r\n", b"\xc3\xa9\r\n"), (b"\xff\x00", b"\xff\x00")]
)
@pytest.mark.parametrize("mode", [0o000, 0o600, 0o444, 0o755])
def test_a_file_is_replaced_whole_with_its_mode(
    tmp_path: Path, content: str | bytes, data: bytes, mode: int
) -> None:
    file = tmp_path / ("n" * 255)
    file.write_text("a longer text that was there before")
    write_atomic(file, content, mode)
    assert file.stat().st_mode & 0o777 == mode
    file.chmod(0o600)
    assert file.read_bytes() == data
    assert list(tmp_path.iterdir()) == [file]


def test_without_a_mode_a_file_has_that_of_new_files(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    write_atomic(tmp_path / "made", "")
    modes = {(tmp_path / name).stat().st_mode for name in ("usual", "made")}
    assert len(modes) == 1


def test_a_file_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path, number in (("none/file", errno.ENOENT), ("folder", errno.EISDIR)):
        with pytest.raises(OSError) as caught:
            write_atomic(tmp_path / path, "x")
        error = caught.value
        assert (error.errno, error.filename, error.filename2) == (
            number, str(tmp_path / path), None,
        )  # fmt: skip
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


def test_an_interruption_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def made(folder: Path, content: str) -> Path:
    (folder / "below").mkdir(parents=True)
    (folder / "below" / content).touch()
    return folder


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_folder_takes_the_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool, at_once: bool
) -> None:
    if not at_once:  # As on a file system that cannot exchange two names.
        monkeypatch.setattr(files, "_exchange", lambda *_: False)
    folder = tmp_path / "folder"
    if there:
        made(folder, "old")
    replace_folder(made(tmp_path / "new.part", "new"), folder)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "folder", "folder/below", "folder/below/new",
    ]  # fmt: skip


def test_a_folder_stays_if_the_new_one_is_missing(tmp_path: Path) -> None:
    folder = made(tmp_path / "folder", "old")
    with pytest.raises(OSError) as caught:
        replace_folder(tmp_path / "new", folder)
    error = caught.value
    assert (error.errno, error.filename) == (errno.ENOENT, str(tmp_path / "new"))
    assert error.filename2 == str(folder) and error.strerror == os.strerror(errno.ENOENT)
    assert (folder / "below" / "old").is_file()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EACCES, None])
def test_only_a_system_that_cannot_exchange_names_takes_two_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    library = SimpleNamespace(renameat2=lambda *_: -1) if number is not None else SimpleNamespace()
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: library)
    monkeypatch.setattr(ctypes, "get_errno", lambda: number)
    new, folder = made(tmp_path / "new", "new"), made(tmp_path / "folder", "old")
    if number == errno.EACCES:
        with pytest.raises(PermissionError):
            replace_folder(new, folder)
        assert (folder / "below" / "old").is_file()
    else:
        replace_folder(new, folder)
        assert [path.name for path in tmp_path.rglob("*")] == ["folder", "below", "new"]


@pytest.mark.parametrize("mode", [0o000, 0o500, 0o300, 0o600, 0o700])
def test_closed_folders_are_removed_too(mode: int) -> None:
    with own_folder() as root, ordinary_rights():
        below = made(root / "gone", "file") / "below"
        below.chmod(mode)
        remove_folder(root / "gone")
        assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    "closed",
    [
        ["a", "b"],
        ["a", "c"],
        ["a", "b", "c"],
        ["a", "a/a"],
        ["c", "c/b"],
        ["a/a", "b/b", "c/c"],
        ["", "b", "b/c", "c/a"],
        ["a/a/a", "a/b/b", "c"],
    ],
)
@pytest.mark.parametrize("mode", [0o000, 0o500])
def test_any_number_of_closed_folders_is_removed(closed: list[str], mode: int) -> None:
    """Beside and below each other."""
    with own_folder() as root, ordinary_rights():
        top = root / "gone"
        for path in closed:
            (top / path / "open").mkdir(parents=True)
            (top / path / "file").touch()
        for path in sorted(closed, reverse=True):  # What is below is closed first.
            (top / path).chmod(mode)
        remove_folder(top)
        assert list(root.iterdir()) == []


def test_what_a_link_in_a_removed_folder_leads_to_stays_as_it_is() -> None:
    with own_folder() as root, ordinary_rights():
        kept = made(root / "kept", "file") / "below"
        kept.chmod(0o500)
        made(root / "gone", "file")
        (root / "gone" / "link").symlink_to(kept)
        remove_folder(root / "gone")
        assert kept.stat().st_mode & 0o777 == 0o500 and (kept / "file").is_file()
        kept.chmod(0o700)


@pytest.mark.parametrize(
    ("path", "problem", "at"),
    [
        ("", None, ""),
        ("new", None, ""),
        ("new/below", None, ""),
        ("file", errno.ENOTDIR, "file"),
        ("file/below", errno.ENOTDIR, "file"),
        ("closed", errno.EACCES, "closed"),
        ("closed/new/below", errno.EACCES, "closed"),
        ("no-entry", errno.EACCES, "no-entry"),
        ("closed/open", None, ""),
    ],
)
def test_what_can_be_written_is_what_is_there_or_above(
    path: str, problem: int | None, at: str
) -> None:
    with own_folder() as root, ordinary_rights():
        (root / "file").touch()
        (root / "closed" / "open").mkdir(parents=True)
        (root / "closed").chmod(0o500)
        (root / "no-entry").mkdir(0o600)
        try:
            if problem is None:
                check_writable(root / path)
            else:
                with pytest.raises(OSError) as caught:
                    check_writable(root / path)
                assert (caught.value.errno, caught.value.filename) == (problem, str(root / at))
                assert caught.value.strerror == os.strerror(problem)
        finally:
            (root / "closed").chmod(0o700)


def test_a_file_system_that_is_read_only_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with own_folder() as root, ordinary_rights():
        (root / "closed").mkdir(0o500)
        monkeypatch.setattr(
            os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY | os.ST_NOSUID)
        )
        with pytest.raises(OSError) as caught:
            check_writable(root / "closed")
    assert caught.value.errno == errno.EROFS


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""),
        (b"a\n", b"a\n"),
        (b"a\nb", b"a\n"),
        (b"a\nb\n", b"a\nb\n"),
        (b"a\nb\nc", b"a\nb\n"),
        (b"a", b""),
        (b"\n", b"\n"),
        (b"\nb", b"\n"),
    ],
)
def test_a_log_ends_with_a_whole_line(tmp_path: Path, before: bytes, after: bytes) -> None:
    log = tmp_path / "log"
    end_whole(log)
    assert not log.exists()
    log.write_bytes(before)
    end_whole(log)
    assert log.read_bytes() == after


def test_json_is_indented_in_the_given_order() -> None:
    text = '{\n  "b": "é",\n  "a": [\n    1,\n    null\n  ]\n}\n'
    assert to_json({"b": "é", "a": [1, None]}) == text


def older(value: dict[str, Any]) -> dict[str, Any]:
    return {"format": 3, "upgraded": True, **value}


@pytest.mark.parametrize(
    ("text", "upgrade", "found"),
    [
        ('{"format": 3, "a": 1}', False, {"format": 3, "a": 1}),
        ('{"format": 3, "a": 1}', True, {"format": 3, "a": 1}),
        ('{"a": 1}', True, {"format": 3, "upgraded": True, "a": 1}),
        ('{"a": 1}', False, "no format number"),
        ('{"format": null}', True, "no format number"),
        ('{"format": 2}', True, "has format 2, and this version reads format 3"),
        ('{"format": 4}', False, "has format 4, and this version reads format 3"),
        ('{"format": "3"}', False, "has format '3'"),
        ("[3]", True, "no format number"),
        ('["format"]', True, "no format number"),
        ('"format"', True, "no format number"),
        ("{", True, "not JSON"),
        ("\ud800", True, "not JSON"),
    ],
)
def test_a_file_of_another_format_is_refused(
    tmp_path: Path, text: str, upgrade: bool, found: dict[str, Any] | str
) -> None:
    file = tmp_path / "file.json"
    raw = text.encode("utf-8", "surrogatepass")
    file.write_bytes(raw)
    convert = older if upgrade else None
    if isinstance(found, str):
        with pytest.raises(FormatError, match=found) as caught:
            read_json(file, 3, convert)
        assert str(file) in str(caught.value)
    else:
        assert read_json(file, 3, convert) == json_in(raw, file, 3, convert) == found


def test_a_digest_is_that_of_canonical_json() -> None:
    text = '{"a":[1,2.5,null,true],"b":"é"}'
    value = {"b": "é", "a": [1, 2.5, None, True]}
    assert digest_of(value) == hashlib.sha256(text.encode()).hexdigest()
    assert digest_of({**value, "b": "e"}) != digest_of(value)
