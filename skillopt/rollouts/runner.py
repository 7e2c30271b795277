"""Everything that rollouts need, for as long as a run lasts: gateway, engine, relays, workers.

Runs batches of rollouts in parallel, through the store. Knows nothing of steps or edits.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

from harnesses.agents.cli_agent import CliHarness
from harnesses.agents.registry import check_backend, make_harness
from harnesses.base import Budget, ModelSpec, Status
from harnesses.clock import now
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.upstreams import BASE_URLS, HttpUpstream, Upstream, protocols_of
from harnesses.harness import Harness
from sandboxes.backend import Backend
from sandboxes.base import Limits, SandboxError
from sandboxes.owner import scratch_dir
from sandboxes.registry import make_backend
from skillopt.config.inputs import skills_beside
from skillopt.config.prices import price_table
from skillopt.config.schema import Config, ModelConfig
from skillopt.config.upstreams import LlamaConfig, SimConfig, UpstreamConfig
from skillopt.core.errors import PausedError
from skillopt.core.skill import Skill, SkillError, write_skill
from skillopt.core.types import Rollout, Task
from skillopt.rollouts.identity import own_backend, without_later
from skillopt.rollouts.plugins import Plugins, label
from skillopt.rollouts.rollout import Job, run_job
from skillopt.rollouts.slots import SandboxSlots
from skillopt.rollouts.store import RolloutStore, identity, unstored
from skillopt.run.events import Listener, RolloutFinished, RolloutStarted
from skillopt.run.records import RolloutRan
from skillopt.run.spending import LimitReachedError, Meter
from skillopt.tasks.environment import Environments

RETRY_WAIT_S = 1.0
"""Before the second attempt at a rollout that failed for infrastructure; doubles with each."""


class RolloutRunner:
    """Runs rollouts as a config says. A context manager; leaving it kills all that still runs.

    Args:
        config: of the run.
        listener: told of each rollout, from any thread.
        meter: asked before each rollout; without one there are no limits.
        plugins: the user's own harness and verifier.
    """

    def __init__(
        self,
        config: Config,
        listener: Listener,
        meter: Meter | None = None,
        plugins: Plugins = Plugins(),
    ) -> None:
        self.config = config
        self.meter = meter or Meter()
        self._plugins = plugins
        self.listener = listener
        self.beside = skills_beside(config)
        self.store = RolloutStore(config.runs / "store")
        self._stack = ExitStack()
        self._cancelled = threading.Event()
        self._harnesses: dict[str, Harness] = {}
        self._backend: Backend | None = None

    def __enter__(self) -> RolloutRunner:
        with ExitStack() as stack:
            sandbox = self.config.sandbox
            backend = make_backend(sandbox.kind, sandbox.options)
            stack.callback(backend.close)
            self._backend = backend
            self._check_backend(self.harness(self.config.harness.name))
            # What an earlier start of this run left, if it was killed, and of other dead runs.
            backend.clean()
            upstreams = {
                name: stack.enter_context(open_upstream(block))
                for name, block in self.config.upstreams.items()
            }
            prices = price_table(self.config)
            scratch = Path(stack.enter_context(TemporaryDirectory(dir=scratch_dir())))
            self.gateway = stack.enter_context(
                Gateway(upstreams, scratch / "gateway.sock", prices.cost)
            )
            self._slots = stack.enter_context(
                SandboxSlots(
                    self.gateway,
                    backend,
                    self.config.workers,
                    sandbox.network,
                    sandbox.verifier_network,
                )
            )
            self._environments = Environments(backend)
            self.pool = ThreadPoolExecutor(self.config.workers, "rollout")
            stack.callback(self.pool.shutdown, wait=True, cancel_futures=True)
            # First on the way out: what runs is killed, then the workers are waited for.
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
        """Kill all that runs, from any thread; nothing more can be run here."""
        self._cancelled.set()
        self.gateway.close()
        if self._backend is not None:
            self._backend.close()

    def harness(self, name: str) -> Harness:
        """The harness of that name, at the config's version where it is the config's."""
        if name not in self._harnesses:
            config, own = self.config.harness, self._plugins.harness
            if own is not None and name in (config.name, own.name):
                self._harnesses[name] = own
            else:
                mine = name == config.name
                self._harnesses[name] = (
                    make_harness(name, config.version, config.options, config.mode)
                    if mine
                    else make_harness(name)
                )
        return self._harnesses[name]

    def key(self, task: Task, skill: Skill, harness: str | None = None) -> str:
        """The address in the store of a skill's first rollout on a task."""
        agent = self.harness(harness or self.config.harness.name)
        return self._job(task, skill, None, agent, 0).key

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
            tasks: one rollout each; the result has the same order.
            skill: None for runs without a skill.
            stage: that they are run for.
            harness: another one than the config's.
            replicate: number of the repetition.
            max_infra_share: share of the tasks that may end as ``infra_error``, in [0, 1];
                their rollouts are in the result for the caller to leave out.

        Raises:
            PausedError: more than that share did.
            LimitReachedError: a limit is used up; the rollouts under way are finished first.
        """
        folder = self._skill_folder(skill) if skill else None
        self._check_name(skill)
        agent = self.harness(harness or self.config.harness.name)
        self._check_backend(agent)
        jobs = [self._job(task, skill, folder, agent, replicate) for task in tasks]
        futures = [self.pool.submit(self._rollout, job, stage) for job in jobs]
        try:
            done = [future.result() for future in futures]
        except LimitReachedError:
            for future in futures:
                future.cancel()
            wait(futures)
            raise
        failed = [r for r in done if not r.status.scored]
        if len(failed) > max_infra_share * len(done):
            raise PausedError(
                f"{len(failed)} of {len(done)} rollouts failed for infrastructure, the last: "
                f"{failed[-1].task.name}: {failed[-1].message}\n"
                "nothing is lost: mend it ('skillopt doctor' helps) and start the same command"
            )
        return done

    def _job(
        self, task: Task, skill: Skill | None, folder: Path | None, agent: Harness, replicate: int
    ) -> Job:
        limits = self.config.sandbox.limits
        own, verifier = self.config.harness, self._plugins.verifier
        options: dict[str, Any] = {
            "sandbox": without_later("sandbox", self.config.sandbox.model_dump(mode="json")),
            "budget": [own.max_requests, own.max_tokens],
            **own_backend(self.config),
        }
        if verifier is not None:
            options["verifier"] = label(verifier)
        if agent.name == own.name:
            if own.options.set():
                options["options"] = own.options.set()
            if own.mode != "batch":
                options["mode"] = own.mode
        if skill is not None and own.mount != "native":
            options["mount"] = own.mount
        if self.beside:
            options["beside"] = {other.name: other.digest for other in self.beside}
        return Job(
            task=task,
            skill=folder,
            harness=agent,
            model=model_spec(self.config.target),
            identity=identity(
                skill.digest if skill else None,
                task.digest,
                {"name": agent.name, "version": agent.version(), **options},
                model_spec(self.config.target),
                self._service(self.config.target),
                replicate,
            ),
            limits=Limits(**limits.model_dump()),
            budget=Budget(own.max_requests, own.max_tokens),
            verifier=verifier,
            mount=own.mount,
            beside=tuple(self._skill_folder(other) for other in self.beside),
        )

    def _service(self, model: ModelConfig) -> dict[str, Any]:
        """What of the upstream decides the replies: its address, or the dials of ``sim``."""
        upstream = self.config.upstreams[model.upstream]
        unimportant = {"key_env", "max_concurrency", "latency_s", "error_rate", "cut_rate"}
        found = upstream.model_dump(mode="json", exclude=unimportant)
        # Keys that came later count where they say something.
        later = ("api_version",) if found["kind"] != "sim" else ("protocols",)
        return {key: value for key, value in found.items() if value or key not in later}

    def _check_name(self, skill: Skill | None) -> None:
        if skill is not None and skill.name in {other.name for other in self.beside}:
            raise SkillError(
                f"skill.beside: one of them is named {skill.name!r} like the skill itself; "
                "an agent can have one of a name only"
            )

    def _check_backend(self, agent: Harness) -> None:
        if self._backend is not None and isinstance(agent, CliHarness):
            check_backend(agent.name, self._backend)

    def _skill_folder(self, skill: Skill) -> Path:
        folder = self.store.root / "skills" / skill.digest / skill.name
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            write_skill(skill, folder)
        return folder

    def _rollout(self, job: Job, stage: str) -> Rollout:
        stored = self.store.get(job.key, job.task)
        if stored is not None:
            self.listener(RolloutFinished(stored, stored=True))
            return stored
        for attempt in range(self.config.rollout_tries):
            if attempt:
                self._cancelled.wait(RETRY_WAIT_S * 2 ** (attempt - 1))
            with self.meter.admit(stage, now(), rollout=True):
                if not attempt:
                    self.listener(RolloutStarted(job.task.name))
                rollout = self._attempt(job)
                self.listener(_ran(rollout, stage))
            if rollout.status.scored or self._cancelled.is_set():
                break
        self.listener(RolloutFinished(rollout, stored=False))
        return rollout

    def _attempt(self, job: Job) -> Rollout:
        self.store.check_room()
        with self.store.begin() as folder:
            self.store.announce(folder, job.key, job.task.name)
            try:
                with self._slots.site() as site:
                    judges = self._slots.verifier_sandbox
                    result = run_job(job, site, self._environments, judges, folder)
            except SandboxError as error:
                result = job.failed(str(error))
            if self._cancelled.is_set() and not result.status.scored:
                result = result.model_copy(update={"status": Status.CANCELLED})
            # An agent or a verifier that could not write says nothing about the skill.
            self.store.check_room()
            if result.status.scored:
                return self.store.commit(folder, result, job.task)
            self.store.keep_failed(folder, job.key)
            return unstored(result, job.task, self.store.root / "failed" / job.key)


def _ran(rollout: Rollout, stage: str) -> RolloutRan:
    return RolloutRan(
        stage=stage,
        key=rollout.key,
        task=rollout.task.name,
        status=rollout.status,
        usage=rollout.usage,
        seconds=round(rollout.duration_s, 3),
    )


@contextmanager
def open_upstream(config: UpstreamConfig) -> Iterator[Upstream]:
    """The upstream that a config block describes, with the server that it may have of its own."""
    if isinstance(config, SimConfig):
        from skillopt.sim.model import ALL, SimUpstream

        dials = config.model_dump(exclude={"kind", "protocols"})
        yield SimUpstream(**dials, protocols=frozenset(config.protocols) or ALL)
    elif isinstance(config, LlamaConfig):
        from harnesses.gateway.llamacpp import LlamaUpstream

        settings = config.model_dump(exclude={"kind", "protocols"})
        with LlamaUpstream(**settings, protocols=frozenset(config.protocols)) as upstream:
            yield upstream
    else:
        yield HttpUpstream(
            kind=config.kind,
            base_url=config.base_url or BASE_URLS[config.kind],
            key_env=config.key_env,
            protocols=protocols_of(config.kind, config.protocols),
            max_concurrency=config.max_concurrency,
            api_version=config.api_version,
        )


def model_spec(config: ModelConfig) -> ModelSpec:
    """A config's model as the gateway knows it."""
    return ModelSpec(config.upstream, config.name, config.sampling)
