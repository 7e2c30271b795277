"""Who is to blame if tests give no verdict, and what counts as one."""

from __future__ import annotations

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from sandboxes.access import Visit
from sandboxes.base import Sandbox, SandboxSpec
from sandboxes.docker import ENGINE_LABEL, KIND_LABEL
from sandboxes.docker_backend import DockerBackend
from sandboxes.local import local_sandbox
from sandboxes.local_backend import LocalBackend
from skillopt.config.network import access_to
from skillopt.core.types import Reward, Task
from skillopt.tasks.environment import Environments
from skillopt.tasks.harbor import read_task
from skillopt.tasks.judging import Answers, VerifierSite, judge, verifier_site
from skillopt.tasks.rewards import VerifierError

GIVE = 'give() { echo "$1" > "$VERIFIER_LOGS/reward.txt"; }\n'


class Case:
    """A task, and its tests run on works of the agent's with a shared memory of answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers = Answers(folder / "answers", "none")
        self.visits: list[Visit] = []
        """What the tests are taken to have wanted, each time they run."""
        self.runs: list[SandboxSpec] = []
        self.count = 0
        for name, text in {
            "task.toml": "[verifier]\ntimeout_sec = 2\n",
            "instruction.md": "x",
            "environment/Dockerfile": "FROM skillopt/agent-base:1\nWORKDIR /app\n",
        }.items():
            (folder / "task" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "task" / name).write_text(text)
        (folder / "task" / "tests").mkdir()

    def task(self, script: str) -> Task:
        (self.folder / "task" / "tests" / "test.sh").write_text(GIVE + script)
        return read_task(self.folder / "task")

    def sandbox(self, spec: SandboxSpec) -> Sandbox:
        self.runs.append(spec)
        return local_sandbox(spec)

    @property
    def site(self) -> VerifierSite:
        return VerifierSite(self.sandbox, lambda: self.visits, self.answers)

    def judge(self, script: str, site: VerifierSite | None = None, **files: str) -> Reward:
        self.count += 1
        place = self.folder / str(self.count)
        (place / "workspace").mkdir(parents=True)
        for name, text in files.items():
            (place / "workspace" / name).write_text(text)
        environments = Environments(LocalBackend())
        image = "skillopt/agent-base:1"
        return judge(
            self.task(script), place / "workspace", site or self.site, environments, image, place
        )

    def kept(self) -> dict[str, object]:
        (file,) = (self.folder / "answers").glob("*.json")
        values: dict[str, object] = json.loads(file.read_text())
        return values


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_work_that_breaks_the_tests_is_scored_0_and_the_initial_workspace_asked_once(
    case: Case,
) -> None:
    script = "set -e\n[ -e work ] && bash work\ngive 0"
    for _ in range(3):
        reward = case.judge("true\n" + script.replace("set -e\n", "") + "; exit", work="exit 3")
        assert reward.soft == 0
    script = "[ ! -e work ] || bash work || exit 1\ngive 0"
    for _ in range(3):
        reward = case.judge(script, work="echo because >&2; exit 3")
        assert (reward.soft, reward.metrics) == (0.0, {"reward": 0.0})
        assert "no verdict on this work" in reward.feedback and "stderr: because" in reward.feedback
    assert len(case.runs) == 3 + 3 + 1


def test_tests_that_judge_nothing_are_an_infrastructure_failure(case: Case) -> None:
    for _ in range(2):
        with pytest.raises(VerifierError, match="Nor do they judge the initial workspace"):
            case.judge("no-such-program; exit $?")
    assert len(case.runs) == 2 + 1
    with pytest.raises(VerifierError, match="the image has no 'no-such-program': install it"):
        case.judge("no-such-program; exit $?")


@pytest.mark.slow
def test_a_work_without_end_is_scored_0_and_its_limit_named(case: Case) -> None:
    reward = case.judge("[ -e work ] && bash work; give 0", work="sleep 60")
    assert reward.soft == 0 and "stopped at 2 s (raise verifier.timeout_sec" in reward.feedback
    with pytest.raises(VerifierError, match="stopped at 2 s"):
        case.judge("sleep 60")


REFUSED = Visit("pypi.org", 443, "pypi.org:443 is not on this sandbox's list of hosts")
DOWN = Visit("pypi.org", 443, failed="no connection: TimeoutError: ")
REACHED = Visit("pypi.org", 443)
SOLVED = "if [ -e work ]; then give 1; else give 0.5; fi"


@pytest.mark.parametrize("visit", [REFUSED, DOWN])
def test_a_number_after_a_host_that_was_not_reached_is_no_verdict(case: Case, visit: Visit) -> None:
    case.visits = [visit]
    with pytest.raises(VerifierError, match=r"wanted pypi\.org:443 .*sandbox.verifier_network"):
        case.judge(SOLVED)
    assert len(case.runs) == 2


def test_a_host_that_was_reached_in_the_end_does_not_matter(case: Case) -> None:
    case.visits = [DOWN, REFUSED, REACHED]
    assert case.judge(SOLVED).soft == 0.5


def test_a_refusal_that_did_not_keep_from_the_full_reward_does_not_matter_any_more(
    case: Case,
) -> None:
    case.visits = [REFUSED]
    assert case.judge(SOLVED, work="x").soft == 1
    assert case.kept()["harmless"] == ["pypi.org:443"]
    assert case.judge(SOLVED).soft == 0.5
    case.answers = Answers(case.folder / "answers", "none")  # Another process.
    assert case.judge(SOLVED).soft == 0.5
    case.visits = [REFUSED, Visit("other.org", 80, "no")]
    with pytest.raises(VerifierError, match=r"wanted other.org:80 \(no\): install"):
        case.judge(SOLVED)


def test_a_host_that_only_the_agents_work_wanted_is_the_agents(case: Case) -> None:
    """The tests judge the initial workspace without it."""
    ran = []

    def visits() -> list[Visit]:
        ran.append(1)  # Called before and after each run of the tests.
        return [REFUSED] if len(ran) == 2 else []

    reward = case.judge(SOLVED, VerifierSite(case.sandbox, visits, case.answers))
    assert reward.soft == 0 and "pypi.org:443" in reward.feedback


def test_the_answer_is_kept_for_later_processes_and_for_one_task_and_verifier(case: Case) -> None:
    script = "[ ! -e work ] || exit 1; give 0.25"
    case.judge(script, work="")
    assert case.kept()["soft"] == 0.25 and case.kept()["format"] == 1
    case.answers = Answers(case.folder / "answers", "none")
    case.judge(script, work="")
    assert len(case.runs) == 3
    case.answers = Answers(case.folder / "answers", "registries")
    case.judge(script, work="")
    case.judge(script + "\n", work="")
    assert len(case.runs) == 7


def test_rollouts_at_the_same_time_ask_once(case: Case) -> None:
    task, asked = case.task("true"), []
    ready = threading.Barrier(8)

    def ask(_: int) -> float:
        ready.wait()
        found = case.answers.initial(task, "image", run)
        assert found.reward is not None
        return found.reward.soft

    def run() -> object:
        from skillopt.tasks.judging import Attempt

        asked.append(1)
        return Attempt(Reward(0.5))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [0.5] * 8
    assert asked == [1]


FETCH = "curl -fsS http://tools.example/x >/dev/null || true\n"


@pytest.mark.engine
def test_a_refused_host_is_recorded_in_real_sandboxes(case: Case, backend: DockerBackend) -> None:
    with closing(backend.outlet(access_to("none", recorded=True), None)) as outlet:
        site = verifier_site(backend, outlet, case.answers)
        with pytest.raises(VerifierError, match=r"wanted tools\.example:80"):
            case.judge(FETCH + SOLVED, site)
        assert case.judge(FETCH + SOLVED, site, work="x").soft == 1
        assert case.judge(FETCH + SOLVED, site).soft == 0.5


@pytest.mark.engine
def test_verifiers_of_one_slot_share_one_relay(case: Case, backend: DockerBackend) -> None:
    mine = [f"{ENGINE_LABEL}={backend.engine.id}", f"{KIND_LABEL}=relay"]

    def count() -> int:
        return len(backend.engine.api.containers(filters={"label": mine}))

    before = count()
    with closing(backend.outlet(access_to("none", recorded=True), None)) as outlet:
        site = verifier_site(backend, outlet)
        for _ in range(3):
            case.judge("give 1", site)
            assert count() == before + 1


TOOL_MISSING = """\
apt-get update
apt-get install -y python3-pytest
pytest-3 -q check.py
if [ $? -eq 0 ]; then give 1; else give 0; fi
"""
"""The shape of the tests of public sets, such as all of Terminal-Bench 2."""


@pytest.mark.engine
@pytest.mark.parametrize(
    ("user", "wanted"), [("judge", "root's rights"), ("root", "deb.debian.org:80")]
)
def test_tests_that_cannot_install_their_tools_have_not_judged(
    case: Case, backend: DockerBackend, user: str, wanted: str
) -> None:
    (case.folder / "task" / "task.toml").write_text(f'[verifier]\nuser = "{user}"\n')
    with closing(backend.outlet(access_to("none", recorded=True), None)) as outlet:
        site = verifier_site(backend, outlet, case.answers)
        with pytest.raises(VerifierError, match=f"wanted {wanted}"):
            case.judge(TOOL_MISSING, site, work="x")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("E: Unable to acquire the dpkg frontend lock, are you root?", "root's rights"),
        ("test.sh: line 4: uvx: command not found", "the program uvx"),
    ],
)
def test_programs_that_say_what_they_miss_are_heard(case: Case, line: str, what: str) -> None:
    with pytest.raises(VerifierError, match=re.escape(f"wanted {what} ({line}")):
        case.judge(f"echo '{line}' >&2; give 0")
    assert case.judge(f"echo '{line}' >&2; give 0.1").soft == 0.1
    assert case.judge(f"echo '{line}'; give 0").soft == 0
    assert case.judge(f"[ ! -e work ] || echo '{line}' >&2; give 0", work="x").soft == 0
    assert case.judge(f"echo '{line}' >&2; {SOLVED}", work="x").soft == 1
    seen = f"echo '{line}' >&2; if [ -e work ]; then give 1; else give 0; fi"
    assert [case.judge(seen, work="x").soft, case.judge(seen).soft] == [1, 0]


def test_a_test_runner_that_the_agent_is_to_install(case: Case) -> None:
    (case.folder / "task" / "instruction.md").write_text("Install pytest into .venv.\n")
    assert case.judge("echo 'python3: No module named pytest' >&2; give 0").soft == 0
    assert case.judge("echo 'pytest_x: command not found' >&2; give 0").soft == 0
