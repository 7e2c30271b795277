"""The disk limit counts bytes where they are held: by names, by open files, on the whole disk."""

from __future__ import annotations

import os
import subprocess
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest

from sandboxes.base import Limits, Mount, Sandbox, SandboxError
from sandboxes.disk import MEGABYTE, DiskGuard, _open_up, _Space, _space, unlinked_bytes
from sandboxes.docker import DockerEngine

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
    assert time.monotonic() - began < 20, "to look at all takes minutes"


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
    make_here: MakeSandbox, small_disk: Path
) -> None:
    small_disk.chmod(0o777)
    mounts = (Mount(str(small_disk), "/work", False),)
    sandbox = make_here(mounts=mounts, limits=Limits(disk_mb=500))
    fill = f"cd {sandbox.path('/work')}; head -c 65000000 /dev/zero > x; sleep 30"
    with pytest.raises(SandboxError, match="is nearly full"):
        sandbox.run(["bash", "-c", fill], deadline_s=60)


def ordinary(act: Callable[[], object], uid: int = 1000) -> None:
    """Do something as an ordinary user, whom rights of files bind."""
    if os.getuid() != 0:
        act()
        return
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            act()
            os._exit(0)
        finally:
            traceback.print_exc()
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def owned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that an ordinary user owns and can reach."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "owned"
        folder.mkdir()
        if os.getuid() == 0:
            os.chown(folder, 1000, 1000)
        yield folder


@pytest.mark.parametrize("mode", [0o000, 0o400, 0o100, 0o300])
def test_what_is_in_closed_folders_counts(owned: Path, mode: int) -> None:
    def act() -> None:
        place = owned / "a" / "b"
        place.mkdir(parents=True)
        for number in range(5):
            (place / str(number)).write_bytes(bytes(MEGABYTE))
        place.chmod(mode)
        (owned / "a").chmod(mode)
        assert DiskGuard([owned], 4).mounts_exceeded()
        assert not DiskGuard([owned], 6).mounts_exceeded()

    ordinary(act)


def test_a_closed_workspace_is_opened(owned: Path) -> None:
    def act() -> None:
        (owned / "big").write_bytes(bytes(2 * MEGABYTE))
        owned.chmod(0)
        assert DiskGuard([owned], 1).mounts_exceeded()

    ordinary(act)


def test_nothing_is_opened_through_links(owned: Path) -> None:
    def act() -> None:
        other, place = owned / "other", owned / "root" / "a"
        (other / "closed").mkdir(parents=True)
        (other / "closed").chmod(0)
        place.parent.mkdir()
        place.symlink_to(other)
        _open_up(str(place / "closed"))
        assert (other / "closed").stat().st_mode & 0o777 == 0

    ordinary(act)


def test_a_folder_that_is_closed_again_and_again_is_an_evasion(
    owned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act() -> None:
        (owned / "closed").mkdir(mode=0)
        monkeypatch.setattr("sandboxes.disk._open_up", lambda folder: None)
        assert DiskGuard([owned], 1).mounts_exceeded()

    ordinary(act)


class Clock:
    """The monotonic clock, which waits for nobody."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def asked(guard: DiskGuard, clock: Clock, seconds: float, each: Callable[[], None]) -> list[bool]:
    """What a guard says in that time, whenever it wants to be asked."""
    end, said = clock.now + seconds, []
    while clock.now < end:
        clock.now = max(clock.now, guard.due)
        each()
        said.append(guard.exceeded())
    return said


def test_looks_become_rare_while_nothing_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, looks = Clock(monkeypatch), []
    monkeypatch.setattr("sandboxes.disk._space", lambda folder: _Space(1 << 40, 1 << 39))
    size = 0

    def elsewhere(since: float) -> int:
        looks.append(clock.now - 1000)
        return size

    guard = DiskGuard([tmp_path], 1000, elsewhere)
    asked(guard, clock, 100, lambda: None)
    # Guards that look rarely look at the same times, which are multiples of 15 s.
    assert [b - a for a, b in pairwise([0.0, *looks])] == [1, 2, 4, 8, 5, 15, 15, 15, 15, 15]
    size, looks[:] = 500 * MEGABYTE, []
    asked(guard, clock, 20, lambda: None)
    assert [b - a for a, b in pairwise(looks)][:3] == [1, 2, 4]


@pytest.mark.slow
def test_looks_of_an_hour_are_few_however_many_files_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2000):
        (tmp_path / str(number)).touch()
    clock, looks = Clock(monkeypatch), []
    guard = DiskGuard([tmp_path], 1000, lambda since: looks.append(since) or 0)  # type: ignore[func-returns-value]
    assert not any(asked(guard, clock, 3600, lambda: None))
    assert len(looks) <= 3600 / 15 + 5


def test_a_fast_writer_is_stopped_while_looks_are_rare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, held, free = Clock(monkeypatch), [0], [1 << 39]
    monkeypatch.setattr("sandboxes.disk._space", lambda folder: _Space(1 << 40, free[0]))
    guard = DiskGuard([tmp_path], 1000, lambda since: held[0])
    assert not any(asked(guard, clock, 60, lambda: None))

    def write() -> None:  # 2 GB a second.
        held[0] += 512 * MEGABYTE
        free[0] -= 512 * MEGABYTE

    said = asked(guard, clock, 5, write)
    assert said.index(True) == 1  # The second time, when half a second has passed.


def test_others_that_fill_the_disk_do_not_have_everything_added_up_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, looks, free = Clock(monkeypatch), [], [1 << 42]
    monkeypatch.setattr("sandboxes.disk._space", lambda folder: _Space(1 << 43, free[0]))

    def elsewhere(since: float) -> int:
        looks.append(clock.now)
        return 0

    def write() -> None:  # 0.4 GB a second.
        free[0] -= 100 * MEGABYTE

    guard = DiskGuard([tmp_path], 1000, elsewhere)
    assert not any(asked(guard, clock, 60, write))
    assert len(looks) <= 60 / 2.5 + 5


@pytest.mark.parametrize(
    ("named", "mounted", "elsewhere", "rest", "over"),
    [
        # What can be written has the limit for itself, with what was removed there.
        (100, 0, 0, 0, False), (101, 0, 0, 0, True), (60, 40, 0, 0, False), (60, 41, 0, 0, True),
        (0, 101, 0, 0, True),
        # And so has all that is elsewhere.
        (0, 0, 100, 0, False), (0, 0, 101, 0, True), (0, 0, 60, 40, False), (0, 0, 60, 41, True),
        (0, 0, 0, 101, True), (60, 0, 60, 0, False), (60, 40, 60, 40, False), (0, 60, 60, 0, False),
    ],
)  # fmt: skip
def test_folders_and_the_rest_have_a_limit_each(
    named: int,
    mounted: int,
    elsewhere: int,
    rest: int,
    over: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, device = Clock(monkeypatch), tmp_path.stat().st_dev
    removed = Counter({device: mounted * MEGABYTE, device + 1: rest * MEGABYTE})
    monkeypatch.setattr("sandboxes.disk.unlinked_bytes", lambda processes, until: removed)
    monkeypatch.setattr("sandboxes.disk._bytes_under", lambda *_: named * MEGABYTE)
    guard = DiskGuard([tmp_path], 100, lambda since: elsewhere * MEGABYTE)
    assert guard.mounts_exceeded() is (named > 100)
    clock.now += 1.0
    assert guard.exceeded() is over


@pytest.mark.parametrize(
    ("lost", "urgent"),
    [((0, 0), False), ((99, 0), False), ((100, 0), True), ((60, 40), True), ((100, -100), True),
     ((-100, 99), False), ((-500, 100), True)],
)  # fmt: skip
def test_what_one_disk_gains_hides_no_loss_of_another(
    lost: tuple[int, int], urgent: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, start = Clock(monkeypatch), 1 << 40
    free = {"a": start, "b": start}
    monkeypatch.setattr("sandboxes.disk._space", lambda at: _Space(1 << 41, free[at.name]))
    disks = {1: (Path("a"), start), 2: (Path("b"), start)}
    monkeypatch.setattr("sandboxes.disk._by_device", lambda folders: disks)
    guard = DiskGuard([], 100, lambda since: 101 * MEGABYTE)
    free |= {"a": start - lost[0] * MEGABYTE, "b": start - lost[1] * MEGABYTE}
    clock.now += 0.25
    assert guard.exceeded() is urgent


GB = 1024 * MEGABYTE


@pytest.mark.parametrize(
    ("size", "before", "free", "full"),
    [
        # Nearly full is a twentieth of the disk, and not more than 2 GB.
        (1000 * GB, 500 * GB, 2 * GB, False), (1000 * GB, 500 * GB, 2 * GB - 1, True),
        (20 * GB, 10 * GB, GB, False), (20 * GB, 10 * GB, GB - 1, True),
        # One that was so before has to fall by a tenth.
        (1000 * GB, 1000 * MEGABYTE, 900 * MEGABYTE, False),
        (1000 * GB, 1000 * MEGABYTE, 900 * MEGABYTE - 1, True), (1000 * GB, 0, 0, False),
    ],
)  # fmt: skip
def test_when_a_disk_is_nearly_full(
    size: int, before: int, free: int, full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    now = [before]
    monkeypatch.setattr("sandboxes.disk._space", lambda folder: _Space(size, now[0]))
    guard = DiskGuard([tmp_path], 10**9)
    now[0] = free
    with nullcontext() if not full else pytest.raises(SandboxError, match="is nearly full"):
        assert guard.exceeded() is False


def test_the_reserve_of_root_is_no_free_space(monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(f_blocks=100, f_frsize=512, f_bsize=4096, f_bfree=50, f_bavail=30)
    monkeypatch.setattr("os.statvfs", lambda folder: found)
    assert _space(Path("/")) == _Space(100 * 512, 30 * 512)


def test_an_engine_whose_disk_is_not_here_is_asked_every_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, looks = Clock(monkeypatch), []
    far = [tmp_path / "not-here"]
    guard = DiskGuard([tmp_path], 1000, lambda since: looks.append(clock.now) or 0, disks=far)  # type: ignore[func-returns-value]
    asked(guard, clock, 30, lambda: None)
    assert len(looks) == 30


@pytest.mark.engine
@pytest.mark.parametrize("where", ["mount", "layer"])
def test_a_container_that_begins_to_write_late_and_fast_is_stopped(
    where: str, docker: MakeSandbox, writable: Path
) -> None:
    mounts = (Mount(str(writable), "/work", False),)
    sandbox = docker(mounts=mounts, limits=Limits(disk_mb=64))
    folder = "/work" if where == "mount" else "/home/agent"
    # After 8 s the guard would next look after 15.
    write = f"cd {folder}; for i in $(seq 150); do head -c 20M /dev/zero > $i; done; sleep 30"
    began = time.monotonic()
    result = sandbox.run(["bash", "-c", f"sleep 8; {write}"], deadline_s=60)
    assert result.limit == "disk" and time.monotonic() - began < 14.5


@pytest.mark.engine
def test_output_that_is_closed_does_not_end_the_watch(
    docker: MakeSandbox, single: MakeSandbox, writable: Path
) -> None:
    for make in (docker, single):
        mounts = (Mount(str(writable), "/work", False),)
        sandbox = make(mounts=mounts, limits=Limits(disk_mb=20))
        script = "exec >&- 2>&-; cd /work; for i in $(seq 9); do head -c 9M /dev/zero > $i; done"
        result = sandbox.run(["bash", "-c", f"{script}; sleep 50"], deadline_s=60)
        assert (result.limit, result.timed_out) == ("disk", False)


@pytest.mark.engine
def test_the_sizes_of_all_sandboxes_are_asked_for_at_once(
    engine: DockerEngine, docker: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = [docker() for _ in range(3)]
    for number, box in enumerate(boxes):
        script = f"head -c {number + 1}M /dev/zero > /home/agent/x"
        assert box.run(["bash", "-c", script], deadline_s=20).exit_code == 0
    calls, ask = [], engine.api.containers
    monkeypatch.setattr(
        engine.api, "containers", lambda **given: calls.append(given) or ask(**given)
    )
    now = time.monotonic()
    ids = [box._container for box in boxes]  # type: ignore[attr-defined]
    sizes = [engine.layer_bytes(container, now) for container in ids]
    assert [size // MEGABYTE for size in sizes] == [1, 2, 3] and len(calls) == 1
    assert engine.layer_bytes(ids[0], time.monotonic()) == sizes[0] and len(calls) == 2


def test_guards_that_look_rarely_share_one_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, asked_at = Clock(monkeypatch), [0.0]
    monkeypatch.setattr("sandboxes.disk._space", lambda folder: _Space(1 << 40, 1 << 39))
    times = []

    def elsewhere(since: float) -> int:
        if asked_at[0] < since:
            asked_at[0] = clock.now
            times.append(clock.now)
        return 0

    guards = []
    for _ in range(20):
        guards.append(DiskGuard([tmp_path], 1000, elsewhere))
        clock.now += 0.7
    clock.now += 40
    for guard in guards:
        asked(guard, clock, 0, lambda: None)
    times.clear()
    end = clock.now + 150
    while clock.now < end:
        clock.now += 0.05
        for guard in guards:
            if clock.now >= guard.due:
                guard.exceeded()
    late = [at for at in times if at > end - 75]
    assert 5 <= len(late) <= 6


@pytest.mark.engine
def test_an_engine_that_fails_is_waited_for_once_by_all(
    engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fail(**given: object) -> object:
        calls.append(given)
        time.sleep(0.3)
        raise ConnectionError("gone")

    monkeypatch.setattr(engine.api, "containers", fail)
    since = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        ends = [pool.submit(engine.layer_bytes, "x", since) for _ in range(8)]
        assert all(isinstance(end.exception(), SandboxError) for end in ends)
    assert len(calls) == 1


@pytest.mark.engine
@pytest.mark.parametrize(
    ("driver", "backing", "limits"),
    [
        ("overlay2", "xfs", True),
        ("overlay2", "extfs", False),
        ("zfs", "zfs", True),
        ("btrfs", "", False),  # Its quota counts what is in the image too.
    ],
)
def test_nobody_watches_what_the_storage_driver_limits(
    driver: str, backing: str, limits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DockerEngine() as engine:
        calls = []

        def count(**given: object) -> list[dict[str, object]]:
            calls.append(given)
            return [{"Id": "x", "SizeRw": 5}]

        with monkeypatch.context() as patched:
            patched.setattr(engine.api, "containers", count)
            status = [["Backing Filesystem", backing]]
            patched.setitem(engine.__dict__, "info", {"Driver": driver, "DriverStatus": status})
            assert engine.layer_bytes("x", time.monotonic()) == (0 if limits else 5)
            assert len(calls) == (0 if limits else 1)
