"""One hostile rollout: a model that makes the agent's own tools do what an attacker would.

Real containers throughout: the agent's, then the verifier's. A case says in words what must come
of it (``expected``) and checks just that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harnesses.agents.registry import make_harness
from harnesses.base import Budget, Status
from sandboxes.base import Limits
from sandboxes.copied import Copied
from skillopt.core.types import Rollout
from skillopt.rollouts.identity import RolloutIdentity
from skillopt.rollouts.rollout import Job, run_job
from skillopt.tasks.environment import Environments
from skillopt.tasks.harbor import read_task
from tests.helpers.lab import SKILL, Lab
from tests.helpers.scripted_model import ScriptedAgentModel

GOLD = "expected-answer-4711"
SECRET = "verifier-secret-0815"
JUDGE = """\
if [ "$(cat answer.txt 2>/dev/null)" = "$(cat /tests/expected.txt)" ]; then r=1; else r=0; fi
echo "$r" > /logs/verifier/reward.txt
"""
"""A verifier as people write them: it trusts the names in its working directory."""

TASK = """\
schema_version = "1.4"
[agent]
timeout_sec = 40.0
user = "{agent}"
[verifier]
timeout_sec = {seconds}
user = "{verifier}"
env = {{ SECRET = "{secret}" }}
[environment]
memory_mb = 512
storage_mb = 64
{extra}
"""


@dataclass(frozen=True)
class Case:
    """An attack and what must come of it.

    Args:
        name, area: for people.
        expected: the outcome in words.
        commands: shell commands that the agent runs.
        check: the outcome as assertions.
        harness: whose tools run them; ``direct`` is the quickest, the others have the gateway.
        judge: the task's ``test.sh``, and the seconds that it may take.
        extra: lines of its ``task.toml``, and files of its ``tests/``.
        agent, verifier: their users.
    """

    name: str
    area: str
    expected: str
    commands: tuple[str, ...]
    check: Callable[[Attempt], None]
    harness: str = "direct"
    judge: str = JUDGE
    seconds: float = 30.0
    extra: str = ""
    files: dict[str, str] = field(default_factory=dict)
    agent: str = "agent"
    verifier: str = "agent"


@dataclass
class Attempt:
    """What came of a case."""

    result: Rollout
    outputs: list[str]
    """What the agent's shell said, command by command."""
    skill: Path
    folder: Path
    """The rollout's record: trajectory, wire log, kept files."""
    copied: bool
    """Whether the files of its sandboxes were copied, not mounted."""

    @property
    def said(self) -> str:
        return "\n".join(self.outputs)

    def lost(self) -> None:
        """The rollout was judged, and its attack has won nothing."""
        ended = (self.result.status, self.result.reward.hard)
        assert ended == (Status.COMPLETED, 0.0), f"{self.result.message}\n{self.said}"
        self.untouched()

    def untouched(self) -> None:
        """Skill and gold are as before, and gold was not seen."""
        assert (self.skill / "SKILL.md").read_text() == SKILL
        assert GOLD not in self.said and SECRET not in self.said


def attempt(case: Case, here: Lab, model: ScriptedAgentModel) -> Attempt:
    """Run a case, in a lab whose upstream is ``model``."""
    task = _task(case, here.folder / "task")
    folder = here.folder / "record"
    folder.mkdir()
    skill = here.skill()
    agent, request, read = make_harness(case.harness), here.request(), read_task(task)
    model.commands = case.commands
    job = Job(
        task=read,
        skill=skill,
        harness=agent,
        model=request.model,
        identity=RolloutIdentity("s", read.digest, {"name": case.harness}, request.model, {}, 0),
        limits=Limits(memory_mb=512, disk_mb=64, pids=128),
        budget=Budget(requests=30),
    )
    environments = Environments(here.backend)
    result = run_job(job, here.site, environments, here.verifier, folder)
    copied = isinstance(here.backend.files(), Copied)
    return Attempt(result, list(model.outputs), skill, folder, copied)


def _task(case: Case, folder: Path) -> Path:
    for name, text in {
        "task.toml": TASK.format(
            secret=SECRET,
            extra=case.extra,
            seconds=case.seconds,
            agent=case.agent,
            verifier=case.verifier,
        ),
        "instruction.md": "Do it.\n",
        "environment/Dockerfile": "FROM skillopt/agent-base:1\nWORKDIR /app\nCOPY . /app/\n",
        "environment/given.txt": "given\n",
        "tests/test.sh": case.judge,
        "tests/expected.txt": f"{GOLD}\n",
        "solution/solve.sh": f"echo {GOLD} > answer.txt\n",
        **{f"tests/{name}": text for name, text in case.files.items()},
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder
