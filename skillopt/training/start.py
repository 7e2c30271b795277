"""``skillopt.train``: assembles a training run, starts it or resumes it."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandboxes.owner import current_owner
from skillopt.config.inputs import read_config
from skillopt.config.schema import Config
from skillopt.core.errors import RESUME_HINT, PausedError, file_errors
from skillopt.core.files import check_writable
from skillopt.core.import_path import own_code
from skillopt.core.skill import Skill, SkillError
from skillopt.optimizer.model import OptimizerReplyError, OptimizerUnavailableError
from skillopt.rollouts.plugins import Plugins
from skillopt.rollouts.upstreams import model_spec
from skillopt.run.events import Listener, nobody, tell_all
from skillopt.run.folder import RunFolder, replay
from skillopt.run.journal import Journal, read_records
from skillopt.run.notify import notify
from skillopt.run.recorder import Recorder
from skillopt.run.records import (
    Remarked,
    Replied,
    RunChanged,
    RunStarted,
    RunStopped,
)
from skillopt.run.remarks import queued
from skillopt.run.spending import LimitReachedError, Meter
from skillopt.run.state import State, fold
from skillopt.run.trackers import tracking
from skillopt.training.context import Training
from skillopt.training.method import Method
from skillopt.training.plan import (
    rollouts_by_stage,
    sealed_splits,
)
from skillopt.training.prepared import (
    TrainingParts,
    as_recorded,
    compared_with_log,
    forked,
    prepare_training,
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
    config = forked(config, fork)
    with file_errors():
        # Unusable input is refused before the folder is created.
        check_writable(config.runs / config.name)
        meter = Meter(config.limits)
        parts = prepare_training(config, plugins, meter)
        with Journal(config.runs / config.name) as journal:
            return _train(parts, journal, listeners, origin)


def _train(
    parts: TrainingParts, journal: Journal, listeners: Sequence[Listener], origin: str | None
) -> RunResult:
    meter = parts.prepared.meter
    state = replay(journal.root, journal.records, meter)
    parts = as_recorded(parts, state)
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


def _begin(parts: TrainingParts, record: Recorder, origin: str | None) -> None:
    """Record what the run is, or what has changed since its last start."""
    state = record.state
    new, found = compared_with_log(parts, state, record.journal.root)
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
