"""What a task starts from, by which of its files are there, and what its scripts ask for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from skillopt.core.files import digest_of
from skillopt.core.types import BaseImage, Task, TaskNeeds, Triggers
from skillopt.tasks.harbor import (
    Scored,
    TaskError,
    folder_digest,
    has_own_image,
    has_splits,
    has_tests,
    own_skills,
    read_splits,
    read_task,
    read_tasks,
    task_folders,
)
from skillopt.tasks.tables import Table

DOCKERFILE = {"environment/Dockerfile": "FROM a\nWORKDIR /work\n"}
TEST = {"tests/test.sh": "true\n"}
WHOLE = {**DOCKERFILE, **TEST}
ANSWER = {"tests/answer.txt": "food"}
OWN = BaseImage("own:1", workdir="/own")
IMAGE = '[environment]\ndocker_image = "told:1"\n'
COMPOSE = "environment/docker-compose.yaml"
COMPOSED = {COMPOSE: "services: {main: {image: 'composed:1'}}\n"}


def write(folder: Path, files: Mapping[str, str], toml: str = "") -> Path:
    for name, text in {"task.toml": toml, "instruction.md": "x", **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("scored", "metadata", "without"),
    [
        (Scored(), {}, False),
        (Scored(verifier=True), {}, True),
        (Scored(judge=True), {}, False),
        (Scored(), {"opened": []}, True),
        (Scored(), {"not_opened": []}, True),
        (Scored(), {"no_others_opened": True}, True),
        (Scored(), {"expectations": []}, False),
        (Scored(), {"expected_output": "x", "opened": []}, False),
        (Scored(judge=True), {"expectations": []}, True),
        (Scored(judge=True), {"expected_output": "x"}, True),
        (Scored(verifier=True), {"expected_output": "x"}, True),
        (Scored(), {"category": "x"}, False),
    ],
)
def test_which_tasks_need_no_tests(scored: Scored, metadata: dict[str, Any], without: bool) -> None:
    assert scored.without_tests(Table(Path("task.toml"), "metadata.", metadata)) is without


@pytest.mark.parametrize(
    ("files", "toml", "scored", "own", "image", "base", "workdir", "known", "kind"),
    [
        (WHOLE, "", False, None, None, None, "/work", True, "built"),
        (WHOLE, "", False, OWN, None, None, "/work", True, "built"),
        (DOCKERFILE, "", True, None, None, None, "/work", True, "built"),
        # Only the image knows its working directory, whatever an unused Dockerfile says.
        (WHOLE, IMAGE, False, None, "told:1", None, "/app", False, "built"),
        (TEST, IMAGE, False, None, "told:1", None, "/app", False, "built"),
        (TEST, IMAGE, False, OWN, "told:1", None, "/app", False, "built"),
        (TEST, IMAGE + 'workdir = "/w"', False, None, "told:1", None, "/w", True, "built"),
        ({**TEST, **COMPOSED}, "", False, None, "composed:1", None, "/app", False, "built"),
        ({**TEST, **COMPOSED}, IMAGE, False, None, "told:1", None, "/app", False, "built"),
        ({}, "", True, None, None, None, "/app", True, "empty"),
        ({}, '[environment]\nworkdir = "/w"', True, None, None, None, "/w", True, "empty"),
        ({}, "", True, OWN, "own:1", OWN, "/own", True, "built"),
        (TEST, "", False, OWN, "own:1", OWN, "/own", True, "built"),
        (TEST, '[environment]\nworkdir = "/w"', False, OWN, "own:1", OWN, "/w", True, "built"),
        (TEST, "", False, BaseImage("b"), "b", BaseImage("b"), "/app", False, "built"),
        (ANSWER, "", False, None, None, None, "/app", True, "question"),
        (ANSWER, "", True, None, None, None, "/app", True, "question"),
        (ANSWER, "", False, OWN, "own:1", OWN, "/own", True, "question"),
    ],
)
def test_what_a_task_starts_from(
    tmp_path: Path,
    files: dict[str, str],
    toml: str,
    scored: bool,
    own: BaseImage | None,
    image: str | None,
    base: BaseImage | None,
    workdir: str,
    known: bool,
    kind: str,
) -> None:
    folder = write(tmp_path / "t", files, toml)
    task = read_task(folder, scored=Scored(verifier=scored), own=own)
    assert (task.docker_image, task.base) == (image, base)
    assert (task.workdir, task.workdir_known) == (workdir, known)
    assert task.question is (kind == "question")
    assert (task.workspace is not None) is (kind == "empty")
    assert has_tests(task) is ("tests/test.sh" in files or task.question)
    plain = folder_digest(folder)
    assert task.digest == (digest_of([plain, base.name]) if base else plain)
    if task.workspace is not None:
        (tmp_path / "w").mkdir()
        task.workspace(tmp_path / "w")
        assert os.listdir(tmp_path / "w") == []


@pytest.mark.parametrize(
    ("files", "scored", "own", "said"),
    [
        (TEST, False, None, "environment/Dockerfile: missing; add it, or set"),
        (DOCKERFILE, False, None, "tests/test.sh: missing; it writes the reward"),
        ({}, False, OWN, "tests/test.sh: missing"),
        ({**DOCKERFILE, **ANSWER}, False, None, "tests/test.sh: missing"),
        # A folder of an environment is one, also if nothing describes its image.
        ({**TEST, "environment/in.txt": ""}, False, OWN, "environment/Dockerfile: missing"),
        ({**TEST, "environment/in.txt": ""}, True, None, "environment/Dockerfile: missing"),
        ({**ANSWER, "environment/in.txt": ""}, False, None, "environment/Dockerfile: missing"),
        ({**TEST, COMPOSE: "services: {main: {}}"}, False, OWN, "environment/Dockerfile: missing"),
        ({**WHOLE, COMPOSE: "services: {db: {}}"}, False, None, "services: db: not supported"),
    ],
)
def test_what_no_task_can_start_from(
    tmp_path: Path, files: dict[str, str], scored: bool, own: BaseImage | None, said: str
) -> None:
    with pytest.raises(TaskError, match=said):
        read_task(write(tmp_path / "t", files), scored=Scored(verifier=scored), own=own)


def test_variables_of_a_task_win_over_those_of_its_compose_file(tmp_path: Path) -> None:
    text = "services: {main: {environment: {B: composed, C: composed}, working_dir: /c}}\n"
    toml = '[environment.env]\nB = "told"\nA = "told"\n[solution.env]\nS = "s"\n'
    task = read_task(write(tmp_path / "t", {**WHOLE, COMPOSE: text}, toml))
    assert task.env == (("A", "told"), ("B", "told"), ("C", "composed"))
    assert (task.solution_env, task.verifier_env) == ((("S", "s"),), ())
    assert task.workdir == "/c"
    toml = '[environment]\nworkdir = "/t"\n'
    assert read_task(write(tmp_path / "t", {}, toml)).workdir == "/t"


SCRIPTS = {
    "tests/test.sh": "apt-get install -y jq\ncurl https://a.org/x\nservice zed start\n",
    "solution/solve.sh": "useradd bob\ncurl https://b.org/x\nservice nginx start\n",
}


def test_what_the_scripts_of_a_task_need(tmp_path: Path) -> None:
    task = read_task(write(tmp_path / "t", {**DOCKERFILE, **SCRIPTS}))
    assert task.needs == TaskNeeds(
        root="useradd",
        verifier_root="apt-get install",
        hosts=("a.org", "deb.debian.org"),
        solution_hosts=("b.org",),
        services=("nginx", "zed"),
    )
    assert task.root and task.verifier_root and not task.handover
    # Hosts and services are what others than its author want to know.
    assert len(task.notes) == 2 and "useradd" in task.notes[0] and "apt-get" in task.notes[1]
    toml = '[agent]\nuser = "bob"\n[verifier]\nuser = "bob"\n'
    task = read_task(write(tmp_path / "t", {}, toml))
    assert (task.needs.root, task.needs.verifier_root) == ("", "")
    assert not task.root and not task.verifier_root and not task.notes


@pytest.mark.parametrize(
    ("toml", "composed", "root", "verifier_root"),
    [
        ("", "", "", ""),
        ("", "root", "user = 'root'", ""),
        ('[agent]\nuser = "bob"', "root", "", ""),
        ('[agent]\nuser = "root"', "bob", "user = 'root'", ""),
        ("[verifier]\nuser = 0", "bob", "", "user = 0"),
    ],
)
def test_the_user_of_a_compose_file_is_the_agents_alone(
    tmp_path: Path, toml: str, composed: str, root: str, verifier_root: str
) -> None:
    compose = f"services: {{main: {{user: '{composed}'}}}}\n"
    needs = read_task(write(tmp_path / "t", {**WHOLE, COMPOSE: compose}, toml)).needs
    assert (needs.root, needs.verifier_root) == (root, verifier_root)


LOOKS = "cat /etc/d /etc/c /etc/b /etc/a /work/x\n"


@pytest.mark.parametrize(
    ("files", "toml", "places", "reach", "handover"),
    [
        (
            {"tests/test.sh": LOOKS},
            "",
            ("/etc/a", "/etc/b", "/etc/c", "/etc/d"),
            "the verifier gets the agent's whole container: its tests look at "
            "/etc/a, /etc/b, /etc/c",
            True,
        ),
        (
            {"tests/test.sh": "cat /etc/a\n"},
            IMAGE,
            ("/etc/a",),
            "the verifier gets the agent's whole container: its tests look at /etc/a "
            "(unless that is in the image's working directory)",
            False,
        ),
        (
            {"tests/test.sh": "cat /etc/a\n", "tests/Dockerfile": "FROM b\n"},
            "",
            (),
            "its tests get the working directory alone in their own image, but look at /etc/a",
            False,
        ),
        ({"tests/test.sh": "cat /work/x x\n"}, "", (), "", False),
    ],
)
def test_tests_that_look_elsewhere(
    tmp_path: Path,
    files: dict[str, str],
    toml: str,
    places: tuple[str, ...],
    reach: str,
    handover: bool,
) -> None:
    task = read_task(write(tmp_path / "t", {**DOCKERFILE, **files}, toml))
    assert (task.needs.places, task.needs.reach, task.handover) == (places, reach, handover)
    assert task.notes == ((reach,) if reach else ())


def test_a_question_looks_nowhere(tmp_path: Path) -> None:
    task = read_task(write(tmp_path / "t", {**ANSWER, "tests/notes.txt": "/etc/a"}))
    assert task.needs == TaskNeeds() and not task.handover


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"environment/Dockerfile": "COPY s /root/.claude/skills\n"}, True),
        ({"environment/deep/Dockerfile": "COPY s /root/.codex/skill/x\n"}, True),
        ({"environment/.agents/skills/x/SKILL.md": "x"}, True),
        ({"environment/home/.opencode/skills/x": "x"}, True),
        ({"environment/skills/x/SKILL.md": "x"}, False),
        ({"environment/Dockerfile": "COPY s /root/.claude/skillset\n"}, False),
        ({"environment/Dockerfile": "COPY s /root/claude/skills\n"}, False),
        ({"environment/notes.txt": "/root/.claude/skills\n"}, False),
        ({"tests/Dockerfile": "COPY s /root/.claude/skills\n"}, False),
        ({"environment/Dockerfile/x": "/root/.claude/skills\n"}, False),
    ],
)
def test_skills_that_a_task_brings(tmp_path: Path, files: dict[str, str], found: bool) -> None:
    assert own_skills(write(tmp_path, files)) is found


def test_which_tests_have_an_image_of_their_own(tmp_path: Path) -> None:
    assert not has_own_image(tmp_path, None)
    assert has_own_image(tmp_path, "a")
    toml = '[verifier.environment]\ndocker_image = "told:1"\n'
    assert read_task(write(tmp_path / "t", WHOLE, toml)).verifier_image == "told:1"
    task = read_task(write(tmp_path / "t", {"tests/Dockerfile": "FROM b\n"}))
    assert task.verifier_image is None and has_own_image(task.folder, None)


@pytest.mark.parametrize(
    ("artifact", "files", "refused"),
    [
        ("/data/x", {}, False),
        ("/data/x", {"tests/Dockerfile": "FROM b\n"}, True),
        ("/work/x", {"tests/Dockerfile": "FROM b\n"}, False),
        ("/app/x", {"tests/Dockerfile": "FROM b\n"}, True),
        # Where only the image knows, the usual one is taken for it.
        ("/app/x", {"tests/Dockerfile": "FROM b\n", "environment/Dockerfile": "FROM a\n"}, False),
        ("/work/x", {"tests/Dockerfile": "FROM b\n", "environment/Dockerfile": "FROM a\n"}, True),
    ],
)
def test_results_elsewhere_and_tests_in_their_own_image(
    tmp_path: Path, artifact: str, files: dict[str, str], refused: bool
) -> None:
    folder = write(tmp_path / "t", {**WHOLE, **files}, f'artifacts = ["x", "{artifact}"]\n')
    if refused:
        with pytest.raises(TaskError, match=rf"artifacts: '{artifact}' is outside of the working"):
            read_task(folder)
    else:
        read_task(folder)


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("out.txt", True), ("a-b+c@d", True), ("-x", True), ("", True), ("x", True),
        (".hidden", False), ("..", False), ("a/b", False), ("a b", False), ("/a", False),
    ],
)  # fmt: skip
def test_names_of_the_file_with_the_answer(tmp_path: Path, name: str, allowed: bool) -> None:
    folder = write(tmp_path / "t", WHOLE, f'[metadata]\nanswer_file = "{name}"\n')
    if allowed:
        assert read_task(folder).answer_file == name
    else:
        with pytest.raises(TaskError, match=r"metadata\.answer_file: .* without folders"):
            read_task(folder)


@pytest.mark.parametrize("key", ["follow_ups", "expectations", "opened", "not_opened"])
def test_lists_of_texts(tmp_path: Path, key: str) -> None:
    folder = write(tmp_path / "t", WHOLE, f'[metadata]\n{key} = [" a ", "b"]\n')
    task = read_task(folder)
    found = getattr(task.triggers or task, key)
    assert found == ("a", "b")
    for wrong in ('["a", 3]', '["a", " "]'):
        with pytest.raises(TaskError, match=rf"metadata\.{key}: must be a list of strings"):
            read_task(write(folder, {}, f"[metadata]\n{key} = {wrong}\n"))


def test_all_that_a_task_says_about_openings(tmp_path: Path) -> None:
    toml = '[metadata]\nopened = ["a"]\nnot_opened = ["b"]\nno_others_opened = true\n'
    task = read_task(write(tmp_path / "t", DOCKERFILE, toml))
    assert task.triggers == Triggers(("a",), ("b",), True)


def test_a_zero_byte_in_an_instruction(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"instruction\.md: has a zero byte"):
        read_task(write(tmp_path / "t", {**WHOLE, "instruction.md": "a\0b"}))


def test_a_digest_is_of_files_and_links_and_not_of_empty_folders(tmp_path: Path) -> None:
    write(tmp_path, {"a": "1", "b": "2"})
    before = folder_digest(tmp_path)
    (tmp_path / "empty").mkdir()
    assert folder_digest(tmp_path) == before
    (tmp_path / "link").symlink_to("a")
    to_a = folder_digest(tmp_path)
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("b")
    assert len({before, to_a, folder_digest(tmp_path)}) == 3
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TaskError, match=r"pipe: neither a file nor a folder; remove it"):
        folder_digest(tmp_path)


def in_set(folder: Path, *names: str) -> None:
    for name in names:
        write(folder / name, TEST)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("a", "b"), False),
        (("train/a", "val/b", "test/c"), True),
        (("train/a", "val/b"), True),
        # Tasks that have such names are tasks.
        (("train", "val", "test"), False),
        (("train", "other"), False),
        (("train/a", "val"), True),
    ],
)
def test_sets_with_split_folders(tmp_path: Path, names: tuple[str, ...], found: bool) -> None:
    in_set(tmp_path, *names)
    assert has_splits(tmp_path) is found


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (("train/a",), "has train but not val, test"),
        (("val/a",), "has val but not train, test"),
        (("test/a",), "has test but not train, val"),
        (("train/a", "test/b"), "has train, test but not val"),
        (("val/a", "test/b"), "has val, test but not train"),
    ],
)
def test_only_the_test_split_may_be_missing(
    tmp_path: Path, names: tuple[str, ...], missing: str
) -> None:
    in_set(tmp_path, *names)
    with pytest.raises(TaskError, match=missing):
        has_splits(tmp_path)


def names_of(tasks: list[Task]) -> list[str]:
    return [task.name for task in tasks]


def test_each_task_of_a_set_is_read_alike(tmp_path: Path) -> None:
    in_set(tmp_path / "flat", "b", "a")
    with pytest.raises(TaskError, match="Dockerfile: missing"):
        read_tasks(tmp_path / "flat")
    assert {task.base for task in read_tasks(tmp_path / "flat", own=OWN)} == {OWN}
    in_set(tmp_path / "cut", "train/c", "train/a", "val/b")
    splits = read_splits(tmp_path / "cut", own=OWN)
    assert splits is not None
    assert [names_of(splits[split]) for split in ("train", "val", "test")] == [
        ["a", "c"],
        ["b"],
        [],
    ]
    assert names_of(read_tasks(tmp_path / "cut", own=OWN)) == ["a", "b", "c"]
    (tmp_path / "flat/a/tests/test.sh").unlink()
    with pytest.raises(TaskError, match="missing"):
        read_tasks(tmp_path / "flat", own=OWN)
    scored = Scored(verifier=True)
    assert len(read_tasks(tmp_path / "flat", scored=scored, own=OWN)) == 2
    (tmp_path / "cut/val/b/tests/test.sh").unlink()
    assert len(read_tasks(tmp_path / "cut", scored=scored, own=OWN)) == 3


def test_no_folder_and_no_tasks(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in ("nothing", "file"):
        with pytest.raises(TaskError, match=f"{place}: no such folder"):
            task_folders(tmp_path / place)
        with pytest.raises(TaskError, match=f"{place}: no such folder"):
            read_task(tmp_path / place)
    with pytest.raises(TaskError, match="no task folders in it"):
        task_folders(tmp_path)


def test_a_task_knows_where_it_really_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "t", WHOLE)
    monkeypatch.chdir(tmp_path)
    assert read_task(Path("t")).folder == tmp_path / "t"
