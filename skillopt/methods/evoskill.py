"""EvoSkill: a small frontier of skills, whose best one gets a proposal from failures each time.

The algorithm of ``SelfImprovingLoop.run`` (sentient-agi/EvoSkill, ``src/loop/runner.py``, with
``update_frontier`` of its ``ProgramManager``) as stages: tasks round-robin over their families, a
proposal from all failures with the history of earlier ones, a new skill from the proposal, and its
score on the selection split. It enters the frontier if there is room or it beats the worst there.
The package needs another Python and several agents' SDKs, so it is written anew. Chosen here:

- Their state is a folder of skills, ours one skill: to create or to edit is a change of its body.
- Their proposer and generator are agents with tools, here they are one model call each.
- Their proposer is shown the right answers; here with ``optimizer.sees_answers`` only.
- Their sampled runs are new each time, and scores of the same skill come from a cache. So sampled
  tasks are new repetitions here, and selection tasks are not.
- Of two with the same score the older one is the better, as in their sorted list.
- The number of iterations has three defaults, 5 in ``LoopConfig``, 20 in the API, 7 in the command
  line's config; this is the API's.
- A proposal fails if the reply is empty or refused. Then it is asked for with less of each run, at
  last from the shortest failure alone, as theirs is.
- A generator that writes nothing of use (no tags, or a skill that no agent would load) leaves the
  parent as it is, which then is the child, as in theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from skillopt.config.methods import EvoSkillConfig
from skillopt.config.schema import Config
from skillopt.core.skill import Skill, canonical_body
from skillopt.core.types import Rollout, Split, Task
from skillopt.methods.prompting import render
from skillopt.optimizer.model import OptimizerReplyError
from skillopt.training.method import Estimate
from skillopt.training.sealed import SealedTraining
from skillopt.training.view import mean_score

NEW_SKILL = re.compile(r"<NEW_SKILL>(.*?)</NEW_SKILL>", re.DOTALL)
SHARES = (1.0, 0.5, 0.2)
"""Shares of the usual tokens of a run that the proposer is shown, level by level."""


@dataclass(frozen=True)
class Member:
    """A skill of the frontier with its score on the selection split."""

    skill: Skill
    score: float


@dataclass(frozen=True)
class Tried:
    """An earlier proposal, as later ones are shown it."""

    text: str
    outcome: str
    score: float
    parent: float


class EvoSkill:
    """Implements :class:`skillopt.training.method.Method`.

    Args:
        settings: EvoSkill's.
    """

    def __init__(self, settings: EvoSkillConfig) -> None:
        self.settings = settings

    def estimate(self, config: Config, splits: dict[Split, tuple[Task, ...]]) -> Estimate:
        own, val = self.settings, len(splits["val"])
        families = len({task.family for task in splits["train"]})
        tasks = min(own.families, families) * own.per_family
        proposals = own.iterations * (len(SHARES) + 1)
        return Estimate(
            steps=own.iterations,
            budgets=(None,) * own.iterations,
            rollouts=(
                ("rollout", own.iterations * tasks),
                ("gate", (own.iterations + 1) * val),
            ),
            calls=(("reflect", proposals), ("apply", own.iterations)),
        )

    def run(self, training: SealedTraining) -> str:
        """The algorithm.

        Raises:
            LimitReachedError, PausedError, OptimizerUnavailableError: what ends it early.
        """
        own = self.settings
        frontier = [Member(training.initial, mean_score(training.select(training.initial)))]
        history: list[Tried] = []
        samples, vain = _sampled(training.train, own.families, own.per_family), 0
        for _ in range(own.iterations):
            if reason := training.begin_step():
                return training.choose(frontier[0].skill, reason, frontier[0].score)
            tried = self._step(training, frontier, history, next(samples))
            if tried is None:
                continue  # All tasks were solved, which is no failure to improve.
            vain = 0 if tried else vain + 1
            if vain >= own.patience:
                reason = f"{vain} iterations in a row without a new member of the frontier"
                return training.choose(frontier[0].skill, reason, frontier[0].score)
        return training.choose(frontier[0].skill, "all iterations are done", frontier[0].score)

    def _step(
        self,
        training: SealedTraining,
        frontier: list[Member],
        history: list[Tried],
        tasks: Sequence[Task],
    ) -> bool | None:
        """One iteration: whether a skill has entered the frontier; None if no task failed."""
        parent, scorer = frontier[0], training.scorer
        rollouts = training.rollouts(parent.skill, tasks, fresh=True)
        failed = [r for r in rollouts if float(scorer.score(r.reward)) < self.settings.solved]
        if not failed:
            training.end_step(parent.skill, None, "all sampled tasks were solved")
            return None
        errors: list[str] = []
        made = _mutated(training, parent.skill, failed, history, errors)
        if made is None:
            training.end_step(parent.skill, None, "no proposal could be used", errors=errors)
            return False
        proposal, skill = made
        score, best = mean_score(training.select(skill)), frontier[0].score
        entered = _entered(frontier, Member(skill, score), self.settings.frontier)
        outcome = "improved" if entered else "discarded"
        history.append(Tried(proposal, outcome, score, parent.score))
        place = f", number {_place(frontier, skill)} of the frontier" if entered else ", discarded"
        reason = f"{score:.3f} on the selection split, best before {best:.3f}{place}"
        training.end_step(skill, score > best, reason, before=best, errors=errors)
        return entered


def _sampled(tasks: Sequence[Task], families: int, each: int) -> Iterator[list[Task]]:
    """The tasks of one iteration after the other: from some families in turn, and in each its
    tasks in turn."""
    pools: dict[str, list[Task]] = {}
    for task in tasks:
        pools.setdefault(task.family, []).append(task)
    names, first = sorted(pools), 0
    taken = dict.fromkeys(names, 0)
    while True:
        found = []
        count = min(families, len(names))
        for name in (names[(first + n) % len(names)] for n in range(count)):
            pool = pools[name]
            for _ in range(min(each, len(pool))):
                found.append(pool[taken[name] % len(pool)])
                taken[name] += 1
        first += count
        yield found


def _entered(frontier: list[Member], member: Member, size: int) -> bool:
    """Add a member if there is room or it beats the worst, and remove the worst beyond the size;
    whether it was added."""
    if len(frontier) >= size and member.score <= frontier[-1].score:
        return False
    frontier.append(member)
    frontier.sort(key=lambda one: -one.score)  # Stable: the older of two stays before the other.
    del frontier[size:]
    return True


def _place(frontier: Sequence[Member], skill: Skill) -> int:
    return 1 + max(n for n, one in enumerate(frontier) if one.skill.digest == skill.digest)


def _mutated(
    training: SealedTraining,
    parent: Skill,
    failed: Sequence[Rollout],
    history: Sequence[Tried],
    errors: list[str],
) -> tuple[str, Skill] | None:
    """A proposal and the skill that it led to; None if no proposal could be had, from all failures
    with less and less of each, nor from the shortest one alone."""
    attempts = [(failed, share) for share in SHARES]
    if len(failed) > 1:
        shortest = min(failed, key=lambda one: len(training.show(one, parent)))
        attempts.append(([shortest], SHARES[-1]))
    for number, (rollouts, share) in enumerate(attempts, start=1):
        failures = [_shown(training, parent, one, share) for one in rollouts]
        prompt = render("evoskill_propose", skill=parent.body, failures=failures, history=history)
        try:
            with training.stage("reflect", 1):
                proposal = training.say("", prompt, about=f"proposal {number}")
        except OptimizerReplyError as error:
            errors.append(f"proposal {number}: {error}")
            continue
        return proposal, _generated(training, parent, proposal, errors)
    return None


def _shown(
    training: SealedTraining, parent: Skill, rollout: Rollout, share: float
) -> dict[str, object]:
    """A failure as the proposer is shown it."""
    return {
        "family": rollout.task.family,
        "task": rollout.task.instruction,
        "shown": training.show(rollout, parent, share),
        "feedback": training.feedback(rollout),
        "score": float(training.scorer.score(rollout.reward)),
    }


def _generated(training: SealedTraining, parent: Skill, proposal: str, errors: list[str]) -> Skill:
    """The new skill; the parent, with an error more, if nothing of use was written."""
    prompt = render("evoskill_generate", skill=parent.body, proposal=proposal)
    try:
        with training.stage("apply", 1):
            reply = training.say("", prompt, stage="apply", about="new skill")
    except OptimizerReplyError as error:
        errors.append(f"new skill: {error}")
        return parent
    found = NEW_SKILL.search(reply)
    if found is None:
        errors.append("new skill: the reply has no <NEW_SKILL> tags")
        return parent
    made = replace(parent, body=canonical_body(found[1].strip()))
    if problem := training.problem(made):
        errors.append(f"new skill: {problem}")
        return parent
    return made
