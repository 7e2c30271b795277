"""Reading task folders: both spellings of Harbor's format, and errors for what cannot work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from skillopt.tasks.harbor import TaskError, read_splits, read_task, read_tasks
from skillopt.tasks.sources import cut, split_tasks
from skillopt.tasks.validate import validate
from tests.helpers.values import a_task

MODERN = """\
schema_version = "1.4"
a_key_of_the_future = [1, 2]
[task]
name = "acme/fix-it"
[metadata]
category = "office"
difficulty = "easy"
[agent]
timeout_sec = 90
user = "worker"
[verifier]
timeout_sec = 30.5
env = { MODE = "strict", LEVEL = "2" }
[environment]
cpus = 2
memory_mb = 512
storage_mb = 100
env = { LANG = "C" }
"""
OLD = """\
version = "1.0"
[agent]
timeout_sec = 900.0
[environment]
memory = "2G"
storage = "1.5G"
"""
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def task(toml: str = MODERN, name: str = "fix-it", parent: str = "set") -> Path:
        folder = tmp_path / parent / name
        (folder / "environment").mkdir(parents=True)
        (folder / "tests").mkdir()
        (folder / "task.toml").write_text(toml)
        (folder / "instruction.md").write_text("Fix it.\n")
        (folder / "environment" / "Dockerfile").write_text("FROM debian\nWORKDIR /work/dir\n")
        (folder / "tests" / "test.sh").write_text("echo 1 > /logs/verifier/reward.txt\n")
        return folder

    return task


def test_a_modern_task(make: Make) -> None:
    task = read_task(make())
    assert (task.name, task.instruction, task.family) == ("fix-it", "Fix it.", "office")
    assert (task.agent_timeout_s, task.verifier_timeout_s) == (90.0, 30.5)
    assert (task.cpus, task.memory_mb, task.disk_mb) == (2.0, 512, 100)
    assert task.workdir == "/work/dir"
    assert task.docker_image is None
    assert task.verifier_env == (("LEVEL", "2"), ("MODE", "strict"))
    assert task.env == (("LANG", "C"),)


def test_what_the_user_says_after_the_first_turn(make: Make) -> None:
    task = read_task(make('[metadata]\nfollow_ups = ["Now the other. ", "Thanks."]\n'))
    assert task.prompts == ("Fix it.", "Now the other.", "Thanks.")


def test_an_old_task_and_defaults(make: Make) -> None:
    task = read_task(make(OLD))
    assert (task.memory_mb, task.disk_mb, task.cpus) == (2048, 1536, 1.0)
    assert (task.agent_timeout_s, task.verifier_timeout_s) == (900.0, 600.0)
    assert task.family == ""


def test_a_ready_image_needs_no_dockerfile(make: Make) -> None:
    folder = make('[environment]\ndocker_image = "acme/it:3"\n')
    (folder / "environment" / "Dockerfile").unlink()
    task = read_task(folder)
    assert (task.docker_image, task.workdir) == ("acme/it:3", "/app")


def test_the_digest_sees_names_and_bytes(make: Make) -> None:
    folder = make()
    before = read_task(folder).digest
    assert read_task(folder).digest == before
    (folder / "environment" / "a").write_bytes(b"bc")
    first = read_task(folder).digest
    (folder / "environment" / "a").rename(folder / "environment" / "ab")
    (folder / "environment" / "ab").write_bytes(b"c")
    assert len({before, first, read_task(folder).digest}) == 3


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("= nonsense", "task.toml: not valid TOML"),
        ('schema_version = "2.0"', "schema_version: '2.0' is not supported"),
        ("version = 1.0", "schema_version: 1.0 is not supported"),
        ('[agent]\ntimeout_sec = "long"', "agent.timeout_sec: expected a number above 0"),
        ("[agent]\ntimeout_sec = true", "agent.timeout_sec: expected a number above 0"),
        ("[verifier]\ntimeout_sec = -1", "verifier.timeout_sec: expected a number above 0"),
        ("[environment]\ncpus = nan", "environment.cpus: expected a number above 0"),
        ('[environment]\nmemory = "2 gigs"', 'environment.memory: expected a size such as "2G"'),
        ("environment = 3", "environment: expected dict, got 3"),
        ("[metadata]\ncategory = 3", "metadata.category: expected str, got 3"),
        ("[metadata]\nfollow_ups = 3", "metadata.follow_ups: expected list, got 3"),
        ('[metadata]\nfollow_ups = [""]', "metadata.follow_ups: must be a list of strings"),
        ('[environment]\nworkdir = "../up"', "environment.workdir: '../up' is not an absolute"),
        ('[verifier]\nenvironment_mode = "other"', "verifier.environment_mode: 'other' is not"),
        ("[verifier.environment]\nhealthcheck = 1", "verifier.environment.healthcheck: not"),
        ("[verifier.env]\nA = 1", "verifier.env.A: expected str, got 1"),
        ('[verifier.env]\nKEY = "${KEY}"', "verifier.env.KEY: taking values from the host"),
        ('[environment]\nmcp_servers = ["x"]', "environment.mcp_servers: not supported"),
        ('[environment]\nnetwork_mode = "allowlist"', "environment.network_mode: 'allowlist'"),
        ('[[steps]]\nname = "one"', "task.toml: steps: not supported"),
        ('[environment]\nos = "windows"', "environment.os: 'windows' is not supported"),
        ('[environment.tpu]\ntype = "v5"', "environment.tpu: not supported"),
        ("[environment]\ngpus = 1", "environment.gpus: not supported (1)"),
        ('[environment]\nallow_internet = "yes"', "environment.allow_internet: expected bool"),
        ('[environment]\ndocker_image = "a:${TAG}"', "environment.docker_image: 'a:${TAG}' is"),
        ('[environment]\nworkdir = "/a/./b"', "environment.workdir: '/a/./b' is not an absolute"),
        ('[environment.env]\n"A=B" = "c"', "environment.env.A=B: no variable can have"),
        ('[environment.env]\nA = "\\u0000"', "environment.env.A: no variable can have"),
        ('[agent]\nnetwork_mode = "allowlist"', "agent.network_mode: 'allowlist' is not"),
        ('[agent]\nallowed_hosts = ["a.b"]', "agent.allowed_hosts: not supported"),
        ("[agent]\nuser = true", "agent.user: expected a user's name or number, got True"),
        ('[agent]\nuser = ""', "agent.user: expected a user's name or number, got ''"),
        ('[verifier]\nuser = ["x"]', "verifier.user: expected a user's name or number"),
        ("[verifier]\nuser = -1", "verifier.user: expected a user's name or number, got -1"),
        ("artifacts = [3]", "artifacts: expected paths, got 3"),
        (
            'artifacts = ["/data/x"]\n[verifier.environment]\ndocker_image = "a"',
            "artifacts: '/data/x' is outside of the working directory",
        ),
    ],
)
def test_bad_task_files_name_file_and_key(make: Make, toml: str, said: str) -> None:
    with pytest.raises(TaskError) as raised:
        read_task(make(toml))
    assert said in str(raised.value)
    assert "task.toml" in str(raised.value)


@pytest.mark.parametrize(
    ("toml", "key"),
    [
        ("[environment]\nallow_internet = true", "environment.allow_internet"),
        ('[environment]\nnetwork_mode = "public"', "environment.network_mode"),
        ('[agent]\nnetwork_mode = "public"', "agent.network_mode"),
        ('[verifier]\nnetwork_mode = "no-network"', "verifier.network_mode"),
        ('[verifier]\nallowed_hosts = ["a.b"]', "verifier.allowed_hosts"),
        ("[verifier.environment]\nmemory_mb = 9", "verifier.environment.memory_mb"),
        ('[verifier]\nscript = "x.py"', "verifier.script"),
        ("[environment]\nports = [80]", "environment.ports"),
        ("[agent]\ntimeout_secs = 3", "agent.timeout_secs"),
        ('[solution]\nuser = "root"', "solution.user"),
        ("later = 1", "later"),
    ],
)
def test_what_has_no_effect_is_noted_by_its_key(make: Make, toml: str, key: str) -> None:
    (note,) = read_task(make(toml)).notes
    assert f"task.toml: {key}: " in note and "has no effect" in note


@pytest.mark.parametrize(
    "toml",
    [
        "[environment]\nallow_internet = false\ngpus = 0\nmcp_servers = []",
        '[environment]\nnetwork_mode = "no-network"\nos = "linux"\ngpu_types = []',
        '[verifier]\nenvironment_mode = "separate"\n[task]\nany = 1\n[metadata]\nany = 1',
        'artifacts = ["out.txt", "/work/dir/x", {source = "/data/y"}]\nsteps = []',
    ],
)
def test_what_changes_nothing_is_not_noted(make: Make, toml: str) -> None:
    assert read_task(make(toml)).notes == ()


def test_less_than_a_megabyte_is_not_no_limit(make: Make) -> None:
    assert read_task(make("[environment]\nmemory_mb = 0.5\n")).memory_mb == 1


def test_a_working_directory_in_a_compose_file_is_named_there(make: Make) -> None:
    folder = make("")
    file = folder / "environment" / "docker-compose.yaml"
    file.write_text("services: {main: {working_dir: rel}}\n")
    with pytest.raises(TaskError, match=r"yaml: services\.main\.working_dir: 'rel' is not"):
        read_task(folder)


def test_tests_with_an_image_of_their_own_get_no_container(make: Make) -> None:
    folder = make("")
    (folder / "tests" / "check.py").write_text("open('/etc/thing')\n")
    assert read_task(folder).handover
    (folder / "task.toml").write_text('[environment]\ndocker_image = "a"\n')
    task = read_task(folder)
    assert not task.handover and "unless that is in the image's" in task.notes[0]
    (folder / "tests" / "Dockerfile").write_text("FROM a\n")
    task = read_task(folder)
    assert not task.handover
    assert "in their own image, but look at /etc/thing" in task.notes[0]


@pytest.mark.parametrize("missing", ["task.toml", "instruction.md", "tests/test.sh"])
def test_missing_files_are_named(make: Make, missing: str) -> None:
    folder = make()
    (folder / missing).unlink()
    with pytest.raises(TaskError, match=rf"{missing}: missing"):
        read_task(folder)


def test_a_task_without_an_environment(make: Make) -> None:
    folder = make()
    (folder / "environment" / "Dockerfile").unlink()
    with pytest.raises(TaskError, match="Dockerfile: missing; add it, or set"):
        read_task(folder)


@pytest.mark.parametrize(
    ("toml", "agent", "verifier"),
    [
        ("", False, False),
        ('[agent]\nuser = "root"', True, False),
        ("[verifier]\nuser = 0", False, True),
        ('[agent]\nuser = "worker"', False, False),
        ('[agent]\nuser = "root:root"', True, False),
        ('[verifier]\nuser = "0:0"', False, True),
        ('[verifier]\nuser = "1000:0"', False, False),
    ],
)
def test_who_is_root(make: Make, toml: str, agent: bool, verifier: bool) -> None:
    task = read_task(make(toml))
    assert (task.root, task.verifier_root) == (agent, verifier)
    assert len(task.notes) == agent + verifier


def test_what_scripts_run_makes_them_root(make: Make) -> None:
    folder = make("")
    (folder / "tests" / "test.sh").write_text("apt-get update && apt-get install -y jq\n")
    task = read_task(folder)
    assert (task.root, task.verifier_root) == (False, True)
    assert task.notes == ("the verifier is root of its container (apt-get update)",)
    (folder / "task.toml").write_text('[verifier]\nuser = "judge"\n')
    assert not read_task(folder).verifier_root  # Its author knows better.


@pytest.mark.parametrize(
    ("dockerfile", "workdir", "known"),
    [
        ("FROM a\nWORKDIR /w\n", "/w", True),
        ("FROM a\nENV W=w\nWORKDIR /${W}\n", "/app", False),
        ("FROM a\nRUN x\n", "/app", False),
        ("FROM a AS b\nWORKDIR /w\nFROM b\n", "/app", False),
        ("FROM a\nWORKDIR w\n", "/app", False),
        ("FROM a\nWORKDIR /w\nWORKDIR /a b\n", "/app", False),
        ('FROM a\nWORKDIR /w\nWORKDIR "x"\n', "/app", False),
        ("FROM a\nWORKDIR /w\nCOPY <<EOF /x\nWORKDIR /v\nEOF\n", "/app", False),
    ],
)
def test_the_working_directory_as_far_as_the_files_tell(
    make: Make, dockerfile: str, workdir: str, known: bool
) -> None:
    folder = make("")
    (folder / "environment" / "Dockerfile").write_text(dockerfile)
    task = read_task(folder)
    assert (task.workdir, task.workdir_known) == (workdir, known)


def test_variables_have_their_defaults(make: Make) -> None:
    task = read_task(make('[verifier.env]\nKEY = "${KEY:-none}"\nURL = "http://${H:-a}:1"\n'))
    assert task.verifier_env == (("KEY", "none"), ("URL", "http://a:1"))


def test_skills_of_the_task_are_noted(make: Make) -> None:
    folder = make('[environment]\nskills_dir = "/skills"\n')
    file = folder / "environment" / "Dockerfile"
    file.write_text("FROM a\nCOPY skills /root/.claude/skills\n")
    notes = read_task(folder).notes
    assert len(notes) == 2
    assert "skills of its own" in notes[0] and "skills_dir" in notes[1]


def test_steps_are_refused(make: Make) -> None:
    folder = make()
    (folder / "steps").mkdir()
    with pytest.raises(TaskError, match="steps: not supported: multi-step"):
        read_task(folder)


def test_links_may_not_leave_the_task(make: Make) -> None:
    folder = make()
    (folder / "environment" / "inside").symlink_to("Dockerfile")
    read_task(folder)
    (folder / "environment" / "outside").symlink_to("/etc/passwd")
    with pytest.raises(TaskError, match="outside: a link that leads out of the task"):
        read_task(folder)


def test_an_empty_instruction(make: Make) -> None:
    folder = make()
    (folder / "instruction.md").write_text(" \n")
    with pytest.raises(TaskError, match=r"instruction\.md: empty"):
        read_task(folder)


def test_flat_sets_and_sets_with_splits(make: Make, tmp_path: Path) -> None:
    for name in ("b", "a"):
        make(name=name)
    assert [task.name for task in read_tasks(tmp_path / "set")] == ["a", "b"]
    assert read_splits(tmp_path / "set") is None
    for split, name in (("train", "z"), ("val", "y"), ("test", "x")):
        make(name=name, parent=f"split/{split}")
    splits = read_splits(tmp_path / "split")
    assert splits is not None
    assert [task.name for task in splits["val"]] == ["y"]
    assert [task.name for task in read_tasks(tmp_path / "split")] == ["x", "y", "z"]


def test_sets_that_cannot_be_used(make: Make, tmp_path: Path) -> None:
    make(name="a", parent="half/train")
    with pytest.raises(TaskError, match="has train but not val, test"):
        read_tasks(tmp_path / "half")
    for split in ("train", "val", "test"):
        make(name="same", parent=f"twice/{split}")
    with pytest.raises(TaskError, match="same name as"):
        read_tasks(tmp_path / "twice")
    with pytest.raises(TaskError, match="no such folder"):
        read_tasks(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TaskError, match="no task folders"):
        read_tasks(tmp_path / "empty")


def test_validate_reports_every_bad_task(make: Make, tmp_path: Path) -> None:
    make(name="good")
    (make(name="bad") / "instruction.md").unlink()
    make("version = 3", name="worse")
    problems = validate(tmp_path / "set")
    assert [problem.task for problem in problems] == ["bad", "worse"]
    assert validate(tmp_path / "set" / "good") == []
    with pytest.raises(TaskError, match="no such folder"):
        validate(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("/app", "/app"),
        ("/app/", "/app"),
        ("/work/a.b+c@d-e", "/work/a.b+c@d-e"),
        ("/app/..b", "/app/..b"),
        ("/app/.hidden", "/app/.hidden"),
        ("/app/..", None),
        ("/app/../etc", None),
        ("/../etc", None),
        ("/app/./b", None),
        ("/.", None),
        ("app", None),
        ("/", None),
        ("//app", None),
        ("/app//b", None),
        ("/a b", None),
        ("/app:ro", None),
    ],
)
def test_a_working_directory_is_a_place_below_the_root(
    make: Make, place: str, found: str | None
) -> None:
    folder = make(f'[environment]\nworkdir = "{place}"\n')
    if found is None:
        with pytest.raises(TaskError, match=r"environment\.workdir: .* is not an absolute path"):
            read_task(folder)
    else:
        assert read_task(folder).workdir == found


@pytest.mark.parametrize(
    ("settings", "memory_mb"),
    [
        ('memory = "512M"', 512), ('memory = "512m"', 512), ('memory = "2G"', 2048),
        ('memory = "1T"', 1024 * 1024), ('memory = "4096K"', 4), ('memory = "1536K"', 1),
        ('memory = "1K"', 1), ('memory = "1.5G"', 1536), ('memory = "2 GiB"', 2048),
        ('memory = "2GB"', 2048), ("memory_mb = 512", 512), ("memory_mb = 511.2", 512),
        # The newer key counts if both are there.
        ('memory_mb = 300\nmemory = "2G"', 300), ("", 2048),
        ('memory = "0G"', None), ('memory = "2"', None), ('memory = "2P"', None),
        ('memory = "G"', None), ('memory = "-2G"', None), ("memory_mb = 0", None),
    ],
)  # fmt: skip
def test_sizes_in_both_spellings(make: Make, settings: str, memory_mb: int | None) -> None:
    folder = make(f"[environment]\n{settings}\n")
    if memory_mb is None:
        with pytest.raises(TaskError, match=r"environment\.memory"):
            read_task(folder)
    else:
        assert read_task(folder).memory_mb == memory_mb


@pytest.mark.parametrize(
    ("tasks", "proportions", "parts"),
    [
        (10, (2, 1, 7), (2, 1, 7)),
        (11, (2, 1, 7), (2, 1, 8)),
        (9, (2, 1, 7), (1, 0, 8)),
        (7, (1, 1, 1), (2, 2, 3)),
        # Without a test split the rest is the selection's.
        (7, (1, 1, 0), (3, 4, 0)),
        (5, (2, 1, 0), (3, 2, 0)),
        (3, (1, 0, 0), (3, 0, 0)),
        (1, (1, 1, 1), (0, 0, 1)),
        (0, (1, 1, 1), (0, 0, 0)),
    ],
)
def test_shares_are_rounded_down_and_the_last_gets_the_rest(
    tasks: int, proportions: tuple[int, int, int], parts: tuple[int, int, int]
) -> None:
    assert cut(tasks, proportions) == parts


def test_a_split_depends_on_the_names_and_the_seed_alone() -> None:
    tasks = [a_task(f"t{n:02}") for n in range(20)]
    parts = split_tasks(tasks, (2, 1, 7), 5)
    assert {name: len(part) for name, part in parts.items()} == {"train": 4, "val": 2, "test": 14}
    assert sorted(t.name for part in parts.values() for t in part) == [t.name for t in tasks]
    assert split_tasks(tasks[::-1], (2, 1, 7), 5) == parts
    assert split_tasks(tasks, (2, 1, 7), 6) != parts
    assert [task.name for task in parts["train"]] != ["t00", "t01", "t02", "t03"]
    # As every version has split them, so that a run can be resumed.
    assert [task.name for task in parts["val"]] == ["t19", "t10"]
