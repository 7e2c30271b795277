"""Folders of this machine in containers: given before, watched meanwhile, and opened after."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sandboxes import files
from sandboxes.base import Limits, Mount, SandboxError, SandboxSpec
from sandboxes.files import OTHER_USER, Mounted


class Engine:
    """Remembers what it was asked for."""

    patience_s = 3.0
    closed = False
    info = {"DockerRootDir": "/"}  # noqa: RUF012  # Nobody changes it.

    def __init__(self, fails: str = "") -> None:
        self.api = self
        self.did: list[str] = []
        self.launched: list[tuple[SandboxSpec, dict[str, Any]]] = []
        self._fails = fails

    def errors(self, doing: str) -> Any:
        return nullcontext()

    def launch(self, spec: SandboxSpec, **options: Any) -> str:
        self.launched.append((spec, options))
        return "opener"

    def start(self, container: str) -> None:
        self._do("start")

    def wait(self, container: str, timeout: float) -> None:
        assert timeout == self.patience_s
        self._do("wait")

    def remove(self, container: str) -> None:
        self._do("remove")

    def layer_bytes(self, container: str, since: float) -> int:
        return 1234

    def _do(self, what: str) -> None:
        self.did.append(what)
        if what == self._fails:
            raise SandboxError(f"{what} fails")


def mounted(engine: Any, *mounts: Mount, **fields: Any) -> Any:
    return Mounted(engine).of(SandboxSpec("i", mounts=mounts, network="bridge", **fields))


@pytest.mark.parametrize(
    ("uid", "shared", "root", "foreign", "writable", "closed", "opener"),
    [
        # What root of a container made is given to this user, whatever it is.
        (5, False, True, False, True, False, "chown"),
        (5, True, True, True, True, False, "chown"),
        # What the second user made is opened to all by itself.
        (5, True, False, True, True, False, "chmod"),
        # Nothing is to be done if it has made nothing, or if nobody but the agent has worked.
        (5, True, False, False, True, False, None),
        (5, False, False, True, True, False, None),
        # Root needs nobody to open anything.
        (0, True, True, True, True, False, None),
        (0, True, False, True, True, False, None),
        (5, True, True, True, False, False, None),
        (5, True, True, True, True, True, None),
    ],
)
def test_what_another_user_has_left_is_opened(
    uid: int,
    shared: bool,
    root: bool,
    foreign: bool,
    writable: bool,
    closed: bool,
    opener: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.getuid", lambda: uid)
    monkeypatch.setattr("os.getgid", lambda: 6)
    monkeypatch.setattr(files, "has_foreign", lambda path: foreign and path == "/b")
    engine: Any = Engine()
    engine.closed = closed
    mounts = [Mount("/r", "/in/r"), Mount("volume", "/in/v", False)]
    given = [Mount("/a", "/in/a", False), Mount("/b", "/in/b", False)] if writable else []
    mounted(engine, *mounts, *given, root=root).release(shared)
    if opener is None:
        assert engine.launched == []
        return
    ((spec, options),) = engine.launched
    assert spec.mounts == tuple(given) and spec.network == "none"
    command = {
        "chown": ("chown", "-hR", "5:6", "--", "/in/a", "/in/b"),
        "chmod": ("chmod", "-R", "a+rwX", "--", "/in/a", "/in/b"),
    }[opener]
    assert options["command"] == command
    assert options["user"] == ("0:0" if opener == "chown" else OTHER_USER)
    assert engine.did == ["start", "wait", "remove"]


@pytest.mark.parametrize("fails", ["start", "wait"])
def test_the_opener_is_removed_whatever_happens(
    fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getuid", lambda: 5)
    engine: Any = Engine(fails)
    with pytest.raises(SandboxError, match=f"{fails} fails"):
        mounted(engine, Mount("/a", "/in", False), root=True).release(False)
    assert engine.did[-1] == "remove"


def test_only_folders_that_can_be_written_are_given_and_watched(tmp_path: Path) -> None:
    for name in ("read", "written"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"x" * 3 * 1024 * 1024)
        (tmp_path / name).chmod(0o500)
    engine: Any = Engine()
    mounts = (
        Mount(str(tmp_path / "read"), "/r"),
        Mount(str(tmp_path / "written"), "/w", False),
        Mount("volume", "/v", False),
    )
    box = mounted(engine, *mounts, limits=Limits(disk_mb=4))
    assert box.in_memory and box.spec.mounts == mounts and box.command(["a"]) == ["a"]
    box.prepare()
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("read", "written")]
    assert modes == [0o500, 0o700]
    guard = box.guard("c", lambda: ())
    assert guard._elsewhere(0.0) == 1234 and not guard.mounts_exceeded()
    (tmp_path / "written" / "more").write_bytes(b"x" * 1024 * 1024)
    assert guard.mounts_exceeded()
    assert box.take_back("c", True) == 0
    os.chmod(tmp_path / "read", 0o700)


def test_agents_own_what_they_work_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[tuple[object, ...]] = []
    monkeypatch.setattr(files, "prepare_writable", lambda *args: given.append(args))
    monkeypatch.setattr(files, "agent_ids", lambda: (5, 6))
    engine: Any = SimpleNamespace()
    way = Mounted(engine)
    way.of(SandboxSpec("i", mounts=(Mount("/a", "/in", False), Mount("/b", "/r")))).prepare()
    assert given == [(Path("/a"), 5, 6)] and way.ids == (5, 6)
