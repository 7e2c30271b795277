"""Takes the verdict on stored rollouts again, from the agent's kept work: no agent runs.

A rollout whose tests or verifier have changed gets the address of a new one, and so is found where
that one would be run. Its old verdict stays, in ``earlier`` of its ``result.json``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harnesses.base import Status
from sandboxes.base import SandboxError
from skillopt.core.types import Rollout, Task, Verdict
from skillopt.rollouts.identity import JUDGING, RolloutIdentity
from skillopt.rollouts.kept_work import why_not
from skillopt.rollouts.rollout import keep_outcome, outcome_of
from skillopt.rollouts.runner import RolloutRunner
from skillopt.rollouts.slots import sandbox_identity
from skillopt.tasks.environment import given


@dataclass(frozen=True)
class Rejudged:
    """What came of one rollout."""

    before: Rollout
    after: Rollout | None = None
    """The rollout that the store has now; None if it was not judged."""
    problem: str = ""
    """Why it was not judged, and what to do."""

    @property
    def changed(self) -> bool:
        """Whether the verdict is another one."""
        return self.after is not None and self.after.reward.soft != self.before.reward.soft


def rejudge(
    runner: RolloutRunner, rollouts: Sequence[Rollout], tasks: Mapping[str, Task]
) -> Iterator[Rejudged]:
    """Judge stored rollouts again, in parallel.

    Those that were not judged because the agent failed or ran out of time are taken over as they
    are, so that they need not be run again for a corrected verifier either.

    Args:
        runner: entered; has the verifier.
        rollouts: from its store.
        tasks: as they are now, by name.

    Raises:
        OwnCodeError: the user's own verifier raised.
        LimitReachedError: a limit of the judge is used up.
    """
    yield from runner.pool.map(lambda one: _judged(runner, one, tasks.get(one.task.name)), rollouts)


def _judged(runner: RolloutRunner, rollout: Rollout, task: Task | None) -> Rejudged:
    if task is None:
        problem = f"the config has no task {rollout.task.name!r}"
        return Rejudged(rollout, problem=problem)
    if not rollout.identity:
        return Rejudged(rollout, problem="it does not say what it is a rollout of; run it again")
    identity = _identity_now(runner, rollout, task)
    if identity is None:
        problem = "the config's sandbox settings are not those that the agent ran with"
        return Rejudged(rollout, problem=problem)
    if task.digest != rollout.identity["task"] and given(task) != rollout.given:
        return Rejudged(rollout, problem=_not_the_tests(rollout))
    there = runner.store.get(identity.key, task) if identity.key != rollout.key else None
    if there is not None:
        return Rejudged(rollout, there)
    if rollout.status is not Status.COMPLETED:
        return Rejudged(rollout, _taken_over(runner, rollout, identity, task))
    if problem := _missing(rollout, task):
        return Rejudged(rollout, problem=problem)
    return _judge(runner, rollout, identity, task)


def _identity_now(runner: RolloutRunner, rollout: Rollout, task: Task) -> RolloutIdentity | None:
    """What identifies the same work with the tests and the verifier of today, which may also have
    got another network; None if the agent's own sandbox differs."""
    old = RolloutIdentity.read(rollout.identity)
    agent = {name: value for name, value in old.agent.items() if name not in JUDGING}
    if "verifier" in runner.parts:
        agent["verifier"] = runner.parts["verifier"]
    if (judge := runner.judge_of(task)) is not None:
        agent["judge"] = judge.to_json()
    sandbox = sandbox_identity(runner.config, runner.parts)
    if _agents(sandbox) != _agents(agent.get("sandbox", {})):
        return None
    return replace(old, task=task.digest, agent=agent | {"sandbox": sandbox})


def _agents(sandbox: Mapping[str, object]) -> dict[str, object]:
    """The settings of a sandbox that the agent notices."""
    return {name: value for name, value in sandbox.items() if name != "verifier_network"}


def _not_the_tests(rollout: Rollout) -> str:
    if not rollout.given:
        return "its task has changed, and it is not known whether only the tests have; run it again"
    return "its task's instruction, environment or limits have changed; run it again"


def _missing(rollout: Rollout, task: Task) -> str:
    """Why work cannot be judged again; the answer to a question is in the result itself."""
    if task.question:
        return ""
    problem = why_not(rollout.folder)
    return f"{problem}; forget it ('skillopt store forget') and run it again" if problem else ""


def _taken_over(
    runner: RolloutRunner, rollout: Rollout, identity: RolloutIdentity, task: Task
) -> Rollout:
    """The same result under the address of today: it was not the tests that decided it."""
    if identity.key == rollout.key:
        return rollout
    with runner.store.again(rollout) as folder:
        return runner.store.commit(_readdressed(rollout, identity, task, folder))


def _judge(
    runner: RolloutRunner, rollout: Rollout, identity: RolloutIdentity, task: Task
) -> Rejudged:
    with runner.store.again(rollout) as folder:
        keep_outcome(outcome_of(rollout), folder)
        if task.question:  # There is no work but the answer.
            (folder / "scratch" / "workspace").mkdir(parents=True)
        try:
            job = runner.judging(task, identity)
            with runner.judge_admitted(job):
                judged = runner.execute(job, folder)
            runner.count_judge(judged)
        except SandboxError as error:
            return Rejudged(rollout, problem=str(error))
        if not judged.status.scored:
            return Rejudged(rollout, problem=judged.message.replace(str(folder), "the rollout"))
        earlier = Verdict(
            key=rollout.key,
            soft=rollout.reward.soft,
            metrics=rollout.reward.metrics,
            feedback=rollout.reward.feedback,
            finished=rollout.finished,
        )
        told = _readdressed(rollout, identity, task, folder).model_copy(
            update={
                "reward": judged.reward,
                "judgement": judged.judgement,
                "earlier": (*rollout.earlier, earlier),
            }
        )
        same = identity.key == rollout.key
        return Rejudged(rollout, (runner.store.replace if same else runner.store.commit)(told))


def _readdressed(rollout: Rollout, identity: RolloutIdentity, task: Task, folder: Path) -> Rollout:
    message = rollout.message.replace(str(rollout.folder), str(folder))
    return rollout.model_copy(
        update={
            "key": identity.key,
            "identity": identity.to_json(),
            "task": task,
            "folder": folder,
            "message": message,
            "given": given(task),
        }
    )
