"""Runs batches of rollouts in parallel, through the store, with retries and limits.

Knows nothing about steps or edits. The executor decides where an attempt runs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from harnesses.accounts.terms import TERMS, first_use
from harnesses.agents.registry import make_harness
from harnesses.base import Budget, Openings, Status, Usage
from harnesses.clock import now
from harnesses.gateway.plan_windows import PlanWindow, differ
from harnesses.gateway.service import PlanUse, Wait
from harnesses.harness import Harness
from sandboxes.base import Limits, SandboxError
from skillopt.config.kinds import EXECUTORS
from skillopt.config.logins import login, models
from skillopt.core.errors import RESUME_HINT, PausedError
from skillopt.core.import_path import OwnCodeError, own_code
from skillopt.core.skill import (
    Skill,
    for_agents,
    for_everyone,
    read_skill,
    write_skill,
)
from skillopt.core.skill_rules import check_loaded, check_names
from skillopt.core.types import Rollout, Task
from skillopt.rollouts.ahead import Ahead
from skillopt.rollouts.executors import Executor, LostAttemptError, make_executor
from skillopt.rollouts.identity import RolloutIdentity
from skillopt.rollouts.judge.asking import JudgeSpec
from skillopt.rollouts.judge.question import expectations_of
from skillopt.rollouts.questions import Questions
from skillopt.rollouts.rollout import Job
from skillopt.rollouts.slots import sandbox_identity
from skillopt.rollouts.store import OUTCOME, RolloutStore
from skillopt.rollouts.upstreams import (
    check_signed_in,
    model_spec,
    open_gateway,
    raise_own_error,
    service_of,
)
from skillopt.run.events import Listener, RolloutFinished, RolloutStarted, ServiceWaited
from skillopt.run.records import JudgeAsked, Noted, PlanUsed, RolloutRan, RolloutsAsked
from skillopt.run.spending import JUDGE, LimitReachedError
from skillopt.tasks.evals.hiding import without_evals
from skillopt.tasks.evals.reading import eval_files
from skillopt.tasks.harbor import only_triggers
from skillopt.tasks.rows import row_files
from skillopt.tasks.triggers import openings_with

if TYPE_CHECKING:
    from skillopt.rollouts.prepare import Prepared

RETRY_WAIT_S = 1.0
"""Wait before the second attempt after an infrastructure failure; doubles with each attempt."""


class RolloutRunner:
    """Runs rollouts with a config. A context manager; leaving it kills everything that still runs.

    Args:
        prepared: config, limits and the user's own parts.
        listener: receives each rollout, from any thread.
    """

    def __init__(self, prepared: Prepared, listener: Listener) -> None:
        self.prepared = prepared
        self.config = prepared.config
        self.meter = prepared.meter
        self.listener = listener
        self.beside = prepared.beside
        self.parts = prepared.parts
        self.store = RolloutStore(self.config.runs / "store")
        source = self.config.tasks.source
        self._evals = [*eval_files(source), *row_files(source)]
        self._stack = ExitStack()
        self._cancelled = threading.Event()
        self._harnesses: dict[str, Harness] = {}
        self._executor: Executor | None = None
        self._ahead: Ahead | None = None
        self._outages: set[str] = set()
        """The model services that are waited for."""
        self._plans: dict[str, tuple[PlanWindow, ...]] = {}
        """What was recorded of plans, by the service's name."""
        self._own_error: OwnCodeError | None = None
        """The first exception from a user's own part; nothing is started after it."""

    def __enter__(self) -> RolloutRunner:
        plugins = self.prepared.plugins
        with ExitStack() as stack:
            price = self.prepared.prices.cost
            self.gateway = stack.enter_context(
                open_gateway(self.config, plugins.upstreams, price, self._waited, self._plan_used)
            )
            check_signed_in(self.config)
            self._tell_terms()
            self.questions = Questions(self.config, self.gateway)
            stack.callback(self.questions.close)
            self._executor = stack.enter_context(
                plugins.executor or make_executor(self.config, self.gateway, plugins, self.listener)
            )
            self.pool = ThreadPoolExecutor(self.config.workers, "rollout")
            stack.callback(self.pool.shutdown, wait=True, cancel_futures=True)
            if self.config.train.ahead:
                self._ahead = Ahead(self.config.workers, partial(self._rollout, stage="ahead"))
                stack.callback(self._ahead.close)
            # Runs first on exit: rollouts are killed before the workers are waited for.
            stack.callback(self.cancel)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def cancel(self) -> None:
        """Kill everything that runs, from any thread. Nothing can be run here afterwards."""
        self._cancelled.set()
        self.gateway.close()
        self.questions.cancel()
        if self._executor is not None:
            self._executor.cancel()

    def _waited(self, wait: Wait) -> None:
        """Tell of a model service that is waited for; record when it begins and when it ends."""
        self.listener(ServiceWaited(wait))
        name, began = wait.service, wait.service not in self._outages
        if wait.until is None:
            self._outages.discard(name)
            seconds = now() - wait.since
            self.listener(Noted(text=f"model service {name} replies again, after {seconds:.0f} s"))
        elif began:
            self._outages.add(name)
            self.listener(Noted(text=f"waiting for model service {name}: {wait.reason}"))

    def _plan_used(self, use: PlanUse) -> None:
        """Count what is known of a service's plan; record it if it is more than a little."""
        record = PlanUsed(service=use.service, windows=use.windows)
        self.meter.add(record)
        told = self._plans.get(use.service, ())
        if len(told) != len(use.windows) or any(map(differ, told, use.windows)):
            self._plans[use.service] = use.windows
            self.listener(record)

    def _tell_terms(self) -> None:
        """Tell the terms of a Claude plan, once on a machine."""
        used = (login(self.config, model.upstream) for _, model in models(self.config))
        if "claude-plan" in used and first_use(TERMS):
            self.listener(Noted(text=TERMS))

    def harness(self, name: str) -> Harness:
        """The harness of that name, at the config's version if it is the config's."""
        if name not in self._harnesses:
            config, own = self.config.harness, self.prepared.plugins.harness
            if own is not None and name in (config.name, own.name):
                self._harnesses[name] = own
            elif name == config.name:
                settings = (config.version, config.options, config.mode)
                self._harnesses[name] = make_harness(name, *settings)
            else:
                self._harnesses[name] = make_harness(name)
        return self._harnesses[name]

    def key(self, task: Task, skill: Skill, harness: str | None = None) -> str:
        """The address in the store of a skill's first rollout on a task."""
        agent = self.harness(harness or self.config.harness.name)
        return self._identity(task, skill, agent, 0).key

    def rollouts(
        self,
        tasks: Sequence[Task],
        skill: Skill | None,
        *,
        stage: str = "eval",
        harness: str | None = None,
        replicate: int = 0,
        max_infra_share: float = 0.0,
    ) -> list[Rollout]:
        """Run a skill on tasks, each once, or take the rollouts from the store.

        Args:
            tasks: one rollout each; the result has the same order. Those with the same content
                share one.
            skill: None for runs without a skill.
            stage: the stage that they are run for.
            harness: a harness other than the config's.
            replicate: number of the repetition.
            max_infra_share: share of the tasks that may end as ``infra_error``, in [0, 1];
                their rollouts are in the result, and the caller has to leave them out.

        Raises:
            PausedError: more than that share did.
            LimitReachedError: a limit is used up; running rollouts are finished first.
            OwnCodeError: a user's own harness or verifier raised.
        """
        folder = self._skill_folder(skill) if skill else None
        agent = self.harness(harness or self.config.harness.name)
        self._check_skill(skill, agent.name)
        jobs = [self._job(task, skill, folder, agent, replicate) for task in tasks]
        return self._run(jobs, stage, max_infra_share)

    def rollouts_of_each(
        self, runs: Sequence[tuple[Skill, Task, int]], *, stage: str = "eval"
    ) -> list[Rollout]:
        """Run several skills, all at once, or take the rollouts from the store.

        Args:
            runs: skills, tasks and numbers of the repetition, one rollout each; the result has the
                same order.
            stage: the stage that they are run for.

        Raises:
            PausedError, LimitReachedError, OwnCodeError: as :meth:`rollouts`.
        """
        agent = self.harness(self.config.harness.name)
        for skill in {skill.digest: skill for skill, _, _ in runs}.values():
            self._check_skill(skill, agent.name)
        jobs = [
            self._job(task, skill, self._skill_folder(skill), agent, replicate)
            for skill, task, replicate in runs
        ]
        return self._run(jobs, stage, 0.0)

    def _run(self, jobs: Sequence[Job], stage: str, max_infra_share: float) -> list[Rollout]:
        """The rollouts of some jobs; those with the same key share one."""
        if new := self.meter.ask(stage, [job.key for job in jobs]):
            self.listener(RolloutsAsked(stage=stage, keys=new))
        running: dict[str, Future[Rollout]] = {}
        for job in jobs:
            if job.key not in running:
                running[job.key] = self._submit(job, stage)
        found = dict(zip(running, self._all(list(running.values())), strict=True))
        done = [self._shared(found[job.key], job.task) for job in jobs]
        failed = [r for r in done if not r.status.scored]
        if failed and (blocked := self.gateway.blocked(self.config.target.upstream)):
            raise PausedError(f"{blocked}\n{RESUME_HINT}")
        if len(failed) > max_infra_share * len(done):
            raise PausedError(
                f"{len(failed)} of {len(done)} rollouts failed for infrastructure, the last: "
                f"{failed[-1].task.name}: {failed[-1].message}\n{RESUME_HINT}"
            )
        return done

    def ahead(self, tasks: Sequence[Task], skill: Skill) -> AbstractContextManager[None]:
        """Run a skill on tasks in advance in a ``with`` block, as far as workers are idle.

        Args:
            tasks, skill: what a later call of :meth:`rollouts` will probably ask for. Nothing runs
                unless the config has ``train.ahead``.
        """
        if self._ahead is None:
            return nullcontext()
        agent = self.harness(self.config.harness.name)
        folder = self._skill_folder(skill)
        jobs = {(job := self._job(task, skill, folder, agent, 0)).key: job for task in tasks}
        new = [job for job in jobs.values() if self.store.get(job.key, job.task) is None]
        return self._ahead.during(new)

    def _submit(self, job: Job, stage: str) -> Future[Rollout]:
        """Start a rollout that is waited for, or wait for it if it has been started in advance."""
        ahead = self._ahead
        if ahead is None:
            return self.pool.submit(self._rollout, job, stage)
        begun = ahead.take(job.key)

        def run() -> Rollout:
            if begun is not None:
                with suppress(LimitReachedError):  # It may be one on what is run in advance.
                    return begun.result()
            with ahead.worker():
                return self._rollout(job, stage)

        ahead.want()
        future = self.pool.submit(run)
        future.add_done_callback(ahead.done)
        return future

    def _shared(self, rollout: Rollout, task: Task) -> Rollout:
        """A rollout as the result of a task that may have the same content as another."""
        if rollout.task.name == task.name:
            return rollout
        shared = rollout.model_copy(update={"task": task})
        self.listener(RolloutFinished(shared, stored=True))
        return shared

    def _all(self, futures: Sequence[Future[Rollout]]) -> list[Rollout]:
        try:
            return [future.result() for future in futures]
        except (LimitReachedError, OwnCodeError):
            for future in futures:
                future.cancel()
            wait(futures)
            raise

    def _job(
        self,
        task: Task,
        skill: Skill | None,
        folder: Path | None,
        agent: Harness,
        replicate: int,
        identity: RolloutIdentity | None = None,
    ) -> Job:
        own = self.config.harness
        return Job(
            task=task,
            skill=folder,
            harness=agent,
            model=model_spec(self.config.target),
            identity=identity or self._identity(task, skill, agent, replicate),
            limits=Limits(**self.config.sandbox.limits.model_dump()),
            budget=Budget(own.max_requests, own.max_tokens),
            verifier=self.prepared.plugins.verifier,
            mount=own.mount,
            beside=tuple(self._skill_folder(other) for other in self.beside),
            openings=self._openings(task, skill, folder),
            judge=self.judge_of(task),
        )

    def _openings(self, task: Task, skill: Skill | None, folder: Path | None) -> Openings | None:
        """When a task that only asks which skills are opened is over; None for other tasks."""
        if not only_triggers(task) or "verifier" in self.parts:
            return None
        if skill is None and folder is not None:
            skill = read_skill(folder)
        return openings_with(task, skill, self.beside, self.config.triggers.calls)

    def judge_of(self, task: Task) -> JudgeSpec | None:
        """Who judges a task's expectations; None if it has none."""
        return self.prepared.judge if expectations_of(task) else None

    def _identity(
        self, task: Task, skill: Skill | None, agent: Harness, replicate: int
    ) -> RolloutIdentity:
        own, parts = self.config.harness, self.parts
        setup: dict[str, Any] = {
            "name": agent.name,
            "version": agent.version(),
            "sandbox": sandbox_identity(self.config, parts),
            "budget": [own.max_requests, own.max_tokens],
        }
        if "harness" in parts and agent is self.prepared.plugins.harness:
            setup["own"] = parts["harness"]
        if "verifier" in parts:
            setup["verifier"] = parts["verifier"]
        if (judge := self.judge_of(task)) is not None:
            setup["judge"] = judge.to_json()
        if only_triggers(task) and "verifier" not in parts:
            setup["triggers"] = self.config.triggers.calls
        if agent.name == own.name:
            if own.options.set():
                setup["options"] = own.options.set()
            if own.mode != "batch":
                setup["mode"] = own.mode
        if skill is not None and own.mount != "native":
            setup["mount"] = own.mount
        if self.beside:
            setup["beside"] = {other.name: other.digest for other in self.beside}
        return RolloutIdentity(
            skill=skill.digest if skill else None,
            task=task.digest,
            agent=setup,
            model=model_spec(self.config.target),
            service=service_of(self.config, self.config.target, parts),
            replicate=replicate,
        )

    def check_skill(self, skill: Skill) -> None:
        """Raise SkillError if the agent would not load a skill that rollouts would be run with."""
        self._check_skill(skill, self.harness(self.config.harness.name).name)

    def _check_skill(self, skill: Skill | None, agent: str) -> None:
        """Raise SkillError if the agent would not load a skill, or only one of two."""
        check_names(self.beside, skill)
        for other in self.beside:
            check_loaded(other, agent)
        if skill is not None:
            check_loaded(skill, agent, self.config.harness.mount)

    def _skill_folder(self, skill: Skill) -> Path:
        skill = without_evals(skill, self._evals)
        folder = self.store.root / "skills" / skill.digest / skill.folder
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            try:
                write_skill(for_everyone(for_agents(skill)), folder)
            except OSError:
                if not folder.is_dir():  # Another process was faster.
                    raise
        return folder

    def _rollout(self, job: Job, stage: str) -> Rollout:
        if self._own_error is not None:
            raise self._own_error
        stored = self.store.get(job.key, job.task)
        if stored is not None:
            self.listener(RolloutFinished(stored, stored=True))
            return stored
        for attempt in range(self.config.rollout_tries):
            if attempt:
                self._cancelled.wait(RETRY_WAIT_S * 2 ** (attempt - 1))
            with self._admitted(job, stage):
                if not attempt:
                    self.listener(RolloutStarted(job.task.name))
                rollout = self._attempt(job, stage)
            services = [job.model, *([job.judge.model] if job.judge else [])]
            blocked = any(self.gateway.blocked(model.upstream) for model in services)
            if rollout.status.scored or self._cancelled.is_set() or blocked:
                break
        self.listener(RolloutFinished(rollout, stored=False))
        return rollout

    @contextmanager
    def _admitted(self, job: Job, stage: str) -> Iterator[None]:
        """Raise LimitReachedError if a limit is used up, that of the judge if there is one too."""
        with self.meter.admit(stage, now(), rollout=True), self.judge_admitted(job):
            yield

    def judge_admitted(self, job: Job) -> AbstractContextManager[None]:
        """Raise LimitReachedError if a limit of the judge is used up, and the job has one."""
        return self.meter.admit(JUDGE, now()) if job.judge else nullcontext()

    def _attempt(self, job: Job, stage: str) -> Rollout:
        """Run a job once, store its result, and record its cost."""
        self.store.check_room()
        with self.store.begin(job.key, job.identity.work) as folder:
            self.store.announce(folder, job.key, job.task.name)
            acted = (folder / OUTCOME).is_file()
            own: OwnCodeError | None = None
            try:
                rollout = self.execute(job, folder)
                if not rollout.status.scored:
                    raise_own_error(self.gateway, job.model.upstream)
            except SandboxError as error:
                rollout = job.failed(str(error), folder)
                if isinstance(error, LostAttemptError):
                    rollout = rollout.model_copy(update={"usage": error.usage})
            except OwnCodeError as error:
                # The first one stops the run; the agent's work is kept and judged again later.
                rollout, own = job.failed(str(error), folder), error
                self._own_error = self._own_error or error
            if self._cancelled.is_set() and not rollout.status.scored:
                rollout = rollout.model_copy(update={"status": Status.CANCELLED})
            # A failure because the disk is full says nothing about the skill.
            self.store.check_room()
            keep = self.store.commit if rollout.status.scored else self.store.keep_failed
            kept = keep(rollout)
        # Usage from an earlier attempt has been counted with that attempt.
        ran = _ran(kept, rollout, stage, Usage() if acted else rollout.usage)
        self._count(ran)
        self.count_judge(rollout)
        if own is not None:
            raise own
        return kept

    def count_judge(self, rollout: Rollout) -> None:
        """Count and record what the judgement of a rollout has cost, if anything."""
        if rollout.judgement is not None and rollout.judgement.usage.requests:
            spent = rollout.judgement.usage
            self._count(JudgeAsked(key=rollout.key, task=rollout.task.name, usage=spent))

    def _count(self, record: RolloutRan | JudgeAsked) -> None:
        self.meter.add(record)
        self.listener(record)

    def judging(self, task: Task, identity: RolloutIdentity) -> Job:
        """A job that judges work which is there already."""
        agent, folder = self.harness(self.config.harness.name), self._kept_skill(identity.skill)
        return self._job(task, None, folder, agent, 0, identity)

    def _kept_skill(self, digest: str | None) -> Path | None:
        """The folder of a skill with which rollouts were run; None if it is not there."""
        kept = self.store.root / "skills" / digest if digest else None
        return next(kept.iterdir(), None) if kept and kept.is_dir() else None

    def execute(self, job: Job, folder: Path) -> Rollout:
        """Run a job once, in an existing folder; nothing is stored.

        Raises:
            SandboxError: the infrastructure failed.
            OwnCodeError: a user's own part raised.
        """
        assert self._executor is not None, "the runner is entered before it runs anything"
        kind = self.config.executor.kind
        if kind in EXECUTORS and self.prepared.plugins.executor is None:
            return self._executor.attempt(job, folder)
        with own_code(f"executor {kind}", self._executor):
            rollout = self._executor.attempt(job, folder)
            if not isinstance(rollout, Rollout):
                raise TypeError(f"it returned {rollout!r}; return a Rollout")
            return rollout


def _ran(rollout: Rollout, attempt: Rollout, stage: str, usage: Usage) -> RolloutRan:
    """The record of an attempt.

    Args:
        rollout: the one that is in the store now.
        attempt: the one that was run.
        stage: the one that it was run for.
        usage: what the attempt has used.
    """
    return RolloutRan(
        stage=stage,
        key=rollout.key,
        task=rollout.task.name,
        status=rollout.status,
        message="" if rollout.status is Status.COMPLETED else rollout.message,
        usage=usage,
        seconds=round(attempt.duration_s, 3),
        service_seconds=round(attempt.service_s, 3),
    )
