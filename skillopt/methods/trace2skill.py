"""Trace2Skill (arXiv 2603.25158): one pass over all training runs, each analysed by itself.

The algorithm of Qwen-Applications/Trace2Skill (commit 3d0b52a, ``skill_evolver``): the training
tasks are run with the initial skill; each run gives one patch against it; patches are merged five
at a time, level by level; what is left is applied; and of several such skills the one is taken that
solves most training tasks. There is no gate. Its code is a set of scripts for one benchmark, so it
is written anew, on SkillOpt's own stages with other settings. Chosen here:

- Analysis and patch of a run are one call. Theirs are two, and for a failed run the first is an
  agent that looks at the workspace and the reference for up to 20 turns.
- Edits are exact from the start, so no call translates them. Those that do not apply are asked for
  once more; theirs are repaired in up to three rounds.
- Patches of failed and of solved runs are merged apart and then with each other, failures first.
- Edits are held to this project's rules: the length of ``skill.max_tokens`` in place of 500 lines
  and 5 reference files, protected regions, and nothing that belongs to a single task. Files change
  with ``skill.edit_files`` only.
- Their three seeds differ in the runs too. Here all skills are made from the same runs, and differ
  in the seed of the calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from skillopt.config.methods import Trace2SkillConfig
from skillopt.config.schema import Config
from skillopt.core.skill import Skill
from skillopt.core.types import Edit, Rollout, Split, Task
from skillopt.optimizer.merge import merge
from skillopt.optimizer.reflect import reflect
from skillopt.optimizer.repair import apply_or_repair
from skillopt.training.method import Estimate
from skillopt.training.sealed import SealedTraining


@dataclass(frozen=True)
class Made:
    """A skill that was made from all runs.

    Args:
        skill: the skill.
        edits: those that were applied.
        errors: what went wrong and was handled.
    """

    skill: Skill
    edits: tuple[Edit, ...]
    errors: tuple[str, ...]


class Trace2Skill:
    """Implements :class:`skillopt.training.method.Method`.

    Args:
        settings: Trace2Skill's.
    """

    def __init__(self, settings: Trace2SkillConfig) -> None:
        self.settings = settings

    def estimate(self, config: Config, splits: dict[Split, tuple[Task, ...]]) -> Estimate:
        own, train = self.settings, len(splits["train"])
        merges = -(-train // (own.merge_batch - 1)) + 1
        return Estimate(
            steps=own.skills,
            budgets=(None,) * own.skills,
            rollouts=(("rollout", (1 + own.skills) * train),),
            calls=(
                ("reflect", own.skills * train),
                ("merge", own.skills * merges),
                ("apply", own.skills),
            ),
        )

    def run(self, training: SealedTraining) -> str:
        """The algorithm.

        Raises:
            LimitReachedError, PausedError, OptimizerUnavailableError: what ends it early.
        """
        best, most, reason = training.initial, -1.0, "all skills are made"
        for number in range(1, self.settings.skills + 1):
            if ending := training.begin_step():
                reason = ending
                break
            runs = training.rollouts(training.initial, training.train)
            made = self._made(training, runs, number)
            score = _score(training, made.skill)
            said = f"{score:.3f} on the training tasks"
            training.end_step(made.skill, None, said, errors=made.errors, edits=made.edits)
            if score > most:
                best, most = made.skill, score
        return training.choose(best, reason)

    def _made(self, training: SealedTraining, runs: Sequence[Rollout], number: int) -> Made:
        """One skill: map, reduce, apply."""
        own = self.settings
        solved = sum(training.scorer.succeeds(run.reward) for run in runs)
        briefing = replace(
            training.briefing(training.initial).again(number), ran=len(runs), solved=solved
        )
        with training.stage("reflect", len(runs)):
            mapped = reflect(runs, briefing, minibatch=1)
        with training.stage("merge", len(mapped.value)):
            reduced = merge(mapped.value, briefing, batch=own.merge_batch)
        with training.stage("apply", 1):
            applied = apply_or_repair(reduced.value.edits, briefing)
        skill, outcomes = applied.value
        edits = tuple(outcome.edit for outcome in outcomes if outcome.applied)
        return Made(skill, edits, (*mapped.errors, *reduced.errors, *applied.errors))


def _score(training: SealedTraining, skill: Skill) -> float:
    """The mean score on the training tasks; -1 if no agent would load the skill."""
    if training.problem(skill):
        return -1.0
    done = training.rollouts(skill, training.train)
    return training.scorer.mean(run.reward for run in done)
