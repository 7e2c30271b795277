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

from skillopt.core.packed import (
    PACKED,
    RESULT,
    files,
    is_packed,
    names,
    open_file,
    pack,
    unpack,
)

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


def test_tar_unpacks_it_too(folder: Path, tmp_path: Path) -> None:
    if shutil.which("zstd") is None:
        pytest.skip("tar needs zstd for this")
    before = read(folder)
    pack(folder)
    (tmp_path / "by_tar").mkdir()
    shutil.copy(folder / PACKED, tmp_path)
    os.system(f"tar --zstd -xf {tmp_path / PACKED} -C {tmp_path / 'by_tar'}")
    assert read(tmp_path / "by_tar") == before


def test_what_cannot_be_read_stays_plain(tmp_path: Path) -> None:
    folder = tmp_path / "rollout"
    folder.mkdir()
    for name in ("a.txt", "closed.txt"):
        (folder / name).write_text(name)
    (folder / "closed.txt").chmod(0)
    os.chown(folder, 1000 if os.geteuid() == 0 else -1, -1)
    child = os.fork()
    if not child:
        try:
            os.chdir(folder)  # The folders above it are closed to others.
            if os.geteuid() == 0:  # Rights do not bind root.
                os.setuid(1000)
            pack(Path())
        finally:
            os._exit(0 if sorted(os.listdir()) == ["a.txt", "closed.txt"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert not is_packed(folder) and (folder / "a.txt").read_text() == "a.txt"


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
