"""Whatever a command is given, it says what is wrong with it: never a traceback, and never exit
code 1, which scripts read as an answer (docs/faults, runs, kind 5)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.helpers.tiny import SKILL, SOLVED, Tiny, command, refused, refused_as_json, tiny

__all__ = ["tiny"]
UNDECODABLE = b"\xff\xfe\x00name: x\n"
Place = Callable[[Tiny], str]


def missing(at: Tiny) -> str:
    return "nowhere"


def missing_below_a_file(at: Tiny) -> str:
    return "tiny.yaml/nowhere"


def a_folder(at: Tiny) -> str:
    at.put("folder/other.txt", "")
    return "folder"


def a_file(at: Tiny) -> str:
    at.put("file.txt", "what this is, nobody knows\n")
    return "file.txt"


def an_empty_file(at: Tiny) -> str:
    at.put("empty", "")
    return "empty"


def an_undecodable_file(at: Tiny) -> str:
    at.put("odd", UNDECODABLE)
    return "odd"


def a_long_name(at: Tiny) -> str:
    return "x" * 300


def refuses(tiny: Tiny, line: str, places: Sequence[Place]) -> None:
    """Check that a command refuses whatever it is given, and names it."""
    for place in places:
        name = place(tiny)
        refused(command(*line.format(name).split()), name.split("/")[0])


CONFIGS = (missing, missing_below_a_file, a_folder, an_empty_file, an_undecodable_file, a_long_name)
CONFIG_COMMANDS = (
    "train {}",
    "train {} --dry-run",
    "eval my-skill --config {}",
    "transfer my-skill --config {} -o out",
    "watch my-skill --config {}",
    "doctor --model sim:sim-1 --config {}",
    "train tiny.yaml --dry-run --set prices={}",
)


@pytest.mark.parametrize("line", CONFIG_COMMANDS)
def test_a_config(tiny: Tiny, line: str) -> None:
    refuses(tiny, line, CONFIGS)


def a_skill_in_latin_1(at: Tiny) -> str:
    at.put("latin/SKILL.md", SKILL.replace("my-skill", "latin").encode() + b"\xe9\n")
    return "latin"


def a_skill_whose_file_is_a_folder(at: Tiny) -> str:
    at.put("nested/SKILL.md/x", "")
    return "nested"


SKILLS = (
    missing, missing_below_a_file, a_folder, a_file, an_empty_file, an_undecodable_file,
    a_skill_in_latin_1, a_skill_whose_file_is_a_folder, a_long_name,
)  # fmt: skip
SKILL_COMMANDS = (
    "eval {} --config tiny.yaml",
    "transfer {} --config tiny.yaml -o out",
    "package {} --archive out.skill",
    "deploy {} --to agent --yes --no-proof",
    "train tiny.yaml --set skill.init={}",
    "train tiny.yaml --dry-run --set skill.init={}",
    "train tiny.yaml --dry-run --set skill.beside=[{}]",
)


@pytest.mark.parametrize("line", SKILL_COMMANDS)
def test_a_skill(tiny: Tiny, line: str) -> None:
    refuses(tiny, line, SKILLS)


def test_a_skill_to_watch(tiny: Tiny) -> None:
    """One that is there is waited for until it can be used."""
    refuses(tiny, "watch {} --config tiny.yaml", [missing, missing_below_a_file, a_long_name])


def a_log_of_something_else(at: Tiny) -> str:
    at.put("other/events.jsonl", UNDECODABLE)
    return "other"


def an_empty_log(at: Tiny) -> str:
    at.put("begun/events.jsonl", "")
    return "begun"


def a_folder_for_a_log(at: Tiny) -> str:
    at.put("odd/events.jsonl/x", "")
    return "odd"


RUNS = (
    missing, missing_below_a_file, a_folder, a_file, a_log_of_something_else, an_empty_log,
    a_folder_for_a_log, a_long_name,
)  # fmt: skip
RUN_COMMANDS = (
    "show {}",
    "show {} --step 1",
    "show {} --follow val-0",
    "report {}",
    "runs rebuild {}",
    "ui {}",
)


@pytest.mark.parametrize("line", RUN_COMMANDS)
def test_a_run(tiny: Tiny, line: str) -> None:
    refuses(tiny, line, RUNS)


def test_a_folder_of_runs(tiny: Tiny) -> None:
    refuses(tiny, "runs list {}", [missing, missing_below_a_file, a_file, a_long_name])


def test_a_damaged_run_does_not_hide_the_others(tiny: Tiny) -> None:
    tiny.train()
    tiny.put("runs/damaged/events.jsonl", UNDECODABLE + b"\n")
    tiny.put("runs/begun/events.jsonl", "")
    done = command("runs", "list")
    assert done.returncode == 0 and "tiny" in done.stdout and "Traceback" not in done.stderr
    assert "damaged" in done.stdout + done.stderr


def a_task_with_odd(name: str, content: bytes | None) -> Place:
    """A set in which one file of a task is undecodable, or a folder."""

    def make(at: Tiny) -> str:
        shutil.rmtree("others", ignore_errors=True)
        shutil.copytree("tasks", "others")
        file = at.folder / "others/val/val-0" / name
        file.unlink()
        at.put(f"others/val/val-0/{name}{'' if content else '/x'}", content or b"")
        return "others"

    return make


FILES = ("task.toml", "instruction.md", "environment/Dockerfile", "tests/test.sh")
JUDGED_TASKS = (
    missing, missing_below_a_file, a_file, a_long_name,
    *(a_task_with_odd(name, None) for name in FILES[:3]),
    *(a_task_with_odd(name, UNDECODABLE) for name in FILES[:3]),
)  # fmt: skip
"""What is refused of tasks whose verifier is a user's own: it needs no tests in their folders."""
TASKS = (*JUDGED_TASKS, a_task_with_odd("tests/test.sh", None))


@pytest.mark.parametrize(
    "line",
    ["tasks list {}", "train tiny.yaml --set tasks.source={}",
     "eval none --config tiny.yaml --set tasks.source={}"],
)  # fmt: skip
def test_tasks(tiny: Tiny, line: str) -> None:
    refuses(tiny, line, TASKS if line == "tasks list {}" else JUDGED_TASKS)


def test_tasks_that_are_checked(tiny: Tiny) -> None:
    """Here "no" is the answer, as long as there is a folder."""
    for place in TASKS:
        name = place(tiny)
        refused(command("tasks", "validate", name), code=1 if name == "others" else 2)


def a_template_that_is_a_folder(at: Tiny) -> str:
    at.put("prompts/system.md/x", "")
    return "prompts"


def an_undecodable_template(at: Tiny) -> str:
    at.put("undecodable/system.md", UNDECODABLE)
    return "undecodable"


def a_template_without_its_part(at: Tiny) -> str:
    at.put("parts/system.md", "{% include 'more.md' %}")
    return "parts"


PROMPTS = (
    missing, missing_below_a_file, a_file, a_template_that_is_a_folder, an_undecodable_template,
    a_template_without_its_part,
)  # fmt: skip


def test_prompts(tiny: Tiny) -> None:
    refuses(tiny, "train tiny.yaml --dry-run --set optimizer.prompts={}", PROMPTS)
    refuses(tiny, "train tiny.yaml --set optimizer.prompts={}", PROMPTS)


OUTPUTS = {
    "report runs/tiny -o {}": (a_folder, missing_below_a_file, a_long_name),
    "transfer my-skill --config tiny.yaml -o {}": (a_file, missing_below_a_file),
    "package my-skill --plugin {}": (a_file, missing_below_a_file, a_long_name),
    "package my-skill --archive {}": (a_folder, missing_below_a_file, a_long_name),
    "tasks make {}": (a_file, a_folder, missing_below_a_file, a_long_name),
    "deploy my-skill --yes --no-proof --to ./{}": (a_file, missing_below_a_file, a_long_name),
    "train tiny.yaml --set runs={}": (a_file, missing_below_a_file, a_long_name),
    "eval my-skill --config tiny.yaml --set runs={}": (a_file, missing_below_a_file, a_long_name),
    "transfer my-skill --config tiny.yaml -o out --set runs={}": (a_file, missing_below_a_file),
}


@pytest.mark.parametrize(("line", "places"), OUTPUTS.items(), ids=OUTPUTS)
def test_what_is_written(tiny: Tiny, line: str, places: Sequence[Place]) -> None:
    if line.startswith("report"):
        tiny.train()
    refuses(tiny, line, places)


READ_ONLY = (
    "train tiny.yaml --set runs=ro/runs",
    "train tiny.yaml --set runs=ro/runs --json",
    "eval my-skill --config tiny.yaml --set runs=ro/runs",
    "transfer my-skill --config tiny.yaml --set runs=ro/runs -o out",
    "transfer my-skill --config tiny.yaml -o ro/out",
    "report runs/tiny -o ro/report.html",
    "package my-skill --plugin ro/plugin",
    "package my-skill --archive ro/a.skill",
    "tasks make ro/tasks",
    "deploy my-skill --yes --no-proof --to ./ro/agent",
    "runs rebuild ro/tiny",
    "train tiny.yaml --set runs=ro --set limits.rollouts=500",
)
SCRIPT = """
import json, subprocess, sys
from tests.helpers.tiny import command
lines = json.loads(sys.argv[1])
subprocess.run(["mount", "--bind", "-o", "ro", "ro", "ro"], check=True)
subprocess.run(["mount", "-o", "remount,bind,ro", "ro"], check=True)
done = [command(*line.split()) for line in lines]
print(json.dumps([[d.args, d.returncode, d.stdout, d.stderr] for d in done]))
"""


@pytest.mark.slow
def test_a_read_only_file_system(tiny: Tiny) -> None:
    """Permissions do not keep root from writing; a mount of the test's own does."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"]).returncode:
        pytest.skip("no mounts of one's own here")
    tiny.train()
    shutil.copytree(tiny.run, "ro/tiny")
    (tiny.folder / "ro/tiny/summary.json").unlink()
    words = ["unshare", "-m", sys.executable, "-c", SCRIPT, json.dumps(READ_ONLY)]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    for line, (args, code, out, err) in zip(READ_ONLY, json.loads(ran.stdout), strict=True):
        done = subprocess.CompletedProcess(args, code, out, err)
        refused(done, "ro")
        if "--json" in line:
            refused_as_json(done)


JSON = [
    "train nowhere.yaml",
    "train nowhere.yaml --dry-run",
    "train tiny.yaml --set train.epoch=1",
    "train tiny.yaml --nonsense",
    "eval my-skill --config nowhere.yaml",
    "eval nowhere --config tiny.yaml",
    "eval my-skill --config tiny.yaml --harness nobody",
    "transfer my-skill --config nowhere.yaml",
    "show nowhere",
    "runs list nowhere",
    "tasks list nowhere",
    "doctor --model nobody:m",
]


def test_errors_are_json_under_json(tiny: Tiny) -> None:
    for line in JSON:
        found = refused_as_json(command(*line.split(), "--json"))
        assert found["type"] and found["message"]


STAGES = ("draft", "baseline", "rollout", "gate", "pairs", "final", "test", "eval")


def test_a_stage_that_cannot_be_replaced(tiny: Tiny) -> None:
    """The limits' stages and those of the user's own are two vocabularies."""
    for stage in [*STAGES, "gat"]:
        done = tiny.train("--dry-run", "--set", f"train.stages={{{stage}: json:dumps}}")
        refused(done, f"train.stages.{stage}: {stage!r} is not one of", "reflect")
        assert not {"draft", "baseline", "pairs", "final"} - {stage} & set(done.stderr.split("'"))


def test_the_same_stages_may_have_limits(tiny: Tiny) -> None:
    for stage in STAGES:
        assert not tiny.train(
            "--dry-run", "--set", f"limits.stages={{{stage}: {{tokens: 1}}}}"
        ).returncode


def test_what_a_disk_refuses_in_the_middle(tiny: Tiny) -> None:
    """The folder of runs goes while the first rollouts are under way."""
    tiny.own(
        "import shutil\n"
        "class Removing(Writer):\n"
        "    def run(self, request, site):\n"
        "        shutil.rmtree('runs')\n"
        "        return super().run(request, site)\n"
    )
    tiny.write(harness__name="own:Removing", workers=1)
    refused(tiny.train(), "runs")


def test_solved(tiny: Tiny) -> None:
    """What all of these are changes of: a config that can be used."""
    tiny.task("val", "val-0", SOLVED)
    done = tiny.train()
    assert done.returncode == 0 and Path(tiny.run / "best_skill.md").is_file()
