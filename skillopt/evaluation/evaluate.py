"""``skillopt.evaluate``: skills scored on a split, in one or more agents and models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from skillopt.config.inputs import read_config, read_skill_or_run
from skillopt.config.loading import ConfigError
from skillopt.config.schema import Config
from skillopt.core.errors import file_errors
from skillopt.core.skill import Skill
from skillopt.core.skill_rules import check_loaded
from skillopt.core.types import Split
from skillopt.evaluation.scoring import Row, compare
from skillopt.rollouts.plugins import Plugins
from skillopt.rollouts.prepare import Prepared, prepare
from skillopt.run.events import EvaluationStarted, Listener, tell_all
from skillopt.run.records import StageStarted


def evaluate(
    config: Config | str | Path,
    skills: Mapping[str, Skill | None] | Sequence[str | Path],
    *,
    split: Split = "test",
    harnesses: Sequence[str] = (),
    models: Sequence[str] = (),
    replicates: int = 1,
    listeners: Sequence[Listener] = (),
    plugins: Plugins = Plugins(),
) -> list[Row]:
    """Score skills on a split. Rollouts that are in the store are not run again.

    Args:
        config: names tasks, model and sandbox; its limits apply to the whole evaluation.
        skills: by the name to show, None for no skill; or paths of skills and runs, and
            ``none``. The others are compared with the first.
        split: train, val or test.
        harnesses: by name; the config's if empty.
        models: names to use instead of the target's, ``UPSTREAM:NAME`` for another upstream.
        replicates: rollouts of each task.
        listeners, plugins: as for :func:`skillopt.train`.

    Raises:
        ConfigError, TaskError, SkillError, PluginError: unusable input.
        OwnCodeError: a user's own part raised.
        FileError: a file or folder cannot be read or written.
        LimitReachedError: a limit of the config was reached.
        PausedError: a rollout could not be run; finished ones are in the store.
    """
    with file_errors():
        config = config if isinstance(config, Config) else read_config(config)
        if not isinstance(skills, Mapping):
            skills = {str(path): read_skill_or_run(path) for path in skills}
        prepared = prepare(config, plugins=plugins, needs=(split,), harnesses=harnesses)
        listener = tell_all(listeners)
        names = harnesses or (config.harness.name,)
        for name in names:
            for skill in filter(None, skills.values()):
                check_loaded(skill, name, config.harness.mount)
        configs = [with_target(config, model) for model in models] or [config]
        each = len(prepared.splits[split]) * replicates * len(skills)
        listener(EvaluationStarted(each * len(names) * len(configs)))
        rows: list[Row] = []
        for one in configs:
            place = replace(prepared, config=one)
            rows += score(place, skills, split, names, listener, replicates)
        return rows


def score(
    prepared: Prepared,
    skills: Mapping[str, Skill | None],
    split: Split,
    harnesses: Sequence[str],
    listener: Listener,
    replicates: int = 1,
) -> list[Row]:
    """Score skills in some harnesses with the model of a prepared config.

    Args:
        prepared: its meter counts what is spent.
        skills, split, harnesses, replicates: as for :func:`evaluate`.
        listener: receives everything that happens.
    """
    tasks = prepared.splits[split]
    each = len(tasks) * replicates * len(skills)
    rows: list[Row] = []
    with prepared.runner(listener) as runner:
        for name in harnesses:
            prepared.meter.add(StageStarted(stage="eval", total=each))
            listener(StageStarted(stage=f"eval in {name}", total=each))
            rows += compare(runner, skills, tasks, harness=name, replicates=replicates)
    return rows


def with_target(config: Config, model: str) -> Config:
    """A config with another target model.

    Args:
        config: its upstreams are known.
        model: ``NAME``, or ``UPSTREAM:NAME``, which is required if the name has a colon in it and
            is not that of the config's target.

    Raises:
        ConfigError: there is no such upstream.
    """
    if model == config.target.name:
        return config
    upstream, colon, name = model.partition(":")
    if not colon:
        upstream, name = config.target.upstream, model
    if upstream not in config.upstreams:
        known = ", ".join(sorted(config.upstreams))
        raise ConfigError(f"model {model!r}: {upstream!r} is not in upstreams ({known})")
    target = config.target.model_copy(update={"upstream": upstream, "name": name})
    return config.model_copy(update={"target": target})
