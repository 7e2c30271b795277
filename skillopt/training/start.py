"""``skillopt.train``: assembles a training run, starts it or resumes it."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harnesses.agents.registry import CLI_AGENTS, make_harness
from harnesses.harness import Harness
from sandboxes.owner import current_owner
from skillopt.config.inputs import read_config
from skillopt.config.loading import ConfigError
from skillopt.config.schema import Config
from skillopt.core.errors import RESUME_HINT, FormatError, PausedError, file_errors
from skillopt.core.files import check_writable
from skillopt.core.import_path import own_code
from skillopt.core.skill import Skill, SkillError, earlier_form
from skillopt.core.types import Task
from skillopt.evaluation.agreement import told_of_judge
from skillopt.gates import make_gate
from skillopt.gates.base import Gate
from skillopt.optimizer.describe import check_description
from skillopt.optimizer.model import OptimizerReplyError, OptimizerUnavailableError
from skillopt.optimizer.stages import Stages, make_stages
from skillopt.optimizer.templates import Prompts
from skillopt.rollouts.plugins import Plugins
from skillopt.rollouts.prepare import Prepared, Splits, prepare, prepared_skill
from skillopt.rollouts.upstreams import model_spec
from skillopt.run.events import Listener, nobody, tell_all
from skillopt.run.folder import RunFolder, replay
from skillopt.run.journal import Journal, read_records
from skillopt.run.notify import notify
from skillopt.run.recorder import Recorder
from skillopt.run.records import (
    FORMAT,
    Remarked,
    Replied,
    RunChanged,
    RunCreated,
    RunStarted,
    RunStopped,
)
from skillopt.run.remarks import queued
from skillopt.run.spending import LimitReachedError, Meter
from skillopt.run.state import State, fold
from skillopt.run.stop import StopCondition, make_stop
from skillopt.run.trackers import check_trackers, tracking
from skillopt.training.context import Training
from skillopt.training.fingerprint import changes, fingerprint
from skillopt.training.method import Method, make_method
from skillopt.training.plan import (
    Plan,
    check_length,
    make_plan,
    rollouts_by_stage,
    sealed_splits,
)
from skillopt.training.sealed import SealedTraining


@dataclass(frozen=True)
class RunResult:
    """The result of a run. ``summary`` is the content of ``summary.json``."""

    folder: Path
    initial: Skill
    best: Skill
    history: list[dict[str, Any]]
    summary: dict[str, Any]

    @property
    def done(self) -> bool:
        """Whether training has ended; False if a limit of the config stopped it before."""
        return bool(self.summary["done"])

    @property
    def said(self) -> str:
        """What the run's end says of the best skill, in one line; empty before it."""
        found = self.summary["claim"]
        return str(found["words"] if found else self.summary["no_claim"])


INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class TrainingParts:
    """A prepared config with everything else that a training needs: gate, method, optimizer."""

    prepared: Prepared
    initial: Skill | None
    gate: Gate
    method: Method
    stages: Stages
    prompts: Prompts
    stop: StopCondition
    judged: str
    """What is known of the judge's agreement with people; empty without a judge."""

    @property
    def plan(self) -> Plan:
        """Upper bounds for the run."""
        prepared = self.prepared
        config, splits = prepared.config, prepared.splits
        plan = make_plan(config, splits, self.method, prepared.prices, self.initial)
        return replace(plan, judged=self.judged)


def prepare_training(
    config: Config, plugins: Plugins = Plugins(), meter: Meter | None = None
) -> TrainingParts:
    """Read and check everything that a training needs, as :func:`train` does before its first
    rollout; ``--dry-run`` does only this.

    Raises:
        ConfigError, TaskError, SkillError, PromptError, PluginError: unusable input.
    """
    prepared = prepare(config, plugins=plugins, needs=("train", "val"), meter=meter)
    check_trackers(config)
    given = prepared.plugins
    initial = prepared_skill(config)
    check_length(config.skill, initial)
    if config.train.only == "description":
        _check_only_description(config, initial)
    return TrainingParts(
        prepared=prepared,
        initial=initial,
        gate=given.gate or make_gate(config.gate),
        method=given.method or make_method(config.method),
        stages=make_stages(given.stages),
        prompts=Prompts(config.optimizer.prompts, prepared.beside),
        stop=make_stop(config.stop, given.stop),
        judged=told_of_judge(config, prepared.judge) if prepared.judge else "",
    )


def _check_only_description(config: Config, initial: Skill | None) -> None:
    """Raise if nothing could depend on the description, or it cannot be replaced."""
    if config.harness.name == "direct":
        raise ConfigError(
            "train.only: description: direct chat always has the whole skill, whatever its "
            f"description says; use {', '.join(CLI_AGENTS)} (harness.name), or train all of it"
        )
    if initial is not None:
        check_description(initial)


def train(
    config: Config | str | Path,
    *,
    listeners: Sequence[Listener] = (),
    plugins: Plugins = Plugins(),
    fork: str | None = None,
) -> RunResult:
    """Train a skill, or resume a run that was started before.

    Args:
        config: the run's config, or its file; the run's folder is ``config.runs / config.name``.
        listeners: receive everything that happens, from any thread.
        plugins: objects that replace what the config names.
        fork: name of a new run, instead of the config's, that starts with what is in the store and
            reuses the optimizer's replies as long as their prompts are the same.

    Returns:
        The result of the run. If a limit of the config was reached, it is not ``done``.

    Raises:
        ConfigError, TaskError, SkillError, PromptError, PluginError, TrackerError: unusable
            input.
        OwnCodeError: a user's own part raised.
        FingerprintError: the finished part of the run depends on something that has changed.
        JournalError: another process is training this run, or its log is damaged.
        FileError: a file or folder cannot be read or written.
        PausedError: infrastructure failed too often; calling this again resumes.
        SandboxError: there is no engine, or an image is missing.
        LimitReachedError: a limit was reached before there was a skill to return.
    """
    config = config if isinstance(config, Config) else read_config(config)
    origin = config.name if fork else None
    config = _forked(config, fork)
    with file_errors():
        # Unusable input is refused before the folder is created.
        check_writable(config.runs / config.name)
        meter = Meter(config.limits)
        parts = prepare_training(config, plugins, meter)
        with Journal(config.runs / config.name) as journal:
            return _train(parts, journal, listeners, origin)


def plan_training(config: Config, *, plugins: Plugins = Plugins(), fork: str | None = None) -> Plan:
    """Upper bounds for :func:`train`. Refuses what that would refuse; nothing is run, requested or
    recorded.

    Args:
        config, plugins, fork: as for :func:`train`.

    Raises:
        SkillOptError: as :func:`train` does before its first rollout.
    """
    return planned_run(config, plugins=plugins, fork=fork).plan


@dataclass(frozen=True)
class PlannedRun:
    """A run before its next start.

    Args:
        root: its folder.
        created: what it would be.
        plan: upper bounds for it.
        state: what is recorded of it.
    """

    root: Path
    created: RunCreated
    plan: Plan
    state: State


def planned_run(
    config: Config, *, plugins: Plugins = Plugins(), fork: str | None = None
) -> PlannedRun:
    """As :func:`plan_training`, with what the run would be and what is recorded of it."""
    config = _forked(config, fork)
    with file_errors():
        root = config.runs / config.name
        check_writable(root)
        parts = prepare_training(config, plugins)
        state = fold(read_records(root))
        parts = _as_recorded(parts, state)
        created, _ = _differences(parts, state, root)
        return PlannedRun(root, created, parts.plan, state)


def _forked(config: Config, fork: str | None) -> Config:
    """A config under the name of the new run, if there is one."""
    own = config.model_dump(exclude_unset=True)  # What is not set stays so: see _as_recorded.
    return Config.model_validate(own | {"name": fork}) if fork else config


def _train(
    parts: TrainingParts, journal: Journal, listeners: Sequence[Listener], origin: str | None
) -> RunResult:
    meter = parts.prepared.meter
    state = replay(journal.root, journal.records, meter)
    parts = _as_recorded(parts, state)
    prepared, config = parts.prepared, parts.prepared.config
    with ExitStack() as stack:
        record = Recorder(journal, RunFolder(journal.root), state, meter, nobody)
        record.listener = tell_all(listeners, record.note)
        _begin(parts, record, origin)
        trackers = stack.enter_context(tracking(config, journal.root, state, record.note))
        record.listener = tell_all([*trackers, record.listener], record.note)
        runner = stack.enter_context(prepared.runner(record))
        if state.done is None:
            runner.questions.check()
            training = Training(
                config=config,
                splits=prepared.splits,
                record=record,
                runner=runner,
                gate=parts.gate,
                stages=parts.stages,
                prompts=parts.prompts,
                stop=parts.stop,
                spec=model_spec(config.optimizer),
                replies=_inherited(config, state),
                held_out=prepared.whole is not None,
            )
            try:
                _run(training, parts)
            finally:
                _notify(record, config)
    return _result(journal.root, state, meter, parts.initial)


def _as_recorded(parts: TrainingParts, state: State) -> TrainingParts:
    """What an earlier version began a run with: the skills in the form in which it read them, its
    token limit, the strict gate, which was its default, and all selection tasks."""
    recorded = state.created.fingerprint if state.created else {}

    def form(skill: Skill, key: str) -> Skill:
        earlier = earlier_form(skill)
        return earlier if earlier and earlier.digest == recorded.get(key) else skill

    beside = tuple(form(skill, f"beside.{skill.name}") for skill in parts.prepared.beside)
    initial = form(parts.initial, "skill.digest") if parts.initial else None
    config = parts.prepared.config
    if state.earlier_limit is not None and config.skill.max_tokens is None:
        limits = {"max_tokens": state.earlier_limit, "compress": True}
        config = config.model_copy(update={"skill": config.skill.model_copy(update=limits)})
    was_strict = state.created is not None and recorded.get("gate.kind", "strict") == "strict"
    if was_strict and "kind" not in config.gate.model_fields_set:
        strict = config.gate.model_copy(update={"kind": "strict"})
        config = config.model_copy(update={"gate": strict})
    gate = parts.prepared.plugins.gate or make_gate(config.gate)
    prepared = replace(parts.prepared, beside=beside, config=config)
    if prepared.whole and state.created and "held_out" not in state.created.config["final"]:
        prepared = replace(prepared, splits=prepared.whole, whole=None)
    return replace(parts, prepared=prepared, initial=initial, gate=gate)


def _begin(parts: TrainingParts, record: Recorder, origin: str | None) -> None:
    """Record what the run is, or what has changed since its last start."""
    state = record.state
    new, found = _differences(parts, state, record.journal.root)
    if state.created is None:
        record(new.model_copy(update={"forked_from": origin}))
        if parts.judged:
            record.note(parts.judged)
        for remark in _remarks_of(parts.prepared.config, origin):
            record(remark)
        return
    found |= _config_changes(state.created.config, new.config)
    if found:
        now = new.model_dump(include={"config", "fingerprint", "splits"})
        record(RunChanged(**now, changes=found))
        record.note(f"resumed with other inputs: {', '.join(sorted(found))}")


def _differences(
    parts: TrainingParts, state: State, root: Path
) -> tuple[RunCreated, dict[str, list[Any]]]:
    """What the run is now, and the differences to its last start.

    Raises:
        FingerprintError: the finished part of the run depends on one of them.
        FormatError: an older version started the run.
    """
    prepared = parts.prepared
    new = RunCreated(
        format=FORMAT,
        name=prepared.config.name,
        config=prepared.config.model_dump(mode="json"),
        fingerprint=fingerprint(prepared, parts.initial, _harness(prepared), parts.prompts),
        splits=_items(prepared.splits),
    )
    if state.created is None:
        return new, {}
    if state.created.format != FORMAT:
        raise FormatError(
            f"{root}: this run was started by a version whose logs had "
            f"{f'format {state.created.format}' if state.created.format else 'no format number'}, "
            f"and this one reads format {FORMAT}; start a new run, which takes the finished "
            "rollouts from the store: --fork NEW-NAME"
        )
    return new, changes(state.created.fingerprint, new.fingerprint, state, str(root))


def _run(training: Training, parts: TrainingParts) -> None:
    """Run, and record the reason if it ends before it is done."""
    config, record = training.config, training.record
    expected = parts.method.estimate(config, sealed_splits(training.splits))
    record(
        RunStarted(
            name=config.name,
            pid=os.getpid(),
            host=socket.gethostname(),
            owner=str(current_owner()),
            epochs=expected.epochs,
            steps=expected.steps,
            rollouts=sum(rollouts_by_stage(config, training.splits, expected).values()),
        )
    )
    state = record.state
    try:
        if state.initial_score is None:
            training.baseline(parts.initial)
        if state.done is None:
            training.finish(_ended(training, parts.method))
    except OptimizerUnavailableError as error:
        record(RunStopped(reason=str(error)))
        where = f"step {state.stage.step}" if state.stage and state.stage.step else "before step 1"
        raise PausedError(f"{where}: {error}\n{RESUME_HINT}") from error
    except OptimizerReplyError as error:
        record(RunStopped(reason=str(error)))
        if state.initial_score is not None:
            raise PausedError(f"method: {error}\n{RESUME_HINT}") from error
        raise SkillError(
            f"skill.init: {error}; start from an empty skill or one of yours"
        ) from error
    except LimitReachedError as limit:
        record(RunStopped(reason=str(limit)))
    except KeyboardInterrupt:
        record(RunStopped(reason=INTERRUPTED))
        raise
    except Exception as error:
        record(RunStopped(reason=str(error) or type(error).__name__))
        raise


def _ended(training: Training, method: Method) -> str:
    """Let the method train; why training has ended."""
    if training.state.chosen is not None:
        return training.state.chosen.reason  # Only the final scores are missing.
    with own_code("method", method):
        reason = method.run(SealedTraining(training))
        if not isinstance(reason, str):
            raise TypeError(f"it returned {reason!r}; return why training has ended")
    return reason


def _notify(record: Recorder, config: Config) -> None:
    """Tell the user who is not there that training has ended, if the config says how."""
    state = record.state
    if config.notify and state.stopped != INTERRUPTED:
        status = "done" if state.done else "stopped"
        reason = state.done.reason if state.done else state.stopped
        notify(config.notify, str(record.journal.root), status, reason, record.note)


def _harness(prepared: Prepared) -> Harness:
    own = prepared.config.harness
    return prepared.plugins.harness or make_harness(own.name, own.version, own.options, own.mode)


def _items(splits: Splits) -> dict[str, list[dict[str, str]]]:
    def rows(tasks: Sequence[Task]) -> list[dict[str, str]]:
        return [{"id": t.name, "family": t.family, "digest": t.digest} for t in tasks]

    return {split: rows(tasks) for split, tasks in splits.items()}


def _config_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Keys of the config that differ, by section, for the log."""
    found: dict[str, list[Any]] = {}
    for section in sorted(before.keys() | now.keys()):
        old, new = before.get(section), now.get(section)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            inner = _config_changes(old, new)
            found |= {f"config.{section}.{k.removeprefix('config.')}": v for k, v in inner.items()}
        else:
            found[f"config.{section}"] = [old, new]
    return found


def _inherited(config: Config, state: State) -> dict[str, Replied]:
    """The optimizer's replies of the run that this one was forked from, if it still exists."""
    origin = state.created.forked_from if state.created else None
    if not origin:
        return {}
    found = read_records(config.runs / origin)
    return {record.id: record for record in found if isinstance(record, Replied)}


def _remarks_of(config: Config, origin: str | None) -> list[Remarked]:
    """People's remarks on the run that this one is forked from, if it still exists. They show in
    the same steps, so that its replies stay valid; what was said after its end, from the first."""
    if not origin:
        return []
    root = config.runs / origin
    state = fold([*read_records(root), *queued(root)])
    steps = state.steps if state.done else math.inf
    return [
        remark.model_copy(
            update={"inherited": True, "since": remark.since if remark.since <= steps else 1}
        )
        for remark in state.remarks.values()
    ]


def _result(root: Path, state: State, meter: Meter, initial: Skill | None) -> RunResult:
    summary = state.summary | {"spent": meter.to_json()}
    if state.initial:
        initial = state.skills[state.initial]
    if initial is None:
        raise LimitReachedError(f"{state.stopped}; there is no draft yet")
    best = state.skills[state.best] if state.best else initial
    return RunResult(root, initial, best, state.history, summary)
