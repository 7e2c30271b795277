"""Copies of files in sandboxes look and end as mounts do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandboxes.base import CopyRefusedError, Limits, Mount, Sandbox, SandboxSpec
from sandboxes.content import CONTENT_KIND, content_digest
from sandboxes.copied import Copied
from sandboxes.docker import KIND_LABEL, DockerEngine
from sandboxes.docker_backend import DockerBackend
from sandboxes.docker_sandbox import DockerSandbox
from sandboxes.errors import BackendError
from sandboxes.images import ImageSpec, build, remove_image

pytestmark = pytest.mark.engine
MakeSandbox = Callable[..., Sandbox]
TAG = f"skillopt/test-copied:{os.getpid()}"
DOCKERFILE = """\
FROM skillopt/agent-base:1
WORKDIR /app
RUN mkdir -p /app/sub /home/agent/.tool /home/agent/.codex && echo image > /app/sub/old \\
    && echo image > /app/kept && echo image > /home/agent/.tool/x \\
    && echo image > /home/agent/.codex/config && mkdir /data && echo image > /data/old
VOLUME /data
"""


@pytest.fixture(scope="module")
def full(
    engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory, image: str
) -> Iterator[str]:
    """An image with something wherever a sandbox gets files."""
    place = tmp_path_factory.mktemp("full")
    (place / "Dockerfile").write_text(DOCKERFILE)
    build(engine, ImageSpec(TAG, place))
    yield TAG
    remove_image(engine, TAG)


@pytest.fixture(params=["docker", "copied", "copied_single"])
def either(request: pytest.FixtureRequest) -> MakeSandbox:
    """Sandboxes whose files are mounted and such whose files are copied."""
    made: MakeSandbox = request.getfixturevalue(request.param)
    return made


@pytest.fixture(params=["docker", "copied"])
def mounted_or_copied(request: pytest.FixtureRequest) -> MakeSandbox:
    """Those that can be used after a command."""
    made: MakeSandbox = request.getfixturevalue(request.param)
    return made


def output(sandbox: Sandbox, script: str) -> str:
    result = sandbox.run(["bash", "-c", script], deadline_s=20)
    assert result.exit_code == 0, result
    return result.stdout.decode()


def folder(at: Path, **files: str) -> Path:
    at.mkdir(parents=True)
    for name, text in files.items():
        (at / name).write_text(text)
    return at


def test_what_the_image_has_there_is_hidden(either: MakeSandbox, full: str, tmp_path: Path) -> None:
    app, home = folder(tmp_path / "app", kept="ours"), folder(tmp_path / "home", own="ours")
    skill = folder(tmp_path / "skill", rule="be quick")
    (home / ".codex/skills/one").mkdir(parents=True)
    data = folder(tmp_path / "data", new="ours")
    box = either(
        image=full,
        mounts=(
            Mount(str(app), "/app", False),
            Mount(str(home), "/home/agent", False),
            Mount(str(skill), "/home/agent/.codex/skills/one"),
            Mount(str(data), "/data", False),
        ),
    )
    seen = output(
        box,
        "find /app /home/agent /data -mindepth 1 | sort; cat /app/kept;"
        "echo made > /home/agent/.codex/skills/made; echo x > /home/agent/.codex/skills/one/rule"
        " || rm -rf /home/agent/.codex/skills/one || mv /home/agent/.codex/skills/one ~/else"
        " || rm /data/new",
    )
    assert seen.split() == [
        "/app/kept", "/data/new", "/home/agent/.codex", "/home/agent/.codex/skills",
        "/home/agent/.codex/skills/one", "/home/agent/.codex/skills/one/rule", "/home/agent/own",
        "ours",
    ]  # fmt: skip
    box.stop()
    assert (home / ".codex/skills/made").read_text() == "made\n"
    assert os.listdir(home / ".codex/skills/one") == [] and os.listdir(data) == []
    assert (skill / "rule").read_text() == "be quick"


def test_work_comes_back_as_it_was_left(either: MakeSandbox, tmp_path: Path) -> None:
    app = folder(tmp_path / "app", gone="x", changed="x", run="x")
    (app / "inner").mkdir()
    (app / "to").symlink_to("changed")
    (app / "run").chmod(0o755)
    before = app.stat().st_ino
    box = either(mounts=(Mount(str(app), "/app", False),))
    output(
        box,
        "rm gone; echo new > changed; ln -s /etc/passwd out; ln changed twin; mkfifo pipe;"
        "mkdir -p inner/deep; echo $'x' > $'inner/deep/n\\xff'; chmod 600 run; chmod 0 inner/deep",
    )
    box.stop()
    assert app.stat().st_ino == before
    for path in (app / "inner", app / "inner" / "deep"):
        path.chmod(0o755)
    names = sorted(os.fsencode(p.relative_to(app)) for p in app.rglob("*"))
    assert names == [
        b"changed", b"inner", b"inner/deep", b"inner/deep/n\xff", b"out", b"pipe", b"run", b"to",
        b"twin",
    ]  # fmt: skip
    assert (app / "changed").read_text() == "new\n" and (app / "to").readlink() == Path("changed")
    assert (app / "twin").samefile(app / "changed") and (app / "pipe").is_fifo()
    assert (app / "out").readlink() == Path("/etc/passwd")
    assert (app / "run").stat().st_mode & 0o777 == 0o600


def test_odd_times_and_the_rights_of_folders_are_kept(either: MakeSandbox, tmp_path: Path) -> None:
    app = folder(tmp_path / "app", old="x")
    os.utime(app / "old", ns=(1, 1))
    (app / "shared").mkdir()
    (app / "shared").chmod(0o1777)
    box = either(mounts=(Mount(str(app), "/app", False),))
    script = "stat -c %a shared; mkdir made; chmod 3775 made; stat -c %Y old"
    assert output(box, script).split() == ["1777", "0"]
    box.stop()
    assert [(app / n).stat().st_mode & 0o7777 for n in ("shared", "made")] == [0o1777, 0o3775]


@pytest.mark.parametrize(
    "script", ["rm -rf /app", "rm -rf /app; ln -s app /app", "rm -rf /app; echo x > /app"]
)
def test_a_workspace_that_root_takes_away_comes_back_empty(
    script: str, copied: MakeSandbox, tmp_path: Path
) -> None:
    app = folder(tmp_path / "app", file="x")
    box = copied(mounts=(Mount(str(app), "/app", False),), root=True)
    output(box, f"cd /; {script}")
    box.stop()
    assert os.listdir(app) == []


@pytest.mark.parametrize(
    "script", ["ln -s .log .log", "echo x > .log", "mkdir .log; ln -s own .log/own", "true"]
)
def test_what_is_in_the_way_of_what_is_wanted_is_no_fault_of_the_engines(
    script: str, copied: MakeSandbox, tmp_path: Path
) -> None:
    home = folder(tmp_path / "home", file="x")
    box = copied(mounts=(Mount(str(home), "/home/agent", False, wanted=".log/own"),))
    output(box, f"cd; {script}")
    box.stop()
    assert os.listdir(home / ".log/own") == [] and (home / "file").read_text() == "x"


def test_more_files_than_the_limit_allows_are_the_commands_fault(
    copied: MakeSandbox, copied_single: MakeSandbox, tmp_path: Path
) -> None:
    fill = ["bash", "-c", "for n in {1..1200}; do : > f$n; done"]
    app = folder(tmp_path / "app")
    fields = {"mounts": (Mount(str(app), "/app", False),), "limits": Limits(disk_mb=4)}
    assert copied_single(**fields).run(fill, deadline_s=20).limit == "disk"
    box = copied(**fields)
    assert box.run(fill, deadline_s=20).exit_code == 0
    with pytest.raises(CopyRefusedError, match="take more than 4 MB"):
        box.stop()


def test_too_much_is_refused_at_once_and_the_container_goes(
    mounted_or_copied: MakeSandbox, tmp_path: Path
) -> None:
    box = mounted_or_copied(limits=Limits(disk_mb=10))
    began = time.monotonic()
    with pytest.raises(CopyRefusedError, match="10 MB"):
        box.copy_out("/usr/lib", tmp_path / "out")
    box.stop()  # Of an archive that is not read to its end nothing is left open.
    assert time.monotonic() - began < 15


def test_tests_are_roots_and_nobody_elses(
    copied: MakeSandbox, copied_files: Copied, engine: DockerEngine, tmp_path: Path
) -> None:
    hidden = folder(tmp_path / "hidden", expected="gold")
    hidden.chmod(0o700)
    box = copied(mounts=(Mount(str(hidden), "/skillopt/hidden"),))
    tried = "cat /skillopt/hidden/expected; cd /skillopt; echo x > hidden/expected; rm -rf hidden;"
    more = "mv hidden else; chmod 777 hidden; cat hidden/expected"
    assert output(box, f"{tried} {more}") == "goldgold"
    mounts = (Mount(str(hidden), "/skillopt/hidden"),)
    spec = SandboxSpec("skillopt/agent-base:1", "/", mounts, root=True)
    with DockerSandbox(engine, spec, lambda: copied_files) as rooted:
        assert output(rooted, f"{tried} cat hidden/expected") == "goldgold"


def test_an_image_of_a_sandbox_has_nothing_that_was_copied(
    copied_files: Copied, engine: DockerEngine, tmp_path: Path
) -> None:
    app, tests = folder(tmp_path / "app", a="x"), folder(tmp_path / "tests", gold="x")
    skill, home = folder(tmp_path / "skill", s="x"), folder(tmp_path / "home", h="x")
    (home / ".codex/skills/one").mkdir(parents=True)
    mounts = (
        Mount(str(app), "/app", False),
        Mount(str(tests), "/skillopt/hidden"),
        Mount(str(home), "/home/agent", False),
        Mount(str(skill), "/home/agent/.codex/skills/one"),
    )
    kept = "skillopt/test-copied-kept:1"
    spec = SandboxSpec("skillopt/agent-base:1", "/app", mounts, keep_as=kept)
    with DockerSandbox(engine, spec, lambda: copied_files) as box:
        output(box, "echo made > b; mkdir ~/d; echo token > ~/secret; echo more > ~/d/more")
    try:
        assert (app / "b").read_text() == "made\n" and (home / "secret").exists()
        with DockerSandbox(engine, SandboxSpec(kept, "/"), lambda: copied_files) as box:
            left = "find /app /skillopt /home/agent -type f -size +0"
            assert output(box, f"{left} | sort") == ""
    finally:
        remove_image(engine, kept)


def test_content_has_one_volume_which_ends_with_its_maker(
    engine: DockerEngine, image: str, tmp_path: Path
) -> None:
    skill = folder(tmp_path / "one", rule="be quick")
    same, other = folder(tmp_path / "two", rule="be quick"), folder(tmp_path / "three", rule="x")
    assert content_digest(skill) == content_digest(same) != content_digest(other)
    files = Copied(engine)
    made = {files.contents.volume(source, image) for source in (skill, same, other)}
    assert len(made) == 2
    wanted = {"label": f"{KIND_LABEL}={CONTENT_KIND}"}
    there = {one["Name"] for one in engine.api.volumes(filters=wanted)["Volumes"]}
    assert made <= there
    files.close()
    there = {one["Name"] for one in engine.api.volumes(filters=wanted)["Volumes"] or ()}
    assert not made & there


def test_the_way_is_found_out_once_and_can_be_set(relay_image: str) -> None:
    with pytest.raises(BackendError, match="'copies' is not one of auto, mounts, copy"):
        DockerBackend(files="copies")  # type: ignore[arg-type]
    backend = DockerBackend(files="auto")
    try:
        began = time.monotonic()
        first = backend.files()
        assert time.monotonic() - began < 20
        began = time.monotonic()
        assert backend.files() is first and time.monotonic() - began < 0.01
    finally:
        backend.close()
