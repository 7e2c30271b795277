"""Cleaning up removes what dead processes left behind, and nothing else."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from sandboxes.base import HANDED, Sandbox, SandboxError
from sandboxes.docker import KIND_LABEL, DockerEngine
from sandboxes.images import remove_image
from sandboxes.namespaces import NAMESPACE_KIND
from sandboxes.owner import Owner, clean_folders, current_owner, is_dead, scratch_dir, scratch_root
from sandboxes.reaper import clean
from sandboxes.trees import remove_tree

TOP = Path(__file__).parents[2]

CHILD = """
import sys, time
from sandboxes.base import SandboxSpec
from sandboxes.docker import KIND_LABEL, DockerEngine
from sandboxes.namespaces import NAMESPACE_KIND
from sandboxes.docker_sandbox import DockerSandbox
from sandboxes.owner import current_owner, scratch_dir
(scratch_dir() / "leftover").write_text("x")
if len(sys.argv) > 1:
    spec = SandboxSpec(image=sys.argv[1], keep_as="".join(sys.argv[2:]))
    made = DockerSandbox(DockerEngine(), spec)
    made.start()
    if len(sys.argv) > 2:
        made.stop()
print(current_owner(), flush=True)
time.sleep(60)
"""


def killed_child(*arguments: str) -> Owner:
    """A process that leaves things behind and is killed outright."""
    command = [sys.executable, "-c", CHILD, *arguments]
    with subprocess.Popen(command, cwd=TOP, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        owner = Owner.parse(child.stdout.readline().strip())
        assert owner is not None
        assert not is_dead(owner)
        child.send_signal(signal.SIGKILL)
    return owner


@pytest.mark.engine
def test_volumes_with_copies_go_with_their_process(engine: DockerEngine, image: str) -> None:
    code = (
        "import sys, tempfile; from pathlib import Path; from sandboxes.copied import Copied;"
        "from sandboxes.docker import DockerEngine;"
        "folder = Path(tempfile.mkdtemp()); (folder / 'x').write_text('x');"
        "print(Copied(DockerEngine()).contents.volume(folder, sys.argv[1]))"
    )
    argv = [sys.executable, "-c", code, image]
    made = subprocess.run(argv, cwd=TOP, capture_output=True, text=True, check=True).stdout.strip()
    assert f"volume {made}" in clean(engine, dry_run=True)
    assert f"volume {made}" in clean(engine)
    assert f"volume {made}" not in clean(engine, dry_run=True)


def test_owners_are_told_apart() -> None:
    me = current_owner()
    assert Owner.parse(str(me)) == me and not is_dead(me)
    assert is_dead(dataclasses.replace(me, started="1"))
    assert is_dead(dataclasses.replace(me, boot="0"))
    assert not is_dead(dataclasses.replace(me, machine="0", started="1")), "cannot be judged here"
    assert Owner.parse("somebody else's folder") is None


@pytest.mark.alone  # Every run begins with cleaning up.
def test_folders_of_the_dead(tmp_path: Path) -> None:
    own, dead = scratch_dir(), killed_child()
    left = own.parent / str(dead)
    foreign = own.parent / "not-made-by-us"
    foreign.mkdir(exist_ok=True)
    assert f"folder {left}" in clean_folders(dry_run=True)
    assert (left / "leftover").exists()
    assert f"folder {left}" in clean_folders()
    assert not left.exists() and own.exists() and foreign.exists()
    foreign.rmdir()


@pytest.mark.alone
@pytest.mark.engine
def test_containers_of_the_dead(
    engine: DockerEngine, docker: Callable[..., Sandbox], image: str
) -> None:
    alive = docker()
    dead = killed_child(image)
    label = {"label": f"skillopt.owner={dead}"}
    found = engine.api.containers(all=True, filters=label)
    lines = {f"container {one['Id'][:12]} ({one['Labels'][KIND_LABEL]})" for one in found}
    assert {one["Labels"][KIND_LABEL] for one in found} == {"sandbox", NAMESPACE_KIND}
    assert lines <= set(clean(engine, dry_run=True))
    assert len(engine.api.containers(all=True, filters=label)) == 2
    assert lines <= set(clean(engine))
    assert engine.api.containers(all=True, filters=label) == []
    assert alive.run(["echo", "here"], deadline_s=10).stdout == b"here\n"


@pytest.mark.alone
@pytest.mark.engine
def test_images_of_containers_of_the_dead(
    engine: DockerEngine, docker: Callable[..., Sandbox], image: str
) -> None:
    """What a verifier was to get is removed; what is kept for later processes stays."""
    own, dead, warm = f"{HANDED}:own", f"{HANDED}:dead", "skillopt/warm:test"
    docker(keep_as=own).stop()
    for name in (dead, warm):
        killed_child(image, name)
    try:
        assert f"image {dead}" in clean(engine, dry_run=True)
        assert engine.inspect_image(dead) is not None
        lines = clean(engine)
        assert f"image {dead}" in lines and engine.inspect_image(dead) is None
        assert not {f"image {own}", f"image {warm}"} & set(lines)
    finally:
        for name in (own, warm):
            remove_image(engine, name)


def test_scratch_folders_are_private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert scratch_dir().stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scratch_root().mkdir(mode=0o755)
    with pytest.raises(SandboxError, match="private"):
        scratch_dir()


@pytest.mark.parametrize("mode", [0o700, 0o701, 0o710, 0o750, 0o770, 0o500, 0o1700, 0o2700])
@pytest.mark.parametrize("which", ["root", "own"])
def test_a_folder_of_other_rights_is_no_scratch_folder(
    mode: int, which: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = scratch_root() / str(current_owner())
    for folder in (scratch_root(), own):
        folder.mkdir(mode=0o700)
    (scratch_root() if which == "root" else own).chmod(mode)
    with nullcontext() if mode == 0o700 else pytest.raises(SandboxError, match="private"):
        assert scratch_dir() == own


@pytest.mark.parametrize("which", ["root", "own"])
def test_a_folder_that_a_link_or_another_user_stands_for_is_no_scratch_folder(
    which: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "else").mkdir(mode=0o700)
    own = scratch_root() / str(current_owner())
    if which == "own":
        scratch_root().mkdir(mode=0o700)
    folder = scratch_root() if which == "root" else own
    folder.symlink_to(tmp_path / "else")
    with pytest.raises(SandboxError, match="private"):
        scratch_dir()
    if os.getuid() == 0:
        folder.unlink()
        folder.mkdir(mode=0o700)
        os.chown(folder, 5, 0)
        with pytest.raises(SandboxError, match="private"):
            scratch_dir()


@pytest.mark.slow
def test_stubborn_trees_can_be_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    here = os.getcwd()
    os.chdir(top)
    try:
        for _ in range(3000):
            os.mkdir("deep")
            os.chdir("deep")
    finally:
        os.chdir(here)
    (top / "closed").mkdir(mode=0)
    remove_tree(top)
    assert not top.exists()


def test_a_process_that_ends_well_leaves_no_folder() -> None:
    code = "from sandboxes.owner import scratch_dir; print(scratch_dir())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() and not Path(done.stdout.strip()).exists()


@pytest.mark.parametrize(
    ("stat", "dead"),
    [
        ("{pid} (a name) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 0", False),
        ("{pid} (odd) name) R 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 0", False),
        # A process that has ended and that nobody waited for is none, and its number is not free.
        ("{pid} (a name) Z 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 0", True),
        ("{pid} (a name) X 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 0", True),
        # Another one with the same number.
        ("{pid} (a name) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 778 0", True),
        (None, True),
    ],
)
def test_who_is_dead_by_what_the_system_says(
    stat: str | None, dead: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = current_owner()
    owner = dataclasses.replace(me, pid=4242, started="777")
    proc = tmp_path / "proc"
    for name in ("self/ns", "sys/kernel/random", "4242"):
        (proc / name).mkdir(parents=True)
    (proc / "self/stat").write_text("")
    (proc / "self/ns/pid").symlink_to(os.readlink("/proc/self/ns/pid"))
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    (proc / "sys/kernel/random/boot_id").write_text(boot)
    if stat is not None:
        (proc / "4242/stat").write_text(stat.format(pid=4242))
    monkeypatch.setattr("sandboxes.owner._PROC", proc)
    assert is_dead(owner) is dead
    # Of another machine nothing is known, whatever has that number here.
    assert not is_dead(dataclasses.replace(owner, machine="0"))
    assert is_dead(dataclasses.replace(owner, boot="0"))


@pytest.mark.parametrize(
    "text", ["", "a-b-c-d", "a-b-1", "a-b-1-d-e", "a-b--1-d", "not-made-by-us", "a-b-1x-d"]
)
def test_what_is_no_owner(text: str) -> None:
    assert Owner.parse(text) is None


class Volumes:
    """An engine that lists volumes and images, and removes what it is told to."""

    def __init__(self, volumes: list[dict[str, Any]], images: list[str]) -> None:
        self.api, self._volumes, self._images = self, volumes, images
        self.removed: list[str] = []

    @contextmanager
    def errors(self, *what: str) -> Iterator[None]:
        yield

    def containers(self, **options: Any) -> list[dict[str, Any]]:
        return []

    def images(self, **options: Any) -> list[dict[str, Any]]:
        return [] if options else [{"Id": image} for image in self._images]

    def volumes(self, filters: dict[str, str]) -> dict[str, Any]:
        kind = filters["label"].rpartition("=")[2]
        return {"Volumes": [v for v in self._volumes if v["Labels"][KIND_LABEL] == kind] or None}


def volume(name: str, owner: Owner | str, kind: str = "toolchain", **labels: str) -> dict[str, Any]:
    own = {KIND_LABEL: kind, "skillopt.owner": str(owner), "skillopt.image": "i1"}
    return {"Name": name, "Labels": own | {f"skillopt.{k}": v for k, v in labels.items()}}


ME = current_owner()
DEAD = dataclasses.replace(ME, started="1")


@pytest.mark.parametrize(
    ("volumes", "removed"),
    [
        # One that is being filled has no digest of its content yet: it is its process's.
        ([volume("v", ME)], []),
        ([volume("v", DEAD)], ["v"]),
        # One that is finished stays for all, whoever made it, as long as its image is there.
        ([volume("v", DEAD, content="d1")], []),
        ([volume("v", ME, content="d1")], []),
        ([volume("v", DEAD, content="d1", image="gone")], ["v"]),
        ([volume("v", ME, image="gone")], ["v"]),
        # One whose finished copy another volume announces.
        ([volume("v", DEAD), volume("w", ME, content="v")], []),
        ([volume("v", DEAD), volume("w", ME, content="x")], ["v"]),
        ([volume("v", DEAD), volume("w", ME), volume("x", DEAD)], ["v", "x"]),
        # Copies of this machine's files go with their process.
        ([volume("c", DEAD, "content")], ["c"]),
        ([volume("c", ME, "content")], []),
        # An owner that nobody can read counts as alive.
        ([volume("c", "somebody", "content"), volume("v", "somebody")], []),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_volumes_of_the_dead(
    volumes: list[dict[str, Any]],
    removed: list[str],
    dry_run: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine: Any = Volumes(volumes, ["i1"])
    gone: list[str] = []

    def remove(_: Any, name: str) -> bool:
        gone.append(name)
        return True

    monkeypatch.setattr("sandboxes.reaper.remove_volume", remove)
    assert clean(engine, dry_run=dry_run) == [f"volume {name}" for name in removed]
    assert gone == ([] if dry_run else removed)


class Images(Volumes):
    """An engine that lists images of containers, and containers."""

    def __init__(self, images: list[dict[str, Any]], containers: list[dict[str, Any]]) -> None:
        super().__init__([], [])
        self._kept, self._containers = images, containers

    def images(self, **options: Any) -> list[dict[str, Any]]:
        return self._kept if options else []

    def containers(self, **options: Any) -> list[dict[str, Any]]:
        return self._containers

    def remove_image(self, image: str, force: bool) -> None:
        self.removed.append(image)

    def remove(self, container: str) -> None:
        self.removed.append(container)


@pytest.mark.parametrize(
    ("tags", "owner", "goes"),
    [
        ([f"{HANDED}:x"], DEAD, True),
        ([f"{HANDED}:x"], ME, False),
        ([f"{HANDED}:x"], "somebody", False),
        ([f"{HANDED}:x"], None, False),
        # One that has lost its name is nobody's, and another name is kept for later processes.
        (["<none>:<none>"], DEAD, True),
        ([], DEAD, True),
        (None, DEAD, True),
        ([], ME, False),
        (["skillopt/warm:x"], DEAD, False),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_images_and_containers_go_if_their_owner_is_known_to_be_dead(
    tags: list[str] | None, owner: Owner | str | None, goes: bool, dry_run: bool
) -> None:
    labels = {} if owner is None else {"skillopt.owner": str(owner)}
    engine: Any = Images([{"Id": "i1", "RepoTags": tags, "Labels": labels}], [])
    named = f"image {(tags or ['<none>:'])[0]}"
    assert clean(engine, dry_run=dry_run) == ([named] if goes else [])
    assert engine.removed == (["i1"] if goes and not dry_run else [])


@pytest.mark.parametrize(("owner", "goes"), [(DEAD, True), (ME, False), ("somebody", False)])
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_container_whose_owner_cannot_be_read_stays(
    owner: Owner | str, goes: bool, dry_run: bool
) -> None:
    labels = {"skillopt.owner": str(owner)}
    engine: Any = Images([], [{"Id": "c" * 64, "Labels": labels, "HostConfig": {}}])
    named = f"container {'c' * 12} (unknown)"
    assert clean(engine, dry_run=dry_run) == ([named] if goes else [])
    assert engine.removed == (["c" * 64] if goes and not dry_run else [])
