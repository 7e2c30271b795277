"""A rollout in the event log says the same of its reward as the rollout itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from harnesses.base import Status, Usage
from skillopt.core.types import Reward, Rollout, RolloutRow, named_task


@pytest.mark.parametrize(
    "reward",
    [
        Reward(1.0),
        Reward(0.0),
        Reward(0.5, feedback="half"),
        Reward(0.7, solved=True),
        Reward(1.0, solved=False),
    ],
)
def test_a_row_has_the_reward_of_its_rollout(reward: Reward, tmp_path: Path) -> None:
    rollout = Rollout(
        key="k",
        identity={},
        task=named_task("t"),
        status=Status.COMPLETED,
        message="",
        usage=Usage(),
        reward=reward,
        folder=tmp_path,
    )
    read = RolloutRow.model_validate_json(rollout.row.model_dump_json()).reward
    assert (read.hard, read.soft, read.feedback) == (reward.hard, reward.soft, reward.feedback)
