"""The tasks that a training starts with: eval files beside the skill, a folder, or two examples."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from skillopt.config.kinds import TASK_SOURCES
from skillopt.config.schema import TasksConfig
from skillopt.core.errors import SkillOptError
from skillopt.core.import_path import PATH
from skillopt.setup.project import Project
from skillopt.setup.sizes import LEAST, fitting_split
from skillopt.tasks.evals.reading import eval_files, read_cases
from skillopt.tasks.harbor import Scored, TaskError, has_splits
from skillopt.tasks.rows import row_files
from skillopt.tasks.sources import files_of_evals, load_splits

EXAMPLES = "example"
"""The value of ``--tasks`` for two example tasks in a new folder."""
FOLDER = "tasks"
DOORS = (
    "eval files of skill-creator, Caliper, agent-skill-eval or skillevaluation; prompts with "
    "answers; task folders; a source of your own (docs/your-tasks.md)"
)


class SetupError(SkillOptError):
    """Nothing can be set up. The message says why and what to do."""


@dataclass(frozen=True)
class TaskChoice:
    """Where the tasks are.

    Args:
        source: ``tasks.source``.
        tasks: how many there are.
        cut: whether ``tasks.split`` cuts them; otherwise the folder has splits of its own.
        options: ``tasks.options``.
        left_out: cases that nothing here can score.
        judged: whether a model has to judge statements in words.
        files: new files, by path.
        said: where they are, in words.
    """

    source: str
    tasks: int
    cut: bool = True
    options: Mapping[str, str] = field(default_factory=dict)
    left_out: int = 0
    judged: bool = False
    files: Mapping[Path, str] = field(default_factory=dict)
    said: str = ""

    @property
    def split(self) -> tuple[int, int, int] | None:
        """``tasks.split``; None if the folder has splits of its own."""
        return fitting_split(self.tasks) if self.cut else None


def choose_tasks(skill: Path, project: Project, given: str | None) -> TaskChoice:
    """The tasks that a user names, or else those that are there, or else two examples.

    Args:
        skill: folder or file of the skill; its eval files come first.
        project: in the current folder.
        given: value of ``--tasks``.

    Raises:
        TaskError: those that were named cannot be used.
        SetupError: there are too few of them.
    """
    if given == EXAMPLES:
        return _examples()
    if given is not None:
        return _existing(given, "as named")
    if skill.is_dir() and eval_files(str(skill)):
        return _existing(str(skill), "eval files beside the skill")
    if project.tasks:
        return _existing(str(project.tasks[0]), "task folders")
    return _examples()


def _existing(source: str, said: str) -> TaskChoice:
    """Tasks that can be read. If not all have checks, a model judges what is in words. Cases that
    cannot be scored, and those that only ask for openings, are left out if there are others."""
    files = files_of_evals(source)
    cases = [case for file in files for case in read_cases(file)]
    asking = [case for case in cases if case.only_triggers]
    options = {"triggers": "leave_out"} if asking and len(asking) < len(cases) else {}
    words = any(not case.checks and (case.expectations or case.expected_output) for case in cases)
    try:
        choice = _read(source, said, options, judged=words)
    except TaskError:
        if not files:
            raise
        choice = _read(source, said, {"unjudged": "leave_out", **options}, judged=words)
    return replace(choice, left_out=len(cases) - choice.tasks) if cases else choice


def _read(
    source: str, said: str, options: Mapping[str, str], *, judged: bool = False
) -> TaskChoice:
    files = [*files_of_evals(source), *row_files(source)]
    known = source in TASK_SOURCES or re.match(PATH, source)
    if not files and not known and not Path(source).exists():
        raise TaskError(f"--tasks {source}: no such file or folder; known are: {DOORS}")
    # Only counted here: whether two splits share a task is seen with those of the config.
    config = TasksConfig(source=source, options=dict(options), duplicates="allow")
    with TemporaryDirectory(prefix="skillopt-init-") as made:
        splits = load_splits(config, 0, Path(made) / "tasks", scored=Scored(judge=judged))
    tasks = sum(map(len, splits.values()))
    folder = Path(source)
    cut = bool(files) or (folder.is_dir() and not has_splits(folder))
    if tasks < LEAST:
        raise SetupError(
            f"{source}: has {tasks} task that can be used, and training needs {LEAST} at least: "
            "one to learn from, one to choose by. Add one, or start with examples: --tasks "
            f"{EXAMPLES}"
        )
    return TaskChoice(source, tasks, cut, options, judged=judged, said=said)


def _examples() -> TaskChoice:
    if Path(FOLDER).exists() or Path(FOLDER).is_symlink():
        raise SetupError(
            f"{FOLDER}: is there already, has no task that was found, and is not touched: name "
            "tasks with --tasks, or move it away"
        )
    files = {Path(FOLDER) / name: text for name, text in EXAMPLE_FILES.items()}
    return TaskChoice(FOLDER, 2, files=files, said="two examples, to be replaced")


_TOML = """\
schema_version = "1.4"

[metadata]
category = "example"

[agent]
timeout_sec = 300.0
"""
_DOCKERFILE = "FROM skillopt/agent-base:1\nWORKDIR /app\n"
_ONE = """\
#!/bin/sh
# Runs when the agent has ended, in its working directory. It writes the reward, from 0 to 1, and
# what was wrong, which the optimizer reads.
logs=${VERIFIER_LOGS:-/logs/verifier}
if grep -q hello hello.txt; then
    echo 1 > "$logs"/reward.txt
else
    echo 0 > "$logs"/reward.txt
    echo "hello.txt does not contain the word hello" > "$logs"/feedback.txt
fi
"""
_TWO = """\
#!/bin/sh
logs=${VERIFIER_LOGS:-/logs/verifier}
if [ "$(tr -d '[:space:]' < lines.txt)" = 3 ]; then
    echo 1 > "$logs"/reward.txt
else
    echo 0 > "$logs"/reward.txt
    echo "lines.txt is not the number of lines of data.txt" > "$logs"/feedback.txt
fi
"""
EXAMPLE_FILES = {
    "README.md": """\
# Tasks

Each folder is a task in Harbor's format. Replace the two examples by what your skill is for. Ten
tasks are a start; `skillopt train CONFIG --dry-run` says which gain yours can show.

| file | what it is |
| --- | --- |
| `instruction.md` | what the agent is asked |
| `environment/Dockerfile` | what it starts from; files beside it can be copied into its folder |
| `tests/test.sh` | writes the reward when the agent has ended; the agent never sees it |
| `solution/solve.sh` | a solution, with which `tasks validate tasks --solve` tries the tests |

A folder without `environment/` starts from what `tasks.environment` in the config names.
""",
    "example-hello/task.toml": _TOML,
    "example-hello/instruction.md": "Write a file hello.txt with the word hello in it.\n",
    "example-hello/environment/Dockerfile": _DOCKERFILE,
    "example-hello/tests/test.sh": _ONE,
    "example-hello/solution/solve.sh": "#!/bin/sh\necho hello > hello.txt\n",
    "example-lines/task.toml": _TOML,
    "example-lines/instruction.md": "Count the lines of data.txt. Write the number to lines.txt.\n",
    "example-lines/environment/Dockerfile": f"{_DOCKERFILE}COPY data.txt /app/\n",
    "example-lines/environment/data.txt": "one\ntwo\nthree\n",
    "example-lines/tests/test.sh": _TWO,
    "example-lines/solution/solve.sh": "#!/bin/sh\nwc -l < data.txt > lines.txt\n",
}
"""Two tasks that are solved with ease, by path in their folder, and how to go on."""
