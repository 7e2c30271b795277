"""``skillopt.evaluate``: skills scored on a split, in one or more agents and models."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from harnesses.agents.registry import NAMES
from skillopt.config.inputs import read_config, read_skill_or_run
from skillopt.config.loading import ConfigError
from skillopt.config.schema import Config
from skillopt.core.errors import PausedError
from skillopt.core.skill import Skill
from skillopt.core.types import Split
from skillopt.evaluation.scoring import Row, compare
from skillopt.rollouts.plugins import Plugins, load_plugins
from skillopt.rollouts.runner import RolloutRunner
from skillopt.run.events import EvaluationStarted, Event, Listener
from skillopt.run.records import StageStarted
from skillopt.tasks.harbor import TaskError
from skillopt.tasks.splits import load_splits


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
    """Score skills on a split. Rollouts are taken from the store where they are in it.

    Args:
        config: says tasks, model and sandbox.
        skills: by the name to show, None for no skill; or paths of skills and runs, and
            ``none``. The first is what the others are compared with.
        split: train, val or test.
        harnesses: by name; the config's when there are none.
        models: names in place of the target's, ``UPSTREAM:NAME`` for another upstream.
        replicates: rollouts of each task.
        listeners, plugins: as for :func:`train`.

    Raises:
        ConfigError, TaskError, SkillError, PluginError: unusable input.
        PausedError: a rollout could not be run; those that were are in the store.
    """
    config = config if isinstance(config, Config) else read_config(config)
    if not isinstance(skills, Mapping):
        skills = {str(path): read_skill_or_run(path) for path in skills}
    tasks = load_splits(config.tasks, config.seed, config.runs / "tasks")[split]
    if not tasks:
        raise TaskError(f"{config.tasks.source}: the {split} split has no tasks; add some")
    names, listener = harnesses or (config.harness.name,), _all(listeners)
    for name in names:
        if name not in (*NAMES, config.harness.name):
            raise ConfigError(f"harness {name!r} is not one of {', '.join(NAMES)}")
    configs = [with_target(config, model) for model in models] or [config]
    each = len(tasks) * replicates * len(skills)
    listener(EvaluationStarted(each * len(names) * len(configs)))
    parts = load_plugins(config, plugins)
    rows: list[Row] = []
    for one in configs:
        with _pausing(one), RolloutRunner(one, listener, plugins=parts) as runner:
            for name in names:
                listener(StageStarted(stage=f"eval in {name}", total=each))
                rows += compare(runner, skills, tasks, harness=name, replicates=replicates)
    return rows


def with_target(config: Config, model: str) -> Config:
    """A config with another target model.

    Args:
        config: its upstreams are known.
        model: ``NAME``, or ``UPSTREAM:NAME``, which a name with a colon in it needs.

    Raises:
        ConfigError: there is no such upstream.
    """
    upstream, colon, name = model.partition(":")
    if not colon:
        upstream, name = config.target.upstream, model
    if upstream not in config.upstreams:
        known = ", ".join(sorted(config.upstreams))
        raise ConfigError(f"model {model!r}: {upstream!r} is not in upstreams ({known})")
    target = config.target.model_copy(update={"upstream": upstream, "name": name})
    return config.model_copy(update={"target": target})


def _all(listeners: Sequence[Listener]) -> Listener:
    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


@contextmanager
def _pausing(config: Config) -> Iterator[None]:
    """A full disk pauses the run: everything whole is kept."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise PausedError(
            f"{config.runs}: the disk is full ({error}): free some space, then start the same "
            "command; nothing that was finished is lost"
        ) from error
