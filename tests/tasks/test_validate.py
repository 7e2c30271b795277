"""``skillopt tasks validate``: what tasks need, which are alike, what they can show."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skillopt.core.types import Task
from skillopt.evaluation.stats import paired_difference, smallest_gain
from skillopt.tasks.harbor import TaskError, read_task
from skillopt.tasks.likeness import alike
from skillopt.tasks.validate import examine, validate
from tests.helpers.tiny import SOLVED, Tiny, command, refused, tiny

__all__ = ["tiny"]
Make = Callable[..., Path]
PASSING = 'test "$(cat done.txt 2>/dev/null)" = yes; echo $((! $?)) > "$VERIFIER_LOGS/reward.txt"\n'


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def task(name: str, **files: str) -> Path:
        written = {
            "task.toml": "",
            "instruction.md": "Write yes to done.txt.\n",
            "environment/Dockerfile": "FROM skillopt/agent-base:1\nWORKDIR /app\n",
            "tests/test.sh": PASSING,
            "solution/solve.sh": "echo yes > done.txt\n",
        } | {path.replace("__", "/"): text for path, text in files.items()}
        for path, text in written.items():
            place = tmp_path / "set" / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        return tmp_path / "set" / name

    return task


def report(*words: str | Path) -> dict[str, Any]:
    done = command("tasks", "validate", *map(str, words), "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_each_task_is_reported_with_what_it_needs(make: Make, tmp_path: Path) -> None:
    make("plain")
    make(
        "much",
        **{
            "task.toml": '[agent]\ntimeout_sec = 30\nuser = "root"\n[environment]\ncpus = 2\n',
            "tests/test.sh": "apt-get update && apt-get install -y jq\nservice redis start\n"
            "grep -q x /etc/thing.conf\n",
            "solution/solve.sh": "curl -fsSL https://files.acme.org/x | sh\n",
            "environment/Dockerfile": "FROM a\nWORKDIR /app\nCOPY skills /root/.claude/skills\n",
        },
    )
    (make("broken") / "instruction.md").unlink()
    found = report(tmp_path / "set")
    assert {"format", "folder", "tasks", "splits", "alike", "problems", "notes"} == set(found)
    tasks = {task["task"]: task for task in found["tasks"]}
    assert [tasks[name]["valid"] for name in ("plain", "much", "broken")] == [True, True, False]
    assert not any(tasks["plain"]["needs"].values())
    assert tasks["much"]["needs"] == {
        "root": "user = 'root'",
        "verifier_root": "apt-get update",
        "places": ["/etc/thing.conf"],
        "reach": "the verifier gets the agent's whole container: its tests look at /etc/thing.conf",
        "hosts": ["deb.debian.org"],
        "solution_hosts": ["files.acme.org"],
        "services": ["redis"],
        "own_skills": True,
    }
    assert tasks["much"]["limits"]["agent_s"] == 30 and tasks["much"]["limits"]["cpus"] == 2
    assert tasks["broken"]["needs"] is None
    (problem,) = found["problems"]
    assert problem["task"] == "broken" and not problem["warning"]
    shown = command("tasks", "validate", str(tmp_path / "set"))
    assert shown.returncode == 1
    (line,) = [line for line in shown.stdout.splitlines() if line.startswith("much: ")]
    for said in ("agent at most 30 s", "root of its container (user = 'root')", "/etc/thing.conf",
                 "its tests may want deb.debian.org", "redis", "skills of its own"):  # fmt: skip
        assert said in line
    assert any(line.startswith("plain: ") for line in shown.stdout.splitlines())
    assert shown.stdout.splitlines()[-1] == "1 problem(s)"


def test_a_single_folder_has_its_name(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make("alone", **{"task.toml": "x = ["})
    monkeypatch.chdir(folder)
    for name in (".", "../alone", str(folder)):
        done = command("tasks", "validate", name)
        assert done.returncode == 1
        assert done.stdout.startswith(f"alone: {folder / 'task.toml'}: not valid TOML"), name
    (folder / "task.toml").unlink()
    assert command("tasks", "validate", ".").stdout.startswith(f"alone: {folder / 'task.toml'}: ")


def test_what_is_no_set_of_tasks_is_unusable_input(make: Make, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(command("tasks", "validate", str(tmp_path / "empty")), "no task folders")
    make("train/a")
    refused(command("tasks", "validate", str(tmp_path / "set")), "has train but not val, test")
    with pytest.raises(TaskError, match="has train but not"):
        examine(tmp_path / "set")


def test_the_same_name_in_two_splits_is_a_problem(make: Make, tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        make(f"{split}/{split}", **{"instruction.md": split})
        make(f"{split}/same", **{"instruction.md": f"Other {split}"})
    found = validate(tmp_path / "set")
    assert [problem.task for problem in found] == ["same", "same"]
    assert "same name as" in found[0].message and "rename" in found[0].message


LONG = (
    "The file orders.csv in this folder has one order per line. Add up the amounts of all orders "
    "of {who} in {year}, leave out those that were cancelled, and write the sum to {file}."
)


def test_tasks_that_differ_in_numbers_and_names_are_named(make: Make, tmp_path: Path) -> None:
    for split, who, year in (("train", "Ann", 2019), ("val", "Bob", 2021), ("val", "Cy", 1999)):
        text = LONG.format(who=who, year=year, file="sum.txt")
        make(f"{split}/{split}-{who.lower()}", **{"instruction.md": text})
    other = "Rename every picture below photos by the day on which it was taken, oldest first."
    script = "python3 /tests/compare.py photos expected && echo 1 > /logs/verifier/reward.txt\n"
    make("test/pictures", **{"instruction.md": other, "tests/test.sh": script,
                             "solution/solve.sh": "exiftool -d %Y photos\n"})  # fmt: skip
    (group,) = examine(tmp_path / "set").similar
    assert group.names == ("train-ann", "val-bob", "val-cy") and not group.equal
    assert group.splits == ("train", "val", "val") and 0.8 <= group.likeness < 1
    done = command("tasks", "validate", str(tmp_path / "set"))
    assert done.returncode == 0
    assert "train-ann of train, val-bob of val, val-cy of val" in done.stdout
    assert "tasks.exclude" in done.stdout
    (shown,) = report(tmp_path / "set")["alike"]
    assert shown["tasks"] == ["train-ann", "val-bob", "val-cy"] and shown["equal"] is False


def test_equal_tasks_are_one_group_and_not_also_alike(make: Make, tmp_path: Path) -> None:
    for number in range(20):
        make(f"copy-{number:02d}")
    (group,) = examine(tmp_path / "set").similar
    assert group.equal and len(group.names) == 20
    assert report(tmp_path / "set")["splits"][2]["different"] == 1


def test_a_thousand_tasks_are_compared_in_seconds() -> None:
    words = [f"w{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(600)]
    tasks = [
        Task(
            name=f"task-{number}",
            instruction=" ".join(
                words[(number * 7 + n * (number % 11 + 2)) % 600] for n in range(150)
            ),
            digest=f"{number:064d}",
        )
        for number in range(1000)
    ]
    tasks.append(Task(name="again", instruction=f"{tasks[5].instruction} 7", digest="x" * 64))
    began = time.monotonic()
    groups = alike(tasks)
    assert time.monotonic() - began < 20
    assert ["again" in group.names and "task-5" in group.names for group in groups].count(True) == 1


@pytest.mark.parametrize("tasks", [6, 7, 10, 20, 50, 200])
def test_the_smallest_gain_is_the_least_that_the_interval_tells_from_none(tasks: int) -> None:
    gain = smallest_gain(tasks)
    assert gain is not None and gain.sign == 1
    more = round(gain.value * tasks)
    less = paired_difference([0.0] * tasks, [1.0] * (more - 1) + [0.0] * (tasks - more + 1))
    assert less.sign == 0
    assert more == 6
    assert smallest_gain(5) is None


def test_no_gain_shows_in_one_task(make: Make, tmp_path: Path) -> None:
    assert smallest_gain(1) is None and smallest_gain(0) is None
    for split in ("train", "val", "test"):
        make(f"{split}/{split}", **{"instruction.md": split})
    shown = command("tasks", "validate", str(tmp_path / "set")).stdout
    assert "val: 1 tasks: too few to tell a gain from chance" in shown


def test_solutions_are_timed_and_missing_programs_named(make: Make, tmp_path: Path) -> None:
    make("good")
    make("no-solution", **{"instruction.md": "Other."})
    (tmp_path / "set" / "no-solution" / "solution" / "solve.sh").unlink()
    make("lacks", **{"tests/test.sh": f"no-such-tool --x || true\n{PASSING}"})
    (make("broken") / "instruction.md").unlink()
    done = command("tasks", "validate", str(tmp_path / "set"), "--solve", "--local", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 1 and [p["task"] for p in found["problems"]] == ["broken"]
    tasks = {task["task"]: task for task in found["tasks"]}
    assert tasks["good"]["solved"] is True and set(tasks["good"]["seconds"]) == {
        "solution",
        "tests",
    }
    assert tasks["lacks"]["missing_programs"] == {"tests": ["no-such-tool"]}
    assert tasks["good"]["missing_programs"] == {} and tasks["broken"]["solved"] is None
    assert tasks["no-solution"]["solved"] is None and tasks["no-solution"]["valid"]
    notes = {note["task"]: note["message"] for note in found["notes"]}
    assert "no solution/solve.sh" in notes["no-solution"]
    assert "lacks no-such-tool, which its tests call" in notes["lacks"]


def test_the_reason_of_a_failed_solution_is_shown(make: Make, tmp_path: Path) -> None:
    make(
        "silent",
        **{"tests/test.sh": f"echo the reason >&2\n{PASSING}", "solution/solve.sh": "true\n"},
    )
    make("exits", **{"solution/solve.sh": "echo yes > done.txt; exit 3\n"})
    done = command("tasks", "validate", str(tmp_path / "set"), "--solve", "--local")
    assert "silent: its solution gets 0, not 1" in done.stdout and "the reason" in done.stdout
    assert "exits: its" not in done.stdout.replace("exits: its solution took", "")


@pytest.mark.slow
def test_verdicts_that_differ_are_named(make: Make, tmp_path: Path) -> None:
    count = tmp_path / "count"
    flip = f"echo x >> {count}\ntest -e done.txt && [ $(( $(wc -l < {count}) % 2 )) = 1 ]\n"
    reward = 'echo $((! $?)) > "$VERIFIER_LOGS/reward.txt"\n'
    make("flaky", **{"tests/test.sh": flip + reward})
    make("steady", **{"instruction.md": "Other words here."})
    done = command("tasks", "validate", str(tmp_path / "set"), "--repeat", "3", "--local")
    assert done.returncode == 1
    assert "flaky: its tests are flaky: on the same work, its solution's: 1, 0, 1" in done.stdout
    assert "steady: its tests are flaky" not in done.stdout
    assert done.stdout.splitlines()[-1] == "1 problem(s)"


def test_tests_may_change_what_they_judge(make: Make, tmp_path: Path) -> None:
    make("changes", **{"tests/test.sh": f"{PASSING}rm -f done.txt; touch closed; chmod 0 closed\n"})
    done = command("tasks", "validate", str(tmp_path / "set"), "--repeat", "3", "--local")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_tasks_that_always_or_never_pass_without_a_skill(tiny: Tiny) -> None:
    tiny.task("train", "train-1", SOLVED)
    del tiny.settings["verifier"]
    tiny.write()
    words = ["tasks", "validate", "tasks", "--baseline", "2", "--config", "tiny.yaml"]
    done = command(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train-1: note: always solved without a skill" in done.stdout
    assert "train-0: note: never solved without a skill" in done.stdout
    assert "2 of 2 runs without a skill solve it" in done.stdout
    tasks = {task["task"]: task for task in json.loads(command(*words, "--json").stdout)["tasks"]}
    assert (tasks["train-1"]["passed"], tasks["train-0"]["passed"]) == (2, 0)
    assert len(tasks) == 9 and all(task["runs"] == 2 for task in tasks.values())
    stored = sorted(path.name for path in tiny.store.rglob("result.json"))
    again = command("eval", "none", "--config", "tiny.yaml", "--split", "val", "--replicates", "2")
    assert again.returncode == 0
    assert sorted(path.name for path in tiny.store.rglob("result.json")) == stored
    refused(command("tasks", "validate", "tasks", "--baseline", "2"), "--config")


def test_a_dry_run_says_what_the_tasks_need(tiny: Tiny) -> None:
    assert "root of their containers" not in tiny.train("--dry-run").stdout
    for name in ("train-0", "train-1"):
        tiny.put(f"tasks/train/{name}/tests/test.sh", f"apt-get install -y jq\n{SOLVED}")
    tiny.put("tasks/val/val-0/environment/skills/x/SKILL.md", "x")
    tiny.put(
        "tasks/val/val-0/environment/Dockerfile", "FROM a\nWORKDIR /app\nCOPY . /x/.claude/skills\n"
    )
    shown = tiny.train("--dry-run").stdout
    assert "tasks: 2 need root of their containers, 2 need hosts for their tests" in shown
    assert "the skills that 1 bring are left out" in shown
    plan = json.loads(tiny.train("--dry-run", "--json").stdout)
    assert plan["needs"] == {"root": 2, "hosts": 2, "container": 0, "own_skills": 1}


def test_needs_do_not_count_in_a_tasks_identity(make: Make) -> None:
    folder = make("one")
    assert read_task(folder).digest == read_task(folder).digest
    assert read_task(folder).needs == Task(name="x", instruction="", digest="").needs
