"""A question put to the real CLIs: no workspace, and what they say is what counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from harnesses.agents.registry import NAMES, make_harness
from harnesses.base import Budget, ModelSpec, Status
from sandboxes.base import Limits
from skillopt.rollouts.identity import RolloutIdentity
from skillopt.rollouts.rollout import Job, run_job
from skillopt.tasks.environment import Environments
from skillopt.tasks.harbor import read_task
from tests.helpers.lab import MakeLab
from tests.helpers.scripted_model import ScriptedAgentModel
from tests.helpers.tasks import question

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("harness", NAMES)
def test_an_agent_answers_a_question(harness: str, lab: MakeLab, tmp_path: Path) -> None:
    here = lab(ScriptedAgentModel([]))  # Says "finished".
    task = read_task(question(tmp_path / "q", "finished\n"))
    model = ModelSpec("up", "sim-1")
    named = RolloutIdentity(None, task.digest, {"name": harness}, model, {}, 0)
    job = Job(task, None, make_harness(harness), model, named, Limits(), Budget())
    folder = tmp_path / "rollout"
    folder.mkdir()
    result = run_job(job, here.site, Environments(here.backend), here.verifier, folder)
    assert (result.status, result.message, result.reward.hard) == (Status.COMPLETED, "", 1.0)
