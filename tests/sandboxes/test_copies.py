"""Files that are copied into containers and back, with an engine of a test: what goes where, and
what comes back."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError, NotFound

from sandboxes import copied
from sandboxes.base import HANDED, Limits, Mount, SandboxError, SandboxSpec
from sandboxes.copied import Copied, CopiedFiles

MEGABYTE = 1024 * 1024


def archived(files: dict[str, str | None]) -> bytes:
    """An archive of files, and of folders for those without content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if text is None:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            else:
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


class Engine:
    """Has an image with some paths, and containers with some archives."""

    def __init__(self) -> None:
        self.api = self
        self.paths: dict[str, dict[str, bool]] = {}
        """The folders of the image, with the names below them and whether they are folders."""
        self.volumes: dict[str, dict[str, str]] = {}
        self.archives: dict[str, bytes] = {}
        self.put: list[tarfile.TarInfo] = []
        self.did: list[str] = []
        self.asked: list[str] = []
        self.ended = False

    def errors(self, doing: str, image: str = "") -> Any:
        return nullcontext()

    def inspect_image(self, name: str) -> dict[str, Any]:
        self.did.append(f"inspect {name}")
        return {"Id": f"id of {name}", "Config": {"Volumes": self.volumes or None}}

    def launch(self, spec: SandboxSpec, **options: Any) -> str:
        assert spec.mounts == () and options["user"] == "65534:65534"
        self.did.append(f"look into {spec.image}")
        return "look"

    def remove(self, container: str) -> None:
        self.did.append(f"remove {container}")

    def kill(self, container: str) -> None:
        self.did.append(f"kill {container}")
        if self.ended:
            raise APIError("it does not run")

    def layer_bytes(self, container: str, since: float) -> int:
        return 1000

    def put_archive(self, container: str, place: str, archive: Any) -> None:
        assert place == "/"
        with tarfile.open(fileobj=archive) as tar:
            self.put += tar.getmembers()


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Engine()

    def archive_of(_: object, container: str, path: str) -> Iterator[bytes]:
        made.asked.append(path)
        if container == "look":
            names = made.paths[path].items()
            yield archived({f"top/{name}": None if folder else "x" for name, folder in names})
        elif path in made.archives:
            yield made.archives[path]
        else:
            raise SandboxError(f"no {path}") from NotFound("none")

    monkeypatch.setattr(copied, "archive_of", archive_of)
    monkeypatch.setattr(copied, "exists_in", lambda _, container, path: path in made.paths)
    return made


def files_of(engine: Any, *mounts: Mount, **fields: Any) -> CopiedFiles:
    files: Any = Copied(engine)
    files.contents = SimpleNamespace(volume=lambda source, image: f"volume-of-{source.name}")
    found: CopiedFiles = files.of(SandboxSpec("i", mounts=mounts, **fields))
    return found


def folder(at: Path, **files: str) -> Path:
    at.mkdir(parents=True)
    for name, text in files.items():
        (at / name).write_text(text)
    return at


@pytest.mark.parametrize(
    ("target", "fields", "writable", "in_volume"),
    [
        # Where only root can replace it, it is root's in the container's own layer.
        ("/tests", {}, "/app", False),
        ("/opt/tests", {}, "/app", False),
        ("/skillopt/hidden", {}, "/app", False),
        ("/opt/skillopt/hidden", {}, "/app", False),
        ("/usr/tests", {}, "/app", True),
        ("/opt/other/tests", {}, "/app", True),
        ("/tests", {"root": True}, "/app", True),
        ("/tests", {"image": f"{HANDED}:1"}, "/app", True),
        ("/tests", {"image": f"{HANDED}-not:1"}, "/app", False),
        ("/app/tests", {}, "/app", True),
        ("/opt/tests", {}, "/opt", True),
        # Of two names of which one begins the other, neither is in the other.
        ("/opt/apps", {}, "/opt/app", False),
        ("/mnt/tests", {}, "/mn", False),
    ],
)
def test_what_an_agent_could_replace_is_in_a_volume(
    target: str, fields: dict[str, Any], writable: str, in_volume: bool, engine: Any, tmp_path: Path
) -> None:
    tests, app = folder(tmp_path / "tests", f="x"), folder(tmp_path / "app")
    box = files_of(engine, Mount(str(app), writable, False), Mount(str(tests), target))
    box._given = replace(box._given, **fields)
    box.prepare()
    volume = Mount("volume-of-tests", target)
    assert box.spec.mounts == ((volume,) if in_volume else ())
    box.place("c")
    placed = {one.name: (one.uid, one.gid) for one in engine.put if one.isreg() and one.size}
    assert placed == ({} if in_volume else {f"{target[1:]}/f": (0, 1000)})


@pytest.mark.parametrize(
    ("entries", "size", "small"),
    [(500, 0, True), (501, 0, False), (1, 4 * MEGABYTE, True), (1, 4 * MEGABYTE + 1, False)],
)
def test_what_is_large_is_not_copied_each_time(
    entries: int, size: int, small: bool, engine: Any, tmp_path: Path
) -> None:
    tests = folder(tmp_path / "tests")
    for number in range(entries):
        (tests / str(number)).touch()
    os.truncate(tests / "0", size)
    box = files_of(engine, Mount(str(tests), "/tests"))
    box.prepare()
    assert (box.spec.mounts == ()) is small


def test_a_file_that_could_be_replaced_is_refused(engine: Any, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    files_of(engine, Mount(str(tmp_path / "f"), "/f")).prepare()
    with pytest.raises(SandboxError, match="give its folder"):
        files_of(engine, Mount(str(tmp_path / "f"), "/usr/f")).prepare()


@pytest.mark.parametrize("read_only", [True, False])
def test_what_is_not_there_is_an_error(read_only: bool, engine: Any, tmp_path: Path) -> None:
    box = files_of(engine, Mount(str(tmp_path / "gone"), "/app", read_only))
    with pytest.raises(SandboxError, match="is not there"):
        box.prepare()


@pytest.mark.parametrize(
    ("target", "read_only", "in_memory"),
    [
        ("/app", False, True), ("/tmp/app", False, False), ("/tmp/a/b", False, False),
        ("/tmp/app", True, True), ("/tmpfs/app", False, True), ("/var/tmp/app", False, True),
    ],
)  # fmt: skip
def test_what_is_to_come_back_does_not_lie_in_memory(
    target: str, read_only: bool, in_memory: bool, engine: Any, tmp_path: Path
) -> None:
    assert files_of(engine, Mount(str(tmp_path), target, read_only)).in_memory is in_memory


def order(engine: Any) -> list[str]:
    return [f"{one.name}{'/' if one.isdir() else ''}" for one in engine.put]


def test_folders_come_before_what_is_in_them(engine: Any, tmp_path: Path) -> None:
    app, inner = folder(tmp_path / "app", f="x"), folder(tmp_path / "inner", g="x")
    engine.paths = {"/srv": {}, "/srv/a": {"old": False}}
    box = files_of(
        engine, Mount(str(inner), "/srv/deep/er/g", False), Mount(str(app), "/srv/a", False)
    )
    box.prepare()
    box.place("c")
    assert order(engine) == [
        # What the image lacks is root's; an engine would let all write there.
        "srv/deep/", "srv/deep/er/",
        "srv/a", "srv/a/", "srv/a/f",
        "srv/deep/er/g", "srv/deep/er/g/", "srv/deep/er/g/g",
    ]  # fmt: skip
    owners = {one.name: (one.uid, one.mode) for one in engine.put if one.isdir()}
    assert owners["srv/deep"] == (0, 0o755) and owners["srv/a"][0] == 1000


def test_nothing_is_put_where_nothing_is_given(engine: Any) -> None:
    box = files_of(engine, Mount("volume", "/v"))
    box.prepare()
    box.place("c")
    assert engine.put == [] and box.spec.mounts == (Mount("volume", "/v"),)
    assert box.command(["run"]) == ["run"]


def test_what_the_image_has_around_a_mount_is_cleared_away(engine: Any, tmp_path: Path) -> None:
    home, skill = folder(tmp_path / "home", kept="ours"), folder(tmp_path / "skill", f="x")
    engine.paths = {
        "/": {}, "/home": {},
        "/home/a": {
            "kept": False, "old": False, "tool": True, "tool/x": False, ".x": True,
            ".x/skills": True, ".x/skills/one": True, ".x/config": False, ".x/skillsets": True,
        },
    }  # fmt: skip
    box = files_of(
        engine, Mount(str(home), "/home/a", False), Mount(str(skill), "/home/a/.x/skills/one")
    )
    box.prepare()
    assert box.spec.mounts == (Mount("volume-of-skill", "/home/a/.x/skills/one"),)
    gone = ["/home/a/old", "/home/a/tool", "/home/a/.x/config", "/home/a/.x/skillsets"]
    assert box.command(["run", "it"])[4:] == [*gone, "", "run", "it"]
    box.place("c")
    assert order(engine) == ["home/a/tool", "home/a/.x/skillsets", "home/a/", "home/a/kept"]


def test_an_image_is_looked_into_once(engine: Any, tmp_path: Path) -> None:
    app = folder(tmp_path / "app")
    files: Any = Copied(engine)
    for image in ("i", "i", "j"):
        files.of(SandboxSpec(image, mounts=(Mount(str(app), "/srv/app", False),))).prepare()
    assert [one for one in engine.did if one.startswith("look")] == ["look into i", "look into j"]
    assert engine.did.count("inspect i") == 1 and engine.did.count("remove look") == 2


@pytest.mark.parametrize(("later", "asks"), [(60.0, 1), (60.1, 2)])
def test_what_is_known_of_an_image_is_asked_for_once_in_a_while(
    later: float, asks: int, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Copied(engine)
    now = [1000.0]
    monkeypatch.setattr(copied, "time", SimpleNamespace(monotonic=lambda: now[0]))
    files.image("i")
    now[0] += later
    assert files.image("i")["Id"] == "id of i" and len(engine.did) == asks


def test_an_image_that_is_missing_is_asked_for_again(engine: Any) -> None:
    answers: list[Any] = [None, {"Id": "i1"}]
    engine.inspect_image = lambda name: answers.pop(0)
    files = Copied(engine)
    assert files.image("i") == {} and files.image("i") == {"Id": "i1"}


def test_folders_that_are_volumes_of_the_image_stay_so(engine: Any, tmp_path: Path) -> None:
    data, app = folder(tmp_path / "data", f="x"), folder(tmp_path / "app")
    engine.volumes = {"/data/": {}, "/app/cache": {}, "/other": {}}
    engine.paths = {"/app": {"cache": True}}
    box = files_of(engine, Mount(str(data), "/data", False), Mount(str(app), "/app", False))
    box.prepare()
    assert box.spec.mounts == (Mount("", "/data", read_only=False),)
    box.place("c")
    assert order(engine) == ["data/", "data/f", "app/"]
    # Their bytes are in no layer: they are counted from an archive.
    engine.archives["/data"] = b"y" * 500
    guard: Any = box.guard("c", lambda: ())
    assert guard._elsewhere(0.0) == 1500


def back(engine: Any, app: Path, *more: Mount, runs: bool = False, **fields: Any) -> int:
    box = files_of(engine, Mount(str(app), "/app", False, **fields), *more)
    box.prepare()
    return box.take_back("c" * 64, runs)


def there(at: Path) -> list[str]:
    return sorted(str(path.relative_to(at)) for path in at.rglob("*"))


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ({}, ["made", "sub", "sub/x"]),
        ({"returned": False}, ["before", "sub", "sub/old"]),
        ({"returned": False, "wanted": "sub"}, ["before", "sub", "sub/old"]),
        # Of what is wanted, nothing else changes.
        ({"wanted": "sub"}, ["before", "sub", "sub/x"]),
        ({"wanted": "sub/in"}, ["before", "sub", "sub/in", "sub/in/y"]),
    ],
)
def test_what_is_wanted_comes_back(
    fields: dict[str, Any], left: list[str], engine: Any, tmp_path: Path
) -> None:
    app = folder(tmp_path / "app", before="x")
    folder(app / "sub", old="x")
    engine.archives = {
        "/app": archived({"app": None, "app/made": "x", "app/sub": None, "app/sub/x": "x"}),
        "/app/sub": archived({"sub": None, "sub/x": "x"}),
        "/app/sub/in": archived({"in": None, "in/y": "x"}),
    }
    back(engine, app, **fields)
    assert there(app) == left


@pytest.mark.parametrize(
    ("runs", "ended", "did"),
    [(False, False, []), (True, False, ["kill " + "c" * 64]), (True, True, ["kill " + "c" * 64])],
)
def test_a_container_is_killed_before_its_files_are_copied(
    runs: bool, ended: bool, did: list[str], engine: Any, tmp_path: Path
) -> None:
    engine.ended = ended
    engine.archives["/app"] = archived({"app": None, "app/f": "x" * 10})
    # Each entry counts as a block of the disk besides, the folder too.
    assert back(engine, folder(tmp_path / "app"), runs=runs) == 10 + 2 * 4096
    assert [one for one in engine.did if one.startswith("kill")] == did


def test_several_folders_share_one_room(engine: Any, tmp_path: Path) -> None:
    for name in ("app", "data"):
        engine.archives[f"/{name}"] = archived({name: None, f"{name}/f": "x" * 100})
    app, data = folder(tmp_path / "app"), folder(tmp_path / "data")
    assert back(engine, app, Mount(str(data), "/data", False)) == 2 * (100 + 2 * 4096)
    rooms: list[tuple[int, int]] = []

    def restored(chunks: Iterable[bytes], source: Path, room: Any, leave: object) -> None:
        rooms.append((room.left, room.stream))
        room.left -= 5

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copied, "restore", restored)
        box = files_of(engine, *(Mount(str(at), f"/{at.name}", False) for at in (app, data)))
        box._given = replace(box._given, limits=Limits(disk_mb=10))
        box.take_back("c", False)
    most = (2 * 10 + 64) * MEGABYTE, (8 * 10 + 64) * MEGABYTE
    assert rooms == [most, (most[0] - 5, most[1])]


@pytest.mark.parametrize(
    ("target", "leaves"),
    [("/app/mine", ["mine"]), ("/app/a/b", ["a/b"]), ("/app2/mine", []), ("/mine", [])],
)
def test_what_other_mounts_are_in_a_folder_does_not_come_back_with_it(
    target: str, leaves: Sequence[str], engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[list[str]] = []
    monkeypatch.setattr(copied, "restore", lambda chunks, source, room, leave: left.append(leave))
    mine = folder(tmp_path / "mine")
    back(engine, folder(tmp_path / "app"), Mount(str(mine), target))
    assert left == [leaves]


def test_what_was_taken_away_comes_back_empty(engine: Any, tmp_path: Path) -> None:
    app = folder(tmp_path / "app", f="x")

    def emptied(container: str, place: str, archive: Any) -> None:
        engine.archives["/app"] = archived({"app": None})
        engine.did.append("emptied")

    engine.put_archive = emptied
    back(engine, app)
    assert there(app) == [] and "emptied" in engine.did


def test_what_is_wanted_and_was_never_made_is_an_empty_folder(engine: Any, tmp_path: Path) -> None:
    app = folder(tmp_path / "app", f="x")
    engine.put_archive = lambda *_: pytest.fail("the way was cleared")
    back(engine, app, wanted="log/own")
    assert there(app) == ["f", "log", "log/own"]


def test_an_archive_that_is_none_is_no_fault_of_the_command(engine: Any, tmp_path: Path) -> None:
    engine.archives["/app"] = b"rubbish" * 300
    with pytest.raises(SandboxError, match="/app cannot be copied back") as caught:
        back(engine, folder(tmp_path / "app"))
    assert type(caught.value) is SandboxError


def test_an_image_keeps_nothing_that_was_copied(engine: Any, tmp_path: Path) -> None:
    app, tests = folder(tmp_path / "app", f="x"), folder(tmp_path / "tests", gold="x")
    (tmp_path / "one").write_text("x")
    home, skill = folder(tmp_path / "home"), folder(tmp_path / "skill")
    engine.paths = {"/": {}, "/home": {}, "/home/a": {"s": True}}
    box = files_of(
        engine,
        Mount(str(app), "/app", False), Mount(str(tests), "/tests"),
        Mount(str(tmp_path / "one"), "/one"), Mount(str(home), "/home/a", False),
        Mount(str(skill), "/home/a/s"),
    )  # fmt: skip
    box.prepare()
    engine.archives["/home/a"] = archived(
        {"a": None, "a/secret": "x", "a/made": None, "a/made/x": "x", "a/s": None, "a/s/f": "x"}
    )
    box.forget("c")
    # First a file takes the place of what is there, and then a folder that of the file.
    assert order(engine) == [
        "app", "app/", "home/a/secret", "home/a/made", "home/a/made/", "tests", "tests/", "one",
    ]  # fmt: skip
