"""What goes into containers by archives: whose it is, what may be done with it, what is left out;
and the volumes that are made once for each content."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Collection
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from sandboxes import content
from sandboxes.base import SandboxError
from sandboxes.content import MOST, Contents, content_digest
from sandboxes.packing import add_folder, add_in_place, add_tree, archive_of, exists_in


def packed(source: Path, target: str, **options: Any) -> dict[str, tarfile.TarInfo]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        add_tree(tar, source, target, **options)
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as tar:
        return {member.name: member for member in tar}


def tree(at: Path, *names: str) -> Path:
    at.mkdir(parents=True, exist_ok=True)
    for name in names:
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_text(name)
    return at


@pytest.mark.parametrize(
    ("mode", "folder", "read_only", "kept"),
    [
        # What can be written is its owner's, with the bits that it has.
        (0o644, False, False, 0o644), (0o044, False, False, 0o644), (0o4755, False, False, 0o755),
        (0o2570, True, False, 0o2770), (0o1777, True, False, 0o1777), (0o4700, True, False, 0o700),
        # What cannot is root's: its owner's rights to read are the group's, nobody else may write.
        (0o644, False, True, 0o644), (0o600, False, True, 0o640), (0o400, False, True, 0o440),
        (0o700, False, True, 0o750), (0o666, False, True, 0o644), (0o777, True, True, 0o755),
        (0o2770, True, True, 0o750), (0o6755, False, True, 0o755), (0o200, False, True, 0o200),
    ],
)  # fmt: skip
def test_rights_of_what_is_copied_in(
    mode: int, folder: bool, read_only: bool, kept: int, tmp_path: Path
) -> None:
    at = tmp_path / "in"
    at.mkdir() if folder else at.write_text("x")
    at.chmod(mode)
    if not os.access(at, os.R_OK):
        pytest.skip("only root can read it")
    found = packed(at, "/app/at", uid=5, gid=6, read_only=read_only)["app/at"]
    assert (oct(found.mode), found.uid, found.gid) == (oct(kept), 0 if read_only else 5, 6)
    assert (found.uname, found.gname) == ("", "")


@pytest.mark.parametrize(
    ("leave", "there"),
    [
        ((), {"app", "app/a", "app/a/x", "app/a2", "app/a2/x", "app/b"}),
        (("/app/a",), {"app", "app/a2", "app/a2/x", "app/b"}),
        (("/app/a/x", "/app/b"), {"app", "app/a", "app/a2", "app/a2/x"}),
        (("/app",), set()),
        (("a", "app/a", "/app/a/"), {"app", "app/a", "app/a/x", "app/a2", "app/a2/x", "app/b"}),
    ],
)
def test_only_what_is_named_is_left_out(
    leave: Collection[str], there: set[str], tmp_path: Path
) -> None:
    source = tree(tmp_path / "in", "a/x", "a2/x", "b")
    assert set(packed(source, "/app", leave=leave)) == there


def test_kinds_and_times_of_what_is_copied_in(tmp_path: Path) -> None:
    source = tree(tmp_path / "in", "file")
    (source / "to").symlink_to("/etc/passwd")
    os.mkfifo(source / "pipe")
    (source / "twin").hardlink_to(source / "file")
    os.utime(source / "file", ns=(1, 1_500_000_001))
    found = packed(source, "/app", uid=5, gid=6)
    assert found["app/to"].issym() and found["app/to"].linkname == "/etc/passwd"
    assert found["app/pipe"].isfifo()
    assert {found["app/file"].type, found["app/twin"].type} == {tarfile.REGTYPE, tarfile.LNKTYPE}
    assert found["app/file"].mtime == pytest.approx(1.500000001)
    assert packed(source, "/app", read_only=True)["app/file"].mtime == 1


def test_no_name_of_a_file_shares_the_rights_of_another_tree(tmp_path: Path) -> None:
    tree(tmp_path / "one", "file")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "file").hardlink_to(tmp_path / "one" / "file")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        add_tree(tar, tmp_path / "one", "/one", uid=5, gid=5)
        add_tree(tar, tmp_path / "two", "/two", gid=5, read_only=True)
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as tar:
        found = {one.name: (one.isreg(), one.uid) for one in tar if not one.isdir()}
    assert found == {"one/file": (True, 5), "two/file": (True, 0)}


def test_a_folder_that_is_a_link_is_copied_as_what_it_leads_to(tmp_path: Path) -> None:
    tree(tmp_path / "in", "file")
    (tmp_path / "to").symlink_to("in")
    assert set(packed(tmp_path / "to", "/app")) == {"app", "app/file"}


def test_places_are_made_empty() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        add_folder(tar, "/a", (5, 6))
        add_in_place(tar, "/b", (5, 6))
        add_folder(tar, "/c")
        add_in_place(tar, "/d")
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as tar:
        found = [(m.name, m.isdir(), m.size, m.mode, m.uid, m.gid) for m in tar]
    assert found == [
        ("a", True, 0, 0o755, 5, 6), ("b", False, 0, 0o600, 5, 6),
        ("c", True, 0, 0o755, 0, 0), ("d", False, 0, 0o600, 0, 0),
    ]  # fmt: skip


class Answer:
    def __init__(self, status: int) -> None:
        self.status_code, self.closed = status, False

    def iter_content(self, size: int) -> Any:
        yield from (b"a", b"b")

    def close(self) -> None:
        self.closed = True


class Served:
    """An engine that answers with one status."""

    patience_s = 3.0

    def __init__(self, status: int) -> None:
        self.api, self.answer = self, Answer(status)

    def _url(self, text: str, *parts: str) -> str:
        return text.format(*parts)

    def _get(self, url: str, params: dict[str, str], stream: bool) -> Answer:
        assert (url, params, stream) == ("/containers/c/archive", {"path": "/p"}, True)
        return self.answer

    def head(self, url: str, params: dict[str, str], timeout: float) -> Answer:
        assert (url, params) == ("/containers/c/archive", {"path": "/p"})
        return self.answer

    def _raise_for_status(self, answer: Answer) -> None:
        if answer.status_code != 200:
            raise SandboxError(f"status {answer.status_code}")

    def errors(self, doing: str) -> Any:
        return nullcontext()


@pytest.mark.parametrize(("status", "there"), [(200, True), (404, False), (500, None), (403, None)])
def test_only_an_answer_that_it_is_not_there_says_so(status: int, there: bool | None) -> None:
    engine: Any = Served(status)
    with nullcontext() if there is not None else pytest.raises(SandboxError, match=str(status)):
        assert exists_in(engine, "c", "/p") is there


@pytest.mark.parametrize(("status", "read"), [(200, 2), (200, 1), (404, 0)])
def test_an_archive_is_closed_however_far_it_was_read(status: int, read: int) -> None:
    engine: Any = Served(status)
    chunks = archive_of(engine, "c", "/p")
    with nullcontext() if status == 200 else pytest.raises(SandboxError):
        assert b"".join(next(chunks) for _ in range(max(read, 1))) == b"ab"[:read]
    chunks.close()
    assert engine.answer.closed


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda at: None, True),
        (lambda at: os.utime(at / "f", (1, 1)), True),
        (lambda at: (at / "f").write_text("y"), False),
        (lambda at: (at / "f").chmod(0o755), False),
        (lambda at: (at / "d").chmod(0o700), False),
        (lambda at: at.chmod(0o700), False),
        (lambda at: (at / "f").rename(at / "g"), False),
        (lambda at: (at / "new").mkdir(), False),
        (lambda at: ((at / "to").unlink(), (at / "to").symlink_to("d")), False),
        (lambda at: ((at / "to").unlink(), (at / "to").write_text("f")), False),
        # The end of a name is not the beginning of what follows.
        (lambda at: ((at / "d" / "x").unlink(), (at / "dx").write_text("d/x")), False),
    ],
)
def test_a_digest_is_of_all_that_a_sandbox_would_see(
    change: Callable[[Path], object], same: bool, tmp_path: Path
) -> None:
    digests = []
    for name in ("one", "two"):
        at = tree(tmp_path / name, "f", "d/x")
        (at / "to").symlink_to("f")
        at.chmod(0o755)
        if name == "two":
            change(at)
        digests.append(content_digest(at))
    assert (digests[0] == digests[1]) is same


class Volumes:
    """Makes volumes, and fills them unless it was made not to."""

    host = "here"

    def __init__(
        self, fills: Collection[bool] = (False, True), in_use: Collection[str] = ()
    ) -> None:
        self.api = self
        self.made: list[str] = []
        self.gone: list[str] = []
        self.filled: list[str] = []
        self.runs = self.put = False
        self._fills, self.in_use = fills, set(in_use)

    def errors(self, doing: str, image: str = "") -> Any:
        return nullcontext()

    def labels(self, kind: str) -> dict[str, str]:
        return {"kind": kind}

    def create_volume(self, name: str, labels: dict[str, str]) -> None:
        assert labels == {"kind": "content"}
        self.made.append(name)

    def start(self, container: str) -> None:
        self.runs = True

    def put_archive(self, container: str, place: str, archive: Any) -> bool:
        with tarfile.open(fileobj=archive) as tar:
            self.filled = sorted(member.name for member in tar)
        self.put = self.runs in self._fills
        return True


@pytest.fixture
def volumes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def make(*given: Any) -> Any:
        engine = Volumes(*given)

        @contextmanager
        def filling(_: Any, image: str, bind: str, command: object) -> Any:
            engine.runs = False
            yield "c"

        def remove(_: Any, name: str) -> bool:
            if name not in engine.in_use:
                engine.gone.append(name)
            return name not in engine.in_use

        monkeypatch.setattr(content, "filling", filling)
        monkeypatch.setattr(content, "remove_volume", remove)
        monkeypatch.setattr(content, "exists_in", lambda _, container, path: engine.put)
        return engine

    return make


def test_each_content_has_one_volume(volumes: Callable[..., Any], tmp_path: Path) -> None:
    engine = volumes()
    contents = Contents(engine, 6)
    one, same = tree(tmp_path / "one", "f"), tree(tmp_path / "same", "f")
    for at in (one, same):
        at.chmod(0o755)
    first = contents.volume(one, "i")
    assert contents.volume(same, "i") == first == contents.volume(one, "i")
    assert engine.filled == ["skillopt-content", "skillopt-content/f"]
    # A change that keeps size and time is one, and so is one of rights alone.
    before = (one / "f").stat()
    (one / "f").write_text("g")
    os.utime(one / "f", ns=(before.st_atime_ns, before.st_mtime_ns))
    second = contents.volume(one, "i")
    (one / "f").chmod(0o700)
    third = contents.volume(one, "i")
    assert [first, second, third] == engine.made and len({first, second, third}) == 3
    contents.close()
    assert engine.gone == [first, second, third]
    assert contents.volume(one, "i") not in (first, second, third)


def test_the_volume_that_was_not_used_for_longest_goes(
    volumes: Callable[..., Any], tmp_path: Path
) -> None:
    engine = volumes()
    contents = Contents(engine, 6)
    places = [tree(tmp_path / str(n), str(n)) for n in range(MOST + 2)]
    names = [contents.volume(at, "i") for at in places[:MOST]]
    assert engine.gone == [] and contents.volume(places[0], "i") == names[0]
    contents.volume(places[MOST], "i")
    assert engine.gone == [names[1]]
    # One that is in use stays known.
    engine.in_use = {names[2]}
    contents.volume(places[MOST + 1], "i")
    assert engine.gone == [names[1]] and contents.volume(places[2], "i") == names[2]


@pytest.mark.parametrize(
    ("fills", "fine"), [((False, True), True), ((True,), True), ((False,), True), ((), False)]
)
def test_some_engines_fill_the_volumes_of_running_containers_alone(
    fills: Collection[bool], fine: bool, volumes: Callable[..., Any], tmp_path: Path
) -> None:
    engine = volumes(fills)
    at = tree(tmp_path / "in", "f")
    with nullcontext() if fine else pytest.raises(SandboxError, match="does not put files"):
        Contents(engine, 6).volume(at, "i")
    assert engine.gone == ([] if fine else engine.made)


def test_an_empty_folder_is_content_too(volumes: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    engine = volumes(())
    assert Contents(engine, 6).volume(tmp_path / "empty", "i") in engine.made
    assert engine.gone == []
