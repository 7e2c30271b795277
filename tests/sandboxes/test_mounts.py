"""Files of the host in containers: who owns them, and how the engine is told of them."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from sandboxes import mounts
from sandboxes.base import Mount, SandboxError
from sandboxes.mounts import agent_ids, engine_mount, has_foreign, is_bind, prepare_writable


@pytest.mark.parametrize(
    ("uid", "gid", "ids"), [(0, 0, (1000, 1000)), (0, 7, (1000, 1000)), (1, 0, (1, 0))]
)
def test_agents_are_this_user_or_an_ordinary_one(
    uid: int, gid: int, ids: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getuid", lambda: uid)
    monkeypatch.setattr("os.getgid", lambda: gid)
    assert agent_ids() == ids


@pytest.mark.parametrize(
    ("mount", "told"),
    [
        (Mount("/host", "/in"), ("/host", "bind", True, {})),
        (Mount("/host", "/in", read_only=False), ("/host", "bind", False, {})),
        (Mount("volume", "/in"), ("volume", "volume", True, {"NoCopy": True})),
        (Mount("", "/in", read_only=False), (None, "volume", False, {"NoCopy": True})),
    ],
)
def test_a_mount_as_the_engine_is_told_it(mount: Mount, told: tuple[object, ...]) -> None:
    made = engine_mount(mount)
    options = made.get("VolumeOptions", {})
    assert (made["Source"], made["Type"], made["ReadOnly"], options) == told
    assert made["Target"] == "/in" and is_bind(mount) is (made["Type"] == "bind")


@pytest.mark.parametrize(
    ("mode", "folder", "after"),
    [
        (0o644, False, 0o644), (0o044, False, 0o644), (0o400, False, 0o600),
        (0o555, False, 0o755), (0o070, True, 0o770), (0o500, True, 0o700),
        (0o2570, True, 0o2770), (0o1777, True, 0o1777),
    ],
)  # fmt: skip
def test_of_what_is_given_only_the_owners_bits_are_set(
    mode: int, folder: bool, after: int, tmp_path: Path
) -> None:
    for at in (tmp_path / "top", tmp_path / "folder" / "inner"):
        at.parent.mkdir(exist_ok=True)
        at.mkdir() if folder else at.write_text("x")
        at.chmod(mode)
    prepare_writable(tmp_path / "top", os.getuid(), os.getgid())
    prepare_writable(tmp_path / "folder", os.getuid(), os.getgid())
    for at in (tmp_path / "top", tmp_path / "folder" / "inner"):
        assert at.stat().st_mode & 0o7777 == after


def test_links_are_given_and_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str, int, int]] = []
    monkeypatch.setattr("os.getuid", lambda: 0)
    monkeypatch.setattr("os.lchown", lambda path, *ids: given.append((Path(path).name, *ids)))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    (outside / "file").chmod(0o444)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "to").symlink_to(outside / "file")
    (tmp_path / "in" / "all").symlink_to(outside)
    prepare_writable(tmp_path / "in", 5, 6)
    assert sorted(given) == [("all", 5, 6), ("deep", 5, 6), ("in", 5, 6), ("to", 5, 6)]
    given.clear()
    prepare_writable(tmp_path / "in" / "all", 5, 6)
    assert given == [("all", 5, 6)]
    assert (outside / "file").stat().st_mode & 0o777 == 0o444


def test_an_ordinary_user_gives_nothing_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getuid", lambda: 5)
    monkeypatch.setattr("os.lchown", lambda *_: pytest.fail("given away"))
    prepare_writable(tmp_path, 5, 6)


def test_what_cannot_be_given_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "not yours")

    monkeypatch.setattr("os.getuid", lambda: 0)
    monkeypatch.setattr("os.lchown", refuse)
    with pytest.raises(SandboxError, match="cannot be given to a sandbox"):
        prepare_writable(tmp_path, 5, 6)


@pytest.mark.parametrize(
    ("owners", "foreign"),
    [((), False), ((5, 5), False), ((5, 6), True), ((6, 5), True), ((0,), True)],
)
def test_one_file_of_another_user_is_enough(
    owners: tuple[int, ...], foreign: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def entry(uid: int) -> SimpleNamespace:
        return SimpleNamespace(stat=lambda follow_symlinks: SimpleNamespace(st_uid=uid))

    monkeypatch.setattr("os.getuid", lambda: 5)
    monkeypatch.setattr(mounts, "entries_below", lambda path: map(entry, owners))
    assert has_foreign("/somewhere") is foreign
