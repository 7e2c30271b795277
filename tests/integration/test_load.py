"""Two hundred rollouts at once on a small machine: slow, and right."""

from __future__ import annotations

import gc

import psutil
import pytest

from harnesses.base import Status
from sandboxes.docker import OWNER_LABEL, DockerEngine
from sandboxes.owner import current_owner
from skillopt.config.inputs import initial_skill
from skillopt.rollouts.prepare import prepare
from skillopt.tasks.sources import load_splits
from tests.helpers.small import small_config

ROLLOUTS = 200


@pytest.mark.alone
@pytest.mark.engine
@pytest.mark.timeout(600)
def test_two_hundred_rollouts_at_once(
    tmp_path_factory: pytest.TempPathFactory, engine: DockerEngine
) -> None:
    config = small_config(tmp_path_factory.mktemp("load"), "direct", workers=ROLLOUTS)
    tasks = load_splits(config.tasks, config.seed, config.runs / "tasks")["test"]
    skill, process = initial_skill(config), psutil.Process()
    mine = {"label": f"{OWNER_LABEL}={current_owner()}"}
    before = len(engine.api.containers(all=True, filters=mine))
    files, threads = process.num_fds(), process.num_threads()
    with prepare(config).runner(lambda _: None) as runner:
        done = runner.rollouts(tasks * (ROLLOUTS // len(tasks)), skill)
    assert [rollout.status for rollout in done] == [Status.COMPLETED] * ROLLOUTS
    alone = {rollout.task.name: rollout.reward.soft for rollout in done[: len(tasks)]}
    assert all(rollout.reward.soft == alone[rollout.task.name] for rollout in done)
    assert len(engine.api.containers(all=True, filters=mine)) == before
    gc.collect()
    assert process.num_fds() <= files + 3 and process.num_threads() <= threads + 3
