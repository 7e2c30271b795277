"""Cleaning up removes what dead processes left behind, and nothing else."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

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
