"""Makes tasks of commits: the parent's files, the message, and the commit's tests, which are
hidden.

A task is kept if the same tests fail before the commit and pass after it each time; tests that do
not always end alike do not count.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandboxes.base import EngineUnavailableError, SandboxError
from sandboxes.engine import AGENT_BASE_IMAGE
from sandboxes.owner import scratch_dir
from sandboxes.trees import remove_tree
from skillopt.core.types import Task
from skillopt.tasks.environment import Environments
from skillopt.tasks.evals.case import slug, toml
from skillopt.tasks.harbor import read_task
from skillopt.tasks.judging import VerifierSite, run_tests
from skillopt.tasks.repository.history import Commit, History
from skillopt.tasks.repository.kinds import Kind, Plan
from skillopt.tasks.tables import TaskError
from skillopt.tasks.warm import Start

RUNS = 3
"""How often the tests are run before and after a commit."""
MAX_FILES, MAX_LINES = 30, 1500
"""What a commit may change to be a task."""
_INSIDE = Path(__file__).parent / "inside" / "run_tests.py"
_TEST_SH = '#!/bin/sh\nexec python3 -I "$TESTS_DIR/run_tests.py"\n'
_SOLVE_SH = """\
#!/bin/sh
set -e
here=$(dirname "$0")
while IFS= read -r path; do rm -f "$path"; done < "$here/removed.txt"
cp -R "$here/files/." .
"""
_NAMED = 20
_SAID = 300
_NAME_CHARS = 60


@dataclass(frozen=True)
class Settings:
    """How tasks are made of a repository.

    Args:
        kind: of the project.
        base: the image that tasks start from; the kind's tools are installed in it.
        setup: shell commands that are run in the image besides.
        test: a command that runs all tests, instead of the kind's; its exit code decides.
        timeout_s: seconds that the tests may take.
    """

    kind: Kind
    base: str = AGENT_BASE_IMAGE
    setup: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    timeout_s: int = 300


@dataclass(frozen=True)
class Made:
    """What came of a commit.

    Args:
        commit: that was looked at.
        folder: of the task; None if it is none.
        why: why it is none.
        tests: how many tests fail before the commit and pass after it.
        flaky: the tests that did not always end alike.
    """

    commit: Commit
    folder: Path | None
    why: str = ""
    tests: int = 0
    flaky: tuple[str, ...] = ()


class Site:
    """Where the tests of tasks are run.

    Args:
        environments: builds the images.
        verifiers: makes the sandboxes.
    """

    def __init__(self, environments: Environments, verifiers: VerifierSite) -> None:
        self.environments = environments
        self.verifiers = verifiers

    def outcomes(
        self, task: Task, times: int, work: Callable[[Path], None]
    ) -> tuple[list[dict[str, bool]], str]:
        """How each test ends, by name, on a work that is done to the first workspace; and what the
        last run printed.

        Raises:
            TaskError: the tests gave no answer.
            SandboxError: the image cannot be built, or a sandbox failed.
        """
        found, said = list[dict[str, bool]](), ""
        for _ in range(times):
            with tempfile.TemporaryDirectory(dir=scratch_dir()) as name:
                workspace, folder = Path(name) / "workspace", Path(name) / "judged"
                folder.mkdir()
                image = self.environments.prepare(task, workspace)
                work(workspace)
                start = Start(self.environments.verifier_image(task, image))
                tried = run_tests(task, workspace, self.verifiers, start, folder)
                remove_tree(workspace)
            if tried.reward is None:
                raise TaskError(f"its tests cannot be run: {tried.problem}")
            metrics, said = dict(tried.reward.metrics), tried.reward.feedback
            metrics.pop("reward", None)
            found.append({test: value == 1.0 for test, value in metrics.items()})
            if not metrics:
                return [{}] * times, said
        return found, said


def make_tasks(
    history: History, commits: Sequence[Commit], settings: Settings, target: Path, site: Site
) -> Iterator[Made]:
    """Make the tasks of commits, one after the other.

    Args:
        history: theirs.
        commits: to look at, in this order.
        settings: of all of them.
        target: folder in which a folder is made for each task.
        site: where their tests are run.

    Raises:
        EngineUnavailableError: the engine does not answer.
    """
    for commit in commits:
        with tempfile.TemporaryDirectory(dir=target, prefix=".making-") as scratch:
            try:
                yield _made(history, commit, settings, target, site, Path(scratch))
            except EngineUnavailableError:
                raise
            except (TaskError, SandboxError) as error:
                said = re.sub(rf"{re.escape(scratch)}/(before|after)/", "", str(error))
                yield Made(commit, None, f"cannot be tried: {said}")


def _made(
    history: History, commit: Commit, settings: Settings, target: Path, site: Site, scratch: Path
) -> Made:
    changes = history.changes(commit)
    kind = settings.kind
    tests = [c.path for c in changes if kind.is_test(c.path) and not c.gone]
    code = [c for c in changes if not kind.is_test(c.path)]
    if not tests or not any(kind.is_code(change.path) for change in code):
        return Made(commit, None, "changes no code" if tests else "changes no tests")
    if odd := next((c.path for c in changes if not _is_plain_name(c.path)), None):
        why = f"changes a file whose name is not UTF-8 text of one line: {odd!a}"
        return Made(commit, None, why)
    if len(changes) > MAX_FILES or history.lines(commit) > MAX_LINES:
        return Made(commit, None, f"changes more than {MAX_FILES} files or {MAX_LINES} lines")
    before, after = scratch / "before", scratch / "after"
    history.write(commit.parent, before)
    history.write(commit.id, after)
    plan = Plan(settings.test, "code") if settings.test else kind.plan(after, tests)
    folder = scratch / f"{slug(commit.subject)[:_NAME_CHARS].rstrip('-._')}-{commit.id[:8]}"
    _write(folder, commit, settings, before, after, plan)
    code_paths = {change.path: change.gone for change in code}
    _write_solution(folder / "solution", after, code_paths)

    task = site.environments.settled(read_task(folder))
    passing, said = site.outcomes(task, RUNS, lambda work: _apply(work, after, code_paths))
    last = " ".join(said.split())[-_SAID:]
    if not any(passing):
        return Made(commit, None, f"its tests do not run: {last}")
    if not any(True in run.values() for run in passing):
        return Made(commit, None, f"its tests fail with it too: {last}")
    failing, _ = site.outcomes(task, RUNS, lambda work: None)
    fixed, kept, flaky = compared(failing, passing)
    if not fixed:
        why = "its tests are flaky" if flaky else "no test fails before it and passes after it"
        return Made(commit, None, why, flaky=flaky)
    _state(folder, commit, fixed, kept)
    shutil.move(folder, target / folder.name)
    return Made(commit, target / folder.name, tests=len(fixed), flaky=flaky)


def compared(
    before: Sequence[Mapping[str, bool]], after: Sequence[Mapping[str, bool]]
) -> tuple[list[str], list[str], tuple[str, ...]]:
    """The tests that a commit mends, those that pass before and after it, and the flaky ones.

    Args:
        before, after: how each test ended, by name, in each run; one that did not run is missing.
    """
    names = sorted({name for run in (*before, *after) for name in run})
    ended = {n: ({run.get(n) for run in before}, {run.get(n) for run in after}) for n in names}
    flaky = tuple(n for n, (old, new) in ended.items() if len(old) > 1 or len(new) > 1)
    sure = {n: (*old, *new) for n, (old, new) in ended.items() if n not in flaky}
    fixed = [n for n, (old, new) in sure.items() if not old and new]
    return fixed, [n for n, (old, new) in sure.items() if old and new], flaky


def _write(
    folder: Path, commit: Commit, settings: Settings, before: Path, after: Path, plan: Plan
) -> None:
    """Write a task that only tells how each test ends."""
    kind, environment, tests = settings.kind, folder / "environment", folder / "tests"
    shutil.copytree(before, environment / "files", symlinks=True)
    needs = environment / "needs"
    for name, text in kind.needs(after).items():
        needs.mkdir(exist_ok=True)
        (needs / name).write_text(text, "utf-8")
    (environment / "Dockerfile").write_text(dockerfile(settings, needs.exists()), "utf-8")
    (tests / "files").mkdir(parents=True)
    for file in _below(after):
        path = file.relative_to(after).as_posix()
        if kind.is_test(path) or kind.is_setting(path):
            _copy(file, tests / "files" / path)
    given = {
        "command": plan.command, "report": plan.report, "timeout_s": settings.timeout_s,
        "env": dict(kind.env), "settings": kind.settings.pattern,
        "fail_to_pass": [], "pass_to_pass": [],
    }  # fmt: skip
    (tests / "tests.json").write_text(json.dumps(given, indent=1) + "\n", "utf-8")
    (tests / "test.sh").write_text(_TEST_SH, "utf-8")
    shutil.copyfile(_INSIDE, tests / "run_tests.py")
    (folder / "instruction.md").write_text(commit.message + "\n", "utf-8")
    metadata = {"untrusted_programs": True, "commit": commit.id}
    lines = [f"{key} = {toml(value)}" for key, value in metadata.items()]
    timeout = f"timeout_sec = {2 * settings.timeout_s + 60}.0"
    toml_lines = ['schema_version = "1.4"', "", "[metadata]", *lines, "", "[verifier]", timeout, ""]
    (folder / "task.toml").write_text("\n".join(toml_lines), "utf-8")


def dockerfile(settings: Settings, needs: bool) -> str:
    """The Dockerfile of all tasks of a repository: their tools and dependencies are one layer each,
    which the engine keeps.

    Args:
        settings: of the tasks.
        needs: whether there are dependencies to install.
    """
    kind = settings.kind
    values = {name: value.replace("{project}", "/app") for name, value in kind.env.items()}
    env = [f"ENV {name}={json.dumps(value)}" for name, value in values.items()]
    lines = [f"FROM {settings.base}"]
    if settings.base == AGENT_BASE_IMAGE:
        packages = " ".join(kind.packages)
        lines.append(
            "RUN apt-get update && apt-get install -y --no-install-recommends "
            f"{packages} && rm -rf /var/lib/apt/lists/*"
        )
    lines += [*env, *(f"RUN {command}" for command in settings.setup)]
    if needs:
        lines += ["WORKDIR /opt/needs", "COPY needs /opt/needs/"]
        lines += [f"RUN {command}" for command in kind.install]
    return "\n".join([*lines, "WORKDIR /app", "COPY files /app/", ""])


def _write_solution(folder: Path, after: Path, code: Mapping[str, bool]) -> None:
    (folder / "files").mkdir(parents=True)
    for path, gone in code.items():
        if not gone and _is_plain(after / path):
            _copy(after / path, folder / "files" / path)
    removed = "".join(f"{path}\n" for path, gone in code.items() if gone)
    (folder / "removed.txt").write_text(removed, "utf-8")
    (folder / "solve.sh").write_text(_SOLVE_SH, "utf-8")


def _apply(workspace: Path, after: Path, code: Mapping[str, bool]) -> None:
    """Do to a workspace what a commit does to code."""
    for path, gone in code.items():
        if gone:
            (workspace / path).unlink(missing_ok=True)
        elif _is_plain(after / path):
            _copy(after / path, workspace / path)


def _state(folder: Path, commit: Commit, fixed: Sequence[str], kept: Sequence[str]) -> None:
    """Let the tests of a task judge, and say in its instruction which must pass."""
    file = folder / "tests" / "tests.json"
    given = json.loads(file.read_text("utf-8"))
    given |= {"fail_to_pass": list(fixed), "pass_to_pass": list(kept)}
    file.write_text(json.dumps(given, indent=1) + "\n", "utf-8")
    names = [f"- `{' '.join(name.replace('`', ' ').split())}`" for name in fixed[:_NAMED]]
    more = [f"- and {len(fixed) - _NAMED} more"] if len(fixed) > _NAMED else []
    said = "These tests must pass; those that are new are not in the project yet:"
    lines = [commit.message, "", said, "", *names, *more]
    if kept:
        lines += ["", "Tests that pass now must still pass."]
    (folder / "instruction.md").write_text("\n".join([*lines, ""]), "utf-8")


def _below(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.rglob("*")) if _is_plain(path))


def _is_plain_name(path: str) -> bool:
    return path.encode("utf-8", "replace").decode() == path and "\n" not in path


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
