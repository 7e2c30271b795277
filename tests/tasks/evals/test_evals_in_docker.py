"""Tasks of eval files in Docker: setup, hidden graders, the answer, scratch files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandboxes.docker_backend import DockerBackend
from sandboxes.images import AGENT_BASE_IMAGE, remove_image
from skillopt.core.types import Reward, Task
from skillopt.tasks.environment import Environments
from skillopt.tasks.evals.reading import read_evals
from skillopt.tasks.judging import Attempt, VerifierSite, run_tests
from skillopt.tasks.surroundings import HIDDEN, TESTS
from skillopt.tasks.warm import Start
from tests.tasks.rows import splits_of, write

pytestmark = pytest.mark.engine
FILES = Path(__file__).parent / "files"


@pytest.fixture
def images(backend: DockerBackend) -> Iterator[set[str]]:
    found = set[str]()
    yield found
    for image in found - {AGENT_BASE_IMAGE}:
        remove_image(backend.engine, image)


def judged(task: Task, workspace: Path, image: str, backend: DockerBackend, folder: Path) -> Reward:
    folder.mkdir()
    found: Attempt = run_tests(task, workspace, VerifierSite(backend.sandbox), Start(image), folder)
    assert found.reward is not None, found.problem
    return found.reward


def test_setup_and_an_assertion(tmp_path: Path, backend: DockerBackend, images: set[str]) -> None:
    task = read_evals([FILES / "caliper" / "inbox-triage.eval.yaml"], tmp_path / "made")[0][0]
    environments, workspace = Environments(backend), tmp_path / "workspace"
    image = environments.prepare(environments.settled(task), workspace)
    images.add(image)
    assert "Does Thursday work?" in (workspace / "inbox" / "1.eml").read_text()
    assert (workspace / "outbox").is_dir()
    before = judged(task, workspace, image, backend, tmp_path / "before")
    assert (before.hard, "no draft written" in before.feedback) == (0.0, True)
    (workspace / "drafts" / "1.eml").write_text("Thursday works.")
    assert judged(task, workspace, image, backend, tmp_path / "after").hard == 1.0


def test_a_grader_in_the_verifiers_sandbox(tmp_path: Path, backend: DockerBackend) -> None:
    file = FILES / "skillevaluation" / "api-error-envelope" / "eval.yaml"
    task = read_evals([file], tmp_path / "made")[0][0]
    environments, workspace = Environments(backend), tmp_path / "workspace"
    image = environments.prepare(environments.settled(task), workspace)
    assert [*workspace.iterdir()] == []
    error = {"code": "NOT_FOUND", "message": "no such user", "request_id": "r-1"}
    for number, (answer, reward) in enumerate([(json.dumps({"error": error}), 1.0), ("404", 0.0)]):
        (workspace / task.answer_file).write_text(answer)
        found = judged(task, workspace, image, backend, tmp_path / str(number))
        assert found.hard == reward


CASES = [f"{place}/cases.json" for place in (HIDDEN, TESTS)]
PROGRAM = "Sure:\n\n```python\ndef add(a, b):\n    {}\n```\n\nThat is all.\n"


@pytest.mark.parametrize(
    ("body", "reward", "said"),
    [
        ("return a + b", 1.0, ""),
        ("return a - b", 0.5, "run 2: exit code 1: ended with 1"),
        (f"import os; return [*filter(os.path.exists, {CASES})] or a + b", 1.0, ""),
        ("import os; os._exit(0)", 0.0, "ended before its tests did"),
        ("while True: pass", 0.0, "took more than 2 s"),
    ],
)
def test_a_program_is_run_as_another_user(
    body: str, reward: float, said: str, tmp_path: Path, backend: DockerBackend
) -> None:
    row = {"prompt": "Add.", "answer": ["assert add(0, 0) == 0", "assert add(1, 2) == 3"]}
    options = {"scorer": "program", "scorer_options": {"timeout_s": 2}}
    (task,) = splits_of(write(tmp_path / "rows.jsonl", [row]), tmp_path, **options)["test"]
    environments, workspace = Environments(backend), tmp_path / "workspace"
    image = environments.prepare(environments.settled(task), workspace)
    (workspace / task.answer_file).write_text(PROGRAM.format(body))
    found = judged(task, workspace, image, backend, tmp_path / "judged")
    assert found.soft == reward
    assert said in found.feedback
