"""Folders that tasks let agents read: what is refused, and what they are identified by."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from sandboxes.docker_backend import DockerBackend
from sandboxes.errors import BackendError
from sandboxes.local_backend import LocalBackend
from skillopt.config.schema import Config
from skillopt.core.types import Reward, Task
from skillopt.rollouts.plugins import Plugins
from skillopt.rollouts.prepare import prepare
from skillopt.tasks.environment import given
from skillopt.tasks.folders import check_folders, with_folders
from skillopt.tasks.harbor import TaskError
from tests.helpers.cells import examples


def judge(task: Task, workspace: Path, answer: str) -> Reward:
    return Reward(1.0)


def task(folder: Path, place: str = "/corpus", **changes: object) -> Task:
    made = Task(name="t", instruction="i", digest="d", folders={place: folder}, verify=judge)
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.txt").write_text("a")
    return tmp_path / "corpus"


def another(folder: Path, name: str, files: dict[str, str]) -> Path:
    for file, text in files.items():
        (folder / name / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / name / file).write_text(text)
    return folder / name


def test_the_content_and_its_place_count_and_the_path_here_does_not(tmp_path: Path) -> None:
    same = [another(tmp_path, name, {"a.txt": "a"}) for name in ("one", "two")]
    others = [
        another(tmp_path, "text", {"a.txt": "b"}),
        another(tmp_path, "name", {"b.txt": "a"}),
        another(tmp_path, "more", {"a.txt": "a", "s/b.txt": ""}),
    ]
    digests = [with_folders(task(folder)).digest for folder in (*same, *others)]
    digests.append(with_folders(task(same[0], "/books")).digest)
    assert digests[0] == digests[1] and len(set(digests)) == 5
    givens = [given(with_folders(task(folder))) for folder in (*same, *others)]
    assert givens[0] == givens[1] and len(set(givens)) == 4


def test_a_task_without_folders_is_as_before(tmp_path: Path) -> None:
    plain = replace(task(tmp_path), folders={})
    assert with_folders(plain) is plain
    # Fixed: it is in the results of earlier versions.
    assert given(plain) == "008f5b9fd7f2ab35e21a491d0ab0dba82d68efcf2da439dff7214e428f35272c"


def test_a_relative_folder_becomes_absolute(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(corpus.parent)
    assert with_folders(task(Path("corpus"))).folders == {"/corpus": corpus.resolve()}


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("corpus", "not an absolute one"),
        ("/corpus/", "not an absolute one"),
        ("/a/../corpus", "not an absolute one"),
        ("//corpus", "not an absolute one"),
        ("/", "another use"),
        ("/app", "/app in the sandbox has another use"),
        ("/app/corpus", "/app in the sandbox has another use"),
        ("/home", "/home/agent in the sandbox has another use"),
        ("/opt/skillopt/skills", "another use"),
        ("/proc/1", "another use"),
    ],
)
def test_places_that_are_refused(corpus: Path, place: str, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        with_folders(task(corpus, place))


def test_folders_in_one_another_are_refused(corpus: Path) -> None:
    nested = task(corpus, folders={"/corpus": corpus, "/corpus/more": corpus})
    with pytest.raises(TaskError, match="one of /corpus and /corpus/more is in the other"):
        with_folders(nested)
    apart = task(corpus, folders={"/corpus": corpus, "/corpus-2": corpus})
    assert len(with_folders(apart).folders) == 2


@drawn(st.lists(st.sampled_from(["a", "..", ".", "", "app", "b c"]), max_size=5))
@settings(max_examples=examples(100))
def test_a_place_is_refused_or_is_its_own_normal_form(parts: list[str]) -> None:
    place = "/" + "/".join(parts)
    try:
        with_folders(task(Path(__file__).parent / "benchmarks" / "parity", place))
    except TaskError:
        return
    assert os.path.normpath(place) == place and not f"{place}/".startswith("/app/")


def test_what_agents_cannot_read_is_refused(corpus: Path) -> None:
    with pytest.raises(TaskError, match="no such folder"):
        with_folders(task(corpus / "b"))
    with pytest.raises(TaskError, match="no such folder"):
        with_folders(task(corpus / "a.txt"))
    (corpus / "a.txt").chmod(0o000)
    with pytest.raises(TaskError, match=r"a\.txt: agents cannot read it; try: chmod -R a\+rX"):
        with_folders(task(corpus))
    (corpus / "a.txt").chmod(0o644)
    assert with_folders(task(corpus))
    (corpus / "out").symlink_to(corpus.parent.parent)
    assert with_folders(task(corpus)), "what has been read once is not read again"


@pytest.mark.parametrize(
    ("folder", "file", "refused"),
    [
        (0o755, 0o644, ""), (0o705, 0o604, ""), (0o754, 0o644, "corpus"),
        (0o751, 0o644, "corpus"), (0o755, 0o640, r"a\.txt"), (0o777, 0o666, ""),
    ],
)  # fmt: skip
def test_of_roots_files_agents_read_what_is_everybodys(
    folder: int, file: int, refused: str, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    (corpus / "a.txt").chmod(file)
    corpus.chmod(folder)
    if refused:
        with pytest.raises(TaskError, match=rf"{refused}: agents cannot read it"):
            with_folders(task(corpus))
    else:
        assert with_folders(task(corpus)).digest != "d"


def test_a_link_that_leaves_the_folder_is_refused(corpus: Path) -> None:
    (corpus / "out").symlink_to(corpus.parent.parent)
    with pytest.raises(TaskError, match="out"):
        with_folders(task(corpus))


def test_sandboxes_that_isolate_nothing_are_refused(corpus: Path, tmp_path: Path) -> None:
    asked = with_folders(task(corpus))
    with pytest.raises(BackendError, match=r"sandbox\.kind: .*/corpus.*set sandbox.kind to docker"):
        check_folders(asked, LocalBackend())
    check_folders(asked, DockerBackend)
    check_folders(replace(asked, question=True), LocalBackend())
    check_folders(replace(asked, folders={}), LocalBackend())
    config = Config.model_validate(
        {
            "name": "n",
            "runs": tmp_path / "runs",
            "tasks": {"source": "words"},
            "skill": {"init": "empty", "name": "n", "description": "d"},
            "harness": {"name": "direct"},
            "sandbox": {"kind": "local"},
            "target": {"upstream": "sim", "name": "sim-1"},
            "optimizer": {"upstream": "sim", "name": "sim-1"},
            "upstreams": {"sim": {"kind": "sim"}},
        }
    )
    tasks = {"train": [task(corpus)], "val": [], "test": []}
    with pytest.raises(BackendError, match=r"sandbox\.kind"):
        prepare(config, plugins=Plugins(tasks=tasks))  # type: ignore[arg-type]
