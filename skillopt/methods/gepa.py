"""GEPA (arXiv 2507.19457) by its own package, unmodified: parents from the Pareto front of the
selection tasks, one rewrite from a minibatch with traces, kept if the same tasks score higher.

Here are an adapter and a model for ``gepa.optimize`` (gepa 0.1.4), nothing of the algorithm. Where
the package leaves a choice, this was chosen:

- The text that changes is the body of ``SKILL.md``; name and description stay.
- A score is what ``gate.metric`` says, as for every method.
- A reflection is shown the task's instruction, the run as SkillOpt's optimizer sees it, and the
  verifier's feedback without expected answers.
- Each evaluation is a new sample. The package means that when it runs a parent on a minibatch
  again, so the second time is a new repetition and not the stored rollout.
- A candidate that is no valid skill scores 0 and is not run. The package counts it in its budget.
- A reply that is empty or refused leaves the text as it was, which the package then rejects.

``gepa.optimize`` is given ``raise_on_exception=True``, and still catches what a reflection raises
(``ReflectiveMutationProposer._propose_texts_batch_safe``), to go on without it. With a limit that
is used up that would never end, so what ends a run passes through it as a BaseException.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from skillopt.config.methods import GepaConfig
from skillopt.config.schema import Config
from skillopt.core.import_path import PluginError
from skillopt.core.skill import Skill
from skillopt.core.types import Rollout, Split, Task
from skillopt.optimizer.model import OptimizerReplyError
from skillopt.training.method import Estimate
from skillopt.training.sealed import SealedTraining

BODY = "body"
"""Name of the component that GEPA changes."""


class Gepa:
    """Implements :class:`skillopt.training.method.Method`.

    Args:
        settings: GEPA's.

    Raises:
        PluginError: its package is not installed.
    """

    def __init__(self, settings: GepaConfig) -> None:
        if find_spec("gepa") is None:
            raise PluginError(
                "method.kind: gepa: the package is not installed: "
                "pip install 'skillopt-harness[methods]'"
            )
        self.settings = settings

    def estimate(self, config: Config, splits: dict[Split, tuple[Task, ...]]) -> Estimate:
        """Of the budget the first scores take a part. An iteration runs its minibatch once if it
        is solved, and twice if a text is proposed."""
        own, val = self.settings, len(splits["val"])
        left = max(own.rollouts - val, 0)
        steps = -(-left // own.minibatch)
        return Estimate(
            steps=steps,
            budgets=(None,) * steps,
            rollouts=(("rollout", left), ("gate", val)),
            calls=(("reflect", -(-left // (2 * own.minibatch))),),
        )

    def run(self, training: SealedTraining) -> str:
        """Run ``gepa.optimize``.

        Raises:
            LimitReachedError, PausedError, OptimizerUnavailableError: what ends it early.
        """
        import gepa

        own, seed = self.settings, training.initial
        adapter = SkillAdapter(training)
        watch = Watch(training, adapter, own.rollouts)
        with _passing():
            result = gepa.optimize(
                {BODY: seed.body},
                list(training.train),
                list(training.selection),
                adapter,
                reflection_lm=ReflectionModel(training, adapter),
                candidate_selection_strategy=own.parent,
                acceptance_criterion=own.accept,
                skip_perfect_score=own.skip_perfect,
                reflection_minibatch_size=own.minibatch,
                use_merge=own.merge,
                max_merge_invocations=own.max_merges,
                stop_callbacks=watch.stop,
                callbacks=[watch],
                logger=Quiet(),
                seed=training.seed,
                raise_on_exception=True,
            )
        watch.finish()
        best = int(result.best_idx)
        score = float(result.val_aggregate_scores[best])
        return training.choose(adapter.skill(result.candidates[best]), watch.reason, score)


@dataclass
class SkillAdapter:
    """Runs GEPA's candidates. Implements ``gepa.core.adapter.GEPAAdapter``: an example is a
    training task, or the name of a selection task.

    Args:
        training: runs them.
    """

    training: SealedTraining
    propose_new_texts: None = None
    """GEPA's own prompt asks for new texts."""
    shown: str = ""
    """The body that the next reflection is about."""

    def skill(self, candidate: Mapping[str, str]) -> Skill:
        """A candidate as a skill."""
        return replace(self.training.initial, body=candidate[BODY])

    def evaluate(
        self,
        batch: Sequence[Task | str],
        candidate: Mapping[str, str],
        capture_traces: bool = False,
    ) -> Any:
        """Scores of a candidate, and its rollouts on training tasks if traces are wanted."""
        from gepa.core.adapter import EvaluationBatch

        with _carried():
            scores, rollouts = self._measured(batch, self.skill(candidate))
        return EvaluationBatch(
            outputs=[None] * len(batch),
            scores=scores,
            trajectories=list(rollouts) if capture_traces else None,
            num_metric_calls=len(batch),
        )

    def _measured(
        self, batch: Sequence[Task | str], skill: Skill
    ) -> tuple[list[float], Sequence[Rollout | str]]:
        names = [example for example in batch if isinstance(example, str)]
        if names:
            found = self.training.select(skill, names, fresh=True)
            return [one.score for one in found], []
        tasks = [example for example in batch if isinstance(example, Task)]
        if problem := self.training.problem(skill):
            return [0.0] * len(tasks), [problem] * len(tasks)
        done = self.training.rollouts(skill, tasks, fresh=True)
        score = self.training.scorer.score
        return [float(score(rollout.reward)) for rollout in done], done

    def make_reflective_dataset(
        self, candidate: Mapping[str, str], eval_batch: Any, components_to_update: Sequence[str]
    ) -> dict[str, list[dict[str, str]]]:
        """What a reflection is shown of a minibatch."""
        skill, self.shown = self.skill(candidate), candidate[BODY]
        with _carried():
            rows = [self._row(trace, skill) for trace in eval_batch.trajectories]
        return dict.fromkeys(components_to_update, rows)

    def _row(self, trace: Rollout | str, skill: Skill) -> dict[str, str]:
        if isinstance(trace, str):
            return {"Inputs": "", "Generated Outputs": "not run", "Feedback": trace}
        return {
            "Inputs": trace.task.instruction,
            "Generated Outputs": self.training.show(trace, skill),
            "Feedback": self.training.feedback(trace) or "solved",
        }


@dataclass
class ReflectionModel:
    """GEPA's reflection model: the optimizer, in free text.

    Args:
        training: asks it.
        adapter: knows the text that a reflection is about.
    """

    training: SealedTraining
    adapter: SkillAdapter
    total_cost: float = 0.0
    """GEPA reads it; costs are counted by the run."""

    def __call__(self, prompt: str | Sequence[Mapping[str, Any]]) -> str:
        said = prompt if isinstance(prompt, str) else "\n".join(str(m["content"]) for m in prompt)
        with _carried():
            try:
                with self.training.stage("reflect", 1):
                    return self.training.say("", said)
            except OptimizerReplyError as error:
                self.training.note(f"reflection: {error}")
                return f"```\n{self.adapter.shown}\n```"


@dataclass
class Watch:
    """Records GEPA's iterations as steps. Receives its events by the names of its callbacks.

    Args:
        training: records them.
        adapter: knows candidates as skills.
        budget: of metric calls, ``max_metric_calls``.
    """

    training: SealedTraining
    adapter: SkillAdapter
    budget: int
    reason: str = ""
    """Why it ends."""
    best: float = 0.0
    """The highest mean score on the selection split so far."""
    _made: tuple[Skill, float] | None = None
    _said: str = ""
    _open: bool = False

    def stop(self, state: Any) -> bool:
        """Whether GEPA stops before its next iteration; begins the step if not."""
        calls = int(state.total_num_evals)
        with _carried():
            self.finish()
            if calls >= self.budget:
                self.reason = f"method.rollouts: {calls} of {self.budget} metric calls"
            else:
                self.reason = self.training.begin_step()
            self._open = not self.reason
        return bool(self.reason)

    def on_valset_evaluated(self, event: Mapping[str, Any]) -> None:
        """A candidate, or the seed, has its scores on the selection split."""
        score = float(event["average_score"])
        if event["candidate_idx"] == 0:
            self.best = score
        else:
            self._made = (self.adapter.skill(event["candidate"]), score)

    def on_proposal_end(self, event: Mapping[str, Any]) -> None:
        """A new text was proposed."""
        self._said = "rejected by its minibatch"

    def on_evaluation_skipped(self, event: Mapping[str, Any]) -> None:
        """There was nothing to learn from the minibatch."""
        self._said = f"no proposal: {str(event['reason']).replace('_', ' ')}"

    def finish(self) -> None:
        """Record the iteration that has ended."""
        if not self._open:
            return
        self._open = False
        made, said = self._made, self._said or "no proposal"
        self._made, self._said = None, ""
        if made is None:
            self.training.end_step(self.training.initial, None, said)
            return
        (skill, score), before = made, self.best
        better, self.best = score > before, max(before, score)
        said = f"in the pool with {score:.3f} on the selection split; best before {before:.3f}"
        self.training.end_step(skill, better, said, before=before)


class Quiet:
    """A logger for GEPA that prints nothing: the run has its own log."""

    def log(self, message: str) -> None:
        """Nothing."""


class _Through(BaseException):
    """Carries an exception through code that catches every Exception."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


@contextmanager
def _carried() -> Iterator[None]:
    """What is raised in the ``with`` block passes through the package."""
    try:
        yield
    except Exception as error:
        raise _Through(error) from error


@contextmanager
def _passing() -> Iterator[None]:
    """Unpacks what :func:`_carried` has packed."""
    try:
        yield
    except _Through as through:
        raise through.cause from through.cause.__cause__
