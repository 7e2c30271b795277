"""The Python interface: ``skillopt.train`` and ``skillopt.evaluate``; the command line uses it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harnesses.base import Usage
from skillopt.config.inputs import initial_skill, read_config, skills_beside
from skillopt.config.loading import ConfigError
from skillopt.config.prices import price_table
from skillopt.config.schema import AllConfig, Config, SpendingConfig, SpentConfig, StopConfig
from skillopt.core.errors import PausedError
from skillopt.core.skill import Skill, SkillError
from skillopt.core.types import Split, Task
from skillopt.evaluation.evaluate import _all, _pausing
from skillopt.optimizer.leaks import leak_guard
from skillopt.optimizer.model import OptimizerReplyError, OptimizerUnavailableError
from skillopt.optimizer.stages import make_stages
from skillopt.optimizer.templates import Prompts
from skillopt.rollouts.identity import fingerprint, refuse_another
from skillopt.rollouts.plugins import Plugins, load_plugins
from skillopt.rollouts.runner import RolloutRunner, model_spec
from skillopt.run.events import Listener
from skillopt.run.folder import RunFolder, replay
from skillopt.run.journal import Journal
from skillopt.run.recorder import Recorder
from skillopt.run.records import RunCreated, RunStarted, RunStopped
from skillopt.run.spending import LimitReachedError, Meter
from skillopt.run.state import State
from skillopt.run.stop import make_stop
from skillopt.run.trackers import tracking
from skillopt.tasks.harbor import TaskError
from skillopt.tasks.splits import load_splits
from skillopt.training.plan import rollouts_at_most
from skillopt.training.steps import plan_steps
from skillopt.training.trainer import Training

RESUME_HINT = "nothing is lost: mend it ('skillopt doctor' helps) and start the same command"


@dataclass(frozen=True)
class RunResult:
    """What a run came to. ``summary`` is what ``summary.json`` holds."""

    folder: Path
    initial: Skill
    best: Skill
    history: list[dict[str, Any]]
    summary: dict[str, Any]

    @property
    def done(self) -> bool:
        """Whether training has ended; False when a limit of the config stopped it before."""
        return bool(self.summary["done"])


def train(
    config: Config | str | Path,
    *,
    listeners: Sequence[Listener] = (),
    plugins: Plugins = Plugins(),
    fork: str | None = None,
) -> RunResult:
    """Train a skill, or go on with a run that was begun before.

    Args:
        config: of the run, or its file; the run's folder is ``config.runs / config.name``.
        listeners: told of everything that happens, from any thread.
        plugins: objects in place of what the config names: harness, verifier, stages, stop.
        fork: name of a new run, in place of the config's, that begins anew with what is in the
            store.

    Returns:
        What the run came to. Where a limit of the config was reached it is not ``done``.

    Raises:
        ConfigError, TaskError, SkillError, PromptError, PluginError, TrackerError: unusable
            input.
        FingerprintError: the run was begun as something else.
        JournalError: another process is training this run, or its log is damaged.
        PausedError: infrastructure failed too often; the same call goes on from here.
        SandboxError: no engine, or an image is missing.
        LimitReachedError: a limit was reached before there was a skill to return.
    """
    config = config if isinstance(config, Config) else read_config(config)
    origin = config.name if fork else None
    if fork:
        config = Config.model_validate(config.model_dump() | {"name": fork})
    _check_prices(config)
    with _pausing(config), Journal(config.runs / config.name) as journal:
        return _train(config, journal, _all(listeners), load_plugins(config, plugins), origin)


def _train(
    config: Config, journal: Journal, listener: Listener, plugins: Plugins, origin: str | None
) -> RunResult:
    prompts = Prompts(config.optimizer.prompts, skills_beside(config))
    splits = _splits(config)
    initial = initial_skill(config)
    meter = Meter(config.limits)
    state = replay(journal.root, journal.records, meter)
    with ExitStack() as stack:
        trackers = stack.enter_context(tracking(config, journal.root, state))
        told = _all([*trackers, listener])
        record = Recorder(journal, RunFolder(journal.root), state, meter, told)
        runner = stack.enter_context(RolloutRunner(config, record, meter, plugins))
        harness = runner.harness(config.harness.name)
        print_ = fingerprint(config, splits, initial, harness, plugins, runner.beside)
        if state.created is not None:
            refuse_another(state.created.fingerprint, print_, str(journal.root))
        else:
            record(_created(config, splits, print_, origin))
        if state.done is None:
            training = Training(
                config=config,
                splits=splits,
                record=record,
                runner=runner,
                stages=make_stages(plugins.stages),
                prompts=prompts,
                guard=leak_guard(task for split in splits.values() for task in split),
                stop=make_stop(config.stop, plugins.stop),
                spec=model_spec(config.optimizer),
            )
            _run(training, initial)
    return _result(journal.root, state, meter, initial)


def _run(training: Training, initial: Skill | None) -> None:
    """Run, and record why when it ends before it is done."""
    config, record = training.config, training.record
    plan = plan_steps(training.splits["train"], config.train, config.seed)
    record(
        RunStarted(
            name=config.name,
            pid=os.getpid(),
            host=socket.gethostname(),
            epochs=config.train.epochs,
            steps=len(plan),
            rollouts=rollouts_at_most(config, training.splits),
        )
    )
    try:
        training.run(initial)
    except LimitReachedError as limit:
        record(RunStopped(reason=str(limit)))
    except PausedError as error:
        record(RunStopped(reason=str(error)))
        raise
    except OptimizerUnavailableError as error:
        record(RunStopped(reason=str(error)))
        raise PausedError(f"step {record.state.steps + 1}: {error}\n{RESUME_HINT}") from error
    except OptimizerReplyError as error:
        record(RunStopped(reason=str(error)))
        raise SkillError(
            f"skill.init: {error}; start from an empty skill or one of yours"
        ) from error
    except KeyboardInterrupt:
        record(RunStopped(reason="interrupted"))
        raise


def _created(
    config: Config,
    splits: Mapping[Split, Sequence[Task]],
    fingerprint: dict[str, Any],
    origin: str | None,
) -> RunCreated:
    items = {
        split: [{"id": t.name, "family": t.family, "digest": t.digest} for t in tasks]
        for split, tasks in splits.items()
    }
    return RunCreated(
        name=config.name,
        config=config.model_dump(mode="json"),
        fingerprint=fingerprint,
        splits=dict(items),
        forked_from=origin,
    )


def _splits(config: Config) -> dict[Split, tuple[Task, ...]]:
    splits = load_splits(config.tasks, config.seed, config.runs / "tasks")
    for split in ("train", "val"):
        if not splits[split]:
            raise TaskError(f"{config.tasks.source}: the {split} split has no tasks; add some")
    return splits


def _check_prices(config: Config) -> None:
    """A limit on money needs prices: what is unknown cannot be counted."""
    limits = [config.limits, *config.limits.stages.values(), *_spent_conditions(config.stop)]
    if all(limit.usd is None for limit in limits):
        return
    prices = price_table(config)
    for model in (config.target.name, config.optimizer.name):
        if prices.cost(model, Usage()) is None:
            where = config.prices or "configs/prices.yaml"
            raise ConfigError(
                f"{where}: no price for {model!r}, which a limit in usd needs: add one to a "
                "copy of it and name that in prices:"
            )


def _spent_conditions(conditions: Sequence[StopConfig]) -> Iterator[SpendingConfig]:
    for condition in conditions:
        if isinstance(condition, AllConfig):
            yield from _spent_conditions(condition.of)
        elif isinstance(condition, SpentConfig):
            yield condition


def _result(root: Path, state: State, meter: Meter, initial: Skill | None) -> RunResult:
    summary = state.summary | {"spent": meter.to_json()}
    if state.initial:
        initial = state.skills[state.initial]
    if initial is None:
        raise LimitReachedError(f"{state.stopped}; there is no draft yet")
    best = state.skills[state.best] if state.best else initial
    return RunResult(root, initial, best, state.history, summary)
