"""A rollout's files are read alike, plain or packed, whatever agents have put among them."""

from __future__ import annotations

import os
import shutil
import signal
import tarfile
import threading
import time
from pathlib import Path

import pytest
import zstandard

from skillopt.core import packed
from skillopt.core.packed import (
    PACKED,
    RESULT,
    add,
    files,
    inside,
    is_packed,
    names,
    open_file,
    pack,
    remove,
    unpack,
)
from tests.helpers.rights import ordinary_rights, own_folder

CONTENT = {
    "result.json": b"{}",
    "wire.jsonl": b'{"a": 1}\n' * 9000,
    "work.tar.gz": os.urandom(2 << 20),
    "verifier/output.txt": b"two rows differ\n",
    "workspace/deep/er/empty.txt": b"",
    os.fsdecode(b"workspace/not text \xff\n.txt"): b"\0\xff",
    f"workspace/{'n' * 200}": b"long",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in CONTENT.items():
        (tmp_path / "rollout" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "rollout" / name).write_bytes(content)
    (tmp_path / "rollout" / "verifier" / "link").symlink_to("/etc/passwd")
    (tmp_path / "rollout" / "workspace" / "again.txt").hardlink_to(
        tmp_path / "rollout" / "verifier" / "output.txt"
    )
    (tmp_path / "rollout" / "workspace" / "nothing").mkdir()
    return tmp_path / "rollout"


def read(folder: Path) -> dict[str, bytes]:
    found = {name: source.read() for name, _, source in files(folder)}
    assert {name: len(content) for name, content in found.items()} == {
        name: size for name, size, _ in files(folder)
    }
    return found


def tree(folder: Path) -> dict[str, object]:
    return {
        path.relative_to(folder).as_posix(): path.readlink() if path.is_symlink()
        else path.is_dir() or (path.read_bytes(), path.stat().st_mode, int(path.stat().st_mtime))
        for path in folder.rglob("*")
    }  # fmt: skip


def test_packed_files_are_read_as_plain_ones(folder: Path, tmp_path: Path) -> None:
    plain, before = read(folder), tree(folder)
    below = [(name, size) for name, size, _ in files(folder, "workspace")]
    pack(folder)
    assert is_packed(folder) and {path.name for path in folder.iterdir()} == {RESULT, PACKED}
    assert read(folder) == plain and plain["workspace/again.txt"] == b"two rows differ\n"
    assert [(name, size) for name, size, _ in files(folder, "workspace")] == below
    assert list(plain)[-1] == "work.tar.gz", "what is large is not in the way of the others"
    assert "verifier/link" not in plain
    for name in CONTENT:
        with open_file(folder, name) if name != RESULT else (folder / name).open("rb") as file:
            assert file.read() == CONTENT[name]
    assert set(names(folder)) == {*CONTENT, "workspace/again.txt"}
    whole = tmp_path / "whole"
    whole.mkdir()
    unpack(folder, whole)
    assert tree(whole) == before


def test_a_file_that_is_not_there_is_missing_in_both_forms(folder: Path) -> None:
    for name in ("none.txt", "verifier/none.txt"):
        with pytest.raises(FileNotFoundError):
            open_file(folder, name)
    pack(folder)
    for name in ("none.txt", "verifier/none.txt"):
        with pytest.raises(FileNotFoundError, match="No such file"):
            open_file(folder, name)


@pytest.mark.parametrize("at", [0, 10, 0.5, 0.99])
def test_a_damaged_archive_is_an_error_that_names_it(folder: Path, at: float) -> None:
    pack(folder)
    raw = (folder / PACKED).read_bytes()
    size = int(len(raw) * at) if 0 < at < 1 else int(at)
    (folder / PACKED).write_bytes(raw[:size])
    with pytest.raises(OSError, match=f"{PACKED}: cannot be read"):
        read(folder)


def test_a_changed_byte_is_noticed(folder: Path) -> None:
    pack(folder)
    raw = bytearray((folder / PACKED).read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / PACKED).write_bytes(raw)
    with pytest.raises(OSError, match=f"{PACKED}: cannot be read"):
        read(folder)


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "link/out", "a/../../out"])
def test_nothing_is_unpacked_elsewhere(name: str, tmp_path: Path) -> None:
    folder, target, outside = (tmp_path / one for one in ("packed", "target", "outside"))
    for one in (folder, target, outside):
        one.mkdir()
    with (
        (folder / PACKED).open("wb") as file,
        zstandard.ZstdCompressor().stream_writer(file, closefd=False) as stream,
        tarfile.open(fileobj=stream, mode="w|") as tar,
    ):
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(OSError, match=r"not a name in a folder|is below a link"):
        unpack(folder, target)
    assert not list(outside.iterdir()) and not (tmp_path / "out").exists()


def small(folder: Path) -> Path:
    """A rollout's folder with little in it."""
    for name in (RESULT, "wire.jsonl", "workspace/a.txt", "workspace2/b.txt", "workspace/deep/c"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def members(folder: Path) -> dict[str, tarfile.TarInfo]:
    with (
        (folder / PACKED).open("rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file) as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        return {member.name: member for member in tar}


def test_a_folder_of_a_rollout_is_read_apart_from_those_that_begin_alike(tmp_path: Path) -> None:
    small(tmp_path)
    for later in (False, True):
        if later:
            pack(tmp_path)
        found = {name: source.read() for name, _, source in files(tmp_path, "workspace")}
        assert found == {"a.txt": b"workspace/a.txt", "deep/c": b"workspace/deep/c"}
        assert [name for name, _, _ in files(tmp_path, "workspace/deep")] == ["c"]
        assert list(files(tmp_path, "none")) == []
        assert names(tmp_path)[0] == RESULT and len(names(tmp_path)) == 5


def test_packed_files_are_nobodys_and_keep_their_modes(tmp_path: Path) -> None:
    small(tmp_path)
    (tmp_path / "wire.jsonl").chmod(0o640)
    (tmp_path / "workspace" / "deep").chmod(0o750)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / f"{PACKED}.part").write_text("what a killed process left")
    pack(tmp_path)
    found = members(tmp_path)
    assert {(one.uid, one.gid, one.uname, one.gname) for one in found.values()} == {(0, 0, "", "")}
    assert RESULT not in found and "pipe" not in found and f"{PACKED}.part" not in found
    assert (found["wire.jsonl"].mode, found["workspace/deep"].mode) == (0o640, 0o750)
    assert found["dangling"].issym() and found["dangling"].linkname == "nowhere"
    assert list(found).index("workspace") < list(found).index("workspace/deep/c")


@pytest.mark.parametrize(("size", "last"), [(1 << 20, "b"), ((1 << 20) + 1, "a")])
def test_only_what_is_larger_than_a_megabyte_comes_last(
    tmp_path: Path, size: int, last: str
) -> None:
    (tmp_path / "a").write_bytes(bytes(size))
    (tmp_path / "b").touch()
    pack(tmp_path)
    assert list(members(tmp_path))[-1] == last


def test_a_second_name_of_a_file_is_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("text")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    with tarfile.open(tmp_path / "made.tar", "w") as tar:
        for name in ("a", "b"):
            add(tar, f"as/{name}", tmp_path / name)
    with tarfile.open(tmp_path / "made.tar") as tar:
        found = [(one.name, one.type, one.linkname, one.size) for one in tar]
    assert found == [("as/a", tarfile.REGTYPE, "", 4), ("as/b", tarfile.REGTYPE, "", 4)]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a", "a"), ("a/b", "a/b"), ("./a//b", "a/b"), ("link", "link"), ("..a/b..", "..a/b.."),
        ("", None), (".", None), ("/a", None), ("a/../b", None), ("..", None), ("link/a", None),
        ("a/link/b", None),
    ],
)  # fmt: skip
def test_a_name_of_an_archive_leads_into_its_folder(
    tmp_path: Path, name: str, path: str | None
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "a" / "link").symlink_to(".")
    if path is None:
        with pytest.raises(OSError, match=r"not a name in a folder|is below a link") as caught:
            inside(tmp_path, name)
        assert repr(name) in str(caught.value)
    else:
        assert inside(tmp_path, name) == tmp_path / path


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    small(tmp_path / "kept")
    for name, target in (("folder", "kept"), ("file", "kept/wire.jsonl"), ("dead", "nowhere")):
        (tmp_path / name).symlink_to(target)
        remove(tmp_path / name)
    remove(tmp_path / "missing")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    remove(tmp_path / "kept" / "wire.jsonl")
    remove(tmp_path / "kept" / "workspace")
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [RESULT, "workspace2"]


def test_unpacked_files_have_their_modes_and_times(tmp_path: Path) -> None:
    folder, target = small(tmp_path / "packed"), tmp_path / "target"
    target.mkdir()
    (folder / RESULT).unlink()
    (folder / "wire.jsonl").chmod(0o711)
    os.utime(folder / "wire.jsonl", (1000, 2000))
    (folder / "empty").mkdir()
    pack(folder)
    unpack(folder, target)
    status = (target / "wire.jsonl").stat()
    assert (status.st_mode & 0o7777, status.st_mtime) == (0o711, 2000)
    assert (target / "empty").is_dir() and not (target / RESULT).exists()
    with pytest.raises(FileExistsError):
        unpack(folder, target)


def test_a_missing_file_of_an_archive_is_named(tmp_path: Path) -> None:
    pack(small(tmp_path))
    with pytest.raises(FileNotFoundError) as caught:
        open_file(tmp_path, "none")
    assert caught.value.errno == 2 and caught.value.filename == f"{tmp_path / PACKED}/none"
    with open_file(tmp_path, "workspace/deep/c") as file:
        assert file.read() == b"workspace/deep/c"


def test_tar_unpacks_it_too(folder: Path, tmp_path: Path) -> None:
    if shutil.which("zstd") is None:
        pytest.skip("tar needs zstd for this")
    before = read(folder)
    pack(folder)
    (tmp_path / "by_tar").mkdir()
    shutil.copy(folder / PACKED, tmp_path)
    os.system(f"tar --zstd -xf {tmp_path / PACKED} -C {tmp_path / 'by_tar'}")
    assert read(tmp_path / "by_tar") == before


def test_what_cannot_be_read_stays_plain() -> None:
    with own_folder() as folder, ordinary_rights():
        for name in ("a.txt", "closed.txt"):
            (folder / name).write_text(name)
        (folder / "closed.txt").chmod(0)
        pack(folder)
        assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "closed.txt"]
        assert not is_packed(folder) and (folder / "a.txt").read_text() == "a.txt"


def test_a_plain_file_is_opened_and_not_read(tmp_path: Path) -> None:
    with open_file(small(tmp_path), "wire.jsonl") as file:
        assert os.fstat(file.fileno()).st_size == len("wire.jsonl")


def test_a_file_that_is_packed_while_it_is_looked_for_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(small(tmp_path))
    answers = iter([False, True])  # It is packed after the first look.
    monkeypatch.setattr(packed, "is_packed", lambda folder: next(answers, True))
    with open_file(tmp_path, "wire.jsonl") as file:
        assert file.read() == b"wire.jsonl"


def test_what_is_no_file_folder_or_link_is_not_unpacked(tmp_path: Path) -> None:
    for name in ("packed", "target"):
        (tmp_path / name).mkdir()
    with (
        (tmp_path / "packed" / PACKED).open("wb") as file,
        zstandard.ZstdCompressor().stream_writer(file, closefd=False) as stream,
        tarfile.open(fileobj=stream, mode="w|") as tar,
    ):
        pipe = tarfile.TarInfo("pipe")
        pipe.type = tarfile.FIFOTYPE
        tar.addfile(pipe)
        tar.addfile(tarfile.TarInfo("file"))
    unpack(tmp_path / "packed", tmp_path / "target")
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["file"]
    assert [name for name, _, _ in files(tmp_path / "packed")] == ["file"]


def test_a_folder_may_come_after_what_is_in_it(tmp_path: Path) -> None:
    for name in ("packed", "target"):
        (tmp_path / name).mkdir()
    with (
        (tmp_path / "packed" / PACKED).open("wb") as file,
        zstandard.ZstdCompressor().stream_writer(file, closefd=False) as stream,
        tarfile.open(fileobj=stream, mode="w|") as tar,
    ):
        tar.addfile(tarfile.TarInfo("folder/file"))
        last = tarfile.TarInfo("folder")
        last.type = tarfile.DIRTYPE
        tar.addfile(last)
    unpack(tmp_path / "packed", tmp_path / "target")
    assert (tmp_path / "target" / "folder" / "file").is_file()


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_one_of_the_two_forms(folder: Path, tmp_path: Path) -> None:
    before = read(folder)
    for number in range(40):
        copy = tmp_path / str(number)
        shutil.copytree(folder, copy, symlinks=True)
        child = os.fork()
        if not child:
            try:
                pack(copy)
            finally:
                os._exit(0)
        time.sleep(number * 0.001)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert read(copy) == before
        shutil.rmtree(copy)


@pytest.mark.slow
def test_files_can_be_read_while_they_are_packed(folder: Path) -> None:
    """As a rollout is followed that has just ended. What is just being removed is not there."""
    stopped = threading.Event()
    failures: list[OSError] = []
    found: list[bytes] = []

    def follow() -> None:
        while not stopped.is_set():
            try:
                with open_file(folder, "wire.jsonl") as file:
                    found.append(file.read())
            except FileNotFoundError:
                continue
            except OSError as error:
                failures.append(error)

    reader = threading.Thread(target=follow)
    reader.start()
    try:
        for _ in range(20):
            pack(folder)
            whole = folder.with_name("whole")
            whole.mkdir()
            unpack(folder, whole)
            shutil.rmtree(folder)
            whole.rename(folder)
    finally:
        stopped.set()
        reader.join()
    assert failures == [] and set(found) == {CONTENT["wire.jsonl"]}
