"""The reward of a rollout whose task says in words what it expects."""

from __future__ import annotations

from pathlib import Path

from sandboxes.trees import remove_tree
from skillopt.core.judgement import Judgement
from skillopt.core.skill import read_skill
from skillopt.core.types import Reward, Rollout
from skillopt.rollouts.judge.asking import Judge
from skillopt.rollouts.judge.evidence import evidence
from skillopt.rollouts.judge.question import expectations_of
from skillopt.rollouts.judge.verdicts import reward_of
from skillopt.tasks.environment import Environments


def judged_by_words(
    rollout: Rollout,
    checks: Reward | None,
    judge: Judge,
    environments: Environments,
    workspace: Path,
    skill: Path | None,
) -> Rollout:
    """A rollout with its reward, for which the judge is asked unless a check before failed.

    Args:
        rollout: whose files are in its folder.
        checks: what the task's deterministic checks gave; None if it has none.
        judge: of this rollout.
        environments: provides the first workspace.
        workspace: as the agent left it.
        skill: the folder of the skill that the agent had.

    Raises:
        JudgeError: the judge gave no verdict.
        SandboxError: there is no first workspace.
    """
    task, spec = rollout.task, judge.spec
    judgement = Judgement(model=spec.model.name)
    if spec.when == "always" or checks is None or checks.hard:
        first = None
        if not (task.question and task.workspace is None):
            first = rollout.folder / "scratch" / "first"
            remove_tree(first)
            environments.prepare(task, first)
        shown = evidence(
            rollout.answer,
            first,
            workspace if first else None,
            rollout.trajectory(),
            read_skill(skill) if skill else None,
            spec.tokens,
        )
        judgement = judge.judge(task, shown)
    reward = reward_of(expectations_of(task), judgement, checks)
    return rollout.model_copy(update={"reward": reward, "judgement": judgement})
