"""Traps take the reward from a careless verifier, and ``tasks validate --solve`` says which."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from sandboxes.docker_backend import DockerBackend
from skillopt.config.network import access_to
from skillopt.tasks.environment import Environments
from skillopt.tasks.harbor import read_task
from skillopt.tasks.judging import verifier_site
from skillopt.tasks.solving import try_task
from skillopt.tasks.traps import TRAPS
from skillopt.tasks.validate import Problem
from tests.helpers.command_line import skillopt

pytestmark = pytest.mark.engine

CHECK = 'if [ "$(cat a.txt 2>/dev/null)" = ok ]; then r=1; else r=0; fi\n'
WRITE = 'echo $r > "$VERIFIER_LOGS/reward.txt"\n'


def make(folder: Path, script: str, dockerfile: str = "") -> Path:
    for name, text in {
        "task.toml": "",
        "instruction.md": "x",
        "environment/Dockerfile": f"FROM skillopt/agent-base:1\nWORKDIR /app\n{dockerfile}",
        "tests/test.sh": script + CHECK + WRITE,
        "tests/a.txt": "ok\n",
        "solution/solve.sh": "echo ok > a.txt\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def problems(folder: Path, backend: DockerBackend) -> list[Problem]:
    with closing(backend.outlet(access_to("none", recorded=True), None)) as outlet:
        site = verifier_site(backend, outlet)
        return list(try_task(read_task(folder), Environments(backend), site).problems)


CAREFUL = {
    "nothing": "",
    "Python": "python3 -c 'import json'; python3 -m json.tool /dev/null; "
    "python3 - <<'PY'\nimport csv, openpyxl\nPY\n",
    "git": "git status; git add -A; git -c user.name=a -c user.email=b commit -qm x; git diff\n",
    "shells": "bash -lc true; bash -ic true </dev/null; cat a.txt; diff a.txt b.txt\n",
    "tests by name": "cmp a.txt /tests/a.txt; cmp closed/a.txt /tests/a.txt\n",
}


@pytest.mark.parametrize("script", CAREFUL.values(), ids=CAREFUL.keys())
def test_ordinary_tests_are_not_taken(script: str, tmp_path: Path, backend: DockerBackend) -> None:
    assert problems(make(tmp_path / "task", script), backend) == []


CARELESS = {
    "a Python looks": "python3 -E -c 'import json'\n",
    "pytest takes": "[ ! -e conftest.py ] || python3 conftest.py\n",
    "pytest loads": "[ ! -d trap-1.0.dist-info ] || PYTHONPATH=. python3 -c 'import trap_entry'\n",
    "a program is": "PATH=.:$PATH; cat a.txt\n",
    "a shell reads": "HOME=$PWD bash -lc true\n",
    "git runs": "git -c core.fsmonitor=$PWD/.git/hooks/pre-commit status\n",
    "npm or node": "[ ! -e .npmrc ] || sh ./trap.sh\n",
}


@pytest.mark.parametrize(("kind", "script"), CARELESS.items(), ids=CARELESS.keys())
def test_careless_tests_are_named_with_the_kind_of_trap(
    kind: str, script: str, tmp_path: Path, backend: DockerBackend
) -> None:
    (problem,) = problems(make(tmp_path / "task", script), backend)
    (name,) = [trap.name for trap in TRAPS if trap.name.startswith(kind)]
    assert problem.warning and name in problem.message


def test_a_warning_is_counted_and_strict_makes_it_a_problem(tmp_path: Path) -> None:
    make(tmp_path / "set" / "careless", CARELESS["a program is"])
    make(tmp_path / "set" / "careful", "")
    asked = ["tasks", "validate", str(tmp_path / "set"), "--solve"]
    done = skillopt(*asked)
    assert done.returncode == 0
    assert "careless: warning: a run that only leaves traps" in done.stdout
    assert done.stdout.splitlines()[-1] == ("all tasks are valid, 1 warning(s)")
    strict = skillopt(*asked, "--strict", "--json")
    assert strict.returncode == 1
    assert [problem["warning"] for problem in json.loads(strict.stdout)["problems"]] == [True]
