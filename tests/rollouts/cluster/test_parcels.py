"""Folders and objects travel whole, once, and nothing leads out of a folder."""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import zstandard

from skillopt.rollouts.cluster import parcels
from skillopt.rollouts.cluster.parcels import (
    ParcelError,
    Receiver,
    Sender,
    emptied,
    packed,
    unpacked,
)


def tree(root: Path) -> dict[str, tuple[str, int, bytes]]:
    found = {}
    for path in sorted(root.rglob("*")):
        kind = "link" if path.is_symlink() else "folder" if path.is_dir() else "file"
        data = os.fsencode(path.readlink()) if kind == "link" else b""
        data = path.read_bytes() if kind == "file" else data
        mode = 0 if kind == "link" else path.stat().st_mode & 0o777
        found[str(path.relative_to(root))] = (kind, mode, data)
    return found


def test_a_folder_comes_back_as_it_was(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "empty").mkdir()
    (source / "deep" / "er" / "ü\udcff").write_bytes(b"\0\xff")
    (source / "run.sh").write_text("echo")
    (source / "run.sh").chmod(0o755)
    (source / "away").symlink_to("/etc/passwd")
    os.mkfifo(source / "pipe")
    (source / "under_way.json").write_text("{}")
    os.link(source / "run.sh", source / "again.sh")
    target.mkdir()
    unpacked(packed(source, leave=frozenset({"under_way.json"})), target)
    (source / "pipe").unlink()
    (source / "under_way.json").unlink()
    assert tree(target) == tree(source)
    assert (target / "run.sh").stat().st_mtime == (source / "run.sh").stat().st_mtime


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return zstandard.ZstdCompressor().compress(data.getvalue())


def link(name: str, to: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, to
    return info


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out"])
def test_names_that_lead_out_are_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with pytest.raises(OSError, match="not a name"):
        unpacked(archive((tarfile.TarInfo(name), b"x")), folder)
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    folder, outside = tmp_path / "in", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    through = archive((link("a", str(outside)), b""), (tarfile.TarInfo("a/b"), b"x"))
    with pytest.raises(OSError, match="below a link"):
        unpacked(through, folder)
    over = archive((link("c", str(outside / "d")), b""), (tarfile.TarInfo("c"), b"x"))
    with pytest.raises(OSError):
        unpacked(over, folder)
    assert list(outside.iterdir()) == []


def test_the_mode_of_a_links_target_is_left_alone(tmp_path: Path) -> None:
    folder, outside = tmp_path / "in", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir(mode=0o700)
    again = tarfile.TarInfo("a")
    again.type, again.mode = tarfile.DIRTYPE, 0o777
    with pytest.raises(OSError, match="a link already"):
        unpacked(archive((link("a", str(outside)), b""), (again, b"")), folder)
    assert outside.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("data", [b"", b"no archive", packed(Path(__file__), "x")[:40]])
def test_damaged_archives_are_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ParcelError, match="damaged"):
        unpacked(data, tmp_path)


def test_large_folders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "zeros").write_bytes(bytes(1000))
    data = packed(tmp_path / "a")
    monkeypatch.setattr(parcels, "MAX_BYTES", 999)
    with pytest.raises(ParcelError, match="more than"):
        packed(tmp_path / "a")
    with pytest.raises(ParcelError, match="more than"):
        unpacked(data, tmp_path / "b")


def test_a_folder_is_emptied_but_for_the_drivers_own(tmp_path: Path) -> None:
    (tmp_path / "x" / "y").mkdir(parents=True)
    (tmp_path / "z").symlink_to("/")
    (tmp_path / "kept").write_text("")
    emptied(tmp_path, leave=frozenset({"kept"}))
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@dataclass(frozen=True)
class Thing:
    folder: Path
    file: Path
    missing: Path
    make: partial[str]


def read(path: Path) -> str:
    return (path / "word").read_text()


def test_paths_in_objects_stand_for_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "my-skill"
    folder.mkdir()
    (folder / "word").write_text("hello")
    (tmp_path / "f.txt").write_text("file")
    sent = Thing(folder, tmp_path / "f.txt", Path("/no/such"), partial(read, folder))
    sender, receiver = Sender(), Receiver(tmp_path / "node")
    data, digests = sender.dumps(sent)
    assert str(tmp_path).encode() not in data
    assert len(digests) == 2
    for digest in digests:
        receiver.put(sender.parcel(digest))
    found = receiver.loads(data)
    assert found.folder.name == "my-skill" and found.folder != folder
    assert found.file.read_text() == "file" and found.file.name == "f.txt"
    assert found.missing == Path("/no/such") and found.make() == "hello"
    assert sender.dumps(sent)[1] == digests, "what is there is read once"


def test_equal_content_of_other_names_is_not_mixed_up(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "word").write_text("same")
        os.utime(tmp_path / name / "word", (0, 0))
    assert len(Sender().dumps((tmp_path / "a", tmp_path / "b"))[1]) == 2


def test_what_cannot_travel_is_named() -> None:
    import threading

    with pytest.raises(ParcelError, match="lock"):
        Sender().dumps(threading.Lock())


def test_no_more_entries_than_the_most_are_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = archive(*((tarfile.TarInfo(name), b"") for name in "abc"))
    monkeypatch.setattr(parcels, "MAX_ENTRIES", 3)
    unpacked(data, tmp_path)
    (tmp_path / "again").mkdir()
    monkeypatch.setattr(parcels, "MAX_ENTRIES", 2)
    with pytest.raises(ParcelError, match="more than"):
        unpacked(data, tmp_path / "again")
    assert parcels.MAX_BYTES == 4 * 2**30


def test_exactly_the_most_bytes_travel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for name in "xy":
        (tmp_path / "a" / name).write_bytes(bytes(500))
    (tmp_path / "a" / "link").symlink_to("x")
    monkeypatch.setattr(parcels, "MAX_BYTES", 1000)
    unpacked(packed(tmp_path / "a"), tmp_path / "b")
    assert (tmp_path / "b" / "y").stat().st_size == 500


def test_what_comes_back_can_be_read_and_removed_by_its_owner(tmp_path: Path) -> None:
    folder, file = tarfile.TarInfo("d"), tarfile.TarInfo("d/e/f")
    folder.type, folder.mode, file.mode, file.mtime = tarfile.DIRTYPE, 0o4055, 0o4011, 77
    unpacked(archive((folder, b""), (folder, b""), (file, b"x")), tmp_path)
    assert (tmp_path / "d").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "d" / "e" / "f").stat().st_mode & 0o7777 == 0o611
    assert (tmp_path / "d" / "e" / "f").stat().st_mtime == 77


def test_links_to_what_is_special_and_folders_with_the_name_of_what_is_left_travel(
    tmp_path: Path,
) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    (source / "deep" / "left").mkdir(parents=True)
    (source / "left").mkdir()
    (source / "left" / "x").write_text("")
    os.mkfifo(source / "pipe")
    (source / "to-pipe").symlink_to("pipe")
    (source / "to-nowhere").symlink_to("nowhere")
    (source / "to-deep").symlink_to("deep")
    target.mkdir()
    unpacked(packed(source, leave=frozenset({"left"})), target)
    assert set(tree(target)) == {"deep", "deep/left", "to-pipe", "to-nowhere", "to-deep"}


def test_the_driver_keeps_the_last_parcels_that_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        (tmp_path / name).write_text(name)
    sender, read = Sender(), list[str]()
    digests = [next(iter(sender.dumps(tmp_path / name)[1])) for name in "abc"]

    def counted(source: Path, name: str) -> bytes:
        read.append(name)
        return packed(source, name)

    monkeypatch.setattr(parcels, "packed", counted)
    size = len(sender.parcel(digests[0]).data)
    monkeypatch.setattr(parcels, "KEPT_BYTES", 5 * size // 2)  # Two fit, of nearly the same size.
    assert not read
    sender.parcel(digests[0])  # The second one has been used least lately.
    assert not read
    sender.parcel(digests[2])
    sender.parcel(digests[0])
    assert not read
    sender.parcel(digests[1])
    assert read == ["b"]
    monkeypatch.setattr(parcels, "KEPT_BYTES", 1)
    assert sender.parcel(digests[1]).name == "b", "one is always kept"
    (tmp_path / "a").write_text("other")
    with pytest.raises(ParcelError, match="a has changed while the run is under way"):
        sender.parcel(digests[0])


def test_a_parcel_is_unpacked_once_and_in_place_of_what_was_left(tmp_path: Path) -> None:
    (tmp_path / "word").write_text("hello")
    sender, receiver = Sender(), Receiver(tmp_path / "node")
    data, digests = sender.dumps(tmp_path / "word")
    (digest,) = digests
    (tmp_path / "node" / digest / "left").mkdir(parents=True)
    receiver.put(sender.parcel(digest))
    place = receiver.loads(data)
    assert place == tmp_path / "node" / digest / "word" / "word"
    assert not (tmp_path / "node" / digest / "left").exists()
    place.write_text("used")
    receiver.put(sender.parcel(digest))
    assert place.read_text() == "used"


def test_the_root_of_the_machine_does_not_travel() -> None:
    data, digests = Sender().dumps((Path("/"), Path("relative/missing")))
    assert not digests
    assert Receiver(Path("/nowhere")).loads(data) == (Path("/"), Path("relative/missing"))


def test_an_empty_folder_travels_and_so_does_what_lies_deep(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    sender, receiver = Sender(), Receiver(tmp_path / "node")
    data, (digest,) = sender.dumps(tmp_path / "empty")
    receiver.put(sender.parcel(digest))
    found = receiver.loads(data)
    assert found.is_dir() and found.name == "empty" and not list(found.iterdir())
    unpacked(archive((tarfile.TarInfo("d/e/f/g"), b"x")), tmp_path)
    assert (tmp_path / "d" / "e" / "f" / "g").read_bytes() == b"x"


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_what_is_special_is_not_made(kind: bytes, tmp_path: Path) -> None:
    special, file = tarfile.TarInfo("special"), tarfile.TarInfo("z")
    special.type = kind
    unpacked(archive((special, b""), (file, b"x")), tmp_path)
    assert set(tree(tmp_path)) == {"z"}


def test_a_second_name_of_a_file_is_none_of_ours(tmp_path: Path) -> None:
    second = tarfile.TarInfo("second")
    second.type, second.linkname = tarfile.LNKTYPE, "first"
    with pytest.raises(ParcelError, match="an archive is damaged"):
        unpacked(archive((tarfile.TarInfo("first"), b"x"), (second, b"")), tmp_path)
    assert set(tree(tmp_path)) == {"first"}
