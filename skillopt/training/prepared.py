"""A training before its start: everything that it needs, read and checked; its plan; what it is,
and whether the log of an earlier start may be continued."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harnesses.agents.registry import CLI_AGENTS, make_harness
from harnesses.harness import Harness
from skillopt.config.loading import ConfigError
from skillopt.config.schema import Config
from skillopt.core.errors import FormatError, file_errors
from skillopt.core.files import check_writable
from skillopt.core.skill import Skill, earlier_form
from skillopt.core.types import Task
from skillopt.evaluation.agreement import told_of_judge
from skillopt.gates import make_gate
from skillopt.gates.base import Gate
from skillopt.optimizer.describe import check_description
from skillopt.optimizer.stages import Stages, make_stages
from skillopt.optimizer.templates import Prompts
from skillopt.rollouts.plugins import Plugins
from skillopt.rollouts.prepare import Prepared, Splits, prepare, prepared_skill
from skillopt.run.journal import read_records
from skillopt.run.records import (
    FORMAT,
    RunCreated,
)
from skillopt.run.spending import Meter
from skillopt.run.state import State, fold
from skillopt.run.stop import StopCondition, make_stop
from skillopt.run.trackers import check_trackers
from skillopt.training.fingerprint import changes, fingerprint
from skillopt.training.method import Method, make_method
from skillopt.training.plan import (
    Plan,
    check_length,
    make_plan,
)


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
    """Read and check everything that a training needs, as :func:`skillopt.train` does before its
    first rollout; ``--dry-run`` does only this.

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


def plan_training(config: Config, *, plugins: Plugins = Plugins(), fork: str | None = None) -> Plan:
    """Upper bounds for :func:`skillopt.train`. Refuses what that would refuse; nothing is run,
    requested or recorded.

    Args:
        config, plugins, fork: as for :func:`skillopt.train`.

    Raises:
        SkillOptError: as :func:`skillopt.train` does before its first rollout.
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
    """As :func:`plan_training`, with the same arguments: what the run would be as well, and what is
    recorded of it."""
    config = forked(config, fork)
    with file_errors():
        root = config.runs / config.name
        check_writable(root)
        parts = prepare_training(config, plugins)
        state = fold(read_records(root))
        parts = as_recorded(parts, state)
        created, _ = compared_with_log(parts, state, root)
        return PlannedRun(root, created, parts.plan, state)


def forked(config: Config, fork: str | None) -> Config:
    """A config under the name of the new run, if there is one."""
    own = config.model_dump(exclude_unset=True)  # What is not set stays so: see as_recorded.
    return Config.model_validate(own | {"name": fork}) if fork else config


def as_recorded(parts: TrainingParts, state: State) -> TrainingParts:
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


def compared_with_log(
    parts: TrainingParts, state: State, root: Path
) -> tuple[RunCreated, dict[str, list[Any]]]:
    """What the run is now, and the differences to its last start, by key of the fingerprint.

    Args:
        parts: the run's, after :func:`as_recorded`.
        state: what is recorded of it.
        root: its folder, for messages.

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


def _harness(prepared: Prepared) -> Harness:
    own = prepared.config.harness
    return prepared.plugins.harness or make_harness(own.name, own.version, own.options, own.mode)


def _items(splits: Splits) -> dict[str, list[dict[str, str]]]:
    def rows(tasks: Sequence[Task]) -> list[dict[str, str]]:
        return [{"id": t.name, "family": t.family, "digest": t.digest} for t in tasks]

    return {split: rows(tasks) for split, tasks in splits.items()}
