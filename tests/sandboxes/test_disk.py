"""The disk limit counts bytes where they are held: by names, by open files, on the whole disk."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandboxes.base import Limits, Mount, Sandbox, SandboxError
from sandboxes.disk import MEGABYTE, DiskGuard, unlinked_bytes

MakeSandbox = Callable[..., Sandbox]
HELD = """
import mmap, os, sys, tempfile, threading, time
how, folder = sys.argv[1:]
held = []
def hold():
    for n in range(12):
        name = f"{folder}/{n}"
        if how == "memfd":
            fd = os.memfd_create("x")
        else:
            if how == "folder":
                os.mkdir(name)
                name += "/file"
            fd = os.open(name, os.O_CREAT | os.O_RDWR)
        os.truncate(fd, 60 << 20) if how == "sparse" else os.write(fd, bytes(8 << 20))
        if how == "links":
            for copy in range(20):
                os.link(name, f"{name}.{copy}")
            os.close(fd)
            if n:
                os.system(f"rm {name}*")
            continue
        if how != "memfd":
            os.unlink(name)
        if how == "folder":
            os.rmdir(os.path.dirname(name))
        held.append(mmap.mmap(fd, 4096, offset=4096) if how == "mapped" else fd)
        if how == "mapped":
            os.close(fd)
        time.sleep(0.05)
if how == "thread":
    import ctypes
    work = threading.Thread(
        target=lambda: (ctypes.CDLL(None).unshare(0x400), hold(), time.sleep(60)))
    work.start()
else:
    hold()
print("held", flush=True)
time.sleep(3 if how in ("sparse", "links") else 60)
"""
OVER = ["fds", "folder", "mapped", "thread"]


@pytest.mark.parametrize("how", [*OVER, "memfd", "sparse", "links"])
@pytest.mark.parametrize("where", ["mount", "layer"])
@pytest.mark.engine
def test_what_a_container_holds_counts(
    how: str, where: str, docker: MakeSandbox, writable: Path
) -> None:
    if where == "layer" and how in ("memfd", "sparse", "links"):
        pytest.skip("the same on both")
    if how == "mapped" and os.getuid() != 0:
        pytest.skip("only root can examine mappings")
    sandbox = docker(mounts=(Mount(str(writable), "/work", False),), limits=Limits(disk_mb=64))
    folder = "/work" if where == "mount" else "/home/agent"
    result = sandbox.run(["python3", "-c", HELD, how, folder], deadline_s=40)
    assert result.limit == (None if how in ("sparse", "links") else "disk"), result


@pytest.mark.parametrize(("how", "over"), [*((how, True) for how in OVER), ("sparse", False)])
@pytest.mark.slow
def test_what_a_local_process_holds_counts(
    how: str, over: bool, local: MakeSandbox, writable: Path
) -> None:
    if how == "mapped" and os.getuid() != 0:
        pytest.skip("only root can examine mappings")
    sandbox = local(mounts=(Mount(str(writable), "/work", False),), limits=Limits(disk_mb=64))
    result = sandbox.run(["python3", "-c", HELD, how, str(writable)], deadline_s=40)
    assert result.limit == ("disk" if over else None), result


def test_files_with_a_name_are_not_counted_as_held(tmp_path: Path) -> None:
    with (tmp_path / "named").open("wb") as named, (tmp_path / "gone").open("wb") as gone:
        named.write(bytes(4 * MEGABYTE))
        gone.write(bytes(2 * MEGABYTE))
        named.flush()
        gone.flush()
        os.unlink(gone.name)
        again = os.dup(gone.fileno())
        found = unlinked_bytes([os.getpid()], time.monotonic() + 10)[os.fstat(again).st_dev]
        os.close(again)
    assert 2 * MEGABYTE <= found < 4 * MEGABYTE


def test_looking_ends_in_time(tmp_path: Path) -> None:
    began = time.monotonic()
    unlinked_bytes([os.getpid()] * 10_000_000, began + 0.2)
    assert time.monotonic() - began < 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MB."""
    if os.getuid() != 0:
        pytest.skip("only root can mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_was_nearly_full_before_is_not_blamed_on_a_command(small_disk: Path) -> None:
    (small_disk / "old").write_bytes(bytes(62 * MEGABYTE))
    guard = DiskGuard([small_disk], 500)
    assert not guard.exceeded()
    (small_disk / "new").write_bytes(bytes(MEGABYTE))
    with pytest.raises(SandboxError, match=r"disk of .* is nearly full: 1 MB are left, of 2 MB"):
        guard.exceeded()


@pytest.mark.slow
def test_a_disk_that_becomes_nearly_full_ends_the_command(
    make: MakeSandbox, small_disk: Path
) -> None:
    small_disk.chmod(0o777)
    mounts = (Mount(str(small_disk), "/work", False),)
    sandbox = make(mounts=mounts, limits=Limits(disk_mb=500))
    fill = f"cd {sandbox.path('/work')}; head -c 65000000 /dev/zero > x; sleep 30"
    with pytest.raises(SandboxError, match="is nearly full"):
        sandbox.run(["bash", "-c", fill], deadline_s=60)
