"""The project's gate: it uses every outcome of both skills, and measures again what is in doubt.

The strict gate compares with the sample by which the current skill won: a lucky win sets a bar that
few improvements reach (docs/gates.md has the figures). Here a win is shrunk towards what was known
before it, and the tasks that made the difference are measured again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

from skillopt.config.schema import Metric
from skillopt.core.types import GateDecision, Reward, Rollout, Task
from skillopt.gates.base import Side, Trial, score_of

DOUBT = 0.25
"""Difference of two means on a task from which on the task decides and is worth more outcomes."""
LOOKS = (0.5, 0.75, 1.0)
"""Shares of the split after which a candidate may be ended, as after the tasks that the current
skill mostly fails. They are few, and do not depend on the number of workers."""
CLOSE = (-0.5, 1.0)
"""Differences in standard errors between which a comparison is close."""
LEAST_VARIANCE = 0.3
"""Variance of a sum of differences that is assumed at least: outcomes that agree so far need not
agree for ever."""
EXACT = 1e-9
"""Differences of sums below this are rounding."""


@dataclass(frozen=True)
class FreshGate:
    """Accepts a candidate whose estimated score is greater than the current skill's, or the same if
    the trial says that this is enough.

    A task's estimate under a skill is the mean of its outcomes and, with weight ``prior``, the
    estimate under the skill that it replaces. The comparison is the sum of the differences over
    the tasks. Before it, the current skill runs again where little is known of it. A candidate
    runs once on each task, and is ended when it cannot win, or has little chance to. If the
    comparison is close, both run again on the tasks that differ.

    Args:
        metric: which reward counts.
        mix: weight of the soft reward if the metric is ``mixed``.
        initial: outcomes of the initial skill on each task before it is compared.
        doubtful: outcomes of the current skill on tasks where it differs from the skill that it
            replaced.
        prior: how many outcomes the estimate under the replaced skill counts for.
        chance: a candidate with less chance to win is ended; a rejected one with more is undecided.
        rounds: how often a close comparison is repeated at most.
    """

    metric: Metric = "hard"
    mix: float = 0.5
    initial: int = 2
    doubtful: int = 3
    prior: float = 1.0
    chance: float = 0.2
    rounds: int = 2

    def decide(self, trial: Trial) -> GateDecision:
        """Compare both skills by all that is known of them."""
        prior: dict[str, float] = {}
        for known in trial.before:
            prior = _Evidence(self, trial, "current", known, prior).estimates()
        current = _Evidence(self, trial, "current", trial.known, prior)
        current.measure(self._thin(trial.tasks, current))
        candidate = _Evidence(self, trial, "candidate", trial.tried, current.estimates())
        found = _Comparison(self, trial, current, candidate)
        if found.run_once():
            for _ in range(self.rounds):
                if not found.is_close:
                    break
                found.repeat()
        return found.decision()

    def _thin(self, tasks: Sequence[Task], current: _Evidence) -> list[Task]:
        """The tasks on which too little is known of the current skill."""

        def wanted(name: str) -> int:
            if name not in current.prior:
                return self.initial
            doubtful = abs(current.mean(name) - current.prior[name]) > DOUBT
            return self.doubtful if doubtful else 1

        return [task for task in tasks if current.count(task.name) < wanted(task.name)]


class _Evidence:
    """What is known of one skill, and what was measured of it for this decision."""

    def __init__(
        self,
        gate: FreshGate,
        trial: Trial,
        side: Side,
        known: Mapping[str, Sequence[Reward]],
        prior: Mapping[str, float],
    ) -> None:
        self._gate, self._trial, self._side = gate, trial, side
        self._estimates: dict[str, float] = {}
        self.prior = prior
        self._scores = {
            task.name: [self._score(reward) for reward in known.get(task.name, ())]
            for task in trial.tasks
        }
        self._rollouts: dict[str, list[Rollout]] = {}

    def _score(self, reward: Reward) -> float:
        return _float_score(reward.soft, reward.solved, self._gate.metric, self._gate.mix)

    def measure(self, tasks: Sequence[Task]) -> None:
        """Run each task once more, those with the same number of the repetition together."""
        for number in sorted({self.count(task.name) for task in tasks}):
            part = [task for task in tasks if self.count(task.name) == number]
            done = self._trial.measure(self._side, part, number)
            for task, rollout in zip(part, done, strict=True):
                self._rollouts.setdefault(task.name, []).append(rollout)
                self._scores[task.name].append(self._score(rollout.reward))
                self._estimates.pop(task.name, None)

    def count(self, name: str) -> int:
        """Number of outcomes on a task."""
        return len(self._scores[name])

    def mean(self, name: str) -> float:
        """Mean of the outcomes on a task, of which there is at least one."""
        return math.fsum(self._scores[name]) / len(self._scores[name])

    @property
    def prior(self) -> Mapping[str, float]:
        """The estimates under the skill that this one replaces, by task."""
        return self._prior

    @prior.setter
    def prior(self, estimates: Mapping[str, float]) -> None:
        self._prior = estimates
        self._estimates.clear()

    def estimate(self, name: str) -> float:
        """The estimated score on a task of which anything is known."""
        if name not in self._estimates:
            scores, weight = self._scores[name], self._weight(name)
            total = math.fsum(scores) + weight * self.prior.get(name, 0.0)
            self._estimates[name] = total / (len(scores) + weight)
        return self._estimates[name]

    def estimates(self) -> dict[str, float]:
        """The estimated scores on all tasks of which anything is known."""
        known = (name for name in self._scores if self._scores[name] or name in self.prior)
        return {name: self.estimate(name) for name in known}

    def variance(self, name: str) -> float:
        """The variance of the estimate, at most (Bhatia and Davis 2000, for values in [0, 1])."""
        mean = self.estimate(name)
        return mean * (1 - mean) / (self.count(name) + self._weight(name))

    def _weight(self, name: str) -> float:
        """How many outcomes the prior counts for: none where the skill's own agree for long, as
        they do with an agent that always does the same."""
        scores = self._scores[name]
        agree = len(scores) >= self._gate.doubtful and min(scores) == max(scores)
        return self._gate.prior if name in self.prior and not agree else 0.0

    @property
    def rollouts(self) -> list[Rollout]:
        """What was measured, in the order of the split."""
        return [r for task in self._trial.tasks for r in self._rollouts.get(task.name, ())]


@lru_cache(maxsize=4096)
def _float_score(soft: float, solved: bool | None, metric: Metric, mix: float) -> float:
    """A reward as the gate counts it. A run has few different ones."""
    return float(score_of(Reward(soft, solved=solved), metric, mix))


class _Comparison:
    """A candidate against the current skill."""

    def __init__(
        self, gate: FreshGate, trial: Trial, current: _Evidence, candidate: _Evidence
    ) -> None:
        self._gate, self._trial = gate, trial
        self._current, self._candidate = current, candidate
        self._ended = ""
        """Why the candidate was ended before it had run on all tasks."""

    @property
    def _done(self) -> list[str]:
        """The tasks with an outcome of the candidate."""
        return [t.name for t in self._trial.tasks if self._candidate.count(t.name)]

    @property
    def _gain(self) -> float:
        """The sum of the differences so far; 0 for tasks without an outcome of the candidate."""
        return math.fsum(
            self._candidate.estimate(name) - self._current.estimate(name) for name in self._done
        )

    def _wins(self, gain: float) -> bool:
        return gain >= -EXACT if self._trial.ties else gain > EXACT

    @property
    def _beats(self) -> bool:
        """Whether the candidate does better on any task than the current skill did: if not, a gain
        comes from what was known before that skill."""
        return any(self._candidate.mean(n) > self._current.mean(n) + EXACT for n in self._done)

    def run_once(self) -> bool:
        """Run the candidate on tasks that it has not run on, as long as it can win.

        Returns:
            Whether it has run on all tasks.
        """
        # Those that the current skill fails show fastest that a candidate changes nothing.
        order = sorted(self._trial.tasks, key=lambda task: self._current.estimate(task.name))
        rest = [task for task in order if not self._candidate.count(task.name)]
        failing = sum(self._current.estimate(task.name) < 0.5 for task in order)
        looks = {failing, *(math.ceil(share * len(order)) for share in LOOKS)}
        for look in sorted(looks) if rest else ():
            size = max(0, len(rest) - (len(order) - look))
            self._candidate.measure(rest[:size])
            rest = rest[size:]
            if rest and not self._wins(self._most(rest)):
                self._ended = "it cannot exceed"
            elif rest and self._chance(rest) < self._gate.chance:
                self._ended = f"less than {100 * self._gate.chance:.0f} % chance of exceeding"
            if self._ended:
                return False
        return True

    def _most(self, rest: Sequence[Task]) -> float:
        """The gain if the candidate has full marks on the rest."""
        share = 1 / (1 + self._gate.prior)
        return self._gain + share * math.fsum(1 - self._current.estimate(t.name) for t in rest)

    def _chance(self, rest: Sequence[Task]) -> float:
        """The chance that a candidate wins that on the rest is as good as the current skill."""
        so_far = math.fsum(
            self._candidate.mean(name) - self._current.estimate(name) for name in self._done
        )
        estimates = [self._current.estimate(task.name) for task in rest]
        variance = LEAST_VARIANCE + math.fsum(mean * (1 - mean) for mean in estimates)
        return NormalDist().cdf(so_far / math.sqrt(variance))

    @property
    def _z(self) -> float:
        """The difference of the means in standard errors."""
        names = self._done
        difference = math.fsum(
            self._candidate.mean(name) - self._current.estimate(name) for name in names
        )
        # As if both skills were the same: what a difference is judged against.
        spread = [
            self._current.estimate(name) * (1 - self._current.estimate(name))
            / self._candidate.count(name) + self._current.variance(name)
            for name in names
        ]  # fmt: skip
        return difference / math.sqrt(LEAST_VARIANCE + math.fsum(spread))

    @property
    def is_close(self) -> bool:
        """Whether chance alone could easily turn the comparison."""
        return CLOSE[0] < self._z < CLOSE[1]

    def repeat(self) -> None:
        """Run both skills once more on the tasks that differ."""
        names = {t for t in self._done
                 if abs(self._candidate.mean(t) - self._current.estimate(t)) > DOUBT}  # fmt: skip
        tasks = [task for task in self._trial.tasks if task.name in names]
        known = [t for t in tasks if self._current.count(t.name) < self._gate.doubtful]
        self._candidate.measure(tasks)
        self._current.measure(known)
        self._candidate.prior = self._current.estimates()

    def decision(self) -> GateDecision:
        """The decision and its reason. Scores are means of outcomes, as people count them."""
        tasks, gain = self._trial.tasks, self._gain
        names, full, total = self._done, not self._ended, len(self._trial.tasks)
        before = {task.name: self._current.mean(task.name) for task in tasks}
        change = {name: self._candidate.mean(name) - before[name] for name in names}
        score = math.fsum(before.values()) / total
        reached = math.fsum(self._candidate.mean(name) for name in names)
        bound = (reached + total - len(names)) / total
        accepted = full and self._wins(gain) and (self._trial.ties or self._beats)
        return GateDecision(
            accepted=accepted,
            score_before=score,
            score_after=bound if full else None,
            upper_bound=bound,
            total=total,
            broken=tuple(name for name in names if change[name] <= -0.5),
            fixed=tuple(name for name in names if change[name] >= 0.5),
            rollouts=tuple(rollout.row for rollout in self._candidate.rollouts),
            remeasured=tuple(rollout.row for rollout in self._current.rollouts),
            gain=gain / total if full else None,
            undecided=full and not accepted and NormalDist().cdf(self._z) >= self._gate.chance,
            reason=self._reason(gain / total, score, bound),
        )

    def _reason(self, gain: float, before: float, after: float) -> str:
        if self._ended:
            done, total = len(self._done), len(self._trial.tasks)
            return f"ended after {done} of {total} tasks: {self._ended} the current skill's score"
        return f"estimated gain {gain:+.4f} from all outcomes, {after:.4f} against {before:.4f}"
