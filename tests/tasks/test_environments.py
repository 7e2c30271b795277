"""Which images are built, pulled and read for a task, by a backend that runs none."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from sandboxes.base import CopyRefusedError, ExecResult, SandboxError, SandboxSpec
from skillopt.core.types import BaseImage, Task
from skillopt.tasks.environment import (
    Environments,
    given,
    handed_image,
    prepare_workspace,
    simple_dockerfile,
)
from skillopt.tasks.harbor import read_task

BASE = "skillopt/agent-base:1"


@dataclass
class FakeBackend:
    """Builds and pulls by writing down that it was asked to."""

    images: bool = True
    asked: list[tuple[str, str, float | None]] = field(default_factory=list)
    lacking: set[str] = field(default_factory=set)
    specs: list[SandboxSpec] = field(default_factory=list)
    pwd: str = "/srv"
    code: int = 0
    link: str = ""
    """Where a working directory that is a link leads."""
    copied: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    ran: list[tuple[list[str], float]] = field(default_factory=list)

    def image(self, image: str, folder: Path | None, timeout_s: float | None) -> str:
        self.asked.append((image, folder.name if folder else "", timeout_s))
        if image in self.lacking:
            raise SandboxError(f"{image}: not found")
        return f"id of {image}"

    @contextmanager
    def sandbox(self, spec: SandboxSpec) -> Iterator[FakeBackend]:
        self.specs.append(spec)
        yield self

    def run(self, argv: list[str], deadline_s: float) -> ExecResult:
        self.ran.append((argv, deadline_s))
        said = self.pwd if argv == ["pwd"] else self.link
        return ExecResult(self.code, f"{said}\n".encode(), b"", False)

    def copy_out(self, place: str, target: Path) -> None:
        self.copied.append(place)
        if self.link and place != self.link:
            raise CopyRefusedError("a link")
        target.mkdir()
        (target / "of-the-image.txt").write_text(place)
        (target / ".claude" / "skills" / "mine").mkdir(parents=True)


class Keeping(FakeBackend):
    def remove_image(self, name: str) -> None:
        self.removed.append(name)


def a_task(folder: Path, dockerfile: str = f"FROM {BASE}\nWORKDIR /app\n", **files: str) -> Task:
    for name, text in {
        "task.toml": files.pop("toml", ""),
        "instruction.md": "x",
        "tests/test.sh": "x",
        **({"environment/Dockerfile": dockerfile} if dockerfile else {}),
        **files,
    }.items():
        (folder / "task" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "task" / name).write_text(text)
    return read_task(folder / "task")


def environments(backend: FakeBackend, **settings: Any) -> Environments:
    return Environments(cast(Any, backend), **settings)


RUN = f"FROM {BASE}\nWORKDIR /app\nRUN make\n"


def test_an_image_is_built_once_and_its_files_read_once(tmp_path: Path) -> None:
    task, backend = (
        a_task(tmp_path, RUN, toml="[environment]\nbuild_timeout_sec = 9\n"),
        FakeBackend(),
    )
    here = environments(backend)
    for name in ("one", "two"):
        image = here.prepare(task, tmp_path / name)
        assert (tmp_path / name / "of-the-image.txt").read_text() == "/app"
        assert not (tmp_path / name / ".claude" / "skills").exists()
    ((built, folder, timeout_s),) = backend.asked
    assert built.startswith("skillopt/task:") and len(built) == 26 and image == f"id of {built}"
    assert (folder, timeout_s) == ("environment", 9.0) and backend.copied == ["/app"]
    assert backend.specs[0].limits.disk_mb == task.disk_mb and backend.specs[0].image == image
    assert here.image(task) == image and here.verifier_image(task, image) == image
    here.close()


def test_a_simple_image_is_pulled_and_read_unless_it_is_the_agents_base(tmp_path: Path) -> None:
    for image, read in ((BASE, []), ("own:1", ["/app"])):
        backend = FakeBackend()
        task = a_task(tmp_path, f"FROM {image}\nWORKDIR /app\nCOPY x.txt ./\n", **{
            "environment/x.txt": "x"})  # fmt: skip
        target = tmp_path / image.replace("/", "-")
        assert environments(backend).prepare(task, target) == f"id of {image}"
        assert backend.copied == read and (target / "x.txt").read_text() == "x"
        assert backend.asked == [(image, "", None)]
    assert environments(FakeBackend(images=False)).image(task) == "id of own:1"


def test_sandboxes_without_images_do_not_read_any(tmp_path: Path) -> None:
    backend = FakeBackend(images=False)
    task = a_task(tmp_path, "FROM own:1\nWORKDIR /app\n")
    environments(backend).prepare(task, tmp_path / "there")
    assert not backend.copied and not list((tmp_path / "there").iterdir())
    with pytest.raises(SandboxError, match="task: needs a container image of its own"):
        environments(backend).prepare(a_task(tmp_path, RUN), tmp_path / "other")


def test_a_named_image_that_cannot_be_had_is_built_from_its_dockerfile(tmp_path: Path) -> None:
    toml = '[environment]\ndocker_image = "theirs:1"\n'
    backend = FakeBackend(lacking={"theirs:1"})
    task, here = a_task(tmp_path, RUN, toml=toml), environments(backend)
    for _ in range(2):
        assert here.image(task).startswith("id of skillopt/task:")
    assert [image for image, *_ in backend.asked].count("theirs:1") == 1
    there = FakeBackend()
    assert environments(there).image(task) == "id of theirs:1" and len(there.asked) == 1
    (tmp_path / "task" / "environment" / "Dockerfile").unlink()
    with pytest.raises(SandboxError, match="theirs:1: not found"):
        environments(backend).image(task)


@pytest.mark.parametrize(
    ("link", "code", "copied"),
    [
        ("/real", 0, ["/app", "/real"]),
        ("/real", 1, None),
        ("/", 0, None),
        ("/app2", 0, ["/app", "/app2"]),
    ],
)
def test_a_working_directory_that_is_a_link_is_followed(
    link: str, code: int, copied: list[str] | None, tmp_path: Path
) -> None:
    backend = FakeBackend(link=link, code=code)
    task, here = a_task(tmp_path, RUN), environments(backend)
    if copied is None:
        with pytest.raises(CopyRefusedError):
            here.prepare(task, tmp_path / "there")
    else:
        here.prepare(task, tmp_path / "there")
        assert backend.copied == copied
        assert backend.ran == [(["readlink", "-f", "--", "/app"], 60.0)]


@pytest.mark.parametrize(
    ("pwd", "code", "workdir"), [("/srv", 0, "/srv"), ("/", 0, "/app"), ("/srv", 1, "/app")]
)
def test_a_working_directory_that_only_the_image_knows_is_asked_once(
    pwd: str, code: int, workdir: str, tmp_path: Path
) -> None:
    backend = FakeBackend(pwd=pwd, code=code)
    here, task = environments(backend), a_task(tmp_path, f"FROM {BASE}\nRUN make\n")
    assert not task.workdir_known
    for _ in range(2):
        settled = here.settled(task)
        assert (settled.workdir, settled.workdir_known) == (workdir, True)
    assert [spec.workdir for spec in backend.specs].count("") == 1
    (asked,) = [spec for spec in backend.specs if not spec.workdir]
    assert asked.single_command and asked.image.startswith("id of skillopt/task:")
    assert (["pwd"], 60.0) in backend.ran
    assert here.settled(settled) == settled
    without = environments(FakeBackend(images=False))
    assert without.settled(replace(task, workspace=lambda folder: None)).workdir == "/app"


OUTSIDE = "test -f /etc/made\n"


@pytest.mark.parametrize(
    ("handover", "keeps", "changes", "files", "handed"),
    [
        ("auto", True, {}, {"tests/test.sh": OUTSIDE}, True),
        ("auto", True, {}, {}, False),
        ("auto", False, {}, {"tests/test.sh": OUTSIDE}, False),
        ("container", True, {}, {}, True),
        ("container", False, {}, {}, False),
        ("workdir", True, {}, {"tests/test.sh": OUTSIDE}, False),
        ("container", True, {"question": True}, {}, False),
        ("container", True, {"verify": lambda *a: None}, {}, False),
        ("container", True, {"verifier_image": "judge:1"}, {}, False),
        ("container", True, {}, {"tests/Dockerfile": f"FROM {BASE}\n"}, False),
    ],
)
def test_a_container_is_handed_over_where_it_can_be_and_is_needed(
    handover: str, keeps: bool, changes: Any, files: dict[str, str], handed: bool, tmp_path: Path
) -> None:
    backend = Keeping() if keeps else FakeBackend()
    here = environments(backend, handover=handover)
    settled = here.settled(replace(a_task(tmp_path, **files), **changes))
    assert settled.handover is handed and here.keeps is keeps
    here.discard("skillopt/handed:x")
    assert backend.removed == (["skillopt/handed:x"] if keeps else [])


def test_nobody_is_root_if_the_config_says_so(tmp_path: Path) -> None:
    task = replace(a_task(tmp_path), root=True, verifier_root=True)
    for root in (True, False):
        settled = environments(FakeBackend(), root=root).settled(task)
        assert settled.root is settled.verifier_root is root
    one = environments(FakeBackend(), root=False).settled(replace(task, root=False))
    assert one.verifier_root is False


def test_a_verifier_may_have_an_image_of_its_own(tmp_path: Path) -> None:
    backend = FakeBackend()
    task = a_task(tmp_path, **{"tests/Dockerfile": f"FROM {BASE}\nRUN x\n"})
    image = environments(backend).verifier_image(task, "the task's")
    assert image.startswith("id of skillopt/task:") and backend.asked[0][1] == "tests"
    named = replace(a_task(tmp_path), verifier_image="judge:1")
    assert environments(FakeBackend()).verifier_image(named, "the task's") == "id of judge:1"
    with pytest.raises(SandboxError, match="needs a container image of its own"):
        environments(FakeBackend(images=False)).verifier_image(named, "the task's")


def test_the_image_of_all_tasks_is_built_first(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    base = BaseImage("skillopt/own:1", tmp_path / "made", "/app", file="environment.yaml")
    backend = FakeBackend()
    task = replace(
        a_task(tmp_path), base=base, workspace=lambda folder: None, docker_image=base.name
    )
    assert environments(backend).prepare(task, tmp_path / "there") == f"id of {base.name}"
    assert backend.asked == [(base.name, "made", None)]
    there = replace(task, base=replace(base, folder=None))
    assert environments(backend).image(there) == f"id of {base.name}"
    assert backend.asked[1:] == [(base.name, "", None)]
    backend.lacking = {base.name}
    with pytest.raises(
        SandboxError, match=r"^tasks\.environment: environment\.yaml: skillopt/own:1"
    ):
        environments(backend).image(task)
    with pytest.raises(SandboxError, match="needs a container image"):
        environments(FakeBackend(images=False)).image(task)


def test_a_workspace_that_is_written_keeps_its_skills(tmp_path: Path) -> None:
    def workspace(folder: Path) -> None:
        (folder / ".claude" / "skills").mkdir(parents=True)

    backend = FakeBackend()
    task = replace(a_task(tmp_path), workspace=workspace)
    assert environments(backend).prepare(task, tmp_path / "there") == f"id of {BASE}"
    assert (tmp_path / "there" / ".claude" / "skills").is_dir()
    assert (
        environments(backend).image(replace(task, workspace=None, question=True)) == f"id of {BASE}"
    )


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("Task_1", "skillopt/handed:task-1-"),
        ("--Ä--", "skillopt/handed:task-"),
        ("a" * 30, f"skillopt/handed:{'a' * 24}-"),
    ],
)
def test_a_handed_image_has_a_name_of_its_own(name: str, begin: str) -> None:
    one, other = handed_image(name), handed_image(name)
    assert one != other and one.startswith(begin) and len(one) == len(begin) + 16


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"verifier_env": (("A", "b"),), "verifier_timeout_s": 3.0, "digest": "x"}, True),
        ({"instruction": "y"}, False),
        ({"follow_ups": ("y",)}, False),
        ({"agent_timeout_s": 3.0}, False),
        ({"memory_mb": 3}, False),
        ({"cpus": 3.0}, False),
        ({"disk_mb": 3}, False),
        ({"workdir": "/x"}, False),
        ({"docker_image": "x"}, False),
        ({"env": (("A", "b"),)}, False),
        ({"question": True}, False),
        ({"led": True}, False),
        ({"max_turns": 3}, False),
        ({"root": True}, False),
        ({"workspace": subprocess.run}, False),
        ({"companion": subprocess.run}, False),
        ({"folder": Path("/nowhere")}, False),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_an_agent_gets_has_a_digest(
    changes: dict[str, Any], same: bool, tmp_path: Path
) -> None:
    task = a_task(tmp_path)
    assert (given(replace(task, **changes)) == given(task)) is same and len(given(task)) == 64


def test_what_cannot_be_identified_has_no_digest(tmp_path: Path) -> None:
    class Odd:
        def __init__(self, log: Any) -> None:
            self.log = log

        def __call__(self, folder: Path) -> None: ...

    with (tmp_path / "log").open("w") as log:
        assert given(replace(a_task(tmp_path), workspace=Odd(log))) == ""
    missing = replace(a_task(tmp_path), folders={"/x": tmp_path / "missing"})
    assert given(missing) == ""


def test_a_working_directory_decides_whether_a_container_is_handed_over(tmp_path: Path) -> None:
    for pwd, handed in (("/srv", True), ("/etc", False)):
        task = a_task(tmp_path, f"FROM {BASE}\nRUN make\n", **{"tests/test.sh": OUTSIDE})
        assert not task.handover and not task.workdir_known
        assert environments(Keeping(pwd=pwd)).settled(task).handover is handed


def test_a_directory_that_leads_to_itself_or_nowhere_cannot_be_copied(tmp_path: Path) -> None:
    class Closed(FakeBackend):
        def copy_out(self, place: str, target: Path) -> None:
            self.copied.append(place)
            raise CopyRefusedError("too large")

    for link in ("/app", ""):
        backend = Closed(link=link)
        with pytest.raises(CopyRefusedError):
            environments(backend).prepare(a_task(tmp_path, RUN), tmp_path / "there")
        assert backend.copied == ["/app"]


def test_what_was_read_of_images_is_removed_at_the_end(tmp_path: Path) -> None:
    here = environments(FakeBackend())
    here.prepare(a_task(tmp_path, RUN), tmp_path / "there")
    kept = Path(here._cache.name)
    assert [file.name for file in kept.iterdir()] == ["0"]
    other = replace(a_task(tmp_path, RUN), workdir="/other")
    here.prepare(other, tmp_path / "other")
    assert (tmp_path / "other" / "of-the-image.txt").read_text() == "/other"
    here.close()
    assert not kept.exists()


def test_an_image_is_pulled_once(tmp_path: Path) -> None:
    backend = FakeBackend()
    here = environments(backend)
    assert here.present("own:1") == here.present("own:1") == "id of own:1"
    assert backend.asked == [("own:1", "", None)]


@pytest.mark.parametrize(
    ("files", "simple"),
    [
        ({"environment/x.txt": "x"}, True),
        ({}, False),
        ({"environment/x.txt/in/y": "x"}, True),
        ({"environment/x.txt": "x", "environment/.dockerignore": ""}, False),
        ({"environment/x.txt": "x", "toml": '[environment]\ndocker_image = "a:1"\n'}, False),
    ],
)
def test_a_dockerfile_that_copies_alone_is_simple(
    files: dict[str, str], simple: bool, tmp_path: Path
) -> None:
    task = a_task(tmp_path, f"FROM {BASE}\nWORKDIR /app\nCOPY x.txt ./\n", **files)
    assert (simple_dockerfile(task) is not None) is simple


@pytest.mark.parametrize("place", ["x.txt", "x.txt/in"])
def test_links_are_the_builders(place: str, tmp_path: Path) -> None:
    task = a_task(tmp_path, f"FROM {BASE}\nWORKDIR /app\nCOPY x.txt ./\n", **{"environment/y": "y"})
    link = task.folder / "environment" / place
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(task.folder / "environment" / "y")
    assert simple_dockerfile(task) is None


def test_what_is_copied_lies_where_the_dockerfile_says(tmp_path: Path) -> None:
    lines = "COPY a.txt ./\nCOPY a.txt b.txt sub/\nCOPY a.txt c.txt\nCOPY d ./\nCOPY a.txt d2/e/f\n"
    task = a_task(tmp_path, f"FROM {BASE}\nWORKDIR /app\n{lines}", **{
        "environment/a.txt": "a", "environment/b.txt": "b", "environment/d/in/x": "x",
    })  # fmt: skip
    simple, target = simple_dockerfile(task), tmp_path / "new" / "there"
    assert simple is not None
    (target / "in").mkdir(parents=True)
    (target / "in" / "old").write_text("old")
    (target / "c.txt").mkdir()
    prepare_workspace(task, simple, target)
    prepare_workspace(task, replace(simple, copies=()), tmp_path / "other" / "new")
    assert [*(tmp_path / "other" / "new").iterdir()] == []
    found = {
        path.relative_to(target).as_posix(): path.read_text()
        for path in target.rglob("*") if path.is_file()
    }  # fmt: skip
    assert found == {
        "a.txt": "a", "sub/a.txt": "a", "sub/b.txt": "b", "c.txt/a.txt": "a", "in/x": "x",
        "in/old": "old", "d2/e/f": "a",
    }  # fmt: skip


def test_an_environment_counts_with_its_skills(tmp_path: Path) -> None:
    plain = a_task(tmp_path / "a")
    skilled = a_task(tmp_path / "b", **{"environment/.claude/skills/x/SKILL.md": "x"})
    other = a_task(tmp_path / "c", **{"environment/x": "x"})
    assert len({given(plain), given(skilled), given(other)}) == 3
    assert given(a_task(tmp_path / "d")) == given(plain)
