"""Several configs trained one after another, each as a run of its own or one for each seed, to be
compared. What is finished is not run again, so an interrupted series resumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from skillopt.config.loading import ConfigError
from skillopt.config.schema import Config
from skillopt.core.errors import SkillOptError
from skillopt.evaluation.comparable import check_comparable
from skillopt.run.events import Listener
from skillopt.run.records import RunCreated
from skillopt.training.prepared import PlannedRun, planned_run
from skillopt.training.start import train


@dataclass(frozen=True)
class Wanted:
    """A run that is to be trained.

    Args:
        config: its config.
        run: the run before it starts.
    """

    config: Config
    run: PlannedRun


@dataclass(frozen=True)
class Trained:
    """A run of the series after it was trained.

    Args:
        root: its folder.
        error: what ended it before it was done; None if it is done.
        stopped: the same in words, or the limit that was reached; empty if it is done.
    """

    root: Path
    error: SkillOptError | None = None
    stopped: str = ""


def with_seeds(configs: Sequence[Config], seeds: Sequence[int] = ()) -> list[Config]:
    """The configs of the runs to train: each config under its own name and seed, or with seeds one
    run for each, named ``NAME-seed-SEED``, config by config.

    Raises:
        ConfigError: two of them would have the same folder.
    """
    found = [_seeded(config, seed) for config in configs for seed in seeds]
    found = found if seeds else list(configs)
    roots = [config.runs / config.name for config in found]
    for root in roots:
        if roots.count(root) > 1:
            raise ConfigError(
                f"name: two configs train the run {root}; give each a name of its own"
            )
    return found


def _seeded(config: Config, seed: int) -> Config:
    """The config with another seed, and the tasks split as they are without it."""
    own = config.model_dump(exclude_unset=True)
    tasks = own["tasks"] | {"split_seed": config.split_seed}
    named = {"name": f"{config.name}-seed-{seed}", "seed": seed, "tasks": tasks}
    return Config.model_validate(own | named)


def plan_runs(configs: Sequence[Config], among: Sequence[tuple[str, RunCreated]]) -> list[Wanted]:
    """Read and check everything that the runs need, and that their scores can be compared. Nothing
    is run, requested or recorded.

    Args:
        configs: of the runs, from :func:`with_seeds`.
        among: the names of other runs that they are compared with, and what these are.

    Raises:
        SkillOptError: as :func:`skillopt.train` does before its first rollout.
        ConfigError: one would have no scores on the test split.
        RunError: they differ in what scores depend on besides the skill.
    """
    wanted = [Wanted(config, planned_run(config)) for config in configs]
    for one in wanted:
        if not (one.config.final.test and one.run.created.splits.get("test")):
            raise ConfigError(
                f"{one.config.name}: would have no scores on a test split to compare; train with "
                "final.test and test tasks"
            )
    known = [*among, *((one.config.name, one.run.created) for one in wanted)]
    for name, created in known[1:]:
        check_comparable(known[0][1], created, (known[0][0], name))
    return wanted


def train_runs(wanted: Sequence[Wanted], listeners: Sequence[Listener] = ()) -> Iterator[Trained]:
    """Train each run to its end, or as far as it comes: one that stops does not stop the others.

    Args:
        wanted: from :func:`plan_runs`.
        listeners: as for :func:`skillopt.train`.
    """
    for one in wanted:
        root = one.run.root
        if one.run.state.done is not None:
            yield Trained(root)
            continue
        try:
            result = train(one.config, listeners=listeners)
        except SkillOptError as error:
            yield Trained(root, error, str(error))
        else:
            yield Trained(root, stopped="" if result.done else str(result.summary["stopped"]))
