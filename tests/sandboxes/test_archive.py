"""Archives that somebody made to get out of the folder they are unpacked in."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from sandboxes.archive import Room, pack, restore, unpack
from sandboxes.base import CopyRefusedError

MEGABYTE = 1024 * 1024


def archive(*members: tarfile.TarInfo, content: bytes = b"x") -> list[bytes]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member in members:
            if member.isreg():
                member.size = member.size or len(content)
                tar.addfile(member, io.BytesIO(content.ljust(member.size, b"\0")))
            else:
                tar.addfile(member)
    whole = buffer.getvalue()
    return [whole[at : at + 700] for at in range(0, len(whole), 700)]


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def test_names_and_kinds_that_lead_elsewhere_are_left_out(tmp_path: Path) -> None:
    chunks = archive(
        member("top", tarfile.DIRTYPE, mode=0o755),
        member("top/good", mode=0o4777),
        member("/absolute"),
        member("top/../../up"),
        member("top/link", tarfile.SYMTYPE, linkname="/etc"),
        member("top/link/passwd"),
        member("top/hard", tarfile.LNKTYPE, linkname="/etc/passwd"),
        member("top/disk", tarfile.BLKTYPE, devmajor=8),
        member("top/tty", tarfile.CHRTYPE, devmajor=5),
        member("top/pipe", tarfile.FIFOTYPE),
    )
    # Nothing makes the folder `link`, so the file below it has no place: the archive is refused.
    with pytest.raises(CopyRefusedError):
        unpack(chunks, tmp_path / "out", max_bytes=MEGABYTE)
    assert list(tmp_path.iterdir()) == []

    harmless = archive(
        member("top", tarfile.DIRTYPE),
        member("top/good", mode=0o4777),
        member("/absolute"),
        member("top/../../up"),
        member("top/link", tarfile.SYMTYPE, linkname="/etc"),
        member("top/disk", tarfile.BLKTYPE, devmajor=8),
    )
    unpack(harmless, tmp_path / "out", max_bytes=MEGABYTE)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "good"]
    assert (tmp_path / "out/good").stat().st_mode & 0o7777 == 0o755


def test_bombs_are_refused(tmp_path: Path) -> None:
    large = archive(member("f", size=3 * MEGABYTE))
    many = archive(member("d", tarfile.DIRTYPE), *(member(f"d/{n}") for n in range(600)))
    for bomb in (large, many):
        with pytest.raises(CopyRefusedError, match="2 MB"):
            unpack(bomb, tmp_path / "out", max_bytes=2 * MEGABYTE)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [lambda whole: b"", lambda whole: b"no archive" * 200, lambda whole: whole[:1500]],
    ids=["empty", "rubbish", "cut"],
)
def test_what_is_no_archive_is_refused(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    whole = b"".join(archive(member("f"), content=b"y" * 5000))
    with pytest.raises(CopyRefusedError):
        unpack([damage(whole)], tmp_path / "out", max_bytes=MEGABYTE)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_target_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(FileExistsError):
        unpack(archive(member("f")), tmp_path / "out", max_bytes=MEGABYTE)
    assert (tmp_path / "out").read_text() == "mine"


def test_what_comes_back_stays_where_it_belongs(tmp_path: Path) -> None:
    outside, target = tmp_path / "outside", tmp_path / "work"
    outside.mkdir()
    target.mkdir()
    (target / "before").write_text("x")
    chunks = archive(
        member("app", tarfile.DIRTYPE, mode=0o755),
        member("app/plain", mode=0o4640),
        member("app/../evil"),
        member("app/to", tarfile.SYMTYPE, linkname=str(outside)),
        member("app/to/evil"),
        member("app/device", tarfile.CHRTYPE, devmajor=1, devminor=3),
        member("app/twin", tarfile.LNKTYPE, linkname="app/plain"),
        member("app/stolen", tarfile.LNKTYPE, linkname="../../etc/passwd"),
        member("app/pipe", tarfile.FIFOTYPE),
        member("app/late", mtime=1e30),
        member("app/mine", tarfile.DIRTYPE, mode=0o755),
        member("app/mine/inner"),
        member("app/pipe"),
    )
    room = Room(MEGABYTE, MEGABYTE)
    restore(chunks, target, room, ["mine"])
    left = ["late", "mine", "pipe", "plain", "to", "twin"]
    assert sorted(path.name for path in target.iterdir()) == left
    assert list(outside.iterdir()) == [] == list((target / "mine").iterdir())
    assert not (tmp_path / "evil").exists() and (target / "to").is_symlink()
    assert (target / "plain").stat().st_mode & 0o7777 == 0o640
    assert (target / "twin").samefile(target / "plain") and (target / "pipe").is_fifo()
    assert room.used < 64 * 1024


@pytest.mark.parametrize("mode", [0o3777, 0o2775, 0o1777, 0o755, 0o500])
def test_a_folder_comes_back_with_the_bits_that_say_whose_is_what_is_in_it(
    mode: int, tmp_path: Path
) -> None:
    (tmp_path / "work").mkdir()
    chunks = archive(
        member("app", tarfile.DIRTYPE, mode=0o755),
        member("app/in", tarfile.DIRTYPE, mode=mode | 0o4000, mtime=7),
        member("app/in/file", mode=mode | 0o4000),
    )
    restore(chunks, tmp_path / "work", Room(MEGABYTE, MEGABYTE))
    found = (tmp_path / "work" / "in").stat()
    assert (found.st_mode & 0o7777, found.st_mtime) == (mode | 0o700, 7)
    assert (tmp_path / "work/in/file").stat().st_mode & 0o7777 == mode & 0o777 | 0o600


@pytest.mark.parametrize(("uid", "gid"), [(0, 0), (0, 5), (5, 0), (1234, 99), (None, None)])
def test_what_is_packed_belongs_to_whom_it_is_given(
    uid: int | None, gid: int | None, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_text("x")
    if os.geteuid() == 0:
        os.chown(tmp_path / "in" / "file", 77, 78)
    own = (tmp_path / "in" / "file").stat()
    made = io.BytesIO()
    pack(tmp_path / "in", "app", made, uid=uid, gid=gid)
    made.seek(0)
    with tarfile.open(fileobj=made) as tar:
        info = tar.getmember("app/file")
    wanted = (own.st_uid if uid is None else uid, own.st_gid if gid is None else gid)
    assert (info.uid, info.gid) == wanted and (info.uname, info.gname) == ("", "")


@pytest.mark.parametrize(
    ("size", "most", "fits"), [(0, 0, True), (1, 0, False), (5, 5, True), (6, 5, False)]
)
def test_what_is_packed_may_be_as_large_as_is_told(
    size: int, most: int, fits: bool, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"x" * size)
    with nullcontext() if fits else pytest.raises(CopyRefusedError, match="holds more than"):
        pack(tmp_path / "file", "app", io.BytesIO(), max_bytes=most)


@pytest.mark.parametrize(
    ("mode", "kept"), [(0o700, 0o755), (0o100, 0o755), (0o677, 0o644), (0o011, 0o644), (0, 0o644)]
)
def test_what_its_owner_can_execute_everybody_can(mode: int, kept: int, tmp_path: Path) -> None:
    unpack(archive(member("f", mode=mode)), tmp_path / "out", max_bytes=MEGABYTE)
    assert (tmp_path / "out").stat().st_mode & 0o7777 == kept


def test_only_what_is_in_a_folder_is_left_out_with_it(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    folders = ("mine", "mine/deep", "mine2", "other", "other/mine")
    made = [member(f"app/{name}", tarfile.DIRTYPE, mode=0o755) for name in folders]
    files = [member(f"app/{name}/file") for name in folders]
    chunks = archive(member("app", tarfile.DIRTYPE, mode=0o755), *made, *files)
    restore(chunks, tmp_path / "work", Room(MEGABYTE, MEGABYTE), ["mine"])
    found = [path.relative_to(tmp_path / "work") for path in (tmp_path / "work").rglob("*")]
    assert sorted(map(str, found)) == [
        "mine", "mine2", "mine2/file", "other", "other/file", "other/mine", "other/mine/file",
    ]  # fmt: skip


def test_holes_take_no_room_and_what_is_beyond_the_room_is_left_out(tmp_path: Path) -> None:
    chunks = archive(
        member("app", tarfile.DIRTYPE, mode=0o755),
        member("app/holes", size=8 * MEGABYTE),
        member("app/last"),
        content=b"",
    )
    room = Room(MEGABYTE, 20 * MEGABYTE)
    (tmp_path / "app").mkdir()
    restore(chunks, tmp_path / "app", room)
    assert (tmp_path / "app/holes").stat().st_size == 8 * MEGABYTE
    assert (tmp_path / "app/holes").stat().st_blocks * 512 < MEGABYTE > room.used
    restore(chunks, tmp_path / "app", Room(MEGABYTE, 4 * MEGABYTE))
    assert sorted(path.name for path in (tmp_path / "app").iterdir()) == []


def test_what_comes_back_as_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CopyRefusedError, match="cannot copy out"):
        restore([b"x" * 2000], tmp_path / "new", Room(MEGABYTE, MEGABYTE))


@pytest.mark.parametrize(
    ("sizes", "most", "fits"),
    [
        ((5000,), 5000, True), ((5000,), 4999, False),
        # Each entry counts as a block of the disk at least.
        ((1,), 4096, True), ((1,), 4095, False), ((1, 5000), 9096, True), ((1, 5000), 9095, False),
    ],
)  # fmt: skip
def test_what_is_unpacked_may_be_as_large_as_is_told(
    sizes: tuple[int, ...], most: int, fits: bool, tmp_path: Path
) -> None:
    files = [member(f"top/{number}", size=size) for number, size in enumerate(sizes)]
    chunks = archive(member("top", tarfile.DIRTYPE, mode=0o755), *files)
    with nullcontext() if fits else pytest.raises(CopyRefusedError, match="more than 0 MB"):
        unpack(chunks, tmp_path / "out", max_bytes=most + 4096)
    assert (tmp_path / "out").exists() is fits


@pytest.mark.parametrize(
    ("left", "stream", "there"),
    [
        # The folder itself counts as a block, and so does each file besides its content.
        (MEGABYTE, MEGABYTE, ["0", "1"]),
        (MEGABYTE, 4096 + 5000 + 4096, ["0", "1"]), (MEGABYTE, 4096 + 5000 + 4095, ["0"]),
        (MEGABYTE, 4096 + 4999, []), (4096 + 5000 + 4096, MEGABYTE, ["0", "1"]),
        (4096 + 5000 + 4095, MEGABYTE, ["0"]),
    ],
)  # fmt: skip
def test_what_comes_back_ends_where_the_room_does(
    left: int, stream: int, there: list[str], tmp_path: Path
) -> None:
    chunks = archive(
        member("app", tarfile.DIRTYPE, mode=0o755),
        member("app/0", size=5000),
        member("app/1", size=100),
        content=b"y" * 100,
    )
    target = tmp_path / "app"
    target.mkdir()
    room = Room(left, stream)
    restore(chunks, target, room)
    assert sorted(path.name for path in target.iterdir()) == there


@pytest.mark.parametrize("files", [1, 3])
def test_what_was_used_is_added_up(files: int, tmp_path: Path) -> None:
    size = 2 * MEGABYTE + 5
    made = [member(f"app/{number}") for number in range(files)]
    chunks = archive(member("app", tarfile.DIRTYPE, mode=0o755), *made, content=b"y" * size)
    (tmp_path / "app").mkdir()
    room = Room(9 * MEGABYTE, 9 * MEGABYTE, used=7)
    restore(chunks, tmp_path / "app", room)
    assert room.used == 7 + 4096 + files * (size + 4096)
    assert room.left == 9 * MEGABYTE - (room.used - 7)
